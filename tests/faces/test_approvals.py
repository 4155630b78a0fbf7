"""A person is asked, and answers: from another process, at the start, at a terminal; and nobody answers by accident."""

from __future__ import annotations

import pytest
from session import Session
from terminal import Terminal

from survivors import eventually

FLOW = """
    steps:
      - name: build
        run: echo 1.4
      - name: release
        approve: Release {{ steps.build.output }}?
      - name: ship
        run: echo shipped {{ steps.release.output }}
    outputs: {shipped: "{{ steps.ship.output }}"}
"""


@pytest.fixture
def waiting(session: Session) -> Session:
    session.file("flow.yaml", FLOW)
    assert session.flow("run", "flow.yaml").code == 4
    return session


def test_without_a_terminal_a_run_waits_with_exit_code_4_and_says_how_to_answer(session: Session) -> None:
    session.file("flow.yaml", FLOW)
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 4
    assert f"cpool-flow approve {session.last_run().name} release" in ended.err
    status = session.status()
    assert (status["status"], status["error"]) == ("waiting", "waits for the approval of `release`")
    assert [step["status"] for step in status["steps"]] == ["success", "waiting", "pending"]


def test_an_answer_from_another_process_is_kept_until_the_run_goes_on(waiting: Session) -> None:
    assert waiting.flow("approve", "last", "release", "--answer", "as 1.4.0").code == 0
    ended = waiting.flow("resume", "last", "--json")
    assert ended.code == 0
    assert ended.json()["outputs"] == {"shipped": "shipped as 1.4.0"}


def test_a_living_coordinator_goes_on_at_once(session: Session) -> None:
    session.file("flow.yaml", FLOW)
    run = session.start("run", "flow.yaml", "--wait-max", "60s", "--json")
    assert eventually(lambda: (session.path / ".cpool").exists() and "release" in session.flow("logs", "last").out + _waiting(session))
    assert session.flow("approve", "last", "release").code == 0
    assert run.wait(60) == 0


def _waiting(session: Session) -> str:
    return "release" if session.status().get("status") == "waiting" else ""


def test_a_rejection_fails_the_step_and_nothing_after_it_starts(waiting: Session) -> None:
    assert waiting.flow("approve", "last", "release", "--reject", "--reason", "tests are red").code == 0
    ended = waiting.flow("resume", "last", "--json")
    assert ended.code == 1
    release, ship = ended.json()["steps"][1:]
    assert (release["status"], release["reason"]) == ("failed", "rejected: tests are red")
    assert ship["status"] == "skipped"


def test_auto_approve_says_yes_to_all(session: Session) -> None:
    session.file("flow.yaml", FLOW)
    assert session.flow("run", "flow.yaml", "--auto-approve").code == 0


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ("ship", "step `ship` waits for no answer"),
        ("relaese", "has no step `relaese`"),
    ],
)
def test_an_answer_to_what_asks_nothing_is_refused(waiting: Session, step: str, message: str) -> None:
    ended = waiting.flow("approve", "last", step)
    assert ended.code == 2
    assert message in ended.err
    assert "`release`" in ended.err


def test_a_second_answer_is_refused(waiting: Session) -> None:
    assert waiting.flow("approve", "last", "release").code == 0
    ended = waiting.flow("approve", "last", "release", "--reject")
    assert ended.code == 2
    assert "has been answered already" in ended.err


def test_an_answer_of_the_wrong_type_is_refused_and_one_of_the_right_type_has_variables(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: ask
            approve: Which version?
            output_schema: {type: object, required: [version], properties: {version: {type: string}}}
            output_vars: {version: version}
        outputs: {v: "{{ steps.ask.version }}"}
        """,
    )
    session.flow("run", "flow.yaml")
    refused = session.flow("approve", "last", "ask", "--answer", '{"version": 3}')
    assert refused.code == 2
    assert "at `/version`" in refused.err
    assert session.flow("approve", "last", "ask", "--answer", '{"version": "3"}').code == 0
    assert session.flow("resume", "last", "--json").json()["outputs"] == {"v": "3"}


def test_an_agent_in_the_run_cannot_approve_it(waiting: Session) -> None:
    ended = waiting.flow("approve", "last", "release", CPOOL_RUN_ID=waiting.last_run().name)
    assert ended.code == 2
    assert "from inside the same run" in ended.err


def test_a_cancelled_run_asks_no_more(waiting: Session) -> None:
    assert waiting.flow("cancel", "last").code == 0
    assert waiting.flow("approve", "last", "release").code == 2
    assert waiting.status()["status"] == "cancelled"


def test_the_question_is_shown_wherever_a_run_waits(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: each
            foreach: [a, b]
            steps:
              - {name: ask, approve: "Ship {{ item }}?\\nThink of it."}
    """,
    )
    ended = session.flow("run", "flow.yaml", "--run-id", "r1")
    question = "each[1]/ask asks: Ship b?\n  Think of it.\n"
    answer = "answer: cpool-flow approve r1 'each[1]/ask' · then: cpool-flow resume r1"
    assert question in ended.err
    assert answer in ended.err
    status = session.flow("status", "r1").out
    assert question in status
    assert answer in status
    assert session.status()["steps"][0]["items"][1]["steps"][0]["question"] == "Ship b?\nThink of it."
    assert session.flow("approve", "r1", "each[1]/ask").code == 0
    status = session.flow("status", "r1").out
    assert "each[1]/ask asks" not in status
    assert "answered: `each[1]/ask`" in status
    assert "each[0]/ask asks: Ship a?" in status


def test_auto_approve_leaves_to_a_person_what_asks_for_more_than_a_yes(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: plain, approve: Go?}\n  - {name: many, approve: How many?, output: json}\n")
    ended = session.flow("run", "flow.yaml", "--auto-approve", "--run-id", "r1")
    assert ended.code == 4
    assert ended.err.count("`--auto-approve` has no answer for step `many`: it asks for more than a yes") == 1
    assert "answer: cpool-flow approve r1 many" in ended.err
    assert session.flow("approve", "r1", "many", "--answer", "3").code == 0
    assert session.flow("resume", "r1").code == 0


def test_at_a_terminal_a_wrong_answer_is_told_and_asked_for_again(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: many, approve: How many?, output: json}\n  - run: echo {{ steps.many.json }}\n")
    terminal = Terminal(session, "run", "flow.yaml")
    terminal.read_until("y [ANSWER] to approve")
    terminal.type("y few\n")
    terminal.read_until("that is not what `many` asks for")
    terminal.type("y 3\n")
    assert terminal.end() == 0
