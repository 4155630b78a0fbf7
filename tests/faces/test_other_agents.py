"""Whole runs of codex, gemini and opencode, played by programs of the test's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from agent_stage import Stage
from session import Session

DONE: dict[str, list[dict[str, Any]]] = {
    "codex": [
        {"type": "thread.started", "thread_id": "t-1"},
        {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "done"}},
        {"type": "turn.completed", "usage": {"input_tokens": 1_000_000, "output_tokens": 0}},
    ],
    "gemini": [
        {"type": "init", "session_id": "g-1", "model": "gemini-2.5-pro"},
        {"type": "message", "role": "assistant", "content": "done"},
        {"type": "result", "status": "success", "stats": {"input_tokens": 1_000_000, "output_tokens": 0}},
    ],
    "opencode": [
        {"type": "text", "sessionID": "o-1", "part": {"text": "done"}},
        {"type": "step_finish", "sessionID": "o-1", "part": {"reason": "stop", "cost": 0.5, "tokens": {"input": 1_000_000, "output": 0}}},
    ],
}


def program(*lines: dict[str, Any], first: str = "", then: str = "") -> str:
    """Python that reads its prompt, does `first`, prints the lines, then does `then`."""
    printed = "".join(f"print({json.dumps(json.dumps(line))}, flush=True)\n" for line in lines)
    return f"import os, sys, time\nprompt = sys.stdin.read()\n{first}\n{printed}{then}\n"


@pytest.fixture
def stage(session: Session) -> Stage:
    return Stage(session)


def step(agent: str, **more: Any) -> dict[str, Any]:
    return {"name": "ask", "prompt": "Do it", "config": {"agent": agent, **more.pop("config", {})}, "retry": {"delay": "1ms"}, **more}


def kinds(document: dict[str, Any]) -> list[str | None]:
    return [attempt["error_kind"] for attempt in document["steps"][0]["attempts"]]


@pytest.mark.parametrize("agent", DONE)
def test_a_run_ends_well_with_its_cost_by_report_or_by_prices(stage: Stage, agent: str) -> None:
    stage.session.file("cpool.yaml", 'prices: {codex: {"*": {input: 2, output: 1}}}\n')
    stage.program(agent, program(*DONE[agent]))
    stage.session.file("flow.yaml", json.dumps({"version": 1, "steps": [step(agent)]}))
    document = stage.run("--json").json()
    (attempt,) = document["steps"][0]["attempts"]
    assert (document["status"], document["steps"][0]["output"], attempt["agent"]) == ("success", "done", agent)
    assert attempt["session_id"] == {"codex": "t-1", "gemini": "g-1", "opencode": "o-1"}[agent]
    assert attempt["cost_usd"] == {"codex": 2.0, "gemini": None, "opencode": 0.5}[agent]
    # Nothing allows it to write: it works where the run was started.
    assert document["branch"] is None


@pytest.mark.parametrize("agent", DONE)
def test_one_that_may_write_works_in_a_worktree_and_its_work_is_on_the_branch(stage: Stage, agent: str) -> None:
    stage.program(agent, program(*DONE[agent], first="open('made.txt', 'w').write('made')"))
    stage.workflow([step(agent, config={"permission_mode": "acceptEdits"}, expect={"changes": True})])
    assert stage.run().code == 0
    assert stage.on_branch("made.txt") == "made"
    assert stage.untouched()


def test_a_server_that_refuses_opencode_again_and_again_ends_the_attempt(stage: Stage) -> None:
    line = 'level=ERROR message="stream error" small=false agent=build error.error="AI_APICallError: Overloaded"'
    stage.program("opencode", program(then=f"[print({line!r}, file=sys.stderr, flush=True) for _ in range(3)]\ntime.sleep(300)"))
    stage.workflow([step("opencode", retries=1)])
    document = stage.run("--json").json()
    assert kinds(document) == ["overloaded", "overloaded"]
    assert "Overloaded" in document["steps"][0]["attempts"][0]["error"]
    assert stage.survivors() == []


def test_silence_of_opencode_is_a_server_that_does_not_answer_and_that_of_codex_a_time_out(stage: Stage) -> None:
    for agent, begun, kind in (("opencode", {"type": "step_start"}, "overloaded"), ("codex", {"type": "turn.started"}, "timeout")):
        stage.program(agent, program(begun, then="time.sleep(300)"))
        stage.workflow([step(agent, idle_timeout="300ms", retries=0)])
        assert kinds(stage.run("--json").json()) == [kind]


def test_a_usage_limit_of_codex_waits_until_the_time_that_it_names(stage: Stage) -> None:
    limit = {"type": "turn.failed", "error": {"message": "You’ve hit your usage limit, or try again at Nov 24th, 2099 6:00 AM."}}
    stage.program("codex", program({"type": "thread.started", "thread_id": "t"}, limit, then="sys.exit(1)"))
    stage.workflow([step("codex", retries=0)])
    ended = stage.run("--json", "--wait-max", "10ms", TZ="UTC")
    assert (ended.code, kinds(ended.json())) == (4, ["rate_limited"])
    assert "2099" in json.dumps(stage.events())


def test_an_answer_of_codex_is_held_against_the_schema_here_as_well(stage: Stage) -> None:
    stage.program("codex", program(*DONE["codex"]))
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}, "additionalProperties": False}
    stage.workflow([step("codex", output_schema=schema, retries=0)])
    assert kinds(stage.run("--json").json()) == ["bad_output"]


def test_a_key_of_an_agent_is_masked_wherever_it_prints_it(stage: Stage) -> None:
    stage.program("gemini", program(*DONE["gemini"], first="print('key', os.environ['GEMINI_API_KEY'], file=sys.stderr)"))
    stage.workflow([step("gemini")])
    assert stage.run(GEMINI_API_KEY="key-of-somebody").code == 0
    logs = "".join(path.read_text() for path in (stage.session.last_run() / "logs").iterdir())
    assert "key ***" in logs
    assert "key-of-somebody" not in logs


def test_opencode_is_stopped_at_its_share_of_the_budget_and_codex_counts_when_it_has_ended(stage: Stage) -> None:
    stage.session.file("cpool.yaml", 'prices: {opencode: {"*": {input: 1, output: 1}}, codex: {"*": {input: 2, output: 1}}}\n')
    goes_on = {"type": "step_finish", "part": {"reason": "tool-calls", "cost": 0, "tokens": {"input": 1_000_000, "output": 0}}}
    stage.program("opencode", program(goes_on, {"type": "step_start"}, then="time.sleep(300)"))
    stage.program("codex", program(*DONE["codex"]))
    for agent, kind, cost in (("opencode", "budget", 1.0), ("codex", None, 2.0)):
        later = {"name": "later", "prompt": "More", "config": {"agent": agent}}
        stage.session.file("flow.yaml", json.dumps({"version": 1, "budget_usd": 0.75, "steps": [step(agent, retries=2), later]}))
        ended = stage.run("--json")
        document = ended.json()
        assert (ended.code, document["error_kind"], kinds(document)) == (3, "budget", [kind])
        (attempt,) = document["steps"][0]["attempts"]
        assert (attempt["cost_usd"], attempt["budget_usd"], document["cost_usd"]) == (cost, 0.75, cost)
        assert document["steps"][1]["attempts"] == []
        assert stage.survivors() == []
        assert ("takes no cap" in ended.err) == (agent == "codex")


@pytest.mark.parametrize("agent", ["codex", "gemini"])
def test_with_a_budget_an_agent_without_a_price_is_refused_or_allowed_by_name(stage: Stage, agent: str) -> None:
    stage.program(agent, program(*DONE[agent]))
    stage.session.file("flow.yaml", json.dumps({"version": 1, "budget_usd": 5, "steps": [step(agent)]}))
    refused = stage.run()
    assert (refused.code, f"agent `{agent}` of step `ask` does not say what it costs" in refused.err) == (2, True)
    allowed = stage.run("--allow-unpriced", "--json").json()
    assert (allowed["status"], allowed["cost_usd"], allowed["steps"][0]["attempts"][0]["budget_usd"]) == ("success", None, 5)
