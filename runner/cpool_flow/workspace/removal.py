"""Removes a directory of ours: never through a link, also where a step took the right to write away."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path


def remove_directory(path: Path) -> str | None:
    """Remove the directory and everything in it. Returns why something stayed, or None. Safe to call again."""
    try:
        _remove(path)
    except OSError as error:
        return f"{path} could not be removed: {error.strerror or error}"
    return None


def _remove(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        return
    except PermissionError:
        for folder, names, _ in os.walk(path):
            for name in ("", *names):
                _make_writable(os.path.join(folder, name))
        shutil.rmtree(path)


def _make_writable(path: str) -> None:
    mode = os.lstat(path).st_mode
    if stat.S_ISDIR(mode):
        os.chmod(path, stat.S_IMODE(mode) | stat.S_IRWXU)
