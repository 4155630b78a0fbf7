"""opencode: the command line, the environment and the message of one attempt.

Knows its flags and its configuration (measured: 1.18.33), which goes by a variable; what it prints is read in
`opencode_reader.py`. It has no flag for an output schema or a budget.
"""

from __future__ import annotations

import glob
import json
import os
import signal
from collections.abc import Mapping
from typing import Any

from cpool_flow.agents.claude_schema import in_words
from cpool_flow.agents.environment import NETWORK, agent_environment, fits, program, prompt_bytes
from cpool_flow.agents.opencode_reader import OpencodeReader
from cpool_flow.agents.overlay import overlay
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder, PrivateFile
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig

PROGRAM = "opencode"
INSTALL = "npm install -g opencode-ai"

# The keys of a provider, by the first word of `model: PROVIDER/MODEL`; without a model, all of them.
_KEYS = {
    "anthropic": ("ANTHROPIC_API_KEY",),
    "openai": ("OPENAI_API_KEY",),
    "google": ("GOOGLE_GENERATIVE_AI_API_KEY", "GEMINI_API_KEY"),
    "openrouter": ("OPENROUTER_API_KEY",),
    "groq": ("GROQ_API_KEY",),
    "mistral": ("MISTRAL_API_KEY",),
    "deepseek": ("DEEPSEEK_API_KEY",),
    "xai": ("XAI_API_KEY",),
    "azure": ("AZURE_API_KEY", "AZURE_RESOURCE_NAME"),
    "amazon-bedrock": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AWS_REGION"),
    "opencode": ("OPENCODE_API_KEY",),
}
_NAMES = ("AZURE_RESOURCE_NAME", "AWS_REGION")
CREDENTIALS = (*(name for names in _KEYS.values() for name in names if name not in _NAMES), "OPENCODE_AUTH_CONTENT")
_NEEDS = (
    "OPENCODE_CONFIG", "OPENCODE_CONFIG_DIR", "OPENCODE_CONFIG_CONTENT", "OPENCODE_AUTH_CONTENT", "OPENCODE_DISABLE_*",
    "OPENCODE_MODELS_URL", "OPENCODE_MODELS_PATH", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "USER", *NETWORK,
)  # fmt: skip
_FIXED = {
    "OPENCODE_DISABLE_AUTOUPDATE": "1",
    "OPENCODE_DISABLE_LSP_DOWNLOAD": "1",
    # What lies in the place configures nothing.
    "OPENCODE_DISABLE_PROJECT_CONFIG": "1",
}
# What it has no permission for is not offered: what would have to ask ends the turn without a word.
_READS = ("read", "grep", "glob", "list", "lsp", "skill", "task", "todoread", "todowrite", "invalid")
_EDITING = frozenset({"acceptEdits", "auto"})
_WHOLE = frozenset({"permission"})  # the order of its rules counts
_OTHER_NAMES = {"write": "edit", "multiedit": "edit", "patch": "edit", "ls": "list"}


class Opencode:
    name = "opencode"
    capabilities = Capabilities(
        keys=frozenset(
            {"model", "effort", "permission_mode", "max_turns", "max_budget_usd", "system_prompt", "replace_system_prompt", "allowed_tools"}
            | {"disallowed_tools", "mcp_servers", "settings"}
        ),
        resume=True,
        fork=True,
        cost=True,
        tokens=True,
    )
    credentials = CREDENTIALS
    ladder: Ladder = ((signal.SIGTERM, 2.0),)

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        program(PROGRAM, {**environment, **(config.env or {})}, f"install it: {INSTALL}")

    def prepare(self, request: AgentRequest) -> Invocation:
        config = request.config
        if config.strict_mcp_config is not False:
            _refuse_plugins(request.directory)
        environment = agent_environment(request, (*_NEEDS, *_keys(config.model)), _FIXED)
        words = ["--format=json", "--print-logs", "--log-level=ERROR"]
        if config.model is not None:
            words.append(f"--model={config.model}")
        if config.effort is not None:
            words.append(f"--variant={config.effort}")
        if request.resume is not None:
            words += [f"--session={request.resume}", *(("--fork",) if request.resume != request.session_id else ())]
        files = _instructions(request)
        environment["OPENCODE_CONFIG_CONTENT"] = _configuration(request, environment, files)
        argv = (program(PROGRAM, environment, f"install it: {INSTALL}"), "run", *words)
        return fits(Invocation(argv, request.directory, environment, prompt_bytes(request.prompt), files))

    def reader(self, request: AgentRequest) -> OpencodeReader:
        return OpencodeReader(
            max_turns=request.config.max_turns,
            budget_usd=request.cap_usd,
            price=request.price,
            schema_asked=request.schema is not None,
            allow_denials=request.allow_denials,
        )


def _keys(model: str | None) -> tuple[str, ...]:
    provider = (model or "").partition("/")[0]
    return _KEYS.get(provider) or tuple(name for names in _KEYS.values() for name in names)


def _instructions(request: AgentRequest) -> tuple[PrivateFile, ...]:
    words = in_words(request.schema) if request.schema is not None else None
    text = "\n\n".join(filter(None, (request.system_prompt, words)))
    path = os.path.join(request.files, f"{request.session_id}-instructions.md")
    return (PrivateFile(path, text.encode("utf-8", "replace")),) if text else ()


def _configuration(request: AgentRequest, environment: Mapping[str, str], files: tuple[PrivateFile, ...]) -> str:
    """Ours over that of the caller, and the step's own `settings` over both. It stands in a variable, which only this user can read."""
    config = request.config
    ours: dict[str, Any] = {"share": "disabled", "autoupdate": False, "permission": _permissions(config)}
    if files:
        ours["instructions"] = [file.path for file in files]
    if config.replace_system_prompt is not None:
        ours["agent"] = {"build": {"prompt": config.replace_system_prompt}}
    if config.mcp_servers:
        ours["mcp"] = {name: _server(server) for name, server in config.mcp_servers.items()}
    try:
        given = json.loads(environment.get("OPENCODE_CONFIG_CONTENT") or "{}")
    except ValueError:
        raise InvalidInput("OPENCODE_CONFIG_CONTENT is no JSON") from None
    ours = overlay(given if isinstance(given, dict) else {}, ours, _WHOLE)
    return json.dumps(overlay(ours, config.settings or {}, _WHOLE))


def _permissions(config: AgentConfig) -> dict[str, Any]:
    """Its rules for tools, the last that fits wins: the mode, then what is allowed, then what is taken away."""
    if config.permission_mode == "bypassPermissions":
        rules: dict[str, Any] = {"*": "allow"}
    else:
        rules = {"*": "deny", **dict.fromkeys(_READS, "allow")}
        if config.permission_mode in _EDITING:
            rules["edit"] = "allow"
        rules |= {f"{name}_*": "allow" for name in config.mcp_servers or {}}
    allowed = () if config.permission_mode == "plan" else config.allowed_tools or ()
    for decision, tools in (("allow", allowed), ("deny", config.disallowed_tools or ())):
        for tool in tools:
            name, _, pattern = tool.strip().removesuffix(")").partition("(")
            name = _OTHER_NAMES.get(name.lower(), name.lower() if name.istitle() or name.isupper() else name)
            before = rules.pop(name, rules["*"])
            by_pattern = before if isinstance(before, dict) else {"*": before}
            rules[name] = {**by_pattern, pattern: decision} if pattern else decision
    return rules


def _server(server: Mapping[str, Any]) -> dict[str, Any]:
    if "url" in server:
        return {"type": "remote", "url": server["url"], **({"headers": server["headers"]} if server.get("headers") else {})}
    command = server.get("command")
    words = [command] if isinstance(command, str) else list(command or ())
    return {"type": "local", "command": [*words, *server.get("args", ())], "environment": server.get("env") or {}}


def _refuse_plugins(directory: str) -> None:
    """It executes plugins that lie in the place, whatever it is told. Raises InvalidInput."""
    found = [
        path for folder in ("plugin", "plugins") for path in glob.glob(os.path.join(glob.escape(directory), ".opencode", folder, "*.[jt]s"))
    ]
    if found:
        message = f"`{os.path.relpath(found[0], directory)}` of the step's place is a plugin, which opencode would run"
        raise InvalidInput(message, help="take it out, or allow plugins with `strict_mcp_config: false`")
