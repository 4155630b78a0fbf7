"""Stopping a run: Ctrl-C on a real terminal, signals, `cancel`, and what never ends by itself. Nothing is left, and all can go on."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from session import Session
from terminal import Terminal

from survivors import eventually, pid_in, survivors

STUBBORN = """
    steps:
      - name: quick
        run: echo done
      - name: slow
        run: |
          trap 'echo asked >> asked' TERM
          echo $$ > pid
          while true; do sleep 0.05 || true; done
      - {name: after, run: 'true'}
    finally:
      - {name: tidy, run: 'echo {{ steps.slow.status }} > tidied'}
"""
SLOW = STUBBORN.replace("trap 'echo asked >> asked' TERM", "true")


@contextmanager
def started(session: Session, text: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run whose step `slow` has begun."""
    session.file("flow.yaml", text)
    process = session.start("run", "flow.yaml", "--run-id", "r", *arguments)
    try:
        pid_in(session.path / "pid")
        yield process
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not survivors(session.mark("r")))


def statuses(session: Session) -> dict[str, str]:
    return {step["name"]: step["status"] for step in session.status("r")["steps"]}


CANCELLED = {"quick": "success", "slow": "cancelled", "after": "cancelled", "tidy": "success"}


def test_the_first_ctrl_c_stops_in_order_and_says_how_to_go_on(session: Session) -> None:
    session.file("flow.yaml", SLOW)
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    pid_in(session.path / "pid")
    terminal.press_ctrl_c()
    assert "Ctrl-C again stops at once" in terminal.read_until("again")
    assert terminal.end() == 130
    shown = terminal.shown.decode()
    assert "cpool-flow resume r" in shown
    assert statuses(session) == CANCELLED
    assert (session.path / "tidied").read_text() == "cancelled\n"
    assert not survivors(session.mark("r"))
    session.file("flow.yaml", "never read again")
    (session.path / "pid").unlink()
    resumed = session.start("resume", "r")
    pid_in(session.path / "pid")
    resumed.send_signal(signal.SIGINT)
    assert resumed.wait(60) == 130
    quick, slow, *_ = session.status("r")["steps"]
    assert (len(quick["attempts"]), len(slow["attempts"])) == (1, 2)


def test_the_second_ctrl_c_stops_at_once_also_what_ignores_term(session: Session) -> None:
    session.file("flow.yaml", STUBBORN)
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    pid_in(session.path / "pid")
    terminal.press_ctrl_c()
    assert eventually(lambda: (session.path / "asked").exists())
    assert terminal.process.poll() is None
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert statuses(session) == {**CANCELLED, "tidy": "cancelled"}
    assert not (session.path / "tidied").exists()
    assert not survivors(session.mark("r"))


@pytest.mark.parametrize(
    ("number", "code", "reason"),
    [(signal.SIGINT, 130, "Ctrl-C"), (signal.SIGTERM, 143, "SIGTERM"), (signal.SIGHUP, 143, "SIGHUP")],
)
def test_a_signal_stops_in_order(session: Session, number: int, code: int, reason: str) -> None:
    with started(session, SLOW) as process:
        process.send_signal(number)
        assert process.wait(60) == code
    assert statuses(session) == CANCELLED
    result = session.status("r")
    assert result["status"] == "cancelled"
    assert reason in result["error"]
    assert session.flow("status", "r", "--exit-status").code == code


def test_a_hang_up_is_nothing_to_a_run_that_was_started_with_nohup(session: Session) -> None:
    session.file("flow.yaml", SLOW.replace("while true", "until [ -e go ]"))
    process = session.start("run", "flow.yaml", "--run-id", "r", wrapper=("nohup",))
    pid_in(session.path / "pid")
    process.send_signal(signal.SIGHUP)
    (session.path / "go").touch()
    assert process.wait(60) == 0


def test_cancel_from_another_process_stops_in_order(session: Session) -> None:
    with started(session, SLOW) as process:
        asked = session.flow("cancel", "r")
        assert (asked.code, asked.out) == (0, "")
        assert process.wait(60) == 130
    assert statuses(session) == CANCELLED
    again = session.flow("cancel", "r")
    assert again.code == 0
    assert "has ended already: cancelled" in again.err


def test_a_step_cannot_cancel_its_own_run_unless_it_says_so(session: Session) -> None:
    session.environment["CPOOL_FLOW"] = " ".join(session.command())
    text = """
    steps:
      - {name: refused, run: '$CPOOL_FLOW cancel r && exit 0; echo code $?'}
      - {name: slow, run: 'echo $$ > pid; $CPOOL_FLOW cancel r --self; sleep 60'}
    """
    with started(session, text) as process:
        assert process.wait(60) == 130
    refused, slow = session.status("r")["steps"]
    assert refused["output"] == "code 2"
    assert slow["status"] == "cancelled"


def test_cancel_of_a_run_whose_coordinator_died_ends_it_in_order(session: Session) -> None:
    with started(session, SLOW) as process:
        process.kill()
        process.wait()
        cancelled = session.flow("cancel", "r")
        assert cancelled.code == 0, cancelled.err
    result = session.status("r")
    assert (result["status"], statuses(session)) == ("cancelled", CANCELLED)
    assert (session.path / "tidied").read_text() == "cancelled\n"


def test_a_stop_reaches_setup_too(session: Session) -> None:
    session.repository()
    text = f"""
    isolation: worktree
    setup: "echo $$ > {session.path}/pid; sleep 600"
    steps: [{{name: work, run: 'true'}}]
    finally: [{{name: tidy, run: 'true'}}]
    """
    with started(session, text) as process:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert session.status("r")["status"] == "cancelled"
    assert statuses(session)["work"] == "cancelled"


def test_the_time_of_the_run_bounds_setup_too(session: Session) -> None:
    session.file("flow.yaml", "timeout: 300ms\nsetup: sleep 600\nsteps: [{name: work, run: 'true'}]\n")
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 3
    assert ended.json()["error"] == "the run's time of 300ms is over"


HOLDERS: dict[str, str] = {
    "a background process that holds the pipe": "sleep 600 & echo $! > child; echo out",
    "a daemon in a session of its own": "setsid -f sh -c 'echo $$ > child; exec sleep 600' </dev/null >/dev/null 2>&1; until [ -s child ]; do sleep 0.01; done; echo out",
    "a daemon that ignores TERM": "setsid -f sh -c 'trap \"\" TERM; echo $$ > child; while :; do sleep 1; done'; until [ -s child ]; do sleep 0.01; done; echo out",
}


@pytest.mark.parametrize("script", HOLDERS.values(), ids=HOLDERS)
def test_what_a_step_leaves_behind_is_gone_when_its_task_is_over(session: Session, script: str) -> None:
    session.file("stay.sh", script)
    session.file(
        "flow.yaml",
        "steps:\n  - {name: leaves, run: [sh, stay.sh]}\n  - {name: looks, run: 'kill -0 $(cat child) 2>&1 && echo there || echo gone'}\n",
    )
    ended = session.flow("run", "flow.yaml", "--json", "--run-id", "r")
    assert ended.code == 0, ended.err
    leaves, looks = ended.json()["steps"]
    assert leaves["output"] == "out"
    assert looks["output"].endswith("gone")
    assert not survivors(session.mark("r"))


def test_a_daemon_is_gone_after_a_stop_and_after_the_death_of_the_coordinator(session: Session) -> None:
    text = """
    steps:
      - name: slow
        run: |
          setsid -f sh -c 'trap "" TERM; echo $$ > child; while :; do sleep 1; done'
          until [ -s child ]; do sleep 0.01; done
          echo $$ > pid; trap '' TERM; while :; do sleep 0.1; done
    """
    with started(session, text, "--timeout", "60s") as process:
        daemon = pid_in(session.path / "child")
        process.kill()
        process.wait()
        assert eventually(lambda: not survivors(session.mark("r"), daemon))


def test_a_time_out_ends_everything_that_the_step_started(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - {name: slow, timeout: 300ms, run: 'sleep 601 & sleep 602 & setsid -f sleep 603; sleep 604'}
        """,
    )
    assert session.flow("run", "flow.yaml", "--run-id", "r").code == 1
    assert session.status("r")["steps"][0]["attempts"][0]["error_kind"] == "timeout"
    assert not survivors(session.mark("r"))


def test_a_reader_of_events_that_goes_away_does_not_harm_the_run(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: sleep 0.3}, {run: sleep 0.1}, {run: echo on > made}]\n")
    command: Any = " ".join(session.command("run", "flow.yaml", "--run-id", "r", "--events", "--quiet"))
    ended = session.program("bash", "-c", f"{command} | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert ended.out.splitlines()[-1] == "0"
    assert session.status("r")["status"] == "success"


def test_a_ctrl_c_that_reaches_a_step_as_well_cancels_it(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - name: both\n    run: kill -INT $PPID; kill -INT $$\n    retries: 1\n")
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 130, ended.err
    assert [step["status"] for step in ended.json()["steps"]] == ["cancelled"]
    assert ended.json()["steps"][0]["attempts"][0]["error_kind"] == "cancelled"
