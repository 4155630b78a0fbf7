"""Where a run with an agent works when nobody says, and the one warning where an agent may change the user's own files."""

from __future__ import annotations

import pytest
from session import Session

ANSWERS = "default: done\n"
SCRIPTED = "config: {agent: scripted, script: answers.yaml}\n"


def flow(session: Session, step: str, top: str = "") -> None:
    session.file("answers.yaml", ANSWERS)
    session.file("flow.yaml", f"version: 1\n{SCRIPTED}{top}steps:\n  - name: act\n    {step}\n")


def warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("warning:")]


def test_an_agent_that_may_write_gets_a_worktree_in_a_repository(session: Session) -> None:
    session.repository()
    flow(session, "prompt: x")
    ended = session.flow("run", "flow.yaml")
    assert (ended.code, warnings(ended.err)) == (0, [])
    assert "works in a git worktree of its own" in ended.err


def test_outside_git_it_works_here_and_one_warning_says_so(session: Session) -> None:
    flow(session, "prompt: x")
    ended = session.flow("run", "flow.yaml")
    assert (ended.code, warnings(ended.err)) == (0, ["warning: an agent may change files, and works in this directory"])


@pytest.mark.parametrize("repository", [False, True], ids=["plain folder", "git repository"])
def test_a_file_that_says_isolation_none_is_warned_of_once_with_its_place(session: Session, repository: bool) -> None:
    if repository:
        session.repository()
    flow(session, "prompt: x", "isolation: none\n")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 0
    assert warnings(ended.err) == ["warning: step `act` may change files, and `isolation: none` lets it work in your checkout"]
    assert "--> flow.yaml:3:12" in ended.err


def test_a_command_line_that_says_isolation_none_is_warned_of(session: Session) -> None:
    session.repository()
    flow(session, "prompt: x", "isolation: worktree\n")
    ended = session.flow("run", "flow.yaml", "--isolation", "none")
    assert (ended.code, warnings(ended.err)) == (0, ["warning: an agent may change files, and works in this directory"])


@pytest.mark.parametrize("repository", [False, True], ids=["plain folder", "git repository"])
def test_an_agent_without_effects_works_here_without_a_word(session: Session, repository: bool) -> None:
    if repository:
        session.repository()
    flow(session, "{prompt: x, effects: none}".strip("{}").replace(", ", "\n    "))
    ended = session.flow("run", "flow.yaml")
    assert (ended.code, warnings(ended.err)) == (0, [])
    assert f"works in {session.path}" in ended.err
    assert session.flow("validate", "flow.yaml", "--strict").code == 0


def test_a_skill_that_lets_its_agent_write_gets_a_worktree(session: Session) -> None:
    session.file(
        "skills/mend/SKILL.md", "---\nname: mend\ndescription: x\nmetadata:\n  config: {permission_mode: acceptEdits}\n---\nMend it.\n"
    )
    session.repository()
    session.file("flow.yaml", "version: 1\nsteps:\n  - skill: mend\n")
    planned = session.flow("plan", "flow.yaml")
    assert "works in a git worktree of its own" in planned.out
