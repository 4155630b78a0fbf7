"""The checkouts of a run's repository: where each stands, and which branch it holds. Only looks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cpool_flow.dataclass import dataclass

from .record import WorktreeRecord
from .registration import read_small_file, registered_worktrees


@dataclass(frozen=True)
class HeldBy:
    """A checkout with a branch in it. `busy`: git is in the middle of something with that branch there, such as a rebase."""

    top_level: Path
    git_directory: Path
    busy: bool = False


def holder(record: WorktreeRecord, branch: str) -> HeldBy | None:
    """The checkout that holds the branch, the one that the run was started in before others."""
    reference = f"refs/heads/{branch}"
    for git_directory, top_level in _checkouts(record):
        if read_small_file(git_directory / "HEAD") == f"ref: {reference}":
            return HeldBy(top_level, git_directory)
        for unfinished in ("rebase-merge", "rebase-apply"):
            if read_small_file(git_directory / unfinished / "head-name") == reference:
                return HeldBy(top_level, git_directory, busy=True)
    return None


def branch_of(record: WorktreeRecord) -> str | None:
    """The branch that is checked out now where the run was started."""
    head = read_small_file(record.source_git_directory / "HEAD") or ""
    return head.removeprefix("ref: refs/heads/") if head.startswith("ref: refs/heads/") else None


def _checkouts(record: WorktreeRecord) -> Iterator[tuple[Path, Path]]:
    common = record.common_directory
    found: dict[Path, Path] = {}
    if record.source.is_dir():
        found[record.source_git_directory] = record.source
    if common.name == ".git":
        found.setdefault(common, common.parent)
    for git_directory, top_level in registered_worktrees(common):
        if top_level.is_dir():
            found.setdefault(git_directory, top_level)
    return iter(found.items())
