"""Lines of progress: the heartbeat, and which of them have colours."""

from __future__ import annotations

import io
from typing import TextIO

import pytest
from simulation import Simulation, finished, workflow

from cpool_flow.cli.colour import has_colour, with_labels, with_status
from cpool_flow.cli.progress import PlainProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("quiet", [False, True])
def test_after_a_minute_of_silence_a_line_says_that_the_run_is_alive(quiet: bool) -> None:
    steps = [{"name": name, "run": "x", "needs": []} for name in "abcde"]
    slow = Simulation(workflow(*steps), lambda started: (1e6, finished(started.task, 1)), slots=5)
    state = slow.run(until=10.0).state
    clock, stream = Clock(), io.StringIO()
    progress = PlainProgress(stream, quiet=quiet, clock=clock)
    for moment in (0.0, 30.0, 59.9, 60.0, 61.0, 119.0, 120.0):
        clock.now = moment
        progress.heartbeat(state)
    lines = stream.getvalue().splitlines()
    assert len(lines) == (0 if quiet else 2)
    assert all(line.startswith("  … a, b, c and 2 more · 0/5 steps · 5 running · ") for line in lines)


@pytest.mark.parametrize(
    ("stream", "environment", "coloured"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "xterm", "NO_COLOR": ""}, True),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"CI": "true"}, False),
        (Terminal(), {"CLICOLOR": "0"}, False),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"FORCE_COLOR": "0"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, True),
        (Terminal(), {"CI": "true", "CLICOLOR_FORCE": "1"}, True),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"CLICOLOR_FORCE": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "false", "CLICOLOR_FORCE": "1"}, False),
    ],
)
def test_whether_a_stream_has_colours(stream: TextIO, environment: dict[str, str], coloured: bool) -> None:
    assert has_colour(stream, environment) == coloured


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("  build                success    0.1s", "  build                \x1b[32msuccess\x1b[m    0.1s"),
        ("failed test: gone", "\x1b[31mfailed\x1b[m test: gone"),
        ("success · 3/3 steps", "\x1b[32msuccess\x1b[m · 3/3 steps"),
        ("  failed-not           started    slot-1", "  failed-not           \x1b[36mstarted\x1b[m    slot-1"),
        ("  a b success", "  a b success"),
        ("    some output failed", "    some output failed"),
    ],
)
def test_the_status_of_a_line_has_its_colour(line: str, shown: str) -> None:
    assert with_status(line) == shown


def test_the_labels_of_problems_have_colours_and_their_sources_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    problem = "error: step `x` needs `y`\n  --> a.yaml:1:2\n  |\n1 | error: help: ^\n  |  ^^ did you mean `z`?\nhelp: do"
    assert with_labels(problem, Terminal()) == (
        "\x1b[31merror\x1b[m: step `x` needs `y`\n  --> a.yaml:1:2\n  |\n1 | error: help: ^\n  |  \x1b[31m^^ did you mean `z`?\x1b[m\n\x1b[36mhelp\x1b[m: do"
    )
    monkeypatch.setenv("FORCE_COLOR", "0")
    assert with_labels(problem, Terminal()) == problem
