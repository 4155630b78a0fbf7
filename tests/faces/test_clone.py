"""`isolation: clone`: a repository of the run's own, whose work is on a branch of the user's when it goes."""

from __future__ import annotations

import hashlib
import signal
from collections import Counter
from pathlib import Path

import pytest
from place_runs import branches, places, run
from session import Session

from cpool_flow.faults import POINTS_OF_CLONES

AGENT = "git -c user.name=agent -c user.email=agent@example.invalid"


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file(".gitignore", "*.yaml\n.env\n")
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "second")
    return session


def git_files(session: Session) -> dict[str, str]:
    """What git keeps of the user's, but for objects, the run's branch and its logs."""
    found = {}
    for path in sorted((session.path / ".git").rglob("*")):
        name = str(path.relative_to(session.path / ".git"))
        if path.is_file() and not name.startswith(("objects/", "refs/heads/cpool/", "logs/refs/heads/cpool/", "cpool-flow.lock")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


VANDAL = f"""
    isolation: clone
    steps:
      - name: vandal
        run: |
          git remote -v
          git config core.bare true; git config core.bare false; git config user.name evil
          mkdir -p .git/hooks; printf '#!/bin/sh\\nexit 1\\n' > .git/hooks/pre-commit; chmod +x .git/hooks/pre-commit
          git branch -D main; git tag v1; echo changed > README; {AGENT} stash -q
          git checkout -q -b side; echo s > side.txt; git add side.txt; {AGENT} commit -q --no-verify -m side
          git checkout -q -
          echo made > made.txt
      - name: mine
        expect: {{commit: true}}
        run: "rm .git/hooks/pre-commit; echo own > own.txt; git add own.txt; {AGENT} commit -q -m own"
"""


def test_whatever_is_done_to_git_the_users_repository_gets_a_branch_and_nothing_else(project: Session) -> None:
    project.git("remote", "add", "origin", "https://example.invalid/a.git")
    before = git_files(project)
    result = run(project, VANDAL, "--run-id", "r1")
    assert result["branch"] == "cpool/flow/r1"
    assert "origin\thttps://example.invalid/a.git (push)" in result["steps"][0]["output"]
    assert git_files(project) == before
    assert project.git("log", "--format=%s", "cpool/flow/r1").split("\n")[:3] == ["own", "vandal", "second"]
    assert project.git("show", "cpool/flow/r1:made.txt", "cpool/flow/r1:own.txt") == "made\nown\n"
    assert branches(project) == ["cpool/flow/r1", "cpool/flow/r1-kept-1", "cpool/flow/r1-kept-2"]
    assert project.git("show", "cpool/flow/r1-kept-1:side.txt") == "s\n"
    assert places(project) == []
    assert project.git("fsck", "--connectivity-only") == ""
    (closed,) = [event for event in project.events("r1") if event["type"] == "PlaceClosed"]
    assert closed["note"] == (
        "the commits of the branch side of the clone are kept on the branch cpool/flow/r1-kept-1;"
        " changes that a step has stashed are kept on the branch cpool/flow/r1-kept-2;"
        " new tags of the clone went with it: `v1`"
    )


ONE_FILE = "steps: [{name: make, run: 'echo made > made.txt'}]\n"


def test_the_option_the_first_line_the_plan_and_the_commands_on_the_branch(project: Session) -> None:
    project.file("flow.yaml", ONE_FILE)
    ended = project.flow("run", "flow.yaml", "--isolation", "clone", "--run-id", "r1")
    assert ended.code == 0, ended.err
    assert "works in a clone of its own · branch cpool/flow/r1\n" in ended.err
    assert project.flow("plan", "flow.yaml", "--json").json()["isolation"] == "none"
    assert "+made" in project.flow("diff", "r1").out
    assert project.flow("clean", "r1").code == 2
    assert project.flow("merge", "r1").code == 0
    assert (project.path / "made.txt").read_text() == "made\n"
    assert project.flow("clean", "r1").code == 0
    assert branches(project) == []


def test_a_clone_without_changes_leaves_nothing(project: Session) -> None:
    result = run(project, "isolation: clone\nsteps: [{run: git status}]\n")
    assert result["branch"] is None
    assert branches(project) == places(project) == []


def test_a_clone_that_is_kept_is_cleaned_when_nothing_in_it_would_be_lost(project: Session) -> None:
    result = run(project, f"isolation: clone\nkeep: worktree\n{ONE_FILE}", "--run-id", "r1")
    clone = Path(result["directory"])
    assert project.flow("merge", "r1").code == 0
    project.program("git", "checkout", "-q", "-b", "more", cwd=clone)
    project.program("git", "-c", "user.name=x", "-c", "user.email=x", "commit", "-q", "--allow-empty", "-m", "more", cwd=clone)
    ended = project.flow("clean", "r1")
    assert ended.code == 2
    assert f"commits in {clone} are on no branch of the repository" in ended.err
    assert project.flow("clean", "r1", "--force").code == 0
    assert branches(project) == places(project) == []


def test_a_run_is_repeated_from_a_step_on_with_the_files_that_it_saw(project: Session) -> None:
    text = f"""
        isolation: clone
        steps:
          - {{name: one, run: 'echo 1 > one.txt; git add one.txt; {AGENT} commit -q -m one; echo left > left.txt'}}
          - {{name: two, run: 'cat one.txt left.txt; ls'}}
    """
    first = run(project, text, "--run-id", "r1")
    again = project.flow("rerun", "r1", "--from", "two", "--json")
    assert again.code == 0, again.err
    assert again.json()["steps"][1]["output"] == first["steps"][1]["output"]
    assert "works in a clone of its own" in again.err
    assert places(project) == []


def test_changes_files_that_git_ignores_and_setup_come_along_and_a_subfolder_is_a_subfolder(project: Session) -> None:
    project.file(".worktreeinclude", ".env\n")
    project.file(".env", "KEY=1\n")
    project.file("sub/new.txt", "uncommitted\n")
    project.file(
        "sub/flow.yaml",
        """
        isolation: clone
        include_changes: true
        setup: echo ready > ready.txt
        steps: [{name: look, run: 'cat ../.env new.txt ready.txt'}]
        """,
    )
    ended = project.program(*project.command("run", "flow.yaml", "--json"), cwd=project.path / "sub")
    assert ended.code == 0, ended.err
    assert ended.json()["steps"][0]["output"] == "KEY=1\nuncommitted\nready"


def test_items_work_in_clones_of_their_own_and_are_merged_into_the_runs(project: Session) -> None:
    result = run(
        project,
        f"""
        isolation: clone
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: 'git rev-parse --path-format=absolute --git-common-dir; git tag {{{{ item }}}}; echo 1 > file-{{{{ index }}}}.txt;
              git add -A; {AGENT} commit -q -m {{{{ item }}}}'
          - {{name: see, run: 'ls *.txt; git status --porcelain'}}
        """,
    )
    repositories = {item["output"] for item in result["steps"][0]["items"]}
    assert len(repositories) == 2
    assert str(project.path / ".git") not in repositories
    assert result["steps"][1]["output"] == "file-0.txt\nfile-1.txt"
    assert project.git("tag") == ""
    assert branches(project) == [result["branch"]]
    assert places(project) == []


def test_what_agents_are_told_is_that_of_the_trusted_commit(project: Session) -> None:
    project.file("CLAUDE.md", "good\n")
    project.file("answer.sh", "cat CLAUDE.md; echo work > work.txt\n")
    project.file("tracked/flow.txt", "x")
    text = "isolation: clone\nconfig: {agent: command, command: [sh, answer.sh]}\nsteps: [{name: ask, prompt: Do it}]\n"
    project.file("flow.yaml", text)
    project.git("add", "-f", "-A")
    project.git("commit", "-q", "-m", "good")
    project.git("branch", "trusted")
    project.file("CLAUDE.md", "evil\n")
    project.git("commit", "-q", "-a", "-m", "evil")
    ended = project.flow("run", "flow.yaml", "--json", "--trust", "trusted")
    assert ended.code == 0, ended.err
    result = ended.json()
    assert result["steps"][0]["output"] == "good"
    assert project.git("show", f"{result['branch']}:CLAUDE.md", f"{result['branch']}:work.txt") == "evil\nwork\n"


@pytest.mark.parametrize(
    ("prepare", "complaint"),
    [
        ("no repository", "`isolation: clone` needs a git repository"),
        ("no commit", "the repository has no commit yet, so a clone has nothing to start from"),
        ("bare", "is a bare repository: a clone cannot be had there"),
        ("submodules", "`isolation: clone` cannot be had in a repository with submodules"),
    ],
)
def test_where_a_clone_cannot_be_had_nothing_starts(session: Session, prepare: str, complaint: str) -> None:
    if prepare == "bare":
        session.git("init", "-q", "--bare", ".")
    elif prepare != "no repository":
        session.git("init", "-q", ".")
    if prepare == "submodules":
        session.repository()
        session.git("update-index", "--add", "--cacheinfo", f"160000,{session.git('rev-parse', 'HEAD').strip()},sub")
        session.git("commit", "-q", "-m", "sub")
    session.file("flow.yaml", f"isolation: clone\n{ONE_FILE}")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 2
    assert complaint in ended.err
    assert places(session) == []


# ---- kill -9 ------------------------------------------------------------------------------------------------

STEPS = f"""
    isolation: clone
    slots: 2
    setup: echo setup >> "$LEDGER"
    steps:
      - name: one
        run: |
          echo one >> "$LEDGER"
          echo first > one.txt; git add one.txt; {AGENT} commit -q -m own
          git checkout -q -b side; {AGENT} commit -q --allow-empty -m aside; git checkout -q -
      - name: many
        foreach: [red, green]
        run: 'echo "many-{{{{ index }}}}" >> "$LEDGER"; echo {{{{ item }}}} > "many-{{{{ index }}}}.txt"'
      - name: last
        run: |
          echo last >> "$LEDGER"
          cat one.txt many-0.txt many-1.txt
"""


@pytest.mark.parametrize(
    ("point", "count"),
    [
        *((point, count) for point in POINTS_OF_CLONES for count in (1, 2)),
        *(("after-append", count) for count in (2, 6, 10, 14)),
        *((point, 1) for point in ("before-place", "after-place", "before-commit", "after-commit", "after-exit", "before-close")),
    ],
)
def test_a_run_killed_at_this_point_resumes_without_repeating_or_losing_anything(project: Session, point: str, count: int) -> None:
    ledger = project.home / "ledger"
    project.environment["LEDGER"] = str(ledger)
    project.file("flow.yaml", STEPS)
    first = project.flow("run", "flow.yaml", "--run-id", "r1", CPOOL_FAULT=f"{point}:{count}")
    assert first.code == -signal.SIGKILL or (first.code == 0 and count > 1), first.err
    resumed = project.flow("resume", "r1")
    assert resumed.code == 0, resumed.err
    result = project.status("r1")
    assert result["steps"][2]["output"] == "first\nred\ngreen"
    lost = sum(
        attempt["error_kind"] == "lost" for step in result["steps"] for task in step["items"] or [step] for attempt in task["attempts"]
    )
    lines = Counter(line for line in ledger.read_text().split() if line != "setup")
    assert set(lines) == {"one", "many-0", "many-1", "last"}
    assert sum(lines.values()) <= 4 + lost
    branch = result["branch"]
    assert project.git("show", f"{branch}:one.txt", f"{branch}:many-0.txt", f"{branch}:many-1.txt") == "first\nred\ngreen\n"
    assert "aside" in project.git("log", "--all", "--format=%s").split()
    assert places(project) == []
    assert project.git("fsck", "--connectivity-only") == ""
    assert project.flow("merge", "r1").code == 0
