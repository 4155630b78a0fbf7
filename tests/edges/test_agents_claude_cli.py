"""The real Claude Code CLI against a scripted model on this machine: what we ask for is what it does."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from claude_cli import claude_cli as claude_cli
from cpool_flow.agents.claude import Claude
from cpool_flow.agents.protocol import AgentResult
from model_server import ModelServer, Reply

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


class Desk:
    """A fresh home, an empty folder to work in, and one attempt there."""

    def __init__(self, folder: Path, path: str) -> None:
        self.place = folder / "place"
        self.home = folder / "home"
        self.place.mkdir()
        self.home.mkdir()
        self.path = path
        self.attempt: Attempt | None = None

    def run(self, server: ModelServer, prompt: str = "say hi", config: dict[str, Any] | None = None, **more: Any) -> AgentResult:
        watching = {key: more.pop(key) for key in ("stop_when", "idle_seconds") if key in more}
        environment = {"PATH": self.path, "HOME": str(self.home), "LANG": "C.UTF-8", "ANTHROPIC_BASE_URL": server.url}
        environment |= {"ANTHROPIC_API_KEY": "sk-test-dummy", **more.pop("environment", {})}
        asked = request(self.place, prompt, config=config, environment=environment, **more)
        self.attempt = Attempt(Claude(), asked, **watching)
        return self.attempt.run()


@pytest.fixture
def desk(tmp_path: Path, claude_cli: str) -> Desk:
    return Desk(tmp_path, claude_cli)


def sent(server: ModelServer) -> str:
    return json.dumps(server.requests, ensure_ascii=False)


def test_an_answer_comes_with_its_cost_turns_and_session(desk: Desk) -> None:
    with ModelServer([Reply("hello")]) as server:
        found = desk.run(server, system_prompt="Shared context:\n- team: payments", config={"effort": "high", "max_turns": 3})
    assert desk.attempt is not None
    assert (found.kind, found.answer, found.turns, found.session_id) == (None, "hello", 1, desk.attempt.request.session_id)
    assert found.cost_usd is not None
    assert found.cost_usd > 0
    assert found.model is not None
    assert "- team: payments" in json.dumps(server.requests[0]["system"])


def test_a_model_that_is_overloaded_is_replaced_by_the_other_one(desk: Desk) -> None:
    def answer(body: dict[str, Any]) -> Reply:
        return Reply("from the other one") if "haiku" in body["model"] else Reply(status=529, message="Overloaded")

    with ModelServer(answer=answer) as server:
        found = desk.run(server, config={"model": "sonnet", "fallback_model": "haiku"})
    assert (found.kind, found.answer, "haiku" in (found.model or "")) == (None, "from the other one", True), found.error
    assert len(server.requests) == 4


def test_a_tool_may_write_where_edits_are_accepted(desk: Desk) -> None:
    target = desk.place / "out.txt"
    with ModelServer([Reply(tool=("Write", {"file_path": str(target), "content": "data\n"})), Reply("written")]) as server:
        found = desk.run(server, config={"permission_mode": "acceptEdits"})
    assert (found.kind, found.answer, found.turns) == (None, "written", 2)
    assert target.read_text() == "data\n"
    assert desk.attempt is not None
    assert f"Write {target}" in desk.attempt.seen


def test_a_refused_tool_is_a_denial(desk: Desk) -> None:
    write = Reply(tool=("Write", {"file_path": str(desk.place / "out.txt"), "content": "x"}))
    with ModelServer([write, Reply("I could not")]) as server:
        found = desk.run(server, config={"permission_mode": "default"})
    assert (found.kind, found.denials) == ("permission_denied", ("Write",))
    assert os.listdir(desk.place) == []


def test_in_plan_mode_the_plan_is_the_answer(desk: Desk) -> None:
    """Measured: headless there is no tool that hands in a plan, and asking for it is no refused tool."""
    leave = Reply("first", tool=("ExitPlanMode", {"plan": "1. do it"}))
    with ModelServer([leave, Reply("1. do it")]) as server:
        found = desk.run(server, config={"permission_mode": "plan", "allowed_tools": ["ExitPlanMode"]})
    assert (found.kind, found.answer, found.denials) == (None, "1. do it", ())
    assert "ExitPlanMode" not in [tool["name"] for tool in server.requests[0]["tools"]]
    assert "No such tool available: ExitPlanMode" in sent(server)


def test_in_plan_mode_what_writes_is_refused_even_where_it_is_allowed(desk: Desk) -> None:
    write = Reply(tool=("Write", {"file_path": str(desk.place / "out.txt"), "content": "x"}))
    command = Reply(tool=("Bash", {"command": "python3 -c 'print(1)'", "description": "print"}))
    with ModelServer([write, command, Reply("1. do it")]) as server:
        found = desk.run(server, config={"permission_mode": "plan", "allowed_tools": ["Write", "Bash(python3 *)"]})
    assert (found.kind, found.denials) == ("permission_denied", ("Write", "Bash"))
    assert os.listdir(desk.place) == []


def test_tools_are_allowed_and_taken_away_by_name(desk: Desk) -> None:
    config = {"permission_mode": "dontAsk", "allowed_tools": ["Bash(python3 *)", "Edit"], "disallowed_tools": ["Write", "WebFetch"]}
    with ModelServer([Reply(tool=("Bash", {"command": "python3 -c 'print(1)'"})), Reply("ran")]) as server:
        found = desk.run(server, config=config)
    assert found.kind is None
    assert {"Write", "WebFetch"}.isdisjoint(tool["name"] for tool in server.requests[0]["tools"])


def test_a_schema_is_enforced_and_the_answer_is_its_json(desk: Desk) -> None:
    replies = [Reply(tool=("StructuredOutput", {"n": "no"})), Reply(tool=("StructuredOutput", {"n": 7}))]
    with ModelServer(replies) as server:
        found = desk.run(server, schema=SCHEMA, config={"max_turns": 2})
    assert (found.kind, json.loads(found.answer)) == (None, {"n": 7})
    assert len(server.requests) == 2


@pytest.mark.parametrize("schema", [{"type": "array"}, {**SCHEMA, "unevaluatedProperties": False}, {**SCHEMA, "$anchor": "a"}])
def test_a_schema_that_the_cli_would_refuse_is_told_in_words(desk: Desk, schema: Any) -> None:
    with ModelServer([Reply('{"n": 1}')]) as server:
        found = desk.run(server, schema=schema)
    assert (found.kind, found.answer) == (None, '{"n": 1}')
    assert "It must be valid against this JSON Schema" in json.dumps(server.requests[0]["system"])


@pytest.mark.parametrize(
    ("reply", "kind"),
    [(Reply(status=401), "auth"), (Reply(status=429), "rate_limited"), (Reply(status=529), "overloaded"), (Reply(status=400), "failed")],
)
def test_an_error_of_the_api_ends_the_attempt_at_once(desk: Desk, reply: Reply, kind: str) -> None:
    with ModelServer([reply]) as server:
        found = desk.run(server)
    assert found.kind == kind
    assert found.cost_usd == 0


def test_a_subscription_that_is_used_up_names_its_reset(desk: Desk) -> None:
    headers = {
        "anthropic-ratelimit-unified-status": "rejected",
        "anthropic-ratelimit-unified-reset": "1900000000",
        "anthropic-ratelimit-unified-representative-claim": "five_hour",
    }
    with ModelServer([Reply(status=429, headers=headers)]) as server:
        found = desk.run(server, environment={"ANTHROPIC_API_KEY": "", "CLAUDE_CODE_OAUTH_TOKEN": "sk-ant-oat01-dummy"})
    assert (found.kind, found.resets_at) == ("rate_limited", 1_900_000_000)


def test_without_an_account_it_is_a_matter_of_signing_in(desk: Desk) -> None:
    with ModelServer([Reply("x")]) as server:
        found = desk.run(server, environment={"ANTHROPIC_API_KEY": ""})
    assert found.kind == "auth"
    assert server.requests == []


def test_turns_and_budget_are_capped(desk: Desk) -> None:
    again = Reply(tool=("Bash", {"command": "true"}), input_tokens=100_000, output_tokens=10_000)
    with ModelServer([again]) as server:
        assert desk.run(server, config={"max_turns": 2, "allowed_tools": ["Bash"]}).kind == "max_turns"
        found = desk.run(server, config={"max_budget_usd": 100, "allowed_tools": ["Bash"]}, budget_usd=0.05)
    assert found.kind == "budget"
    assert found.cost_usd is not None
    assert found.cost_usd > 0.05


def test_stopping_it_while_a_tool_runs_leaves_no_tool(desk: Desk) -> None:
    mark = desk.place / "started"
    command = f"touch {mark}; exec python3 -c 'import time; time.sleep(300)' {desk.place}"
    with ModelServer([Reply(tool=("Bash", {"command": command}))]) as server:
        found = desk.run(server, config={"allowed_tools": ["Bash"]}, stop_when=mark.exists)
    assert found.kind == "cancelled"
    # The shell of the tool is in a session of its own; SIGINT lets the CLI end it.
    assert not [line for line in _command_lines() if f"time.sleep(300) {desk.place}" in line]


def test_a_model_that_falls_silent_is_a_time_out_of_ours(desk: Desk) -> None:
    with ModelServer([Reply("never", hangs=True)]) as server:
        found = desk.run(server, idle_seconds=1.5)
    assert found.kind == "timeout"


def test_a_prompt_is_text_whatever_it_begins_with_or_mentions(desk: Desk) -> None:
    secret = desk.home / "secret.txt"
    secret.write_text("CONTENT-OF-A-FILE")
    for prompt in ("/cost", "-x", "!touch PWNED", "# note", f"look at @{secret}"):
        with ModelServer([Reply("asked")]) as server:
            found = desk.run(server, prompt)
        assert (found.kind, found.answer) == (None, "asked")
        assert prompt in "".join(_texts(server.requests[0]["messages"]))
        assert "CONTENT-OF-A-FILE" not in sent(server)
    assert os.listdir(desk.place) == []


def test_long_prompts_and_settings_go_by_files_that_are_gone_afterwards(desk: Desk) -> None:
    long = "- a rule of the house\n" * 10_000
    settings = {"env": {"FROM_SETTINGS": "seen"}}
    replies = [Reply(tool=("Bash", {"command": "echo $FROM_SETTINGS > out.txt"})), Reply("ok")]
    with ModelServer(replies) as server:
        found = desk.run(
            server,
            long,
            system_prompt=long + "LAST LINE",
            config={
                "settings": settings,
                "mcp_servers": {"broken": {"command": "/bin/false"}},
                "allowed_tools": ["Bash"],
                "replace_system_prompt": "FIRST LINE",
            },
        )
    assert found.kind is None
    system = json.dumps(server.requests[0]["system"])
    assert "FIRST LINE" in system
    assert "LAST LINE" in system
    assert (desk.place / "out.txt").read_text() == "seen\n"
    assert os.listdir(desk.place.parent / "private") == []


def test_files_of_the_project_neither_run_nor_speak(desk: Desk) -> None:
    folder = desk.place / ".claude"
    folder.mkdir()
    hook = {"hooks": [{"type": "command", "command": f"touch {desk.place}/PWNED"}]}
    (folder / "settings.json").write_text(json.dumps({"hooks": {"UserPromptSubmit": [hook], "SessionStart": [hook]}}))
    (desk.place / ".mcp.json").write_text(json.dumps({"mcpServers": {"x": {"command": "touch", "args": [f"{desk.place}/PWNED"]}}}))
    with ModelServer([Reply("ok")]) as server:
        assert desk.run(server).kind is None
    assert not (desk.place / "PWNED").exists()


def _texts(messages: list[dict[str, Any]]) -> list[str]:
    found: list[str] = []
    for message in messages:
        content = message["content"]
        found += [content] if isinstance(content, str) else [block.get("text", "") for block in content]
    return found


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:
            continue
    return found
