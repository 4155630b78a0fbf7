"""Whether the agents of this version are there and signed in, for `doctor`. Looks at names and files, never at a credential."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass

from cpool_flow.agents.claude import INSTALL, PROGRAM


@dataclass(frozen=True, slots=True)
class Presence:
    """`program` None: not installed. `signed_in` None: it needs no account. `version_command` prints its version."""

    agent: str
    program: str | None
    signed_in: bool | None
    help: str | None = None

    @property
    def version_command(self) -> tuple[str, ...] | None:
        return (self.program, "--version") if self.program else None


def agents_present(environment: Mapping[str, str]) -> tuple[Presence, ...]:
    """Each agent that is a program of its own."""
    program = shutil.which(PROGRAM, path=environment.get("PATH", os.defpath))
    signed_in = _signed_in(environment)
    sign_in = None if signed_in else "sign in: run `claude`, then `/login`; or set ANTHROPIC_API_KEY"
    return (Presence("claude", program, signed_in, sign_in if program else f"install it: {INSTALL}"),)


_CREDENTIALS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN")
_CLOUDS = ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_USE_FOUNDRY")


def _signed_in(environment: Mapping[str, str]) -> bool:
    if any(environment.get(name) for name in (*_CREDENTIALS, *_CLOUDS)):
        return True
    folder = environment.get("CLAUDE_CONFIG_DIR") or os.path.join(environment.get("HOME", ""), ".claude")
    return os.path.exists(os.path.join(folder, ".credentials.json"))
