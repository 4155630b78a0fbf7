"""A file that is there whole or not at all: written beside its place under another name, then renamed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from cpool_flow.errors import InvalidInput, printable


def write_whole(path: Path, text: str) -> None:
    """Write `text` as UTF-8 into the file `path`, in place of what it held; a link is followed. Raises InvalidInput where it cannot
    be written: what was there is then as it was."""
    shown = printable(str(path)[:300])
    beside = None
    try:
        target = Path(os.path.realpath(path))
        if target.exists() and not stat.S_ISREG(target.stat().st_mode):
            raise InvalidInput(f"cannot write `{shown}`: it is {'a folder' if target.is_dir() else 'no regular file'}")
        beside = target.with_name(f".{target.name[:100]}.{os.urandom(6).hex()}.new")
        with open(beside, "x", encoding="utf-8", newline="") as file:
            file.write(text)
        if target.exists():
            os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
        os.replace(beside, target)
    except (OSError, ValueError) as error:
        if beside is not None:
            with suppress(OSError):
                beside.unlink()
        raise InvalidInput(f"cannot write `{shown}`: {(getattr(error, 'strerror', None) or 'that is no path').lower()}") from error
