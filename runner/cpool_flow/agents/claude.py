"""Claude Code: the command line, the environment and the message of one attempt.

Knows the flags of the CLI; what it prints is read in `claude_reader.py`. Flags, environment and folder belong to the
process and hold for its life (`process_arguments`); session and message belong to one task. `claude_warm.py` has one
process do many.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping

from cpool_flow.agents.claude_reader import ClaudeReader
from cpool_flow.agents.claude_schema import enforceable, in_words
from cpool_flow.agents.environment import NETWORK, agent_environment, fits, process_zone, program, prompt_bytes
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder, PrivateFile
from cpool_flow.capabilities import ALL_KEYS
from cpool_flow.model import AgentConfig

PROGRAM = "claude"
INSTALL = "npm install -g @anthropic-ai/claude-code"

CREDENTIALS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_CUSTOM_HEADERS", "ANTHROPIC_FOUNDRY_API_KEY",
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
    "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PASSWORD", "AZURE_PASSWORD",
)  # fmt: skip
_NEEDS = (
    "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN", "ANTHROPIC_BASE_URL", "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_MODEL", "ANTHROPIC_SMALL_FAST_MODEL", "ANTHROPIC_DEFAULT_*", "CLAUDE_CONFIG_DIR", "IS_SANDBOX", "USER",
    *NETWORK, "CLAUDE_CODE_CERT_STORE", "CLAUDE_CODE_CLIENT_CERT", "CLAUDE_CODE_CLIENT_KEY", "CLAUDE_CODE_CLIENT_KEY_PASSPHRASE",
)  # fmt: skip
# A cloud's variables go along only where the switch for that cloud is set.
_CLOUDS = {
    "CLAUDE_CODE_USE_BEDROCK": ("CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_SKIP_BEDROCK_AUTH", "ANTHROPIC_BEDROCK_BASE_URL", "AWS_*"),
    "CLAUDE_CODE_USE_VERTEX": (
        "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_SKIP_VERTEX_AUTH", "ANTHROPIC_VERTEX_*", "CLOUD_ML_REGION", "VERTEX_REGION_*", "GOOGLE_*",
        "CLOUDSDK_*", "GCLOUD_PROJECT",
    ),
    "CLAUDE_CODE_USE_FOUNDRY": ("CLAUDE_CODE_USE_FOUNDRY", "CLAUDE_CODE_SKIP_FOUNDRY_AUTH", "ANTHROPIC_FOUNDRY_*", "AZURE_*"),
}  # fmt: skip
_RETRIES = "CLAUDE_CODE_MAX_RETRIES"
# The other model is taken when the first was overloaded three times; with fewer requests it never is.
_RETRIES_BEFORE_FALLBACK = "2"
_FIXED = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_TELEMETRY": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    # Retries are the runner's: the CLI's own ten last three silent minutes and hold the slot.
    _RETRIES: "0",
    # A prompt is text: `@/some/file` in it (perhaps from an issue's text) must not send that file along.
    "CLAUDE_CODE_DISABLE_FILE_MENTIONS": "1",
}
_FLAGS = {
    "model": "--model",
    "fallback_model": "--fallback-model",
    "effort": "--effort",
    "permission_mode": "--permission-mode",
    "max_turns": "--max-turns",
}
_LISTS = {"allowed_tools": "--allowedTools", "disallowed_tools": "--disallowedTools", "add_dirs": "--add-dir"}


class Claude:
    name = "claude"
    capabilities = Capabilities(keys=ALL_KEYS, resume=True, fork=True, schema=True, cost=True, tokens=True, reads_only_added=True)
    credentials = CREDENTIALS
    # SIGINT lets it end its tools and say what was spent; SIGTERM leaves its commands alive in older versions.
    ladder: Ladder = ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0))

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        program(PROGRAM, {**environment, **(config.env or {})}, f"install it: {INSTALL}")

    def prepare(self, request: AgentRequest) -> Invocation:
        environment = process_environment(request)
        arguments, files = process_arguments(request)
        path = program(PROGRAM, environment, f"install it: {INSTALL}")
        return fits(
            Invocation((path, *arguments, *session_arguments(request)), request.directory, environment, message(request.prompt), files)
        )

    def reader(self, request: AgentRequest, dollars_before: float = 0.0) -> ClaudeReader:
        return ClaudeReader(
            dollars_before=dollars_before,
            max_turns=request.config.max_turns,
            schema_asked=request.schema is not None,
            allow_denials=request.allow_denials,
            zone=process_zone(process_environment(request)),
        )


def process_environment(request: AgentRequest) -> dict[str, str]:
    """The whole environment of the process. It never says that we run inside another Claude Code ourselves."""
    switches = {**request.environment, **(request.config.env or {}), **request.step_environment}
    clouds = [name for switch, names in _CLOUDS.items() if switches.get(switch) for name in names]
    asked_thrice = {} if request.config.fallback_model is None else {_RETRIES: _RETRIES_BEFORE_FALLBACK}
    return agent_environment(request, (*_NEEDS, *clouds), {**_FIXED, **asked_thrice})


def process_arguments(request: AgentRequest) -> tuple[list[str], tuple[PrivateFile, ...]]:
    """The flags of the process, and the files that they name. `--flag=value` keeps a value that begins with `-` a value."""
    config = request.config
    arguments = ["-p", "--output-format=stream-json", "--verbose", "--setting-sources=user"]
    arguments += [f"{flag}={value}" for key, flag in _FLAGS.items() if (value := getattr(config, key)) is not None]
    arguments += [f"{flag}={value}" for key, flag in _LISTS.items() for value in getattr(config, key) or ()]
    if config.strict_mcp_config is not False:
        arguments.append("--strict-mcp-config")
    if request.cap_usd is not None:
        arguments.append(f"--max-budget-usd={max(request.cap_usd, 1e-6):.6f}")
    schema = enforceable(request.schema)
    if schema is not None:
        arguments.append(f"--json-schema={schema}")
    files: list[PrivateFile] = []
    for flag, text in _texts(request, schema_in_words=request.schema is not None and schema is None):
        data = text.encode("utf-8", "replace")
        private = flag in _PRIVATE
        if private or len(data) > _LONG_BYTES:
            files.append(PrivateFile(os.path.join(request.files, f"{request.session_id}{flag[1:]}.{'json' if private else 'txt'}"), data))
            flag, text = flag if private else f"{flag}-file", files[-1].path
        arguments.append(f"{flag}={text}")
    return arguments, tuple(files)


def session_arguments(request: AgentRequest) -> list[str]:
    """A session of its own, or an earlier one, or a copy of it."""
    if request.resume is None:
        return [f"--session-id={request.session_id}"]
    if request.resume == request.session_id:
        return [f"--resume={request.resume}"]
    return [f"--resume={request.resume}", "--fork-session", f"--session-id={request.session_id}"]


def message(prompt: str) -> bytes:
    """The prompt as it goes to stdin: a line feed before a `/`, so that it is a text and no command of the CLI's own."""
    return prompt_bytes(f"\n{prompt}" if prompt.startswith("/") else prompt)


# They may hold tokens, and everybody on the machine sees a command line.
_PRIVATE = ("--mcp-config", "--settings")
_LONG_BYTES = 64 * 1024


def _texts(request: AgentRequest, schema_in_words: bool) -> Iterator[tuple[str, str]]:
    config = request.config
    if config.replace_system_prompt is not None:
        yield "--system-prompt", config.replace_system_prompt
    added = [text for text in (request.system_prompt, in_words(request.schema) if schema_in_words else None) if text]
    if added:
        yield "--append-system-prompt", "\n\n".join(added)
    if config.mcp_servers:
        yield "--mcp-config", json.dumps({"mcpServers": config.mcp_servers})
    if config.settings:
        yield "--settings", json.dumps(config.settings)
