"""Every example of the documents is executed, in the order in which a reader meets it, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from session import ROOT, Session

from cpool_flow.cli.main import COMMANDS, LATER_COMMANDS
from cpool_flow.model import KINDS, LATER_KEYS, Workflow
from cpool_flow.template.filters import FILTERS
from documents import CTRL_C, Shown, blocks, same, session
from reference import tables, with_tables
from survivors import eventually

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
SCHEMA = json.loads((ROOT / "schemas" / "workflow.schema.json").read_text(encoding="utf-8"))
POOL_SCHEMA = json.loads((ROOT / "schemas" / "pool.schema.json").read_text(encoding="utf-8"))
# Besides `console` and `yaml`, which are executed: `sh` is the installation (`test_package.py` does it), `text` a picture, `yml` a file
# of GitHub (`test_github_files.py` reads it), `python` a file that a command executes.
LANGUAGES = {"console", "python", "yaml", "sh", "text", "yml"}


class Reader:
    """Somebody who follows a document: `cpool-flow` is on the PATH, as after an installation."""

    def __init__(self, here: Session) -> None:
        self.here = here
        self._code = 0
        programs = here.home / "bin"
        self.install(programs)
        here.environment |= {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "SHELL": "/bin/bash",
            "USER": "you",
            "XDG_STATE_HOME": str(here.home / ".local" / "state"),
            **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "You"),
            **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "you@example.com"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "init.defaultBranch",
            "GIT_CONFIG_VALUE_0": "main",
        }

    def install(self, folder: Path) -> None:
        """Put `cpool-flow` into a folder for programs."""
        folder.mkdir(parents=True)
        (folder / "cpool-flow").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cpool_flow "$@"\n')
        (folder / "cpool-flow").chmod(0o755)

    def type(self, command: str, lines_before_ctrl_c: int | None = None) -> tuple[int, str]:
        """Run a command line; its exit code, and all that it printed. Ctrl-C reaches it and the shell, as in a terminal."""
        typed = subprocess.Popen(
            ["bash", "-c", f"(exit {self._code}); {command}"],
            cwd=self.here.path,
            env=self.here.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        assert typed.stdout is not None
        printed = b""
        try:
            if lines_before_ctrl_c is not None:
                printed = b"".join(typed.stdout.readline() for _ in range(lines_before_ctrl_c)) + f"{CTRL_C}\n".encode()
                assert eventually(lambda: _works(typed.pid)), "no step runs"
                os.killpg(typed.pid, signal.SIGINT)
            printed += typed.communicate(timeout=100)[0]
        finally:
            typed.kill()
            typed.wait()
        self._code = typed.returncode if typed.returncode >= 0 else 128 - typed.returncode  # of a signal, as a shell says it
        text = printed.decode("utf-8", "replace")
        for path, shown in ((self.here.path, "/home/you/project"), (self.here.home, "/home/you"), (ROOT, "/home/you/cpool-flow")):
            text = text.replace(str(path), shown)
        return self._code, text


def _works(pid: int) -> bool:
    """Whether a shell step runs, in a group of its own."""
    children = psutil.Process(pid).children(recursive=True)
    return any(child.name() == "bash" and os.getpgid(child.pid) == child.pid for child in children)


@pytest.fixture
def reader(session: Session) -> Reader:
    return Reader(session)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_shows_is_what_happens(document: Path, reader: Reader) -> None:
    text, moved = document.read_text(encoding="utf-8"), 0
    if document.name == "README.md":
        reader.install(reader.here.path / ".venv" / "bin")
    for block in blocks(document):
        if block.file:
            reader.here.file(block.file, block.text)
        if block.language == "console":
            actual = "".join(played(reader, list(session(block.text))))
            text = text[: block.start + moved] + actual + text[block.end + moved :]
            moved += len(actual) - len(block.text)
    hold(document, text)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_the_keys_that_a_document_lists_are_those_of_the_model(document: Path) -> None:
    hold(document, with_tables(document.read_text(encoding="utf-8"), {"Workflow": SCHEMA, "PoolFile": POOL_SCHEMA}))


def hold(document: Path, text: str) -> None:
    """The document has this text; with UPDATE_GOLDEN=1 it gets it."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        document.write_text(text, encoding="utf-8")
    assert text == document.read_text(encoding="utf-8")


def played(reader: Reader, commands: list[Shown]) -> Iterator[str]:
    """The block as it should be: each command with what is shown where that is right, else with what it gave."""
    for shown, after in zip(commands, [*commands[1:], None], strict=True):
        code, given = reader.type(shown.command, shown.lines_before_ctrl_c)
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
        if block.file:
            session.file(block.file, block.text)
            if block.file == "cpool.yaml":
                files.append(block.file)
            if not (isinstance(data, dict) and isinstance(data.get("steps"), list)):
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
    return {"steps": [data if set(KINDS) & set(data) else {"run": "true", **data}]}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_block_of_a_document_is_one_that_is_executed_an_installation_or_a_picture(document: Path) -> None:
    shown = blocks(document)
    assert {block.language for block in shown} <= LANGUAGES
    commands = "".join(block.text for block in shown if block.language == "console")
    assert all(f"$ python {block.file}" in commands for block in shown if block.language == "python")


def test_every_key_of_a_workflow_file_is_listed() -> None:
    listed = tables((ROOT / "docs" / "workflow-file.md").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(["Workflow", *SCHEMA["$defs"]])


def test_every_key_of_a_pool_file_is_listed() -> None:
    listed = [key for name in ("configuration.md", "own-agents.md") for key in tables((ROOT / "docs" / name).read_text(encoding="utf-8"))]
    assert sorted(listed) == sorted({"PoolFile", *POOL_SCHEMA["$defs"]} - set(SCHEMA["$defs"]))


def test_every_command_is_shown_with_its_help() -> None:
    shown = [part.command for block in blocks(ROOT / "docs" / "commands.md") for part in session(block.text)]
    assert [command for command in shown if command.endswith("--help")] == [
        "cpool-flow --help",
        *(f"cpool-flow {name} --help" for name in COMMANDS),
    ]


def test_every_document_that_is_linked_exists() -> None:
    for document in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", document.read_text(encoding="utf-8")):
            assert (document.parent / link).exists(), f"{document.name} links to {link}"


def test_every_section_that_is_linked_exists() -> None:
    for document in DOCUMENTS:
        for file, section in re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)\s]+)\)", document.read_text(encoding="utf-8")):
            target = document.parent / file if file else document
            assert section in sections(target), f"{document.name} links to {file}#{section}"


def sections(document: Path) -> set[str]:
    """The headings of a document as GitHub names them in links."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_document_of_docs_is_linked_from_the_readme() -> None:
    linked = set(re.findall(r"\]\((docs/[^)#\s]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert linked == {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}


def test_what_this_version_does_not_do_is_listed_where_the_keys_are() -> None:
    later = (ROOT / "docs" / "workflow-file.md").read_text(encoding="utf-8").partition("## Not yet\n")[2]
    listed = set(re.findall(r"`(\w+)`", later))
    assert {key for keys in LATER_KEYS.values() for key in keys} <= listed


@pytest.mark.parametrize("command", LATER_COMMANDS)
def test_a_command_of_a_later_version_is_refused_by_its_name(command: str, session: Session) -> None:
    ended = session.flow(command, "last")
    assert (ended.code, f"error: command `{command}` is not supported by this version" in ended.err) == (2, True)
    assert f"`{command}`" in (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").partition("## Not yet\n")[2]


def test_every_filter_is_listed() -> None:
    listed = (ROOT / "docs" / "templates.md").read_text(encoding="utf-8").partition("## Filters\n")[2].partition("\nThey are")[0]
    assert re.findall(r"`(\w+)`", listed) == sorted(FILTERS)
