"""The live view of a real run, on a terminal of its own."""

from __future__ import annotations

import re
import signal

import pytest
from session import Session
from terminal import Terminal

from survivors import pid_in

WAITS = "until [ -e go ]; do sleep 0.05; done"
TWO = f"""
    slots: 3
    steps:
      - {{name: build, run: echo built}}
      - name: each
        foreach: [a, b]
        run: echo "works on {{{{ item }}}}"; {WAITS}
      - {{name: last, run: echo done}}
    outputs: {{said: "{{{{ steps.last.output }}}}"}}
"""


def plain(text: str) -> str:
    """Without what differs from run to run."""
    text = re.sub(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", "RUN", text)
    return re.sub(r"\b([0-9]+m)?[0-9]+(\.[0-9])?s\b", "TIME", text)


def test_steps_are_drawn_in_place_while_they_run_and_once_when_all_is_over(session: Session) -> None:
    session.file("flow.yaml", TWO)
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    seen = terminal.see("works on a", "works on b")
    head, *tree = plain(seen).split("\n")
    assert head.startswith("run r (spare-yak) · flow · 3 slots · works in ")
    assert tree[-6:] == [
        "  build           success    TIME",
        "  each            running    0/2 · TIME",
        "    each[0]       running    TIME · slot-1  works on a",
        "    each[1]       running    TIME · slot-2  works on b",
        "  last            pending",
        "1/3 steps · 2/3 slots busy · TIME",
    ]
    session.file("go", "")
    assert terminal.end() == 0
    assert plain(terminal.everything).split("\n")[-5:] == [
        "  build           success    TIME",
        "  each            success    2/2 · TIME",
        "  last            success    TIME",
        "success · 3/3 steps · TIME",
        "said = done",
    ]
    assert plain(terminal.everything).count("build") == 1


def test_the_first_ctrl_c_is_told_above_the_view_and_the_view_ends_with_how_to_go_on(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: slow, run: 'echo $$ > pid; sleep 600'}\n  - {name: after, run: 'true'}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", columns=200)
    pid_in(session.path / "pid")
    terminal.see("slow", "running")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert plain(terminal.everything).split("\n")[1:] == [
        "  stopping in order: cancelled by Ctrl-C · Ctrl-C again stops at once · go on later: cpool-flow resume r",
        "  slow            cancelled  TIME · cancelled by Ctrl-C",
        "  after           cancelled  cancelled by Ctrl-C",
        "cancelled by Ctrl-C · 0/2 steps · TIME",
        "look: cpool-flow logs r · go on: cpool-flow resume r",
    ]


def test_a_failure_stands_in_the_tree_and_at_the_end_with_its_last_lines(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: test, run: echo 2 failed; exit 3}\n  - {name: after, run: 'true'}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", columns=200)
    assert terminal.end() == 1
    assert plain(terminal.everything).split("\n")[1:] == [
        "  test            failed     TIME · `echo 2 failed; exit 3` ended with exit code 3",
        "  after           skipped    upstream failed",
        "failed test: `echo 2 failed; exit 3` ended with exit code 3",
        "    2 failed",
        "failed: step `test` failed · 0/2 steps · TIME",
        "look: cpool-flow logs r · go on: cpool-flow resume r",
    ]


def test_the_view_makes_room_for_a_question_and_goes_on_after_the_answer(session: Session) -> None:
    session.file(
        "flow.yaml",
        f"""
        steps:
          - {{name: other, needs: [], run: "echo $$ > pid; {WAITS}"}}
          - {{name: ask, needs: [], approve: "Ship it?\\nReally?"}}
          - {{name: ship, needs: [ask], run: "echo as {{{{ steps.ask.output }}}}; {WAITS}"}}
        """,
    )
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    assert terminal.see("n [REASON] to reject:").split("\n")[-4:] == [
        "ask asks:",
        "  Ship it?",
        "  Really?",
        "y [ANSWER] to approve, n [REASON] to reject:",
    ]
    assert terminal.echoes
    pid_in(session.path / "pid")  # what runs meanwhile is not drawn over the answer
    terminal.type("y 1.4")
    terminal.see("to reject: y 1.4")
    terminal.type("\n")
    assert terminal.see("as 1.4").split("\n")[-5:-1] == [
        "y [ANSWER] to approve, n [REASON] to reject: y 1.4",
        *terminal.display.split("\n")[-4:-1],
    ]
    assert not terminal.echoes
    session.file("go", "")
    assert terminal.end() == 0


def test_an_answer_from_elsewhere_brings_the_view_back(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: ask, approve: Go?}}\n  - {{name: ship, run: 'echo ships; {WAITS}'}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", columns=200)
    terminal.see("n [REASON] to reject:")
    assert session.flow("approve", "r", "ask").code == 0
    seen = terminal.see("slot-1  ships").split("\n")
    assert seen[3:5] == ["y [ANSWER] to approve, n [REASON] to reject:", seen[4]]
    assert seen[4].startswith("  ask             success")
    session.file("go", "")
    assert terminal.end() == 0


def test_a_terminal_that_goes_away_stops_the_run_in_order(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: build, run: 'echo works; {WAITS}'}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    terminal.see("slot-1  works")
    assert terminal.close() == 143
    status = session.status("r")
    assert (status["status"], status["error"]) == ("cancelled", "stopped by SIGHUP")
    session.file("go", "")
    assert session.flow("resume", "r").code == 0


def test_what_is_typed_before_a_question_is_no_answer_to_it(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: build, run: 'echo works; {WAITS}'}}\n  - {{name: ask, approve: Go?}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    terminal.see("slot-1  works")
    assert not terminal.echoes
    terminal.type("y")
    session.file("go", "")
    terminal.see("to reject:")
    terminal.type("\n")
    terminal.see("to reject:\ny [ANSWER]")  # an empty line is asked again
    terminal.type("n not now\n")
    assert terminal.end() == 1


def test_a_resize_is_followed(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: build, run: 'echo {'x' * 100}; {WAITS}'}}\n  - {{name: after, run: 'true'}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", columns=100, lines=24)
    terminal.see(f"{'x' * 50}…")
    terminal.resize(60, 10)
    terminal.see(f"slot-1  {'x' * 16}…")
    terminal.resize(200, 30)
    terminal.see("x" * 100)
    assert terminal.display.count("build") == 1
    session.file("go", "")
    assert terminal.end() == 0
    assert terminal.everything.count("after") == 1


def test_500_steps_at_once_fit_any_screen(session: Session) -> None:
    steps = "".join(f"  - {{name: s{number}, needs: [], run: ['sh', '-c', '{WAITS}']}}\n" for number in range(500))
    session.file("flow.yaml", f"slots: 20\nsteps:\n{steps}")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", lines=12)
    seen = terminal.see("20/20 slots busy").split("\n")
    assert len(seen) <= 12
    assert seen[-2].startswith("  … 491 more: 480 ready, 11 running")
    terminal.press_ctrl_c()
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    assert len(terminal.everything.split("\n")) < 40


def test_a_line_of_10_megabytes_harms_nothing(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: long, run: 'head -c 10000000 /dev/zero | tr \"\\0\" x; {WAITS}'}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    terminal.see("slot-1  xxxxxxxxxx")
    session.file("go", "")
    assert terminal.end() == 0
    assert len(terminal.shown) < 100_000


def test_text_of_commands_is_data_for_the_terminal(session: Session) -> None:
    session.file(
        "flow.yaml", f"steps:\n  - {{name: bad, run: \"printf '\\\\033[2J\\\\033]0;owned\\\\007[bold]x[/bold]'; {WAITS}; exit 1\"}}\n"
    )
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r", columns=120)
    terminal.see("slot-1  \\x1b[2J\\x1b]0;owned\\x07[bold]x[/bold]")
    session.file("go", "")
    assert terminal.end() == 1
    assert b"\x1b[2J" not in terminal.shown
    assert terminal.screen.title == ""


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ((), {"NO_COLOR": "1"}),
        ((), {"CI": "true"}),
        ((), {"TERM": "dumb"}),
        (("--progress", "plain"), {"NO_COLOR": "1"}),
        (("--quiet",), {}),
        (("--progress", "json"), {}),
    ],
    ids=str,
)
def test_where_nothing_is_to_be_redrawn_no_control_character_is_printed(
    arguments: tuple[str, ...], environment: dict[str, str], session: Session
) -> None:
    session.file("flow.yaml", "steps: [{name: build, run: echo built}]\noutputs: {said: '{{ steps.build.output }}'}\n")
    terminal = Terminal(session, "run", "flow.yaml", *arguments, columns=200, **environment)
    assert terminal.end() == 0
    assert b"\x1b" not in terminal.shown
    assert "said = built" in terminal.display


def test_lines_at_a_terminal_have_colours(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: build, run: echo built}]\n")
    terminal = Terminal(session, "run", "flow.yaml", "--progress", "plain")
    assert terminal.end() == 0
    assert b"  build                \x1b[32msuccess\x1b[m" in terminal.shown


def test_in_ci_colours_can_be_asked_for(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: build, run: echo built}]\n")
    assert "\x1b[32msuccess\x1b[m" in session.flow("run", "flow.yaml", CI="true", FORCE_COLOR="1").err
    assert "\x1b" not in session.flow("run", "flow.yaml", CI="true").err


def test_ctrl_z_gives_the_shell_its_terminal_back_and_fg_draws_the_view_anew(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: build, run: 'echo works; {WAITS}'}}\n")
    terminal = Terminal(session, program=["bash", "--norc", "--noprofile", "-i"], PS1="$ ")
    terminal.see("$")
    terminal.type(" ".join(session.command("run", "flow.yaml", "--run-id", "r")) + "\n")
    terminal.see("slot-1  works")
    terminal.type("\x1a")
    terminal.see("Stopped")
    terminal.type("fg\n")
    terminal.see("fg\n", "slot-1  works")
    session.file("go", "")
    terminal.see("success · 1/1 steps")
    terminal.type("exit\n")
    terminal.end()


def test_a_run_that_is_killed_in_the_middle_of_the_view_can_be_resumed(session: Session) -> None:
    session.file("flow.yaml", f"steps:\n  - {{name: build, run: 'echo works; {WAITS}'}}\n")
    terminal = Terminal(session, "run", "flow.yaml", "--run-id", "r")
    terminal.see("slot-1  works")
    terminal.process.send_signal(signal.SIGKILL)
    session.file("go", "")
    again = Terminal(session, "resume", "r")
    assert again.end() == 0
    assert "build           success" in again.display
    assert "2 attempts" in again.display
