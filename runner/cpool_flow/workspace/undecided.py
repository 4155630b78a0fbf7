"""A conflict that we laid out in a worktree: the files of it on which nobody has decided yet.

A file is decided when somebody has changed it, or has told git so (`git add`, `git rm`, a commit). One in which both sides stand beside
each other is not, whoever says so. Does not know how a conflict is laid out, nor what is committed.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Container, Iterable, Mapping
from pathlib import Path

from ..git import Git
from .record import WorktreeRecord

# A file in which nobody has decided yet has all three, in this order.
_MARKERS = re.compile(rb"^<{7,} .*?^={7,}\r?$.*?^>{7,} ", re.DOTALL | re.MULTILINE)
_TRAILER = "Undecided: "
_TOLD = re.compile(re.escape(_TRAILER) + r'"([^"\\]|\\.)*"')
# What git keeps of a file in a conflict: as both sides had it, as ours, as theirs. With one of them alone nothing was left out.
_Stages = Mapping[str, str]


class Undecided:
    """`git` works in the worktree, with the index that whoever is there uses. What is open is kept beside the worktree."""

    def __init__(self, record: WorktreeRecord, git: Git) -> None:
        self._record = record
        self._git = git

    async def begin(self) -> None:
        """The conflict has just been laid out."""
        await self._keep(await self._unmerged())

    async def begin_again(self, names: Iterable[str], ours: str, theirs: str) -> None:
        """The conflict was committed as it stood: let git have these files as open once more, that somebody can tell it otherwise."""
        base = await self._git.find("merge-base", ours, theirs)
        found = {name: await self._stages(name, (base, ours, theirs)) for name in names}
        lines = [
            line
            for name, stages in found.items()
            for line in (f"0 {'0' * len(ours)}\t{name}", *(f"{entry} {stage}\t{name}" for stage, entry in stages.items()))
        ]
        await self._git.output("update-index", "-z", "--index-info", stdin=_joined(lines))
        await self._keep(found)

    async def settle(self) -> str:
        """See what was decided, before all of it is committed. What its message is to say of the rest, for who goes on later."""
        marks = self._read()
        if not marks:
            return ""
        unmerged: Container[str] = await self._unmerged() if self._is_laid_out else marks  # after a commit git knows of none
        marks = {name: mark for name, mark in marks.items() if self._is_open(name, mark, unmerged)}
        self._write(marks, laid_out=False)
        return "".join(f"\n{_TRAILER}{json.dumps(name)}" for name in marks)

    async def after_commit(self, tip: str, onto: str, is_of_conflict: Callable[[str], bool]) -> list[str]:
        """The open files of the conflict with the commit `onto` that was laid out, now that all is committed at `tip`. `is_of_conflict`:
        whether a file was in it."""
        marks = self._read()
        if marks is not None:
            return sorted(marks)
        merge, _ = await self.merge(tip, onto)
        silent = [name for name in await self._told(merge) if await self._entry(name, merge) == await self._entry(name, tip)]
        names = [name for name in await self._names(tip) if is_of_conflict(name) and self._has_both(name)]
        return sorted({*silent, *names})

    async def merge(self, tip: str, onto: str) -> tuple[str, str]:
        """The commit in which the conflict with `onto` went, and the item's own before it; empty where there is none."""
        listing = await self._git.output("rev-list", "--merges", "--parents", tip, f"^{onto}")
        for line in listing.decode("ascii").splitlines():
            commit, ours, *others = line.split(" ")
            if onto in others:
                return commit, ours
        return "", ""

    async def _told(self, merge: str) -> list[str]:
        """The files that were open when they were committed."""
        message = await self._git.output("log", "-1", "--format=%B", merge) if merge else b""
        lines = message.decode("utf-8", "replace").splitlines()
        return [str(json.loads(line.removeprefix(_TRAILER))) for line in lines if _TOLD.fullmatch(line)]

    def _is_open(self, name: str, mark: str, unmerged: Container[str]) -> bool:
        return self._has_both(name) or (mark != "" and name in unmerged and self._mark(name) == mark)

    def _has_both(self, name: str) -> bool:
        return _MARKERS.search(_content(self._path(name))) is not None

    async def _unmerged(self) -> dict[str, _Stages]:
        found: dict[str, dict[str, str]] = {}
        for line in _split(await self._git.output("ls-files", "-u", "-z", "--full-name", ":/")):
            about, _, name = line.partition("\t")
            entry, _, stage = about.rpartition(" ")
            found.setdefault(name, {})[stage] = entry
        return dict(found)

    async def _stages(self, name: str, commits: Iterable[str | None]) -> _Stages:
        entries = [await self._entry(name, commit) if commit else "" for commit in commits]
        return {str(number): entry for number, entry in enumerate(entries, 1) if entry}

    async def _entry(self, name: str, commit: str) -> str:
        """Mode and object of a file in a commit; empty where it is not there."""
        listing = _split(await self._git.output("ls-tree", "-z", "--full-tree", commit, "--", name))
        mode, _, rest = (listing[0].partition("\t")[0] if listing else "").partition(" ")
        return f"{mode} {rest.partition(' ')[2]}" if listing else ""

    async def _names(self, commit: str) -> list[str]:
        return _split(await self._git.output("ls-tree", "-r", "-z", "--name-only", "--full-tree", commit))

    async def _keep(self, unmerged: Mapping[str, _Stages]) -> None:
        self._write({name: self._mark(name) if len(stages) > 1 else "" for name, stages in unmerged.items()}, laid_out=True)

    def _mark(self, name: str) -> str:
        """What tells a file from what becomes of it."""
        path = self._path(name)
        kind = "link" if path.is_symlink() else "file" if path.is_file() else "other"
        mode = path.lstat().st_mode & 0o100 if kind == "file" else 0
        return f"{kind} {mode:o} {hashlib.sha256(_content(path)).hexdigest()}"

    def _path(self, name: str) -> Path:
        return self._record.top_level / name

    @property
    def _file(self) -> Path:
        return self._record.private / "undecided.json"

    @property
    def _is_laid_out(self) -> bool:
        """Whether git knows of the conflict: nothing was committed since."""
        return bool(json.loads(self._file.read_text(encoding="ascii"))["laid out"])

    def _read(self) -> dict[str, str] | None:
        try:
            marks: dict[str, str] = json.loads(self._file.read_text(encoding="ascii"))["marks"]
        except FileNotFoundError:
            return None
        return marks

    def _write(self, marks: Mapping[str, str], *, laid_out: bool) -> None:
        unfinished = self._file.with_suffix(".new")
        unfinished.write_text(json.dumps({"laid out": laid_out, "marks": marks}), encoding="ascii")
        unfinished.replace(self._file)


def _content(path: Path) -> bytes:
    try:
        if path.is_symlink():
            return bytes(path.readlink())
        return path.read_bytes() if path.is_file() else b""
    except OSError:
        return b""


def _split(output: bytes) -> list[str]:
    return [line for line in output.decode("utf-8", "surrogateescape").split("\0") if line]


def _joined(lines: Iterable[str]) -> bytes:
    return b"".join(line.encode("utf-8", "surrogateescape") + b"\0" for line in lines)
