"""The log of an attempt: stdout, then what came on stderr. A step that prints nothing leaves none.

While an attempt runs its output stands in two spool files of its slot, which the slot's attempts use in turn: to make
a file for each attempt costs more than to start its process. Nothing in a log or a spool holds a secret.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from cpool_flow.secrets import Masker

TAIL_BYTES = 4096


def spools(log: str | Path, slot: str | None) -> tuple[str, str]:
    """Where stdout and stderr stand while the attempt of `log` runs."""
    folder, name = os.path.split(log)
    start = f"{folder}/.{slot}" if slot else f"{folder}/{name.removesuffix('.log')}"
    return f"{start}.out", f"{start}.err"


def collect(log: Path, slot: str | None) -> tuple[int, str]:
    """Make the log out of the spools. Returns the bytes of stdout in it, and the end of both for people, stderr last."""
    out, err = spools(log, slot)
    out_bytes, err_bytes = _size(out), _size(err)
    last = tail(err) if err_bytes else ""
    before = tail(out, max(0, TAIL_BYTES - len(last.encode()))) if out_bytes else ""
    if out_bytes:
        os.rename(out, log)
    if err_bytes and not out_bytes:
        os.rename(err, log)
    elif err_bytes:
        with open(err, "rb") as source, open(log, "r+b") as target:
            target.seek(-1, os.SEEK_END)
            if target.read() != b"\n":
                target.write(b"\n")  # halves of a secret, one in each, would become one
            shutil.copyfileobj(source, target)
        os.truncate(err, 0)
    if slot is None:
        for spool in (out, err):
            with suppress(FileNotFoundError):
                os.unlink(spool)
    return out_bytes, "\n".join(part for part in (before, last) if part)


def salvage(log: Path, slot: str | None) -> None:
    """Make the log of an attempt whose coordinator died. Where it was made already, `verify` was at work: that is added."""
    if not log.exists():
        collect(log, slot)
        return
    with open(log, "ab") as target:
        for spool in spools(log, slot):
            with suppress(FileNotFoundError), open(spool, "rb") as source:
                shutil.copyfileobj(source, target)


def clear_spools(logs: Path) -> None:
    """Nothing of an earlier coordinator may stand where the output of the next attempt begins."""
    for spool in (*logs.glob("*.out"), *logs.glob("*.err")):
        spool.unlink(missing_ok=True)


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


class Log:
    """A log file that takes bytes as they come and never holds a secret. A context manager."""

    def __init__(self, path: str | Path, masker: Masker) -> None:
        self.path = path
        self._stream = masker.stream() if masker else None
        self._file: BinaryIO | None = None

    def __enter__(self) -> Log:
        self._file = open(self.path, "ab", buffering=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file:
            if self._stream:
                self._file.write(self._stream.flush())
            self._file.close()
            self._file = None

    def __call__(self, data: bytes) -> None:
        if self._file:
            self._file.write(self._stream.feed(data) if self._stream else data)


def tail(path: str | Path, limit: int = TAIL_BYTES) -> str:
    """The last bytes of a file as text, from the beginning of a line where that is near."""
    data, size = read_end(path, limit) or (b"", 0)
    return (from_line(data) if size > limit else data).decode("utf-8", "replace").strip("\n")


def read_end(path: str | Path, most: int) -> tuple[bytes, int] | None:
    """The last `most` bytes of a file, and how many it has; None where it cannot be read."""
    try:
        with open(path, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            return file.read(most), size
    except OSError:
        return None


def from_line(data: bytes) -> bytes:
    """What was cut in front, from the beginning of a line where that is near."""
    return data[data.index(b"\n") + 1 :] if b"\n" in data[: len(data) // 4] else data
