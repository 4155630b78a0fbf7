"""What the engine may ask of a place, whatever its kind, and the answers. No behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol

from cpool_flow.dataclass import dataclass

Keep = Literal["branch", "worktree", "none"]


@dataclass(frozen=True)
class Commit:
    """The run's branch after a step. `notes` are sentences for people: what was kept elsewhere, what could not be taken."""

    sha: str
    changed_files: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Closed:
    """What is left of a place: its branch with the last commit, its directory, each None where it went."""

    branch: str | None
    directory: Path | None
    commit: str | None
    notes: tuple[str, ...] = ()


class Place(Protocol):
    """Where steps work. Every call may be made while steps run, but for `commit`, `repair` and `close`. `versioned`: what steps leave
    here is committed; `fresh`: `setup` has not run here; `notes`: sentences for people of what had to be repaired."""

    @property
    def versioned(self) -> bool: ...
    @property
    def fresh(self) -> bool: ...
    @property
    def notes(self) -> tuple[str, ...]: ...

    @property
    def directory(self) -> Path:
        """Where steps start."""
        ...

    @property
    def branch(self) -> str | None: ...
    @property
    def base(self) -> str | None: ...

    async def tree(self) -> str | None:
        """The tree of everything that git does not ignore, for a later comparison; None outside git."""
        ...

    async def head(self) -> str | None:
        """The commit that counts for `expect: commit`: of the run's branch, or of the checkout."""
        ...

    async def changed_files(self, since: str) -> tuple[str, ...] | None:
        """Files that differ now from a tree or commit; None outside git."""
        ...

    async def patch(self, since: str) -> bytes:
        """What turns a tree, or a commit, into the files of now, for `git apply` at the top of the repository; nothing outside git."""
        ...

    async def messages(self, since: str) -> tuple[str, ...]:
        """The messages of the commits made since one that `head` gave, the oldest first."""
        ...

    def damage(self) -> str | None:
        """What a step took from the place that git needs, as a sentence: that step has failed."""
        ...

    async def repair(self) -> str | None:
        """Put back what git needs. A sentence if a step had damaged it."""
        ...

    async def commit(self, message: str, since: str | None = None) -> Commit | None:
        """Everything left goes to the run's branch. None where nothing changed since that commit, or nothing is committed here."""
        ...

    async def close(self, keep: Keep, message: str = ...) -> Closed:
        """The end of the place. Safe to call again after an interruption."""
        ...

    def folder(self, relative: str) -> Path:
        """A directory inside, for `cwd`. Raises `InvalidInput` outside, `OperationFailed` where there is none."""
        ...

    def unmatched(self, patterns: Sequence[str]) -> tuple[str, ...]:
        """The patterns without a file inside, for `expect: files`."""
        ...
