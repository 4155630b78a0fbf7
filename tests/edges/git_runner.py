"""git for tests of places: real processes, an environment in which no user has configured anything."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cpool_flow.git import Git, safe_git
from cpool_flow.workspace.opening import open_worktree, plan_worktree
from cpool_flow.workspace.record import WorktreeRecord
from cpool_flow.workspace.repository import Repository, survey
from cpool_flow.workspace.worktree import Worktree


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: bytes
    stderr: bytes


async def run_git(argv: Sequence[str], directory: str, environment: Mapping[str, str], stdin: bytes | None = None) -> Ended:
    process = await asyncio.create_subprocess_exec(
        *argv,
        cwd=directory,
        env=dict(environment),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    stdout, stderr = await process.communicate(stdin or b"")
    return Ended(process.returncode or 0, stdout, stderr)


def nobody(home: Path) -> dict[str, str]:
    """The environment of somebody who never configured git."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "XDG_")) and name != "EMAIL"}
    return kept | {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1"}


def quiet_git(home: Path) -> Git:
    return safe_git(run_git, nobody(home))


def git(directory: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """git as a person or an agent would call it; what it printed."""
    home = directory if directory.is_dir() else directory.parent
    identity = {"GIT_AUTHOR_NAME": "agent", "GIT_AUTHOR_EMAIL": "agent@example.invalid"}
    identity |= {"GIT_COMMITTER_NAME": "agent", "GIT_COMMITTER_EMAIL": "agent@example.invalid"}
    ended = subprocess.run(
        ["git", *arguments], cwd=directory, env={**nobody(home), **identity, **(environment or {})}, capture_output=True, check=False
    )
    assert ended.returncode == 0, f"git {arguments}: {ended.stderr.decode()}"
    return ended.stdout.decode("utf-8", "surrogateescape").rstrip("\n")


class Scratch:
    """A repository with one commit, in a path with blanks, and a folder for worktrees outside of it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "a b"
        self.repo, self.home, self.worktrees = self.root / "my repo", self.root / "home", self.root / "state"
        for folder in (self.repo, self.home):
            folder.mkdir(parents=True)
        self.git = quiet_git(self.home)
        git(self.repo, "init", "-q", "-b", "main")
        self.commit({"README": "hello\n", "src/app.py": "print(1)\n", ".gitignore": "*.log\nbuild/\n"}, "first")

    def commit(self, files: Mapping[str, str], message: str) -> str:
        write(self.repo, files)
        git(self.repo, "add", "-A")
        git(self.repo, "commit", "-q", "-m", message)
        return git(self.repo, "rev-parse", "HEAD")

    async def repository(self, directory: Path | None = None) -> Repository:
        found = await survey(self.git, directory or self.repo)
        assert found is not None
        return found

    async def plan(
        self, run_id: str = "r1", *, base: str = "HEAD", include_changes: bool = False, at: Path | None = None, kind: str = "worktree"
    ) -> WorktreeRecord:
        repository = await self.repository(at)
        return await plan_worktree(
            self.git,
            repository,
            run_id=run_id,
            workflow="review",
            root=self.worktrees,
            base=base,
            include_changes=include_changes,
            kind=kind,
        )

    async def open(
        self, run_id: str = "r1", *, base: str = "HEAD", include_changes: bool = False, at: Path | None = None, kind: str = "worktree"
    ) -> Worktree:
        return await open_worktree(self.git, await self.plan(run_id, base=base, include_changes=include_changes, at=at, kind=kind))

    def branches(self) -> list[str]:
        return git(self.repo, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()

    def show(self, what: str) -> str:
        """The text of a file of a commit: `BRANCH:PATH`."""
        return git(self.repo, "show", what)

    def files(self, commit: str) -> list[str]:
        return git(self.repo, "-c", "core.quotePath=false", "ls-tree", "-r", "--name-only", commit).splitlines()

    def state(self) -> tuple[str, str, str]:
        """What must not change in the user's checkout: HEAD, its status, the stash."""
        return git(self.repo, "rev-parse", "HEAD"), git(self.repo, "status", "--porcelain"), git(self.repo, "stash", "list")


def write(directory: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
