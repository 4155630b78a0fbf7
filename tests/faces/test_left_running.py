"""What is left where the coordinator and its guardian are killed together: the next command that opens the project ends it."""

from __future__ import annotations

import sys

import psutil
import pytest
from session import Session

from survivors import alive, eventually, pid_in, survivors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

FLOW = """
    steps:
      - name: a
        run: |
          setsid sleep 1000 &
          echo $! > daemon
          echo $$ > shell
          sleep 1000
"""


@pytest.fixture
def left(session: Session) -> list[int]:
    """Processes of the run `r` that nobody looks after."""
    session.file("flow.yaml", FLOW)
    coordinator = session.start("run", "flow.yaml", "--run-id", "r")
    pids = [pid_in(session.path / "daemon"), pid_in(session.path / "shell")]
    kill_both(coordinator.pid)
    coordinator.wait()
    assert [alive(pid) for pid in pids] == [True, True]
    return pids


def kill_both(coordinator: int) -> None:
    """Kill the coordinator and its guardian so that neither sees the other die."""
    process = psutil.Process(coordinator)
    guardians: list[psutil.Process] = []

    def look() -> bool:
        guardians[:] = [child for child in process.children() if "guardian" in " ".join(child.cmdline())]
        return bool(guardians)

    assert eventually(look), "no guardian"
    for each in (process, *guardians):
        each.suspend()
    for each in (*guardians, process):
        each.kill()


@pytest.mark.parametrize("command", [("status", "r"), ("runs",), ("run", "other.yaml"), ("events", "r")], ids=lambda command: command[0])
def test_the_next_command_in_the_project_ends_what_a_killed_run_has_left(
    session: Session, left: list[int], command: tuple[str, ...]
) -> None:
    session.file("other.yaml", "steps: [{run: 'true'}]")
    ended = session.flow(*command)
    assert ended.code == 0
    assert eventually(lambda: not any(alive(pid) for pid in left))
    assert survivors(session.mark("r")) == []


def test_of_a_run_that_lives_nothing_is_ended_and_one_that_ends_in_order_leaves_no_sign_of_a_crash(session: Session) -> None:
    session.file("flow.yaml", FLOW)
    coordinator = session.start("run", "flow.yaml", "--run-id", "r")
    pids = [pid_in(session.path / "daemon"), pid_in(session.path / "shell")]
    assert session.flow("runs").code == 0
    assert [alive(pid) for pid in pids] == [True, True]
    assert session.flow("cancel", "r").code == 0
    assert coordinator.wait() == 130
    assert (session.path / ".cpool" / "runs" / "r" / "coordinator.lock").read_text() == ""
