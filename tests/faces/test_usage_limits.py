"""Usage limits by the real command line: parked, shown, waited for or left, and moved to another agent. Agents are scripted."""

from __future__ import annotations

from typing import Any

import pytest
from session import Session

FLOW = """
    config: {agent: scripted, script: answers.yaml}
    steps:
      - {name: ask, prompt: x, retries: 0}
      - {name: also, prompt: x, needs: []}
      - {name: shell, run: echo hello, needs: []}
"""


def steps(result: Any) -> dict[str, Any]:
    return {step["name"]: step for step in result["steps"]}


def limited(session: Session, seconds: float, flow: str = FLOW, more: str = "") -> None:
    session.file("flow.yaml", flow)
    session.file("answers.yaml", f"steps: {{ask: [{{error: rate_limited, resets_in_seconds: {seconds}}}, answered]}}\n{more}")


def test_a_limit_past_wait_max_leaves_the_run_with_4_and_it_can_be_resumed(session: Session) -> None:
    limited(session, 3600, more="default: {answer: done, seconds: 0.1}")
    ended = session.flow("run", "flow.yaml", "--wait-max", "1m", "--slots", "1", "--json")
    assert ended.code == 4
    result = ended.json()
    assert result["status"] == "waiting"
    assert result["error"].startswith("waits for the usage limit of `scripted` until ")
    assert [limit["agent"] for limit in result["limits"]] == ["scripted"]
    assert result["limits"][0]["resumes_at"].endswith("Z")
    found = steps(result)
    assert {name: step["status"] for name, step in found.items()} == {"ask": "waiting", "also": "ready", "shell": "success"}
    assert "  scripted             parked     usage limit · resumes " in ended.err
    assert "scripted is at its usage limit: resumes " in session.flow("status", "last").out
    assert session.flow("status", "last", "--exit-status").code == 4


def test_a_limit_outlives_a_restart(session: Session) -> None:
    limited(session, 3600)
    assert session.flow("run", "flow.yaml", "--wait-max", "1m", "--slots", "1").code == 4
    again = session.flow("resume", "last", "--wait-max", "1m", "--json")
    assert again.code == 4
    assert [len(step["attempts"]) for step in steps(again.json()).values()] == [1, 0, 1]


def test_a_limit_that_ends_in_time_is_waited_for_and_costs_no_attempt(session: Session) -> None:
    limited(session, 1, more="default: done")
    ended = session.flow("run", "flow.yaml", "--wait-max", "1m", "--json")
    assert ended.code == 0
    ask = steps(ended.json())["ask"]
    assert [attempt["error_kind"] for attempt in ask["attempts"]] == ["rate_limited", None]
    assert ended.json()["limits"] == []


def test_a_fallback_takes_over_and_the_attempt_says_so(session: Session) -> None:
    flow = FLOW.replace("script: answers.yaml", "script: answers.yaml, fallback: [command], command: [cat]")
    limited(session, 3600, flow)
    ended = session.flow("run", "flow.yaml", "--slots", "1", "--json")
    assert ended.code == 0
    found = steps(ended.json())
    assert [(attempt["agent"], attempt["error_kind"]) for attempt in found["ask"]["attempts"]] == [
        ("scripted", "rate_limited"),
        ("command", None),
    ]
    assert found["ask"]["output"] == "x"
    assert [attempt["agent"] for attempt in found["also"]["attempts"]] == ["command"]
    assert "usage limit, `command` takes over" in ended.err


@pytest.mark.parametrize("wait", ["0", "0s"])
def test_nobody_waits_at_all_for_a_limit_or_a_person_with_a_wait_of_zero(session: Session, wait: str) -> None:
    limited(session, 3600, more="default: done")
    assert session.flow("run", "flow.yaml", "--wait-max", wait, "--slots", "1").code == 4
    session.file("asks.yaml", "version: 1\nsteps: [{name: ok, approve: Go on?}]\n")
    assert session.flow("run", "asks.yaml", "--run-id", "asks", "--detach", "--wait-max", wait).code == 0
    ended = session.flow("status", "asks", "--watch", "--exit-status")
    assert (ended.code, "waits for the approval of `ok`" in ended.out) == (4, True)


@pytest.mark.parametrize("wait", ["soon", "-1m", "1", "00"])
def test_a_wait_that_is_none_is_refused(session: Session, wait: str) -> None:
    limited(session, 1)
    assert session.flow("run", "flow.yaml", "--wait-max", wait).code == 2
