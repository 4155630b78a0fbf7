"""The files beside a SKILL.md, which its text may name: scripts, references, assets.

Reads a folder; follows no link in it, for what a link leads to is not the skill's. Names that begin with a dot are let be.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cpool_flow.errors import InvalidInput
from cpool_flow.library import read_bytes

MOST_FILES = 1000
MOST_BYTES = 16 * 1024 * 1024
_LEFT_OUT = ("__pycache__", "node_modules")


def listed(skill: Path) -> list[Path]:
    """The files in the folder of a SKILL.md, itself first; empty where it is alone. Raises InvalidInput where they are too many or
    too large."""
    found: list[Path] = []
    size = 0
    for path, its_size in _files(skill.parent):
        found.append(path)
        size += its_size
        if len(found) > MOST_FILES:
            raise InvalidInput(f"skill `{skill.parent.name}` has more than {MOST_FILES:,} files beside it")
        if size > MOST_BYTES:
            raise InvalidInput(f"the files beside skill `{skill.parent.name}` are larger than {MOST_BYTES >> 20} MiB together")
    others = [path for path in found if path.name != skill.name or path.parent != skill.parent]
    return [skill, *others] if others else []


def read(skill: Path) -> dict[str, bytes]:
    """The files of a skill by their paths in its folder. Raises InvalidInput."""
    return {path.relative_to(skill.parent).as_posix(): read_bytes(path, limit=MOST_BYTES) for path in listed(skill)}


def write(path: Path, content: bytes) -> None:
    """Keep a file; a script stays one that can be run. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if content.startswith(b"#!"):
        path.chmod(0o700)


def _files(folder: Path) -> Iterator[tuple[Path, int]]:
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name not in _LEFT_OUT)
        for name in sorted(names):
            path = Path(parent, name)
            about = path.lstat()
            if stat.S_ISREG(about.st_mode) and not name.startswith("."):
                yield path, about.st_size
