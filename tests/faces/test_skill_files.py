"""The files beside a SKILL.md: the run owns them as it owns the skill, and the agent is told where they are."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from session import Session

FLOW = """
config: {agent: scripted, script: answers.yaml}
steps:
  - {name: check, skill: check, with: {what: cart}}
outputs: {prompt: "{{ steps.check.output }}"}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("flow.yaml", FLOW)
    session.file("answers.yaml", "default: {echo: true}\n")
    session.file(
        "skills/check/SKILL.md", "---\nname: check\ndescription: d\n---\nRun scripts/check.sh for $0, as references/how.md says.\n"
    )
    session.file("skills/check/scripts/check.sh", "#!/bin/sh\necho checked $1\n")
    session.file("skills/check/references/how.md", "Slowly.\n")
    return session


def folder_of(prompt: str) -> Path:
    first, _, rest = prompt.partition("\n\n")
    assert rest == "Run scripts/check.sh for cart, as references/how.md says."
    assert first.startswith("Base directory for this skill: ")
    return Path(first.removeprefix("Base directory for this skill: "))


def test_the_agent_is_told_where_the_runs_own_copies_of_the_files_are(project: Session) -> None:
    os.symlink("/etc/hostname", project.path / "skills/check/outside")
    project.file("skills/check/.hidden", "x")
    ended = project.flow("run", "flow.yaml", "--json")
    folder = folder_of(ended.json()["outputs"]["prompt"])
    assert folder.is_relative_to(project.last_run())
    copied = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert copied == {"SKILL.md", "scripts/check.sh", "references/how.md"}
    assert project.program(str(folder / "scripts/check.sh"), "it").out == "checked it\n"


def test_what_changes_later_does_not_change_the_run_nor_one_that_repeats_it(project: Session) -> None:
    first = project.flow("run", "flow.yaml", "--json").json()
    project.file("skills/check/references/how.md", "Quickly.\n")
    again = project.flow("rerun", first["run_id"], "--from", "check", "--json").json()
    assert again["run_id"] != first["run_id"]
    assert (folder_of(again["outputs"]["prompt"]) / "references/how.md").read_text() == "Slowly.\n"


def test_a_skill_without_other_files_says_nothing_of_a_folder(project: Session) -> None:
    project.file("skills/bare/SKILL.md", "---\nname: bare\ndescription: d\n---\nHello $0\n")
    project.file("flow.yaml", FLOW.replace("skill: check", "skill: bare"))
    assert project.flow("run", "flow.yaml", "--json").json()["outputs"] == {"prompt": "Hello cart"}


def test_an_agent_that_asks_before_it_reads_elsewhere_may_read_there(project: Session) -> None:
    program = project.home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(
        f"#!{sys.executable}\nimport json, sys\njson.dump(sys.argv, open({str(project.home / 'argv')!r}, 'w'))\nsys.exit(1)\n"
    )
    program.chmod(0o755)
    project.file("flow.yaml", FLOW.replace("{agent: scripted, script: answers.yaml}", "{permission_mode: plan}"))
    path = f"{program.parent}:{project.environment['PATH']}"
    project.flow("run", "flow.yaml", PATH=path, ANTHROPIC_API_KEY="sk-test-1234")
    argv = json.loads((project.home / "argv").read_text())
    added = [word.removeprefix("--add-dir=") for word in argv if word.startswith("--add-dir=")]
    assert [Path(folder).is_relative_to(project.last_run() / "inputs") for folder in added] == [True]


def test_a_skill_with_too_many_files_is_refused(project: Session) -> None:
    for number in range(1001):
        (project.path / "skills/check" / f"{number}.txt").write_text("")
    ended = project.flow("validate", "flow.yaml")
    assert ended.code == 2
    assert "error: skill `check` has more than 1,000 files beside it\n  --> flow.yaml:4:26\n" in ended.err


def test_a_secret_in_a_file_of_a_skill_is_refused(project: Session) -> None:
    project.file("flow.yaml", "secrets: [TOKEN]\n" + FLOW.lstrip())
    project.file("skills/check/references/how.md", "use s3cret-value\n")
    ended = project.flow("run", "flow.yaml", TOKEN="s3cret-value")
    assert ended.code == 2
    assert "`check/references/how.md` holds the value of a secret" in ended.err
    assert not (project.path / ".cpool").exists()
