"""Names that steps give, found inside a directory and nowhere else: folders for `cwd`, globs for `expect: files`.

Never leaves the directory, also not over a link that an agent made; never sees `.git`.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..errors import InvalidInput, OperationFailed


def folder_inside(directory: Path, relative: str) -> Path:
    """The directory `relative` inside, links resolved. Raises `InvalidInput` outside, `OperationFailed` where there is none."""
    path = None if "\0" in relative or Path(relative).is_absolute() else _resolved(directory, directory / relative)
    if path is None:
        raise InvalidInput(f"`cwd` is outside of the run's place: `{relative}`", help="name a folder inside it, such as `packages/web`")
    if not path.is_dir():
        raise OperationFailed(f"`cwd` is no directory of the run's place: `{relative}`")
    return path


def unmatched_patterns(directory: Path, patterns: Sequence[str]) -> tuple[str, ...]:
    """The patterns that match no file inside. `*`, `?`, `[…]` stay within a name, `**` is any folders."""
    return tuple(pattern for pattern in patterns if not _matches(directory, pattern))


def matching_files(directory: Path, patterns: Sequence[str]) -> list[Path]:
    """The files inside that any of the patterns matches, each once, sorted; relative to the directory."""
    return sorted({path.relative_to(directory) for pattern in patterns for path in _matching(directory, pattern)})


def _matches(directory: Path, pattern: str) -> bool:
    return any(True for _ in _matching(directory, pattern))


def _matching(directory: Path, pattern: str) -> Iterator[Path]:
    if not pattern or "\0" in pattern or pattern.startswith("/"):
        return
    parts = [part for part in pattern.split("/") if part != "."]
    if not any(part in ("", "..") for part in parts):
        yield from _files(directory, directory, parts)


def _files(place: Path, here: Path, parts: Sequence[str]) -> Iterator[Path]:
    if not parts:
        return
    part, rest = parts[0], parts[1:]
    if part == "**":
        yield from _files(place, here, rest or ["*"])
        for folder in _names(here):
            if folder.is_dir(follow_symlinks=False):
                yield from _files(place, Path(folder.path), parts)
    elif not any(character in part for character in "*?["):
        yield from _step(place, here / part, rest)
    else:
        for entry in _names(here):
            if fnmatch.fnmatchcase(entry.name, part):
                yield from _step(place, Path(entry.path), rest)


def _step(place: Path, path: Path, rest: Sequence[str]) -> Iterator[Path]:
    resolved = _resolved(place, path)
    if resolved is None:
        return
    if rest:
        yield from _files(place, resolved, rest)
    elif resolved.is_file():
        yield path


def _names(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return [entry for entry in entries if entry.name != ".git"]
    except OSError:
        return []


def _resolved(place: Path, path: Path) -> Path | None:
    """The path without links, if that is inside the place and not git's own."""
    try:
        place, resolved = place.resolve(), path.resolve()
    except (OSError, RuntimeError):
        return None
    if not resolved.is_relative_to(place) or ".git" in resolved.relative_to(place).parts:
        return None
    return resolved
