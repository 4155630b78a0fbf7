"""The real codex, gemini and opencode against scripted models on this machine: what we ask for is what they do.

`npm install --prefix tests/agents --ignore-scripts` installs them (860 MB); each is skipped where it is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from agent_runs import Attempt, request

from cpool_flow import agents
from cpool_flow.agents.protocol import AgentResult
from model_server import ModelServer, Reply
from other_model_servers import GeminiServer, ResponsesServer
from survivors import eventually

MODULES = Path(__file__).resolve().parents[1] / "agents" / "node_modules"
# In the package of opencode stands a program that wants an install script; the program itself is in a package of its own.
PROGRAMS = {
    "codex": MODULES / ".bin" / "codex",
    "gemini": MODULES / ".bin" / "gemini",
    "opencode": MODULES / "opencode-linux-x64" / "bin" / "opencode",
}


@dataclass(frozen=True)
class Cli:
    """How one CLI is led to a server of ours, and what its tools are called."""

    server: Callable[..., ModelServer]
    environment: Callable[[str], Mapping[str, str]]
    config: Callable[[str], Mapping[str, Any]]
    shell: str
    shell_input: Callable[[str], Mapping[str, Any]]
    refusal: str | None  # the tool that is named when a command is refused


def _opencode(url: str) -> Mapping[str, str]:
    model = {"cost": {"input": 1, "output": 2}, "limit": {"context": 100_000, "output": 1000}}
    provider = {"anthropic": {"options": {"baseURL": f"{url}/v1", "apiKey": "dummy"}, "models": {"m": model}}}
    switches = ("OPENCODE_DISABLE_MODELS_FETCH", "OPENCODE_DISABLE_DEFAULT_PLUGINS")
    return {
        "OPENCODE_CONFIG_CONTENT": json.dumps({"enabled_providers": ["anthropic"], "provider": provider}),
        **dict.fromkeys(switches, "1"),
    }


def _codex(url: str) -> Mapping[str, Any]:
    provider = {"name": "ours", "base_url": f"{url}/v1", "wire_api": "responses", "env_key": "OPENAI_API_KEY"}
    patience = {"request_max_retries": 0, "stream_max_retries": 0}
    return {"model": "gpt-test", "settings": {"model_provider": "ours", "model_providers": {"ours": {**provider, **patience}}}}


CLIS = {
    "codex": Cli(
        ResponsesServer, lambda url: {"OPENAI_API_KEY": "sk-test-dummy"}, _codex, "exec_command", lambda command: {"cmd": command}, None
    ),
    "gemini": Cli(
        GeminiServer,
        lambda url: {"GEMINI_API_KEY": "test-dummy", "GOOGLE_GEMINI_BASE_URL": url},
        lambda url: {"model": "gemini-2.5-pro"},
        "run_shell_command",
        lambda command: {"command": command},
        "run_shell_command",
    ),
    "opencode": Cli(
        ModelServer,
        _opencode,
        lambda url: {"model": "anthropic/m"},
        "bash",
        lambda command: {"command": command, "description": "x"},
        "bash",
    ),
}


class Desk:
    """A fresh home, an empty folder to work in, and attempts of one CLI there."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.cli = name, CLIS[name]
        self.place, self.home = folder / "place", folder / "home"
        self.place.mkdir()
        (self.home / ".gemini").mkdir(parents=True)
        (self.home / ".gemini" / "settings.json").write_text('{"security": {"auth": {"selectedType": "gemini-api-key"}}}')
        (folder / "bin").mkdir()
        (folder / "bin" / name).symlink_to(PROGRAMS[name])
        node = shutil.which("node")
        self.path = f"{folder / 'bin'}:{os.path.dirname(node) if node else ''}:/usr/bin:/bin"
        self.attempt: Attempt | None = None

    def server(self, *replies: Reply) -> ModelServer:
        return self.cli.server(replies)

    def run(self, server: ModelServer, prompt: str = "say hi", config: Mapping[str, Any] | None = None, **more: Any) -> AgentResult:
        watching = {key: more.pop(key) for key in ("stop_when", "idle_seconds") if key in more}
        environment = {"PATH": self.path, "HOME": str(self.home), "LANG": "C.UTF-8", **self.cli.environment(server.url)}
        config = {**self.cli.config(server.url), **(config or {})}
        asked = request(self.place, prompt, config=config, environment=environment, **more)
        self.attempt = Attempt(agents.adapter(self.name), asked, **watching)
        return self.attempt.run()

    def command(self, text: str) -> Reply:
        return Reply("I run it.", tool=(self.cli.shell, self.cli.shell_input(text)))


@pytest.fixture(params=CLIS)
def desk(request: Any, tmp_path: Path) -> Desk:
    if not PROGRAMS[request.param].exists():
        pytest.skip(f"no {request.param} here: npm install --prefix tests/agents --ignore-scripts")
    return Desk(tmp_path, request.param)


def sent(server: ModelServer) -> str:
    return json.dumps(server.requests, ensure_ascii=False)


def test_an_answer_comes_with_its_session_and_its_tokens(desk: Desk) -> None:
    with desk.server(Reply("hello")) as server:
        found = desk.run(server, "/help me", system_prompt="Shared context:\n- team: payments")
    assert (found.kind, found.answer, found.error) == (None, "hello", "")
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (10, 5, 0)
    assert found.cost_usd == (0.00002 if desk.name == "opencode" else None)
    assert found.session_id
    assert "/help me" in sent(server)
    assert "- team: payments" in sent(server)


def test_the_system_prompt_of_the_agent_can_be_replaced(desk: Desk) -> None:
    with desk.server(Reply("hello")) as server:
        assert desk.run(server, config={"replace_system_prompt": "YOU ARE A TEAPOT"}).kind is None
    assert "YOU ARE A TEAPOT" in sent(server)


def test_a_command_that_writes_is_refused_by_default_and_runs_where_permissions_are_bypassed(desk: Desk) -> None:
    with desk.server(desk.command("echo data > out.txt"), Reply("done")) as server:
        found = desk.run(server)
    assert os.listdir(desk.place) == []
    if desk.cli.refusal is None:
        assert found.kind is None  # the sandbox of codex refuses without a word
    else:
        assert (found.kind, found.denials) == ("permission_denied", (desk.cli.refusal,))
    with desk.server(desk.command("echo data > out.txt"), Reply("done")) as server:
        found = desk.run(server, config={"permission_mode": "bypassPermissions"})
    assert found.kind is None, found.error
    assert (desk.place / "out.txt").read_text() == "data\n"


def test_a_command_may_be_allowed_by_its_beginning(desk: Desk) -> None:
    if desk.name == "codex":
        pytest.skip("codex knows sandboxes, not tools")
    tool = f"{desk.cli.shell}(echo *)" if desk.name == "opencode" else f"{desk.cli.shell}(echo)"
    with desk.server(desk.command("echo allowed"), Reply("done")) as server:
        assert desk.run(server, config={"allowed_tools": [tool]}).kind is None
    assert "allowed" in json.dumps(server.requests[-1])
    with desk.server(desk.command("ls"), Reply("done")) as server:
        assert desk.run(server, config={"allowed_tools": [tool]}).kind == "permission_denied"


def test_a_session_is_gone_on_with_and_copied(desk: Desk) -> None:
    with desk.server(Reply("one"), Reply("two"), Reply("three")) as server:
        first = desk.run(server, "the first question")
        assert first.session_id is not None
        second = desk.run(server, "the second question", resume=first.session_id, session_id=first.session_id)
        assert (second.kind, second.answer, second.session_id) == (None, "two", first.session_id)
        assert "the first question" in json.dumps(server.requests[1])
        if desk.name != "gemini":
            third = desk.run(server, "the third question", resume=first.session_id)
            assert (third.kind, third.answer) == (None, "three")
            assert third.session_id != first.session_id
            assert "the second question" in json.dumps(server.requests[2])


def test_an_unknown_session_is_refused(desk: Desk) -> None:
    unknown = "ses_nope" if desk.name == "opencode" else "01a21c37-6026-7a32-8f6d-9c747100bc00"
    with desk.server(Reply("one")) as server:
        found = desk.run(server, resume=unknown, session_id=unknown)
    assert (found.kind, server.requests) == ("invalid", []), found.error


@pytest.mark.parametrize(("status", "kind"), [(401, "auth"), (429, "rate_limited"), (503, "overloaded"), (400, "failed")])
def test_an_error_of_the_server_ends_the_attempt_with_its_kind(desk: Desk, status: int, kind: str) -> None:
    words = {429: "Too many requests, quota exceeded", 503: "The model is overloaded"}.get(status, "no")
    began = time.monotonic()
    with desk.server(Reply(status=status, message=words)) as server:
        found = desk.run(server)
    assert found.kind == kind, found.error
    assert len(server.requests) <= 6
    assert time.monotonic() - began < 60  # they would ask again for minutes, or for ever


def test_stopping_it_while_a_command_runs_leaves_no_command(desk: Desk) -> None:
    mark = desk.place / "started"
    script = desk.place / "wait.py"
    script.write_text(f"import pathlib, time\npathlib.Path({str(mark)!r}).touch()\ntime.sleep(300)\n")
    with desk.server(desk.command(f"python3 {script}")) as server:
        found = desk.run(server, config={"permission_mode": "bypassPermissions"}, stop_when=mark.exists)
    assert found.kind == "cancelled"
    # What runs in a session of its own outlives its CLI: the run's sweep ends it, which is no part of this test.
    mine = [process for process in psutil.process_iter(["cmdline"]) if str(script) in " ".join(process.info["cmdline"] or [])]
    if desk.name == "codex":
        assert eventually(lambda: not any(process.is_running() for process in mine), 10)
    for process in mine:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def test_files_of_the_place_configure_nothing(desk: Desk) -> None:
    touch = {"command": "touch", "args": [str(desk.place / "PWNED")]}
    (desk.place / ".codex").mkdir()
    (desk.place / ".codex" / "config.toml").write_text(f'[mcp_servers.x]\ncommand = "touch"\nargs = {json.dumps(touch["args"])}\n')
    (desk.place / ".gemini").mkdir()
    (desk.place / ".gemini" / "settings.json").write_text(json.dumps({"mcpServers": {"x": touch}}))
    (desk.place / ".env").write_text("GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\n")
    (desk.place / "opencode.json").write_text(json.dumps({"mcp": {"x": {"type": "local", "command": ["touch", *touch["args"]]}}}))
    with desk.server(Reply("ok")) as server:
        assert desk.run(server).kind is None
    assert not (desk.place / "PWNED").exists()


def test_an_mcp_server_is_started_with_its_own_environment(desk: Desk) -> None:
    if desk.name == "gemini":
        pytest.skip("gemini takes MCP servers from its own settings only")
    seen = desk.place.parent / "seen"
    server_of_ours = {"command": "sh", "args": ["-c", f"echo $TOKEN > {seen}"], "env": {"TOKEN": "a-token"}}
    with desk.server(Reply("ok")) as server:
        assert desk.run(server, config={"mcp_servers": {"ours": server_of_ours}}).kind is None
    assert eventually(lambda: seen.exists() and seen.read_text() == "a-token\n", 10)
    assert desk.attempt is not None
    assert desk.attempt.invocation is not None
    assert "a-token" not in " ".join(desk.attempt.invocation.argv)


def test_a_schema_is_enforced_by_codex(tmp_path: Path) -> None:
    if not PROGRAMS["codex"].exists():
        pytest.skip("no codex here: npm install --prefix tests/agents --ignore-scripts")
    desk = Desk(tmp_path, "codex")
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    with desk.server(Reply('{"n": 1}')) as server:
        assert desk.run(server, schema=schema).answer == '{"n": 1}'
    asked = server.requests[0]["text"]["format"]
    assert (asked["strict"], asked["schema"]["required"], asked["schema"]["additionalProperties"]) == (True, ["n"], False)


def test_turns_of_opencode_are_capped(tmp_path: Path) -> None:
    if not PROGRAMS["opencode"].exists():
        pytest.skip("no opencode here: npm install --prefix tests/agents --ignore-scripts")
    desk = Desk(tmp_path, "opencode")
    with desk.server(desk.command("true")) as server:
        found = desk.run(server, config={"max_turns": 2, "permission_mode": "bypassPermissions"})
    assert found.kind == "max_turns"
