"""Codex: the command line, the environment and the message of one attempt.

Knows the flags of `codex exec` (measured: 0.169); what it prints is read in `codex_reader.py`. Settings are words of the
command line, which everybody on the machine can read: no secret belongs into them.
"""

from __future__ import annotations

import json
import os
import signal
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from cpool_flow.agents.claude_schema import in_words
from cpool_flow.agents.codex_reader import CodexReader
from cpool_flow.agents.environment import NETWORK, agent_environment, fits, instructed, process_zone, program, prompt_bytes
from cpool_flow.agents.overlay import overlay
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder, PrivateFile
from cpool_flow.agents.strict_schema import strict
from cpool_flow.model import AgentConfig

PROGRAM = "codex"
INSTALL = "npm install -g @openai/codex"

CREDENTIALS = ("OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN", "AZURE_OPENAI_API_KEY")
_NEEDS = (*CREDENTIALS, "CODEX_HOME", "CODEX_CA_CERTIFICATE", "OPENAI_BASE_URL", "OPENAI_ORGANIZATION", "OPENAI_PROJECT", "USER", *NETWORK)
# In `exec` nobody is asked: what the sandbox refuses is refused.
_SANDBOXES = {"acceptEdits": "workspace-write", "auto": "workspace-write", "bypassPermissions": "danger-full-access"}
# With analytics on and no network it stays for five seconds after its work.
_QUIET = {"analytics.enabled": False, "check_for_update_on_startup": False}
_LONG_BYTES = 64 * 1024


class Codex:
    name = "codex"
    capabilities = Capabilities(
        keys=frozenset(
            {"model", "effort", "permission_mode", "system_prompt", "replace_system_prompt", "mcp_servers", "strict_mcp_config"}
            | {"add_dirs", "settings"}
        ),
        resume=True,
        fork=True,
        schema=True,
        tokens=True,
    )
    credentials = CREDENTIALS
    ladder: Ladder = ((signal.SIGTERM, 2.0),)

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        program(PROGRAM, {**environment, **(config.env or {})}, f"install it: {INSTALL}")

    def prepare(self, request: AgentRequest) -> Invocation:
        servers, variables = _servers(request)
        environment = {**variables, **agent_environment(request, _NEEDS)}
        path = program(PROGRAM, environment, f"install it: {INSTALL}")
        settings = {**_QUIET, **_settings(request)}
        files = dict(_files(request))
        if "model_instructions_file" in files:
            settings["model_instructions_file"] = files["model_instructions_file"].path
        unwanted = _user_servers(environment) if request.config.strict_mcp_config is not False else ()
        if unwanted or servers:
            settings["mcp_servers"] = {**{name: {"enabled": False} for name in unwanted}, **servers}
        settings = overlay(settings, request.config.settings or {})
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={_toml(value)}")]
        if "--output-schema" in files:
            words += ["--output-schema", files["--output-schema"].path]
        if request.config.model is not None:
            words.append(f"--model={request.config.model}")
        resumed = () if request.resume is None else (request.resume,)
        argv = (path, "exec", *_session(request), "--json", "--skip-git-repo-check", *words, *resumed, "-")
        return fits(Invocation(argv, request.directory, environment, _message(request), tuple(files.values())))

    def reader(self, request: AgentRequest) -> CodexReader:
        resumed = request.resume if request.resume == request.session_id else None
        return CodexReader(
            schema_asked=request.schema is not None,
            allow_denials=request.allow_denials,
            zone=process_zone(agent_environment(request)),
            resumed=resumed,
        )


def _session(request: AgentRequest) -> tuple[str, ...]:
    return () if request.resume is None else ("resume",) if request.resume == request.session_id else ("fork",)


def _instructions(request: AgentRequest) -> str:
    in_other_words = in_words(request.schema) if request.schema is not None and strict(request.schema) is None else ""
    return "\n\n".join(filter(None, (request.system_prompt, in_other_words)))


def _message(request: AgentRequest) -> bytes:
    """The prompt; instructions that are too long for a command line stand before it."""
    prompt_bytes(request.prompt)
    text = _instructions(request)
    return prompt_bytes(instructed(text, request.prompt) if _is_long(text) else request.prompt)


def _is_long(text: str) -> bool:
    return len(text.encode("utf-8", "replace")) > _LONG_BYTES


def _files(request: AgentRequest) -> Iterator[tuple[str, PrivateFile]]:
    """What is handed over by file: the flag, or the setting, that names it."""
    schema = strict(request.schema) if request.schema is not None else None
    if schema is not None:
        data = json.dumps(schema, ensure_ascii=False).encode("utf-8", "replace")
        yield "--output-schema", PrivateFile(os.path.join(request.files, f"{request.session_id}-schema.json"), data)
    if request.config.replace_system_prompt is not None:
        data = request.config.replace_system_prompt.encode("utf-8", "replace")
        yield "model_instructions_file", PrivateFile(os.path.join(request.files, f"{request.session_id}-instructions.md"), data)


def _settings(request: AgentRequest) -> dict[str, Any]:
    config = request.config
    # What lies in the place is not trusted to start anything, even where its user trusts that folder.
    settings: dict[str, Any] = {"projects": {request.directory: {"trust_level": "untrusted"}}}
    settings["sandbox_mode"] = _SANDBOXES.get(config.permission_mode or "default", "read-only")
    if config.add_dirs:
        folders = [os.path.join(request.directory, folder) for folder in config.add_dirs]
        settings["sandbox_workspace_write"] = {"writable_roots": folders}
    if config.effort is not None:
        settings["model_reasoning_effort"] = config.effort
    text = _instructions(request)
    if text and not _is_long(text):
        settings["developer_instructions"] = text
    return settings


def _servers(request: AgentRequest) -> tuple[dict[str, Any], dict[str, str]]:
    """The MCP servers, and the variables that hold what is private of them: everybody can read a command line."""
    servers: dict[str, Any] = {}
    variables: dict[str, str] = {}
    for number, (name, server) in enumerate((request.config.mcp_servers or {}).items(), 1):
        own = {variable: str(value) for variable, value in (server.get("env") or {}).items()}
        headers = {f"CPOOL_MCP_{number}_{place}": pair for place, pair in enumerate((server.get("headers") or {}).items(), 1)}
        known = {key: value for key, value in server.items() if key not in ("env", "headers", "type")}
        if own:
            known["env_vars"] = [*known.get("env_vars", ()), *own]
        if headers:
            known["env_http_headers"] = {header: variable for variable, (header, _) in headers.items()}
        servers[name] = {"enabled": True, **known}
        variables |= own | {variable: str(value) for variable, (_, value) in headers.items()}
    return servers, variables


def _user_servers(environment: Mapping[str, str]) -> list[str]:
    """The MCP servers that the user has configured for codex: only those of the step are wanted."""
    folder = environment.get("CODEX_HOME") or os.path.join(environment.get("HOME", ""), ".codex")
    try:
        with open(os.path.join(folder, "config.toml"), "rb") as file:
            servers = tomllib.load(file).get("mcp_servers", {})
    except (OSError, ValueError):
        return []
    return list(servers) if isinstance(servers, dict) else []


def _toml(value: object) -> str:
    """A value as TOML: JSON's texts are TOML's, but for one character that JSON does not escape."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(name))} = {_toml(inner)}" for name, inner in value.items() if inner is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(inner) for inner in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace").decode()


def _key(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else _toml(name)
