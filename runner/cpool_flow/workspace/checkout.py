"""A working tree as one git tree object: everything in it that git does not ignore, without touching its index.

Knows what git would leave out or lose: files that an index hides, repositories inside the working tree, files that
cannot be read. Does not know branches, runs or commits.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import field
from pathlib import Path
from typing import Literal

from cpool_flow.dataclass import dataclass

from ..errors import OperationFailed
from ..git import Completed, Git, GitFailed, complaint
from .agent_files import Exchange, entries_of, index_lines
from .view import View

Nested = Literal["files", "own files", "leave"]
_ATTEMPTS = 5


@dataclass(frozen=True)
class Snapshot:
    """The tree, what could not be taken into it (text for people), and the repositories found inside the working tree."""

    tree: str
    left_out: tuple[str, ...] = ()
    repositories: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Checkout:
    """A working tree. `real_index` is the index that people and agents use there, `private` a folder of ours for one of
    our own, `start` finds the commit to begin from where the real one is gone.

    `nested` says what of repositories inside the working tree is taken: all as plain files, only those that have their
    git folder inside (a linked one has its commits elsewhere), or nothing. `hidden` takes files, too, that the index
    tells git to assume unchanged. Of an `exchange` the tree holds nothing. `borrowing`: the working tree is that of
    another repository, which borrows the objects of this one; ours must not depend on those that only that one has.
    """

    view: View
    top_level: Path
    real_index: Path
    private: Path
    start: Callable[[], Awaitable[str | None]]
    nested: Nested = "leave"
    hidden: bool = False
    exchange: Exchange = field(default_factory=lambda: Exchange({}))
    borrowing: bool = False

    @property
    def git(self) -> Git:
        return self.view.git.at(self.private, GIT_WORK_TREE=self.top_level)

    @property
    def index(self) -> Path:
        """Our index: after `snapshot` it holds the tree."""
        return self.private / "index"

    async def snapshot(self) -> Snapshot:
        """The working tree as it is now. Not to be called twice at once. Raises `OperationFailed`."""
        if not self.top_level.is_dir():
            raise OperationFailed(f"the directory {self.top_level} is gone")
        if not self.borrowing:
            await self._seed()
            return await self._taken()
        await self._take_names()
        try:
            return await self._taken()
        except GitFailed:  # what only our index knew may have been tidied away as garbage
            self.index.unlink(missing_ok=True)
            await self._take_names()
            return await self._taken()

    async def _taken(self) -> Snapshot:
        found = await self._listing()
        if self.hidden:
            await self._show(found)
        await self._take_nested(found)
        complaints = await self._add(found.excluded)
        await self._undo_exchange()
        return Snapshot(await self.own.line("write-tree"), complaints, tuple(found.repositories))

    async def _undo_exchange(self) -> None:
        """Where the place has trusted files instead of the branch's, and no step has changed them, our index has the branch's."""
        standing = self.exchange.standing(self.top_level)
        tip = await self.start() if standing else None
        if tip is not None:
            entries = await entries_of(self.own, tip)
            await self.own.output("update-index", "-z", "--index-info", stdin=index_lines(standing, entries, len(tip)))
            await hide(self.own, [name for name in standing if name in entries])

    async def repositories(self, found: Snapshot) -> set[Path]:
        """All repositories inside the working tree that git does not ignore, after `snapshot`: also those whose files were taken before."""
        folders: set[bytes] = set()
        for name in (await self.own.output("ls-files", "-z")).split(b"\0"):
            while (name := name.rpartition(b"/")[0]) and name not in folders:
                folders.add(name)
        return {*found.repositories, *(path for path in map(self._path, folders) if _repository_kind(path) is not None)}

    async def changed_files(self, before: str, after: str) -> tuple[str, ...]:
        """Paths that differ between two commits or trees, from the top level, sorted."""
        names = await self.git.output("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after)
        return tuple(sorted(name.decode("utf-8", "backslashreplace") for name in names.split(b"\0") if name))

    async def patch(self, before: str, after: str) -> bytes:
        """What turns one commit or tree into another, in the form that `git apply` takes."""
        flags = ("-r", "-p", "--binary", "--full-index", "--no-renames", "--no-ext-diff", "--no-textconv", "--no-color")
        return await self.git.output("diff-tree", *flags, before, after)

    async def messages(self, before: str, after: str) -> tuple[str, ...]:
        """The messages of the commits that `after` has and `before` has not, the oldest first."""
        listing = await self.git.output("log", "--reverse", "--format=%B%x00", f"{before}..{after}")
        return tuple(text.decode("utf-8", "replace").strip() for text in listing.split(b"\0") if text.strip(b"\n"))

    @property
    def own(self) -> Git:
        """git with our index."""
        return self.git.at(self.private, GIT_INDEX_FILE=self.index)

    async def _seed(self) -> None:
        # The index is copied for speed: git compares times before it reads files.
        for leftover in (self.index, self.index.with_name("index.lock")):
            leftover.unlink(missing_ok=True)
        if _is_file(self.real_index):
            shutil.copy2(self.real_index, self.index)  # with its time, from which git knows which entries it cannot trust
        else:
            await self._start_anew()

    async def _take_names(self) -> None:
        """Go on with our own index, and let it track the files that the other repository's tracks: also those that git ignores."""
        self.index.with_name("index.lock").unlink(missing_ok=True)
        here, there = await self._tracked(self.index), await self._tracked(self.real_index)
        if here is None:
            await self._start_anew()
            await self._leave_out_what_is_sparse()
            here = await self._tracked(self.index) or frozenset()
        if there is None:
            return
        if here - there:
            await self.own.output("update-index", "-z", "--force-remove", "--stdin", stdin=_lines(sorted(here - there)))
        new = [name for name in sorted(there - here) if self._is_plain(name)]
        if new:
            names = _lines(b":(top,literal)" + name for name in new)
            await self.own.ask("add", "--force", "--ignore-errors", "--pathspec-from-file=-", "--pathspec-file-nul", stdin=names)

    async def _leave_out_what_is_sparse(self) -> None:
        """The files that a sparse checkout has not got are no deleted ones."""
        if _is_file(self.real_index) and await self.git.find("config", "--bool", "core.sparseCheckout") == "true":
            listing = await self.git.at(self.private, GIT_INDEX_FILE=self.real_index).ask("ls-files", "-z", "-t")
            names = [entry[2:] for entry in listing.stdout.split(b"\0") if entry.startswith(b"S ")]
            tracked = await self._tracked(self.index) or frozenset()
            await hide(self.own, [os.fsdecode(name) for name in names if name in tracked])

    async def _tracked(self, index: Path) -> frozenset[bytes] | None:
        """The files in an index, without repositories; None where it cannot be read."""
        if not _is_file(index):
            return None
        ended = await self.git.at(self.private, GIT_INDEX_FILE=index).ask("ls-files", "-z", "-s")
        entries = (entry.partition(b"\t") for entry in ended.stdout.split(b"\0") if entry[:6] != b"160000")
        return frozenset(name for _, _, name in entries if name) if ended.code == 0 else None

    def _is_plain(self, name: bytes) -> bool:
        """Whether there is such a file, not behind a link."""
        path = self._path(name)
        inside = path.relative_to(self.top_level).parents
        return (path.is_symlink() or path.is_file()) and not any((self.top_level / parent).is_symlink() for parent in inside)

    async def _start_anew(self) -> None:
        self.index.unlink(missing_ok=True)
        await self.own.output("read-tree", await self.start() or "--empty")

    async def _listing(self) -> _Listing:
        arguments = ("ls-files", "-z", "-v", "-s", "-o", "--exclude-standard")
        ended = await self.own.ask(*arguments)
        if ended.code != 0:  # an index that somebody broke
            await self._start_anew()
            return _Listing.read(await self.own.output(*arguments))
        return _Listing.read(ended.stdout)

    async def _show(self, found: _Listing) -> None:
        if found.assumed:
            await self.own.output("update-index", "-z", "--no-assume-unchanged", "--stdin", stdin=_lines(found.assumed))
        if found.skipped and await self.git.find("config", "--bool", "core.sparseCheckout") != "true":
            await self.own.output("update-index", "-z", "--no-skip-worktree", "--stdin", stdin=_lines(found.skipped))

    async def _take_nested(self, found: _Listing) -> None:
        waiting = [(name, True) for name in found.linked] + [(name, False) for name in found.nested]
        while waiting:
            name, is_linked = waiting.pop()
            kind = _repository_kind(self._path(name))
            if kind is None:
                continue
            found.repositories.append(self._path(name))
            if self.nested == "files" or (self.nested == "own files" and kind == "own"):
                if is_linked:
                    await self.own.output("update-index", "-z", "--force-remove", "--stdin", stdin=_lines([name]))
                waiting += [(inner, False) for inner in await self._take_files(name)]
            else:
                # Never let git look into it by itself: it would read the configuration inside.
                found.excluded.append(name)

    async def _take_files(self, name: bytes) -> list[bytes]:
        """Take the files of a repository inside as plain files; the repositories inside of it are handed back."""
        inside = self.git.at(self.private, GIT_WORK_TREE=self._path(name), GIT_INDEX_FILE=self.private / "no-index")
        listing = await inside.output("ls-files", "-z", "-o", "--exclude-standard")
        names = [name + b"/" + inner for inner in listing.split(b"\0") if inner]
        ignored = await self.own.ask("check-ignore", "-z", "--stdin", "--no-index", stdin=_lines(names))
        names = sorted(set(names) - set(ignored.stdout.split(b"\0")))
        files = [inner for inner in names if not inner.endswith(b"/")]
        await self.own.output("update-index", "-z", "--add", "--replace", "--stdin", stdin=_lines(files))
        return [inner.rstrip(b"/") for inner in names if inner.endswith(b"/")]

    async def _add(self, excluded: Iterable[bytes]) -> tuple[str, ...]:
        paths = [b":/", *(b":(top,exclude,literal)" + name for name in excluded)]
        sparse = ["--sparse"] if (self.view.directory / "info" / "sparse-checkout").exists() else []
        for _ in range(_ATTEMPTS):
            ended = await self.own.ask(
                "add", "-A", "--ignore-errors", *sparse, "--pathspec-from-file=-", "--pathspec-file-nul", stdin=_lines(paths)
            )
            if ended.code <= 1:
                break  # 128 is a file that vanished between two looks: look again
        return _complaints(ended)

    def _path(self, name: bytes) -> Path:
        return self.top_level / os.fsdecode(name)


async def hide(git: Git, names: Iterable[str]) -> None:
    """Let whoever uses this index not see that the files of these names are others than in it."""
    listed = _lines(os.fsencode(name) for name in names)
    if listed:
        await git.output("update-index", "-z", "--skip-worktree", "--stdin", stdin=listed)


@dataclass
class _Listing:
    """What the index hides, and where another repository begins. Names are bytes from the top level."""

    assumed: list[bytes] = field(default_factory=list)
    skipped: list[bytes] = field(default_factory=list)
    linked: list[bytes] = field(default_factory=list)
    nested: list[bytes] = field(default_factory=list)
    excluded: list[bytes] = field(default_factory=list)
    repositories: list[Path] = field(default_factory=list)

    @classmethod
    def read(cls, output: bytes) -> _Listing:
        """Lines are `TAG MODE OBJECT STAGE<tab>NAME`, or `? NAME` for a file that is not tracked."""
        found = cls()
        for entry in output.split(b"\0"):
            tag = entry[:1]
            if tag == b"H" and entry[2:8] != b"160000":
                continue
            if tag == b"?":
                if entry.endswith(b"/"):
                    found.nested.append(entry[2:].rstrip(b"/"))
                continue
            name = entry.partition(b"\t")[2]
            if entry[2:8] == b"160000":
                found.linked.append(name)
            elif tag.islower():
                found.assumed.append(name)
            if tag in b"Ss" and tag:
                found.skipped.append(name)
        return found


def _repository_kind(path: Path) -> Literal["own", "linked"] | None:
    try:
        mode = (path / ".git").lstat().st_mode
    except OSError:
        return None
    return "own" if stat.S_ISDIR(mode) else "linked"


def _complaints(ended: Completed) -> tuple[str, ...]:
    if ended.code > 1:
        raise GitFailed("add", complaint(ended))
    if ended.code == 0:
        return ()
    lines = [line.removeprefix("error: ") for line in complaint(ended).splitlines() if line.startswith("error: ")]
    return tuple(lines[:10]) or (complaint(ended),)


def _lines(names: Iterable[bytes]) -> bytes:
    return b"".join(name + b"\0" for name in names)


def _is_file(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
