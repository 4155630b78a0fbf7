"""Every example of the documents is executed, in the order in which a reader meets it, in a folder of its own."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from session import ROOT, Session

from cpool_flow.model import Workflow
from documents import Shown, blocks, same, session

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.yaml") if not path.stem.endswith("answers"))


class Reader:
    """Somebody who follows a document: `cpool-flow` is on the PATH, as after an installation."""

    def __init__(self, here: Session) -> None:
        self.here = here
        self._code = 0
        programs = here.home / "bin"
        programs.mkdir()
        (programs / "cpool-flow").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cpool_flow "$@"\n')
        (programs / "cpool-flow").chmod(0o755)
        here.environment |= {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SHELL": "/bin/bash",
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "You"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "you@example.com"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "init.defaultBranch",
            "GIT_CONFIG_VALUE_0": "main",
        }

    def type(self, command: str) -> tuple[int, str]:
        """Run a command line; its exit code, and all that it printed."""
        ended = subprocess.run(
            ["bash", "-c", f"(exit {self._code}); {command}"],
            cwd=self.here.path,
            env=self.here.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=100,
            check=False,
        )
        self._code = ended.returncode
        text = ended.stdout.decode("utf-8", "replace")
        return ended.returncode, text.replace(str(self.here.path), "/home/you/project").replace(str(self.here.home), "/home/you")


@pytest.fixture
def reader(session: Session) -> Reader:
    return Reader(session)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(document: Path, reader: Reader) -> None:
    text, moved = document.read_text(encoding="utf-8"), 0
    for block in blocks(document):
        if block.file:
            reader.here.file(block.file, block.text)
        if block.language == "console":
            actual = "".join(played(reader, list(session(block.text))))
            text = text[: block.start + moved] + actual + text[block.end + moved :]
            moved += len(actual) - len(block.text)
    if os.environ.get("UPDATE_GOLDEN") == "1":
        document.write_text(text, encoding="utf-8")
    assert text == document.read_text(encoding="utf-8")


def played(reader: Reader, commands: list[Shown]) -> Iterator[str]:
    """The block as it should be: each command with what is shown where that is right, else with what it gave."""
    for shown, after in zip(commands, [*commands[1:], None], strict=True):
        code, given = reader.type(shown.command)
        asked = after is not None and after.command == "echo $?"
        assert code == 0 or asked, f"`{shown.command}` ends with {code}, and the document does not say so:\n{given}"
        output = shown.output if same(shown.output, given) else given.rstrip("\n")
        yield f"$ {shown.command}\n" + (f"{output}\n" if output else "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_workflow_that_a_document_shows_is_valid(document: Path, session: Session) -> None:
    shown = [block for block in blocks(document) if block.language == "yaml" and "broken" not in (block.file or "")]
    files = []
    for number, block in enumerate(shown):
        data = yaml.safe_load(block.text)
        if block.file and not (isinstance(data, dict) and isinstance(data.get("steps"), list)):
            session.file(block.file, block.text)
            continue
        files.append(f"block_{number}.yaml")
        (session.path / files[-1]).write_text(yaml.safe_dump(whole(data), allow_unicode=True, sort_keys=False), encoding="utf-8")
    ended = session.flow("validate", *files) if files else None
    assert ended is None or ended.code == 0, ended.err


def whole(data: Any) -> dict[str, Any]:
    """A workflow around a part of one: a list of steps, keys of a step, or keys of the top."""
    if isinstance(data, list):
        return {"steps": data}
    top = {field.alias or name for name, field in Workflow.model_fields.items()}
    if set(data) <= top:
        return {"steps": [{"run": "true"}]} | data
    return {"steps": [data if {"run", "prompt", "skill"} & set(data) else {"run": "true", **data}]}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_as_its_first_lines_say(example: Path, reader: Reader) -> None:
    subprocess.run(["cp", "-R", str(example.parent), str(reader.here.path / "examples")], check=True)
    reader.here.repository()
    commands = re.findall(r"^#   (.+)$", example.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands, "an example begins with the commands that run it"
    for command in commands:
        code, text = reader.type(command)
        assert code == 0, text


def test_every_document_that_is_linked_exists() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"
