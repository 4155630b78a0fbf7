"""Gemini CLI: the command line, the environment and the message of one attempt.

Knows its flags (measured: 0.61); what it prints is read in `gemini_reader.py`. It has no flag for a system prompt, an output
schema, turns or a budget: instructions stand before the prompt, and nothing else is promised.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator, Mapping

from cpool_flow.agents.claude_schema import in_words
from cpool_flow.agents.environment import NETWORK, agent_environment, fits, instructed, process_zone, program, prompt_bytes
from cpool_flow.agents.gemini_reader import GeminiReader
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder, PrivateFile
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig

PROGRAM = "gemini"
INSTALL = "npm install -g @google/gemini-cli"

CREDENTIALS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
_NEEDS = (
    *CREDENTIALS, "GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_PROJECT_ID", "GOOGLE_CLOUD_LOCATION",
    "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA", "GEMINI_CLI_HOME", "GEMINI_MODEL", "CODE_ASSIST_ENDPOINT", "USER", *NETWORK,
)  # fmt: skip
# An address that a file `.env` in the place names would get the key. Ours is there first, and empty it is none.
_ADDRESSES = ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL")
_FIXED = {
    # Otherwise it starts itself again, and the first process hears no signal.
    "GEMINI_CLI_NO_RELAUNCH": "true",
    # In a folder that is not trusted it does nothing at all.
    "GEMINI_CLI_TRUST_WORKSPACE": "true",
}
_MODES = {"acceptEdits": "auto_edit", "auto": "auto_edit", "bypassPermissions": "yolo", "plan": "plan"}
_NO_SERVER = "no-server-of-this-name"


class Gemini:
    name = "gemini"
    capabilities = Capabilities(
        keys=frozenset(
            {"model", "permission_mode", "system_prompt", "replace_system_prompt", "allowed_tools", "disallowed_tools", "add_dirs"}
            | {"strict_mcp_config"}
        ),
        resume=True,
        tokens=True,
        reads_only_added=True,
    )
    credentials = CREDENTIALS
    ladder: Ladder = ((signal.SIGTERM, 2.0),)

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        program(PROGRAM, {**environment, **(config.env or {})}, f"install it: {INSTALL}")

    def prepare(self, request: AgentRequest) -> Invocation:
        config = request.config
        if request.resume is not None and request.resume != request.session_id:
            raise InvalidInput("`gemini` cannot go on in a copy of a session", help="use `session: {continue: STEP}`")
        if config.strict_mcp_config is not False:
            _refuse_programs(request.directory)
        files = dict(_files(request))
        environment = agent_environment(request, _NEEDS, {**_FIXED, **_addresses(request)})
        if "GEMINI_SYSTEM_MD" in files:
            environment["GEMINI_SYSTEM_MD"] = files["GEMINI_SYSTEM_MD"].path
        words = ["--output-format=stream-json", f"--approval-mode={_MODES.get(config.permission_mode or 'default', 'default')}"]
        words.append(f"--resume={request.resume}" if request.resume else f"--session-id={request.session_id}")
        if config.model is not None:
            words.append(f"--model={config.model}")
        words += [f"--include-directories={os.path.join(request.directory, folder)}" for folder in config.add_dirs or ()]
        if "--policy" in files:
            words.append(f"--policy={files['--policy'].path}")
        if config.strict_mcp_config is not False:
            words.append(f"--allowed-mcp-server-names={_NO_SERVER}")
        argv = (program(PROGRAM, environment, f"install it: {INSTALL}"), *words)
        return fits(Invocation(argv, request.directory, environment, _message(request), tuple(files.values())))

    def reader(self, request: AgentRequest) -> GeminiReader:
        return GeminiReader(
            schema_asked=request.schema is not None, allow_denials=request.allow_denials, zone=process_zone(agent_environment(request))
        )


def _addresses(request: AgentRequest) -> dict[str, str]:
    return {name: request.environment.get(name, "") for name in _ADDRESSES}


def _message(request: AgentRequest) -> bytes:
    """The prompt, never at the start of a `/`: that would be a command of the CLI's own, or of a file of the place."""
    prompt_bytes(request.prompt)
    words = in_words(request.schema) if request.schema is not None else None
    text = instructed("\n\n".join(filter(None, (request.system_prompt, words))), request.prompt)
    return prompt_bytes(f"\n{text}" if text.startswith("/") else text)


def _files(request: AgentRequest) -> Iterator[tuple[str, PrivateFile]]:
    """What is handed over by file: the flag, or the variable, that names it."""
    config = request.config
    if config.replace_system_prompt is not None:
        data = config.replace_system_prompt.encode("utf-8", "replace")
        yield "GEMINI_SYSTEM_MD", PrivateFile(os.path.join(request.files, f"{request.session_id}-system.md"), data)
    allowed = () if config.permission_mode == "plan" else config.allowed_tools or ()
    rules = [_rule(tool, "allow", 900) for tool in allowed]
    rules += [_rule(tool, "deny", 999) for tool in config.disallowed_tools or ()]
    if rules:
        data = "\n".join(rules).encode("utf-8", "replace")
        yield "--policy", PrivateFile(os.path.join(request.files, f"{request.session_id}-policy.toml"), data)


_RULE = re.compile(r"(?P<tool>[^()]+)(?:\((?P<prefix>[^()]*)\))?")


def _rule(tool: str, decision: str, priority: int) -> str:
    """One rule of its policy: `run_shell_command(git log)` is a command that begins like that."""
    found = _RULE.fullmatch(tool.strip())
    if found is None:
        raise InvalidInput(f"`{tool}` is no tool of gemini: write `name`, or `run_shell_command(prefix)`")
    prefix = (found["prefix"] or "").strip().removesuffix("*").strip()
    lines = ["[[rule]]", f"toolName = {_text(found['tool'].strip())}", f'decision = "{decision}"', f"priority = {priority}"]
    return "\n".join([*lines, f"commandPrefix = {_text(prefix)}"] if prefix else lines)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f").encode("utf-8", "replace").decode()


def _refuse_programs(directory: str) -> None:
    """Settings of a trusted folder may name programs that run beside the agent, and no flag switches them off. Raises InvalidInput."""
    try:
        settings = json.loads(_read(directory, ".gemini", "settings.json"))
    except (ValueError, RecursionError):
        settings = None
    tools = settings.get("tools") if isinstance(settings, dict) else None
    named = [f"tools.{key}" for key in ("discoveryCommand", "callCommand") if isinstance(tools, dict) and tools.get(key)]
    named += ["hooks"] if isinstance(settings, dict) and settings.get("hooks") else []
    for file in (".env", os.path.join(".gemini", ".env")):
        if found := _LEADS_AWAY.search(_read(directory, file)):
            message = f"`{file}` of the step's place sets `{found[1]}`, by which gemini would talk to somebody else"
            raise InvalidInput(message, help="take it out, or allow it with `strict_mcp_config: false`")
    if named:
        message = f"`.gemini/settings.json` of the step's place names programs (`{'`, `'.join(named)}`) that gemini would run"
        raise InvalidInput(message, help="take them out, or allow them with `strict_mcp_config: false`")


# Variables of a file `.env` that lead what it says, its account included, to somewhere else.
_LEADS_AWAY = re.compile(r"^\s*(?:export\s+)?(CODE_ASSIST_ENDPOINT|https?_proxy|all_proxy|NODE_OPTIONS|GEMINI_CLI_HOME)\s*=", re.I | re.M)


def _read(directory: str, *path: str) -> str:
    """A file of the place; nothing where there is none."""
    try:
        with open(os.path.join(directory, *path), encoding="utf-8", errors="replace") as file:
            return file.read(1 << 20)
    except OSError:
        return ""
