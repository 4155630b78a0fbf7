"""A run that another process works on, followed: `status --watch`, `logs -f`, `events -f`, at a terminal and in pipes."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator

import pytest
from session import Session
from terminal import Terminal

from cpool_flow.cli.watch import Rests
from survivors import eventually, survivors

FLOW = """
    slots: 3
    steps:
      - {name: build, run: echo built}
      - name: slow
        run: |
          echo begun
          until [ -e one ]; do sleep 0.02; done; printf 'half of '; until [ -e two ]; do sleep 0.02; done; printf 'a line \\033[2J\\n'
          until [ -e go ]; do sleep 0.02; done; exit ${CODE:-0}
"""


@pytest.fixture
def running(session: Session) -> Iterator[Session]:
    """A detached run `r` whose step `slow` has begun."""
    session.file("flow.yaml", FLOW)
    started = session.flow("run", "flow.yaml", "--run-id", "r", "--detach")
    assert started.code == 0, started.err
    assert eventually(lambda: "begun" in session.flow("logs", "r").out)
    yield session
    session.flow("cancel", "r")
    assert eventually(lambda: not survivors(session.mark("r")))


def plain(text: str) -> str:
    return re.sub(r"\b([0-9]+m)?[0-9]+(\.[0-9])?s\b", "TIME", text)


def test_watch_says_in_lines_what_happens_and_then_shows_the_status(running: Session) -> None:
    watcher = running.start("status", "r", "--watch", "--exit-status")
    assert eventually(lambda: "run r" in (running.home / "err.txt").read_text())
    for name in ("one", "two", "go"):
        running.file(name, "")
    assert watcher.wait(60) == 0
    assert plain((running.home / "err.txt").read_text()).split("\n")[1:] == [
        "  … slow · 1/2 steps · 1 running · TIME",
        "  slow                 success    TIME",
        "",
    ]
    assert plain((running.home / "out.txt").read_text()).split("\n")[1:] == [
        "  build                success      TIME",
        "  slow                 success      TIME",
        "success · 2/2 steps · TIME",
        "",
    ]


def test_watch_takes_over_the_exit_code_of_the_run(running: Session) -> None:
    watcher = running.start("status", "r", "--watch", "--exit-status", "--json")
    assert eventually(lambda: "run r" in (running.home / "err.txt").read_text())
    assert running.flow("cancel", "r").code == 0
    assert watcher.wait(60) == 130
    assert json.loads((running.home / "out.txt").read_text())["status"] == "cancelled"


def test_watch_of_a_run_that_has_ended_says_nothing_more_than_its_status(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: build, run: exit 1}]\n")
    session.flow("run", "flow.yaml")
    ended = session.flow("status", "last", "--watch", "--exit-status")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out == session.flow("status", "last").out


def test_at_a_terminal_watch_draws_the_run_live_and_leaves_only_its_status(running: Session) -> None:
    terminal = Terminal(running, "status", "r", "--watch")
    terminal.see("  slow            running", "slot-1  begun")
    assert not terminal.echoes
    for name in ("one", "two", "go"):
        running.file(name, "")
    assert terminal.end() == 0
    assert plain(terminal.everything).count("slow") == 1
    assert plain(terminal.everything).split("\n")[-1] == "success · 2/2 steps · TIME"


def test_ctrl_c_ends_the_watching_and_not_the_run(running: Session) -> None:
    terminal = Terminal(running, "status", "r", "--watch")
    terminal.see("slot-1  begun")
    terminal.press_ctrl_c()
    terminal.see("the run goes on · stop it: cpool-flow cancel r")
    assert terminal.echoes
    assert terminal.end() == 130
    assert running.status("r")["status"] == "running"


def test_a_watching_that_is_ended_leaves_the_terminal_as_it_was(running: Session) -> None:
    terminal = Terminal(running, "status", "r", "--watch")
    terminal.see("slot-1  begun")
    terminal.process.terminate()
    assert terminal.process.wait(60) == 143
    assert terminal.echoes
    assert "slow" not in terminal.read_all()


def test_a_signal_waits_until_nothing_is_being_drawn_but_a_second_does_not() -> None:
    rests = Rests()
    rests.hear(signal.SIGTERM, None)
    with pytest.raises(SystemExit, match="143"):
        rests.rest()
    for number, error in ((signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)):
        with pytest.raises(error):
            rests.hear(number, None)


def test_followed_logs_name_a_step_once_and_go_on_below_its_name(running: Session) -> None:
    follower = running.start("logs", "r", "-f")
    out = running.home / "out.txt"
    assert eventually(lambda: out.read_text().endswith("begun\n"))
    running.file("one", "")
    assert eventually(lambda: out.read_text().endswith("half of "))
    running.file("two", "")
    assert eventually(lambda: "a line" in out.read_text())
    running.file("go", "")
    assert follower.wait(60) == 0
    assert out.read_text() == "── build attempt 1\nbuilt\n── slow attempt 1\nbegun\nhalf of a line \x1b[2J\n"


def test_at_a_terminal_followed_logs_show_whole_lines_and_control_characters(running: Session) -> None:
    terminal = Terminal(running, "logs", "r", "slow", "-f")
    terminal.see("begun")
    running.file("one", "")
    running.file("two", "")
    terminal.see("half of a line \\x1b[2J")
    running.file("go", "")
    assert terminal.end() == 0
    assert terminal.everything == "── slow attempt 1\nbegun\nhalf of a line \\x1b[2J"


def test_logs_of_steps_at_once_say_where_another_goes_on(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - {name: a, needs: [], run: "printf one; until [ -e first ]; do sleep 0.02; done; echo ' more'"}
          - {name: b, needs: [], run: "until [ -e second ]; do sleep 0.02; done; echo two; until [ -e third ]; do sleep 0.02; done"}
        """,
    )
    assert session.flow("run", "flow.yaml", "--run-id", "r", "--detach").code == 0
    follower = session.start("logs", "r", "-f")
    out = session.home / "out.txt"
    assert eventually(lambda: out.read_text().endswith("one"))
    session.file("second", "")
    assert eventually(lambda: out.read_text().endswith("two\n"))
    session.file("first", "")
    assert eventually(lambda: out.read_text().endswith("more\n"))
    session.file("third", "")
    assert follower.wait(60) == 0
    assert out.read_text() == "── a attempt 1\none\n── b attempt 1\ntwo\n── a attempt 1 (continued)\n more\n"


def test_logs_of_a_step_hold_those_of_all_that_is_within(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: each
            foreach: [x, y]
            steps: [{name: say, run: "printf {{ item }}", verify: "printf sure"}]
          - {name: eachother, run: echo no}
        """,
    )
    assert session.flow("run", "flow.yaml", "--slots", "1", "--run-id", "r").code == 0
    one = "── each[0]/say attempt 1\nx\n── each[0]/say attempt 1 verify\nsure"
    assert session.flow("logs", "r", "each[0]").out == one
    assert session.flow("logs", "r", "each").out == f"{one}\n" + one.replace("[0]", "[1]").replace("\nx\n", "\ny\n")


def test_followed_events_come_as_lines_until_the_run_ends(running: Session) -> None:
    follower = running.start("events", "r", "-f")
    for name in ("one", "two", "go"):
        running.file(name, "")
    assert follower.wait(60) == 0
    types = [json.loads(line)["type"] for line in (running.home / "out.txt").read_text().splitlines()]
    assert (types[0], types[-1]) == ("RunCreated", "RunFinished")


@pytest.mark.parametrize("command", ["logs r -f", "events r -f"])
def test_a_reader_that_has_enough_ends_a_follower_at_once(command: str, running: Session) -> None:
    line = " ".join(running.command(*command.split()))
    ended = running.program("bash", "-c", f"{line} | head -n 1; echo ${{PIPESTATUS[0]}}")
    assert len(ended.out.splitlines()) == 2
    assert (ended.out.splitlines()[-1], ended.err) == ("141", "")
