"""`cpool-flow init`: one workflow file that runs without a key, and the three commands to type next."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from session import ROOT, Session

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.yaml") if "." not in path.stem)


def files(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_init_writes_a_workflow_and_prints_the_next_three_commands_and_nothing_else(session: Session) -> None:
    ended = session.flow("init")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == "cpool-flow plan first.yaml\ncpool-flow run first.yaml\ncpool-flow status last\n"
    assert files(session.path) == ["first.answers.yaml", "first.yaml"]


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_three_commands_work_in_a_folder_that_was_empty(session: Session, example: str) -> None:
    printed = session.flow("init", "--example", example).out.splitlines()
    assert [line.split()[:2] for line in printed] == [["cpool-flow", "plan"], ["cpool-flow", "run"], ["cpool-flow", "status"]]
    for line in printed:
        ended = session.flow(*line.split()[1:])
        assert ended.code == 0, ended.err
    assert session.status()["status"] == "success"


@pytest.mark.parametrize("example", EXAMPLES)
def test_what_init_writes_is_valid(session: Session, example: str) -> None:
    session.flow("init", "--example", example)
    ended = session.flow("validate", "--strict", f"{example}.yaml")
    assert (ended.code, ended.err) == (0, "1 file valid\n")


def test_a_file_of_another_name_is_called_so_everywhere(session: Session) -> None:
    ended = session.flow("init", "mine.yaml", "--example", "fix")
    assert ended.out == "cpool-flow plan mine.yaml\ncpool-flow run mine.yaml\ncpool-flow status last\n"
    assert files(session.path) == ["mine.answers.yaml", "mine.yaml"]
    written = (session.path / "mine.yaml").read_text() + (session.path / "mine.answers.yaml").read_text()
    assert "fix.yaml" not in written
    assert "fix.answers.yaml" not in written
    assert session.flow("run", "mine.yaml").code == 0


def test_a_workflow_without_an_agent_is_one_file(session: Session) -> None:
    session.flow("init", "--example", "checks")
    assert files(session.path) == ["checks.yaml"]


@pytest.mark.parametrize("taken", ["first.yaml", "first.answers.yaml"])
def test_no_file_is_overwritten(session: Session, taken: str) -> None:
    session.file(taken, "mine\n")
    ended = session.flow("init")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == f"error: there is already a file `{taken}`\nhelp: name another one: `cpool-flow init OTHER.yaml`\n"
    assert files(session.path) == [taken]
    assert (session.path / taken).read_text() == "mine\n"


def test_a_link_that_leads_nowhere_is_not_written_through(session: Session) -> None:
    (session.path / "first.yaml").symlink_to(session.home / "elsewhere")
    assert session.flow("init").code == 2
    assert not (session.home / "elsewhere").exists()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ("--example", "fxi"),
            "error: no example `fxi`\nhint: did you mean `fix`?\nhelp: there is `checks`, `first`, `fix`, `review`\n",
        ),
        (("review",), "error: `review` is an example, and this asks for a file to write\nhelp: cpool-flow init --example review\n"),
        (
            ("a b.yaml",),
            "error: `a b.yaml` cannot be a workflow file\n"
            "help: letters, digits, `.`, `_` and `-`, ending in `.yaml`, such as `first.yaml`\n",
        ),
        (("missing/first.yaml",), "error: cannot write `missing/first.yaml`: no such file or directory\n"),
    ],
)
def test_what_cannot_be_written_is_said_and_nothing_is_left(session: Session, arguments: tuple[str, ...], text: str) -> None:
    ended = session.flow("init", *arguments)
    assert (ended.code, ended.out, ended.err) == (2, "", text)
    assert files(session.path) == []


def test_the_help_names_every_example(session: Session) -> None:
    text = " ".join(session.flow("init", "--help").out.split())
    assert "What to begin with: first, checks, fix or review." in text
    assert EXAMPLES == ["checks", "first", "fix", "review"]
