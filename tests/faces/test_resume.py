"""Going on with a run: what is done stays done, what is asked of a person is asked, and nothing outside changes what has begun."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from session import Session

from survivors import eventually, survivors

LEDGER = """
    args: {fail: {default: ""}}
    steps:
      - name: one
        run: echo one >> "$LEDGER"; echo value 1
      - name: many
        foreach: [a, b, c]
        run: echo {{ item }} >> "$LEDGER"; [ ! -e "fail-{{ item }}" ]; echo value {{ item }}
      - name: after
        run: echo after >> "$LEDGER"; echo {{ steps.one.output }}, {{ steps.many.items | map(attribute='output') | join(', ') }}
      - name: always
        needs: one
        run: echo always >> "$LEDGER"
      - name: unless
        needs: many
        when: steps.many.status == 'failed'
        run: echo unless >> "$LEDGER"
    finally:
      - {name: tidy, run: 'echo tidy >> "$LEDGER"'}
    outputs: {all: "{{ steps.after.output }}"}
"""
EXTERNAL = """
    steps:
      - name: push
        effects: external
        run: echo push >> "$LEDGER"; echo $$ > pid; [ -e go ] || exec sleep 600
      - {name: beside, needs: [], run: echo beside >> "$LEDGER"}
      - {name: after, needs: push, run: echo after >> "$LEDGER"}
"""


@pytest.fixture
def ledger(session: Session) -> Path:
    path = session.home / "ledger"
    session.environment["LEDGER"] = str(path)
    return path


def lines(ledger: Path) -> list[str]:
    return sorted(ledger.read_text().split()) if ledger.exists() else []


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {step["name"]: step["status"] for step in result["steps"]}


def kill_when(session: Session, ledger: Path, text: str, *arguments: str) -> None:
    """Start a run and kill its coordinator as soon as a line stands in the ledger, the step sleeps, and the step beside it has ended."""
    coordinator = session.start(*arguments)
    assert eventually(lambda: text in lines(ledger) and (session.path / "pid").exists())
    assert eventually(lambda: statuses(session.status("r"))["beside"] == "success")
    coordinator.kill()
    coordinator.wait()
    assert eventually(lambda: not survivors(session.mark()))


def test_after_a_failure_only_what_failed_and_what_was_skipped_for_it_runs(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", LEDGER)
    (session.path / "fail-b").touch()
    assert session.flow("run", "flow.yaml").code == 1
    assert lines(ledger) == ["a", "always", "b", "c", "one", "tidy", "unless"]
    ledger.unlink()
    assert session.flow("resume").code == 1
    assert lines(ledger) == ["b", "tidy"]
    (session.path / "fail-b").unlink()
    ledger.unlink()
    resumed = session.flow("resume", "last", "--json")
    assert resumed.code == 0, resumed.err
    assert lines(ledger) == ["after", "b", "tidy"]
    result = resumed.json()
    assert result["outputs"] == {"all": "value 1, value a, value b, value c"}
    assert result["status"] == "success"
    assert [len(item["attempts"]) for item in result["steps"][1]["items"]] == [1, 3, 1]


def test_a_run_that_succeeded_is_left_as_it_is(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", f"secrets: [TOKEN]\n{LEDGER.replace(chr(10) + '    ', chr(10))}")
    assert session.flow("run", "flow.yaml", TOKEN="long enough").code == 0
    before = session.events()
    ledger.unlink()
    ended = session.flow("resume", "last")
    assert ended.code == 0
    assert "nothing to do" in ended.err
    assert ended.out == "all = value 1, value a, value b, value c\n"
    assert lines(ledger) == []
    assert session.events() == before


def test_a_changed_or_deleted_workflow_skill_schema_or_script_does_not_matter_to_a_run_that_has_begun(
    session: Session, ledger: Path
) -> None:
    session.file("skills/greet/SKILL.md", "---\nname: greet\ndescription: Greets.\n---\nSay hello to $0.\n")
    session.file("schema.json", '{"type": "object", "required": ["hello"]}')
    session.file("answers.yaml", "steps: {greet: {answer: {hello: you}}}\n")
    session.file("who.txt", "somebody")
    session.file(
        "flow.yaml",
        """
        isolation: none
        args: {who: {}}
        steps:
          - {name: first, run: "[ -e go ]"}
          - name: greet
            skill: greet
            with: {who: "{{ args.who }}"}
            config: {agent: scripted, script: answers.yaml}
            output_schema: schema.json
        outputs: {hello: "{{ steps.greet.json.hello }} {{ args.who }}"}
        """,
    )
    assert session.flow("run", "flow.yaml", "--arg", "who=@who.txt").code == 1
    session.file("flow.yaml", "steps: [{run: touch wrong}]\n")
    session.file("schema.json", '{"type": "array"}')
    session.file("who.txt", "else")
    (session.path / "answers.yaml").unlink()
    shutil.rmtree(session.path / "skills")
    (session.path / "go").touch()
    ended = session.flow("resume", "last", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"hello": "you somebody"}
    assert not (session.path / "wrong").exists()


def test_a_killed_coordinator_leaves_no_process_and_its_steps_are_lost_and_run_again(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", EXTERNAL.replace("effects: external", "effects: workspace"))
    kill_when(session, ledger, "push", "run", "flow.yaml", "--run-id", "r")
    assert session.status()["status"] == "running"
    assert "interrupted" in session.flow("runs").out
    assert "\ninterrupted: nobody works on it any more · 1/3 steps · 1 cut off\n" in session.flow("status", "r").out
    assert session.flow("status", "r", "--exit-status").code == 5
    (session.path / "go").touch()
    ended = session.flow("resume", "r", "--json")
    assert ended.code == 0, ended.err
    push = ended.json()["steps"][0]
    assert [(attempt["status"], attempt["error_kind"]) for attempt in push["attempts"]] == [("failed", "lost"), ("success", None)]
    assert lines(ledger) == ["after", "beside", "push", "push"]


def test_effects_outside_that_may_have_happened_wait_for_a_decision(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", EXTERNAL)
    kill_when(session, ledger, "push", "run", "flow.yaml", "--run-id", "r")
    (session.path / "go").touch()
    for _ in range(2):
        waits = session.flow("resume", "r")
        assert waits.code == 4
        assert "cpool-flow resume r --decide push=rerun (or =skip, =fail)" in waits.err
    assert session.flow("status", "r", "--exit-status").code == 4
    assert lines(ledger) == ["beside", "push"]
    result = session.status("r")
    assert (result["status"], statuses(result)) == ("waiting", {"push": "waiting", "beside": "success", "after": "pending"})
    assert session.flow("resume", "r", "--decide", "push=rerun").code == 0
    assert lines(ledger) == ["after", "beside", "push", "push"]


@pytest.mark.parametrize(
    ("choice", "code", "after"),
    [("rerun", 0, ["after", "beside", "push", "push"]), ("skip", 0, ["after", "beside", "push"]), ("fail", 1, ["beside", "push"])],
)
def test_a_decision_may_be_given_with_the_first_resume(session: Session, ledger: Path, choice: str, code: int, after: list[str]) -> None:
    session.file("flow.yaml", EXTERNAL)
    kill_when(session, ledger, "push", "run", "flow.yaml", "--run-id", "r")
    (session.path / "go").touch()
    assert session.flow("resume", "r", "--decide", f"push={choice}").code == code
    assert lines(ledger) == after


def test_a_cancel_of_a_run_that_waits_for_a_decision_answers_nothing(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", EXTERNAL + "    finally: [{name: tidy, run: 'echo tidy >> \"$LEDGER\"'}]\n")
    kill_when(session, ledger, "push", "run", "flow.yaml", "--run-id", "r")
    (session.path / "go").touch()
    cancelled = session.flow("cancel", "r")
    assert cancelled.code == 0, cancelled.err
    result = session.status("r")
    assert (result["status"], result["steps"][0]["status"]) == ("cancelled", "cancelled")
    assert result["steps"][0]["attempts"][0]["error_kind"] == "lost"
    assert lines(ledger)[-1] == "tidy"
    assert session.flow("status", "r", "--exit-status").code == 130
    assert session.flow("resume", "r").code == 4
    assert lines(ledger).count("push") == 1


def test_a_wrong_decision_is_refused_with_the_words_that_would_work(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", EXTERNAL)
    kill_when(session, ledger, "push", "run", "flow.yaml", "--run-id", "r")
    before = session.events()
    for given, says in (
        ("push=maybe", "--decide push=rerun"),
        ("push", "--decide push=rerun"),
        ("after=skip", "waiting: `push`"),
        ("pusch=skip", "did you mean `push`?"),
    ):
        ended = session.flow("resume", "r", "--decide", given)
        assert ended.code == 2
        assert says in ended.err
    assert session.events() == before


def test_a_wrong_decision_is_refused_of_a_run_that_has_succeeded_too(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: push, run: 'true'}]")
    assert session.flow("run", "flow.yaml", "--run-id", "r").code == 0
    answers = {given: session.flow("resume", "r", "--decide", given) for given in ("push=maybe", "pusch=skip", "push=skip")}
    assert {given: ended.code for given, ended in answers.items()} == {"push=maybe": 2, "pusch=skip": 2, "push=skip": 0}
    assert "did you mean `push`?" in answers["pusch=skip"].err


def test_a_second_coordinator_is_refused_while_the_first_works(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", EXTERNAL)
    first = session.start("run", "flow.yaml", "--run-id", "r")
    try:
        assert eventually(lambda: (session.path / "pid").exists())
        second = session.flow("resume", "r")
        assert second.code == 2
        assert f"run `r` is being worked on by process {first.pid}" in second.err
        assert len(second.err.splitlines()) == 2
        assert session.flow("run", "flow.yaml", "--run-id", "r").code == 2
        (session.path / "go").touch()
        os.kill(int((session.path / "pid").read_text()), signal.SIGTERM)
    finally:
        assert first.wait(60) == 1
    assert lines(ledger) == ["beside", "push"]


def test_a_cancel_that_came_too_late_does_not_stop_the_next_resume(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", LEDGER)
    (session.path / "fail-b").touch()
    assert session.flow("run", "flow.yaml").code == 1
    # What `cancel` writes when the coordinator is about to end.
    from cpool_flow.journal import Journal

    journal = Journal.open(session.last_run())
    journal.request("cancel", {"reason": "too late"}, 1.0)
    journal.close()
    (session.path / "fail-b").unlink()
    assert session.flow("resume").code == 0


def test_resume_knows_a_run_by_id_prefix_short_name_and_last(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'true'}]\n")
    for name in ("alpha-1", "alpha-2", "beta"):
        assert session.flow("run", "flow.yaml", "--run-id", name).code == 0
    runs = {run["run_id"]: run["name"] for run in session.flow("runs", "--json").json()["runs"]}
    assert list(runs) == ["beta", "alpha-2", "alpha-1"]
    for reference, means in (
        ("alpha-1", "alpha-1"),
        ("be", "beta"),
        (runs["alpha-2"], "alpha-2"),
        ("last", "beta"),
        (runs["beta"][:-1], "beta"),
    ):
        assert session.status(reference)["run_id"] == means
    for reference, says in (
        ("alpha", "`alpha` means 2 runs: alpha-1, alpha-2"),
        ("betta", "there is no run `betta`, did you mean `beta`?"),
        ("", "there is no run ``"),
        ("../beta", "there is no run `../beta`"),
    ):
        for command in ("status", "resume", "logs", "events", "cancel"):
            ended = session.flow(command, reference)
            assert ended.code == 2
            assert says in ended.err
    elsewhere = Session(session.home / "elsewhere")
    assert "there are no runs" in elsewhere.flow("status").err


def test_a_run_can_be_resumed_from_any_folder_and_works_where_it_was_started(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'pwd > where; [ -e go ]'}]\n")
    (session.path / "go").mkdir()
    (session.path / "go").rmdir()
    assert session.flow("run", "flow.yaml").code == 1
    (session.path / "where").unlink()
    (session.path / "go").touch()
    ended = session.program(*session.command("--project", str(session.path), "resume", "last"), cwd="/")
    assert ended.code == 0, ended.err
    assert (session.path / "where").read_text().strip() == str(session.path)


def test_setup_that_failed_is_run_again_by_a_resume(session: Session) -> None:
    session.repository()
    session.file(
        "flow.yaml",
        f"""
        isolation: worktree
        setup: ["echo one >> {session.home}/ledger", "[ -e {session.home}/go ] || {{ echo broken; exit 3; }}"]
        steps: [{{name: work, run: 'true'}}, {{name: setup, run: echo mine}}]
        finally: [{{name: tidy, run: 'true'}}]
        """,
    )
    failed = session.flow("run", "flow.yaml", "--json")
    assert failed.code == 1
    assert statuses(failed.json()) == {"work": "cancelled", "setup": "cancelled", "tidy": "success"}
    assert failed.json()["error"].endswith("ended with exit code 3")
    assert "broken" in session.flow("logs").out
    (session.home / "go").touch()
    assert session.flow("resume").code == 0
    assert (session.home / "ledger").read_text() == "one\none\n"
    assert session.flow("logs", "last", "setup").out == "── setup attempt 1\nmine\n"


def test_what_resume_prints_as_events_are_the_new_ones(session: Session, ledger: Path) -> None:
    session.file("flow.yaml", LEDGER)
    (session.path / "fail-b").touch()
    first = [json.loads(line) for line in session.flow("run", "flow.yaml", "--events").out.splitlines()]
    (session.path / "fail-b").unlink()
    second = [json.loads(line) for line in session.flow("resume", "--events").out.splitlines()]
    assert first + second == session.events()
    assert second[0]["type"] == "RunResumed"
