"""Whether the agents of this version are there and signed in, for `doctor`. Looks at names and files, never at a credential."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from importlib import import_module

from cpool_flow import agents
from cpool_flow.capabilities import Capabilities
from cpool_flow.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Presence:
    """`program` None: not installed. `signed_in` None: it needs no account. `version_command` prints its version; `tried`: the oldest that we
    know to work."""

    agent: str
    program: str | None
    signed_in: bool | None
    can: Capabilities
    help: str | None = None
    tried: tuple[int, int] = (0, 0)
    install: str = ""  # the command that gets it, or a newer one

    @property
    def version_command(self) -> tuple[str, ...] | None:
        return (self.program, "--version") if self.program else None


@dataclass(frozen=True, slots=True)
class _Account:
    """Where an agent's account shows: variables, one of which is enough, and files, below a folder that a variable may name."""

    variables: tuple[str, ...]
    folder: str
    moved_by: str
    files: tuple[str, ...]
    how: str
    tried: tuple[int, int]  # the oldest version that the adapter was tried with


_ACCOUNTS = {
    "claude": _Account(
        (
            "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX",
            "CLAUDE_CODE_USE_FOUNDRY",
        ),
        ".claude", "CLAUDE_CONFIG_DIR", (".credentials.json",), "run `claude`, then `/login`; or set ANTHROPIC_API_KEY", (2, 1),
    ),
    "codex": _Account(
        ("OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "AZURE_OPENAI_API_KEY"),
        ".codex", "CODEX_HOME", ("auth.json",), "run `codex login`; or set CODEX_API_KEY", (0, 169),
    ),
    "gemini": _Account(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA"),
        "", "GEMINI_CLI_HOME", (".gemini/oauth_creds.json", ".gemini/.env"), "run `gemini` and sign in; or set GEMINI_API_KEY", (0, 61),
    ),
    "opencode": _Account(
        (
            "OPENCODE_AUTH_CONTENT", "OPENCODE_API_KEY", "ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENROUTER_API_KEY", "GEMINI_API_KEY",
            "GOOGLE_GENERATIVE_AI_API_KEY", "GROQ_API_KEY", "MISTRAL_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "AZURE_API_KEY",
        ),
        ".local/share", "XDG_DATA_HOME", ("opencode/auth.json",), "run `opencode auth login`; or set the key of a provider", (1, 18),
    ),
}  # fmt: skip


def agents_present(environment: Mapping[str, str]) -> tuple[Presence, ...]:
    """Each agent that is a program of its own."""
    return tuple(_presence(name, account, environment) for name, account in _ACCOUNTS.items())


def _presence(name: str, account: _Account, environment: Mapping[str, str]) -> Presence:
    adapter, module = agents.adapter(name), import_module(f"cpool_flow.agents.{name}")
    program = shutil.which(module.PROGRAM, path=environment.get("PATH", os.defpath))
    signed_in = _signed_in(account, environment)
    help = None if program and signed_in else f"sign in: {account.how}" if program else f"install it: {module.INSTALL}"
    return Presence(name, program, signed_in, adapter.capabilities, help, account.tried, module.INSTALL)


def _signed_in(account: _Account, environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in account.variables):
        return True
    folder = environment.get(account.moved_by) or os.path.join(environment.get("HOME", ""), account.folder)
    return any(os.path.exists(os.path.join(folder, file)) for file in account.files)
