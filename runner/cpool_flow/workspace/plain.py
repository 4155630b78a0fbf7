"""The place of isolation `none`: the directory where the run was started. Reads with git if it can, commits nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import TYPE_CHECKING

from cpool_flow.dataclass import dataclass

from ..git import Git
from .inside import folder_inside, unmatched_patterns
from .place import Closed, Commit, Keep
from .removal import remove_directory
from .repository import Repository

if TYPE_CHECKING:
    from .checkout import Checkout
    from .view import View


@dataclass(frozen=True)
class PlainPlace:
    """`checkout` is None outside git."""

    directory: Path
    repository: Repository | None = None
    checkout: Checkout | None = None
    _alone: asyncio.Lock = field(default_factory=asyncio.Lock)

    branch = None
    base = None
    versioned = False
    fresh = False
    notes = ()

    def folder(self, relative: str) -> Path:
        return folder_inside(self.directory, relative)

    def unmatched(self, patterns: Sequence[str]) -> tuple[str, ...]:
        return unmatched_patterns(self.directory, patterns)

    async def tree(self) -> str | None:
        if self.checkout is None:
            return None
        async with self._alone:
            return (await self.checkout.snapshot()).tree

    async def head(self) -> str | None:
        return None if self.checkout is None else await self.checkout.start()

    async def changed_files(self, since: str) -> tuple[str, ...] | None:
        tree = await self.tree()
        return None if self.checkout is None or tree is None else await self.checkout.changed_files(since, tree)

    async def patch(self, since: str) -> bytes:
        tree = await self.tree()
        return b"" if self.checkout is None or tree is None else await self.checkout.patch(since, tree)

    async def messages(self, since: str) -> tuple[str, ...]:
        head = await self.head()
        return () if self.checkout is None or head is None else await self.checkout.messages(since, head)

    def damage(self) -> str | None:
        return None

    async def repair(self) -> str | None:
        return None

    async def commit(self, message: str, since: str | None = None) -> Commit | None:
        return None

    async def close(self, keep: Keep, message: str = "") -> Closed:
        """The directory stays; what we needed to read it goes."""
        if self.checkout is not None:
            remove_directory(self.checkout.private)
        return Closed(None, self.directory, None)


async def open_plain(git: Git, directory: Path, repository: Repository | None, private: Path) -> PlainPlace:
    """The directory itself. `private` is a folder of ours (it may exist) for what git needs to read without a trace."""
    if repository is None or repository.bare:
        return PlainPlace(directory.resolve())
    from .view import freeze

    view = await freeze(git, repository.directory, repository.git_directory, repository.common_directory, private / "view", commits=False)
    return PlainPlace(repository.directory, repository, checkout_of(repository, view, private, takes_nested=True))


def checkout_of(repository: Repository, view: View, private: Path, *, takes_nested: bool) -> Checkout:
    """The checkout in which the run was started; read only."""

    async def head() -> str | None:
        return await view.of(repository.git_directory, repository.top_level).find("rev-parse", "-q", "--verify", "HEAD^{commit}")

    from .checkout import Checkout

    index = repository.git_directory / "index"
    return Checkout(view, repository.top_level, index, private, head, nested="files" if takes_nested else "leave")
