"""Files that git leaves out and a fresh worktree needs: those that `.worktreeinclude` names, in gitignore syntax.

git says what matches. Copies share their blocks where the file system can do that; links are copied as links.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from ..errors import InvalidInput, Location, Problem
from .checkout import Checkout
from .view import View

NAME = ".worktreeinclude"
_NEVER = (".git", ".cpool/runs")


def check_include_file(source: Path, trusted: bytes | None = None) -> None:
    """Raises `InvalidInput` for lines of `.worktreeinclude` that name something outside of the repository. `trusted`: the text that
    counts in place of the file."""
    path = source / NAME
    if trusted is None and not path.is_file():
        return
    lines = (path.read_bytes() if trusted is None else trusted).decode("utf-8", "surrogateescape").splitlines()
    problems = [_problem(number, line) for number, line in enumerate(lines, 1) if _is_outside(source, line)]
    if problems:
        raise InvalidInput(problems)


async def include_files(view: View, source: Checkout, place: Path, patterns: Path) -> list[str]:
    """Copy the files of the checkout `source` that the file `patterns` names into the worktree `place`. What is there already stays.

    Those that git would not ignore in the place are hidden from our own commits. Returns what could not be copied.
    """
    if not patterns.is_file():
        return []
    names = await _named(source, patterns)
    skipped = await asyncio.to_thread(_copy_all, source.top_level, place, names)
    await _hide(view, place, names)
    return skipped


async def _named(source: Checkout, patterns: Path) -> list[str]:
    git = source.git.at(source.private, GIT_INDEX_FILE=source.real_index)
    listing = await git.output("ls-files", "-z", "--others", "--ignored", "--directory", f"--exclude-from={patterns}")
    return [os.fsdecode(name) for name in listing.split(b"\0") if name]


async def _hide(view: View, place: Path, names: Iterable[str]) -> None:
    asked = b"".join(os.fsencode(name) + b"\0" for name in names if os.path.lexists(place / name))
    if not asked:
        return
    git = view.git.at(view.directory, GIT_WORK_TREE=place)
    ended = await git.ask("check-ignore", "-z", "--stdin", "--no-index", stdin=asked)
    visible = set(asked.split(b"\0")) - set(ended.stdout.split(b"\0"))
    view.exclude(_pattern(os.fsdecode(name)) for name in sorted(visible))


def _pattern(name: str) -> str:
    """The gitignore line that means exactly this path."""
    escaped = re.sub(r"([\\*?\[ ])", r"\\\1", name)
    return "/" + escaped.replace("\n", "?")


def _copy_all(source: Path, place: Path, names: Iterable[str]) -> list[str]:
    skipped: list[str] = []
    for name in names:
        relative = Path(name)
        try:
            if _has_real_parents(place, relative):
                _copy(source, place, relative)
            else:
                skipped.append(f"{NAME}: {name} was not copied: its folder is something else in the worktree")
        except OSError as error:
            skipped.append(f"{NAME}: {name} was not copied: {error.strerror or error}")
    return skipped


def _has_real_parents(place: Path, relative: Path) -> bool:
    """Make the folders above the file; False where one of them is a link or a file."""
    folder = place
    for part in relative.parts[:-1]:
        folder = folder / part
        if not os.path.lexists(folder):
            folder.mkdir()
        elif folder.is_symlink() or not folder.is_dir():
            return False
    return True


def _copy(source: Path, place: Path, relative: Path) -> None:
    if relative.name == ".git" or relative.as_posix() in _NEVER:
        return
    origin, target = source / relative, place / relative
    status = origin.lstat()
    if stat.S_ISDIR(status.st_mode):
        if not os.path.lexists(target):
            target.mkdir(mode=stat.S_IMODE(status.st_mode) | stat.S_IRWXU)
        if not target.is_symlink() and target.is_dir():
            for name in os.listdir(origin):
                _copy(source, place, relative / name)
    elif os.path.lexists(target):
        return
    elif stat.S_ISLNK(status.st_mode):
        target.symlink_to(os.readlink(origin))
    elif stat.S_ISREG(status.st_mode):
        _copy_file(origin, target, status)


def _copy_file(origin: Path, target: Path, status: os.stat_result) -> None:
    read = os.open(origin, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        write = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, stat.S_IMODE(status.st_mode))
        try:
            _copy_bytes(read, write)
            os.fchmod(write, stat.S_IMODE(status.st_mode))
            os.utime(write, ns=(status.st_atime_ns, status.st_mtime_ns))
        finally:
            os.close(write)
    finally:
        os.close(read)


def _copy_bytes(read: int, write: int) -> None:
    try:
        while os.copy_file_range(read, write, 1 << 30):  # on btrfs and xfs this shares the blocks
            pass
    except (AttributeError, OSError):
        os.lseek(read, 0, os.SEEK_SET)
        os.ftruncate(write, 0)
        os.lseek(write, 0, os.SEEK_SET)
        with open(read, "rb", closefd=False) as origin, open(write, "wb", closefd=False) as target:
            shutil.copyfileobj(origin, target, 1 << 20)


def _is_outside(source: Path, line: str) -> bool:
    parts = line.removeprefix("!").split("/")
    if line.startswith("#"):
        return False
    if ".." in parts or parts[0].startswith("~"):
        return True
    # A leading slash means the repository's top; a path that stands in the file system instead was meant as such.
    return len(parts) > 2 and not parts[0] and bool(parts[1]) and not (source / parts[1]).exists() and Path("/", parts[1]).exists()


def _problem(number: int, line: str) -> Problem:
    shown = line.strip()
    return Problem(
        f"`{shown}` is outside of the repository",
        Location(NAME, number, 1, max(1, len(shown))),
        help=f"{NAME} names files inside the repository, in gitignore syntax; a leading `/` is the repository's top",
    )
