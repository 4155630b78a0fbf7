"""What a run says on stderr while it works: one line for each change of state, and a summary."""

from __future__ import annotations

import re

from session import Session


def lines(text: str) -> list[str]:
    """Progress without what differs from run to run."""
    text = re.sub(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}", "RUN", text)
    text = re.sub(r"\b[0-9]+(\.[0-9]+)?m?s\b", "TIME", text)
    return [re.sub(r" {2,}", "  ", line) for line in re.sub(r"RUN \([a-z]+-[a-z]+\)", "RUN (NAME)", text).splitlines()]


def test_a_failure_is_said_once_where_it_happens_and_once_at_the_end(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - {name: one, run: 'true'}
          - {name: two, run: echo gone; exit 3}
          - {name: three, run: 'true'}
        """,
    )
    ended = session.flow("run", "flow.yaml")
    assert (ended.code, ended.out) == (1, "")
    assert lines(ended.err) == [
        f"run RUN (NAME) · flow · 4 slots · works in {session.path}",
        "  one  started  slot-1",
        "  one  success  TIME",
        "  two  started  slot-1",
        "  two  failed  TIME · `echo gone; exit 3` ended with exit code 3",
        "  three  skipped  upstream failed",
        "failed two: `echo gone; exit 3` ended with exit code 3",
        "  gone",
        "failed: step `two` failed · 1/3 steps · TIME",
        "look: cpool-flow logs RUN · go on: cpool-flow resume RUN",
    ]


def test_quiet_says_only_what_failed(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: two, run: echo gone; exit 3}]\n")
    ended = session.flow("run", "flow.yaml", "--quiet")
    assert lines(ended.err) == [
        "failed two: `echo gone; exit 3` ended with exit code 3",
        "  gone",
        "failed: step `two` failed · 0/1 steps · TIME",
        "look: cpool-flow logs RUN · go on: cpool-flow resume RUN",
    ]
    assert session.flow("run", "hello", "--quiet").err == ""
