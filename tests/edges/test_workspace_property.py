"""No order of what steps, crashes and we do to a place loses a file that is in it, or a commit that we have seen."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cpool_flow.workspace.opening import reattach_worktree
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, nobody, write

IDENTITY = {f"GIT_{role}_{what}": "agent" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


class Story:
    """One run's place with an agent that does what comes to its mind; `seen` are commits that must stay reachable."""

    def __init__(self, root: Path, kind: str) -> None:
        self.scratch = Scratch(root)
        self.place: Worktree = asyncio.run(self.scratch.open(kind=kind))
        self.numbers = itertools.count()
        self.seen: set[str] = set()

    @property
    def top(self) -> Path:
        return self.place.directory

    def agent(self, *arguments: str) -> None:
        """git as the agent calls it; that it may fail is the agent's business."""
        if not self.is_ours():
            return  # without its `.git` file the agent would work elsewhere
        environment = {**nobody(self.scratch.home), **IDENTITY}
        subprocess.run(["git", *arguments], cwd=self.top, env=environment, capture_output=True, check=False)

    def is_ours(self) -> bool:
        return (self.top / ".git").is_dir() if self.place.record.is_clone else (self.top / ".git").is_file()

    def look(self, *names: str) -> None:
        """What the run's branch, and HEAD before a commit of ours, name now are commits that we are about to see."""
        for name in (self.place.branch, *names):
            ended = subprocess.run(
                ["git", "rev-parse", "-q", "--verify", f"{name}^{{commit}}"],
                cwd=self.top if self.is_ours() else self.scratch.repo, env=nobody(self.scratch.home), capture_output=True, check=False,
            )  # fmt: skip
            if ended.returncode == 0:
                self.seen.add(ended.stdout.decode().strip())

    def write_file(self) -> None:
        if not (self.top / "dir").is_dir():
            (self.top / "dir").unlink(missing_ok=True)
        write(self.top, {f"dir/file{next(self.numbers) % 4}": str(next(self.numbers))})

    def remove_file(self) -> None:
        if (self.top / "dir/file0").exists():
            (self.top / "dir/file0").unlink()

    def folder_becomes_file(self) -> None:
        if (self.top / "dir").is_dir():
            shutil.rmtree(self.top / "dir")
        (self.top / "dir").write_text(str(next(self.numbers)))

    def agent_commits(self) -> None:
        self.agent("add", "-A")
        self.agent("commit", "-q", "-m", "agent")

    def agent_amends(self) -> None:
        self.agent("commit", "-q", "-a", "--amend", "-m", "amended")

    def agent_detaches(self) -> None:
        self.agent("checkout", "-q", "--detach", "-f", "HEAD~1")

    def agent_switches(self) -> None:
        self.agent("checkout", "-q", "-b", f"topic{next(self.numbers)}")

    def agent_resets(self) -> None:
        self.agent("reset", "-q", "--hard", self.place.base)

    def agent_deletes_the_branch(self) -> None:
        self.agent("checkout", "-q", "--detach")
        self.agent("branch", "-q", "-D", self.place.branch)

    def agent_makes_a_repository_inside(self) -> None:
        inner = self.top / "inner"
        write(inner, {"a": str(next(self.numbers))})
        git(inner, "init", "-q")
        git(inner, "add", "-A")

    def agent_removes_the_git_file(self) -> None:
        if (self.top / ".git").is_dir():
            shutil.rmtree(self.top / ".git")
        (self.top / ".git").unlink(missing_ok=True)

    def agent_leaves_locks(self) -> None:
        for admin in self.admin_directories():
            (admin / "index.lock").touch()

    def registration_goes(self) -> None:
        self.look("HEAD")
        asyncio.run(self.place.commit("before"))
        for admin in self.admin_directories():
            shutil.rmtree(admin)

    def admin_directories(self) -> list[Path]:
        clone = [self.top / ".git"] if (self.top / ".git").is_dir() else []
        return [*clone, *(self.scratch.repo / ".git/worktrees").glob("r1*")]

    def agent_packs(self) -> None:
        self.agent("gc", "-q", "--prune=now")

    def agent_stashes(self) -> None:
        self.agent("stash", "-q", "--include-untracked")

    def the_user_packs(self) -> None:
        git(self.scratch.repo, "gc", "-q", "--prune=now")

    def we_commit(self) -> None:
        self.look("HEAD")
        commit = asyncio.run(self.place.commit("step"))
        if commit is not None:
            self.seen.add(commit.sha)

    def we_look(self) -> None:
        asyncio.run(self.place.tree())

    def crash_and_resume(self) -> None:
        self.look()
        self.place = asyncio.run(reattach_worktree(self.scratch.git, self.place.record))

    def directory_goes(self) -> None:
        self.we_commit()
        shutil.rmtree(self.top)
        self.crash_and_resume()

    def close_and_resume(self) -> None:
        self.end()
        self.place = asyncio.run(reattach_worktree(self.scratch.git, self.place.record))

    def end(self) -> None:
        self.look("HEAD")
        made = self.in_the_clone()
        files = self.files()
        inner = self.holds_a_repository()
        closed = asyncio.run(self.place.close("none"))
        kept = {name: self.scratch.show(f"{closed.commit}:{name}") for name in files}
        assert kept == files
        if inner:
            assert closed.directory == self.top
        if closed.directory is None:
            self.seen |= made
        for commit in self.seen:
            assert git(self.scratch.repo, "for-each-ref", "--contains", commit), f"{commit} has no name"

    def in_the_clone(self) -> set[str]:
        """What goes with a clone where nobody keeps it."""
        if not self.place.record.is_clone or not self.is_ours():
            return set()
        return set(git(self.top, "for-each-ref", "--format=%(objectname)", "refs/heads", "refs/stash").split())

    def holds_a_repository(self) -> bool:
        return any((self.top / "inner/.git/objects").glob("*/*"))

    def files(self) -> dict[str, str]:
        found = {}
        for folder, names, files in os.walk(self.top):
            names[:] = [name for name in names if name != ".git"]
            for name in set(files) - {".git"}:
                path = Path(folder, name)
                found[str(path.relative_to(self.top))] = path.read_text().rstrip("\n")
        return found


ACTIONS = [
    *[Story.write_file, Story.remove_file, Story.folder_becomes_file, Story.agent_commits, Story.agent_amends, Story.agent_detaches],
    *[Story.agent_switches, Story.agent_resets, Story.agent_deletes_the_branch, Story.agent_makes_a_repository_inside],
    *[Story.agent_removes_the_git_file, Story.agent_leaves_locks, Story.registration_goes, Story.we_commit, Story.we_look],
    *[Story.crash_and_resume, Story.directory_goes, Story.close_and_resume, Story.agent_packs, Story.agent_stashes, Story.the_user_packs],
]


@pytest.mark.parametrize("kind", ["worktree", "clone"])
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.sampled_from(ACTIONS), min_size=3, max_size=14))
def test_nothing_is_ever_lost(kind: str, actions: list[Callable[[Story], None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        story = Story(Path(folder).resolve(), kind)
        for action in actions:
            action(story)
        story.end()
