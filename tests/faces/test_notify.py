"""`notify` in `cpool.yaml`: who is told, what they get, and that nothing hangs on it."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from session import Session

from survivors import eventually

TOLD = """
    import json, os, sys
    result = json.load(sys.stdin)
    fields = {name: os.environ.get(name) for name in ("CPOOL_RUN_ID", "CPOOL_RUN_STATUS", "TOKEN", "PLAIN")}
    with open("told.txt", "a") as file:
        print(json.dumps({"status": result["status"], "error": result["error"], "words": sys.argv[1:], "cwd": os.getcwd(), **fields}), file=file)
    print("a word of it", os.environ.get("PLAIN", ""))
"""


@pytest.fixture
def told(session: Session) -> Session:
    session.file("told.py", TOLD)
    session.file("cpool.yaml", "notify: [{on: [success, failed, cancelled, waiting], command: [python3, told.py, '$HOME', a b]}]\n")
    return session


def lines(session: Session) -> list[dict[str, Any]]:
    path = session.path / "told.txt"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_command_gets_the_result_its_words_as_they_are_and_no_secret(told: Session) -> None:
    told.file("flow.yaml", "secrets: [TOKEN]\nsteps:\n  - run: exit 1\n")
    (told.path / "below").mkdir()
    ended = told.program(
        *told.command("run", "../flow.yaml", "--run-id", "r1", "--quiet"), cwd=told.path / "below", TOKEN="hunter2-hunter2", PLAIN="hi"
    )
    assert ended.code == 1
    about = {"status": "failed", "error": "step `step_1` failed", "words": ["$HOME", "a b"], "cwd": str(told.path)}
    assert lines(told) == [{**about, "CPOOL_RUN_ID": "r1", "CPOOL_RUN_STATUS": "failed", "TOKEN": None, "PLAIN": "hi"}]
    assert (told.last_run() / "logs" / "_notify.1.log").read_text() == "a word of it hi\n"


def test_only_what_is_asked_for_is_told(told: Session) -> None:
    told.file(
        "cpool.yaml",
        "notify:\n  - {on: failed, command: [python3, told.py, one]}\n  - {on: [success, waiting], command: [python3, told.py, two]}\n",
    )
    told.file("flow.yaml", "steps:\n  - run: echo hi\n")
    assert told.flow("run", "flow.yaml", "--quiet").code == 0
    assert [line["words"] for line in lines(told)] == [["two"]]


def test_who_waits_is_told_once_however_often_the_run_is_resumed_and_the_end_once(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - {name: first, approve: Go?}\n  - {name: second, approve: Really?}\n")
    assert told.flow("run", "flow.yaml", "--run-id", "r1", "--quiet").code == 4
    assert told.flow("resume", "r1", "--quiet").code == 4
    assert [line["status"] for line in lines(told)] == ["waiting"]
    assert told.flow("approve", "r1", "first").code == 0
    assert told.flow("resume", "r1", "--quiet").code == 4
    assert told.flow("approve", "r1", "second").code == 0
    assert told.flow("resume", "r1", "--quiet").code == 0
    assert told.flow("resume", "r1", "--quiet").code == 0
    assert [line["status"] for line in lines(told)] == ["waiting", "waiting", "success"]


def test_each_end_of_a_run_is_told(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - run: test -e there\n")
    assert told.flow("run", "flow.yaml", "--run-id", "r1", "--quiet").code == 1
    assert told.flow("resume", "r1", "--quiet").code == 1
    told.file("there", "")
    assert told.flow("resume", "r1", "--quiet").code == 0
    assert [line["status"] for line in lines(told)] == ["failed", "failed", "success"]


def test_while_a_run_waits_at_a_terminal_it_is_told_at_once(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - {name: ask, approve: Go?}\n")
    run = told.start("run", "flow.yaml", "--run-id", "r1", "--wait-max", "10m")
    try:
        assert eventually(lambda: len(lines(told)) == 1)
        assert run.poll() is None
        assert told.flow("approve", "r1", "ask").code == 0
        assert run.wait(60) == 0
    finally:
        run.kill()
    assert [line["status"] for line in lines(told)] == ["waiting", "success"]


@pytest.mark.parametrize(
    "command", [["no-such-program"], ["sh", "-c", "cat >&2; exit 3"], ["sh", "-c", "kill -9 $$"], ["sh", "-c", "exec sleep 600"]]
)
def test_a_command_that_fails_is_noted_and_the_run_is_what_it_was(session: Session, command: list[str]) -> None:
    session.file("cpool.yaml", json.dumps({"notify": [{"on": "success", "command": command, "timeout": "300ms"}]}))
    session.file("flow.yaml", "steps:\n  - run: echo hi\noutputs: {a: done}\n")
    ended = session.flow("run", "flow.yaml", "--json")
    assert (ended.code, ended.json()["status"]) == (0, "success")
    (note,) = [event["text"] for event in session.events() if event["type"] == "Noted"]
    assert note.startswith("`notify`: ")
    wanted = {"no-such-program": "no-such-program", "cat >&2; exit 3": "ended with exit code 3", "kill -9 $$": "signal SIGKILL"}
    assert wanted.get(command[-1], "did not end within 300ms") in note
    assert "\n* note: " in session.flow("report").out


def test_of_all_that_a_failed_command_printed_the_note_has_the_last_line_and_where_the_rest_is(session: Session) -> None:
    session.file("cpool.yaml", "notify: [{on: [success], command: [sh, -c, 'seq 500; echo ::error::last; echo; exit 3']}]\n")
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    ended = session.flow("run", "flow.yaml", "--run-id", "r1")
    (note,) = (line for line in ended.err.splitlines() if "notify" in line)
    assert note.endswith(f" ended with exit code 3: ::error::last (more in {session.last_run()}/logs/_notify.1.log)")
    assert len(ended.err.splitlines()) == 5


def test_a_command_that_does_not_read_is_none_that_fails(session: Session) -> None:
    session.file("cpool.yaml", "notify: [{on: success, command: ['true']}]\n")
    session.file("flow.yaml", "steps:\n  - run: head -c 60000 /dev/zero | tr '\\0' x\n  - run: head -c 60000 /dev/zero | tr '\\0' y\n")
    assert session.flow("run", "flow.yaml", "--quiet").code == 0
    assert [event["type"] for event in session.events()][-2:] == ["RunFinished", "Notified"]


def test_a_run_that_died_before_it_has_told_tells_when_it_is_resumed_and_one_that_died_meanwhile_does_not(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - run: echo hi\n")
    assert told.flow("run", "flow.yaml", "--run-id", "r1", CPOOL_FAULT="after-finish").code == -signal.SIGKILL
    assert lines(told) == []
    assert told.flow("resume", "r1").code == 0
    assert [(line["status"], line["CPOOL_RUN_ID"]) for line in lines(told)] == [("success", "r1")]
    assert told.flow("run", "flow.yaml", "--run-id", "r2", CPOOL_FAULT="before-spawn:2").code == -signal.SIGKILL
    assert told.flow("resume", "r2").code == 0
    assert len(lines(told)) == 1


def test_ctrl_c_ends_a_command_that_hangs_when_the_run_has_ended(session: Session) -> None:
    session.file("cpool.yaml", "notify: [{on: success, command: [sh, -c, 'echo $$ > pid; exec sleep 600'], timeout: 1h}]\n")
    session.file("flow.yaml", "steps:\n  - run: echo hi\n")
    run = session.start("run", "flow.yaml", "--run-id", "r1")
    try:
        assert eventually(lambda: (session.path / "pid").exists() and (session.path / "pid").read_text().endswith("\n"))
        run.send_signal(signal.SIGINT)
        assert run.wait(60) == 0
    finally:
        run.kill()
    assert not Path("/proc", (session.path / "pid").read_text().strip()).exists()
    assert "was stopped: cancelled by Ctrl-C" in session.events()[-1]["text"]


def test_cancel_of_a_run_that_nobody_works_on_is_told(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - {name: ask, approve: Go?}\n")
    assert told.flow("run", "flow.yaml", "--run-id", "r1", "--quiet").code == 4
    assert told.flow("cancel", "r1").code == 0
    assert [line["status"] for line in lines(told)] == ["waiting", "cancelled"]


def test_cases_of_a_workflow_tell_nobody(told: Session) -> None:
    told.file("flow.yaml", "steps:\n  - {name: a, run: echo hi}\n")
    told.file("flow.test.yaml", "cases:\n  - {name: good, expect: {status: success}}\n")
    assert told.flow("test", "flow.yaml").code == 0
    assert lines(told) == []
