"""The last line that a running attempt has printed, from where its output stands."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from cpool_flow import events, plan
from cpool_flow.live.words import LastWords, last_line
from cpool_flow.model import Workflow
from cpool_flow.tasks import Attempt, Frame, Task

FRAME = Frame("", plan.build(Workflow.model_validate({"steps": [{"run": "x"}]})))


def task(agent: str | None = None, number: int = 1) -> Task:
    started = events.AttemptStarted("t", number, slot="slot-1", agent=agent, log=f"t.{number}.log")
    return Task("t", "t", FRAME, None, attempts=[Attempt(started, 0.0)])


def assistant(**block: Any) -> bytes:
    return json.dumps({"type": "assistant", "message": {"id": "m", "content": [block]}}).encode() + b"\n"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / ".slot-1.out"


@pytest.mark.parametrize(
    ("printed", "line"),
    [
        (b"", ""),
        (b"one\ntwo\n", "two"),
        (b"one\n\n  \n", "one"),
        (b"one\ntwo so f", "two so f"),
        (b" 10%\r 20%\r 30%", "30%"),
        (b"100%\r\n", "100%"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        ("…é\n".encode(), "…é"),
    ],
)
def test_the_last_line_is_the_last_that_is_not_blank(printed: bytes, line: str) -> None:
    assert last_line(printed) == line


def test_what_came_last_counts_of_stdout_and_stderr(tmp_path: Path, out: Path) -> None:
    words, errors = LastWords(tmp_path), tmp_path / ".slot-1.err"
    assert words(task()) == ""
    out.write_bytes(b"to stdout\n")
    os.utime(out, ns=(1, 1))
    assert words(task()) == "to stdout"
    errors.write_bytes(b"to stderr\n")
    os.utime(errors, ns=(2, 2))
    assert words(task()) == "to stderr"
    errors.write_bytes(b"")
    assert words(task()) == "to stdout"


def test_of_an_agent_it_is_what_its_last_event_means(tmp_path: Path, out: Path) -> None:
    words = LastWords(tmp_path)
    out.write_bytes(assistant(type="text", text="I look at the cart.\nThen more.") + b'{"type": "user"}\n')
    assert words(task("claude")) == "I look at the cart."
    with out.open("ab") as file:
        file.write(assistant(type="tool_use", id="u", name="Read", input={"file_path": "cart.py"}))
        file.write(b'{"type": "assis')
    assert words(task("claude")) == "Read cart.py"


def test_an_agent_that_prints_what_means_nothing_keeps_its_last_word(tmp_path: Path, out: Path) -> None:
    words = LastWords(tmp_path)
    out.write_bytes(assistant(type="text", text="Before."))
    assert words(task("claude")) == "Before."
    with out.open("ab") as file:
        file.write(json.dumps({"type": "user", "message": {"content": "x" * 100_000}}).encode() + b"\n")
    assert words(task("claude")) == "Before."
    assert words(task("claude", number=2)) == ""


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini", "opencode", "command", "scripted"])
def test_no_output_of_an_agent_harms_who_looks_at_it(agent: str, tmp_path: Path, out: Path) -> None:
    words = LastWords(tmp_path)
    for printed in (b"\xff\x00\n", b"[" * 15_000 + b"\n", b"null\n[]\n1\n{}\n", b'{"type": 3}\n{"type": "assistant", "message": 7}\n'):
        out.write_bytes(printed)
        assert isinstance(words(task(agent)), str)


def test_of_a_huge_file_only_its_end_is_read(tmp_path: Path, out: Path) -> None:
    with out.open("wb") as file:
        file.truncate(100 * 2**30)
        file.seek(0, os.SEEK_END)
        file.write(b"\nthe end\n")
    assert LastWords(tmp_path)(task()) == "the end"


def test_of_what_an_agent_says_the_first_line_is_shown(tmp_path: Path, out: Path) -> None:
    out.write_bytes(assistant(type="text", text="\n I will look.\nThen I write."))
    assert LastWords(tmp_path)(task("claude")) == "I will look."


def test_an_agent_of_the_projects_own_shows_its_last_line_as_it_is(tmp_path: Path, out: Path) -> None:
    out.write_bytes(b"one\ntwo\n")
    assert LastWords(tmp_path)(task("mine")) == "two"
