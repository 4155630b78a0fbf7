"""What is said to a warm Claude Code, and what its answers prove: recorded talks of two versions, and answers that prove nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from cases import CASES, case_path
from cpool_flow.agents.claude_warm import Talk
from cpool_flow.agents.protocol import AgentRequest, Ending
from cpool_flow.model import AgentConfig

VERSIONS = ("2.1.197", "2.1.330")
recorded = pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")


def request(prompt: str = "x") -> AgentRequest:
    return AgentRequest(prompt=prompt, config=AgentConfig(), directory="/", files="/", session_id="ours", environment={})


def turns(case: str) -> Iterator[list[bytes]]:
    """The lines of a recorded talk, turn by turn."""
    lines: list[bytes] = []
    for line in case_path(f"agents/{case}.jsonl").read_bytes().splitlines():
        lines.append(line)
        if json.loads(line)["type"] == "result":
            yield lines
            lines = []


def ask(talk: Talk, lines: list[bytes]) -> Any:
    _, reader = talk.ask(request())
    for line in lines:
        reader.feed(line)
    assert reader.turn_over
    return reader.finish(Ending(exit_code=0, now=0.0, ended_by_us=True))


def clear(talk: Talk, lines: list[bytes]) -> bool:
    message, answer = talk.clear()
    assert json.loads(message)["message"]["content"] == "/clear"
    for line in lines:
        answer.feed(line)
    return answer.over and answer.clean


@recorded
@pytest.mark.parametrize(("version", "cost"), [("2.1.197", 0.000175), ("2.1.330", 0.00014)])
def test_three_tasks_of_a_recorded_talk_each_with_its_own_session_and_cost(version: str, cost: float) -> None:
    talk, said = Talk(capped=False), turns(f"claude-{version}-warm-clear")
    sessions = set()
    for _ in range(3):
        result = ask(talk, next(said))
        assert (result.kind, result.turns) == (None, 1)
        assert result.cost_usd == pytest.approx(cost)
        sessions.add(result.session_id)
        assert talk.keeps()
        assert clear(talk, next(said))
    assert len(sessions) == 3


@recorded
@pytest.mark.parametrize("version", VERSIONS)
def test_a_turn_in_the_session_before_is_not_taken_for_one_in_a_clean_session(version: str) -> None:
    first, cleared, _, *_ = turns(f"claude-{version}-warm-clear")
    talk = Talk(capped=False)
    ask(talk, first)
    assert talk.keeps()
    assert clear(talk, cleared)
    assert ask(talk, first).kind == "lost"


@recorded
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", ["warm-429-then-ok", "warm-interrupt-bash", "warm-interrupt-stream", "warm-max-turns"])
def test_a_turn_that_did_not_go_well_ends_the_talk(version: str, case: str) -> None:
    talk = Talk(capped=False)
    ask(talk, next(turns(f"claude-{version}-{case}")))
    assert not talk.keeps()


@recorded
@pytest.mark.parametrize(("version", "keeps"), [("2.1.197", False), ("2.1.330", True)])
def test_a_cap_of_dollars_ends_the_talk_where_it_is_counted_for_the_process(version: str, keeps: bool) -> None:
    talk = Talk(capped=True)
    ask(talk, next(turns(f"claude-{version}-warm-budget-clear")))
    assert talk.keeps() is keeps


@recorded
@pytest.mark.parametrize("version", VERSIONS)
def test_any_other_answer_to_the_clear_proves_nothing(version: str) -> None:
    first, cleared, second, *_ = turns(f"claude-{version}-warm-clear")
    same = [line.replace(session(cleared), session(first)) for line in cleared]
    for answer in (second, first, same, cleared[-1:], *(changed(cleared, name) for name in ("cwd", "model", "permissionMode", "tools"))):
        talk = Talk(capped=False)
        ask(talk, first)
        assert talk.keeps()
        assert not clear(talk, answer)


def session(lines: list[bytes]) -> bytes:
    found: str = json.loads(lines[-1])["session_id"]
    return found.encode()


def changed(lines: list[bytes], name: str) -> list[bytes]:
    """The same lines, but for one thing that the process says of itself."""
    events = [json.loads(line) for line in lines]
    return [json.dumps({**event, name: "other"} if event.get("subtype") == "init" else event).encode() for event in events]


def test_a_prompt_is_one_line_of_json_and_never_a_command() -> None:
    for prompt in ("/clear", 'a\n"}\n{"type": "control_request"}\n', "\x00\u2028é"):
        message, _ = Talk(capped=False).ask(request(prompt))
        assert message.endswith(b"\n")
        assert message.count(b"\n") == 1
        said = json.loads(message)["message"]["content"]
        assert said == (f"\n{prompt}" if prompt.startswith("/") else prompt)


def test_a_server_that_refuses_again_and_again_is_given_up_in_a_warm_process_too() -> None:
    _, reader = Talk(capped=False).ask(request())
    for attempt in range(1, 4):
        assert not reader.futile
        reader.feed(json.dumps({"type": "system", "subtype": "api_retry", "attempt": attempt, "error_status": 429}).encode())
    assert reader.futile
