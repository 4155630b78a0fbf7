"""A standard stream that the runner of GitHub Actions reads: of all that is printed, only what is meant as a command is one.

Knows bytes and lines; what is told to the runner is `actions.py`.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, BinaryIO, TextIO

from cpool_flow.workflow_commands import Defuser

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


class RunnerStream(io.RawIOBase):
    """Stands before the binary stream `under`. What is written is defused on its way; `put` writes lines as they are."""

    def __init__(self, under: BinaryIO) -> None:
        self._under = under
        self._defuser = Defuser()
        self._line_open = False

    @property
    def name(self) -> str:
        return "the runner"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._under.fileno()

    def isatty(self) -> bool:
        return self._under.isatty()

    def write(self, data: ReadableBuffer, /) -> int:
        chunk = bytes(data)
        if chunk:
            self._under.write(self._defuser.feed(chunk))
            self._line_open = not chunk.endswith(b"\n")
        return len(chunk)

    def put(self, lines: Iterable[str]) -> None:
        """Whole lines, commands among them, in one write."""
        text = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
        if text:
            self._under.write((b"\n" if self._line_open else b"") + text)
            self._defuser.begin_line()
            self._line_open = False
        self._under.flush()

    def flush(self) -> None:
        self._under.flush()


def stand_before(stream: TextIO) -> TextIO:
    """The text stream that takes the place of a standard stream."""
    return io.TextIOWrapper(
        RunnerStream(stream.buffer), encoding=stream.encoding, errors=stream.errors, line_buffering=True, write_through=True
    )


def put(stream: TextIO, lines: Iterable[str]) -> None:
    """Write lines as they are to a standard stream, whether something stands before it or not."""
    stream.flush()
    under = getattr(stream, "buffer", None)
    if isinstance(under, RunnerStream):
        under.put(lines)
    else:
        stream.writelines(f"{line}\n" for line in lines)
        stream.flush()


def is_read_by_the_runner() -> bool:
    """Whether stdout is such a stream."""
    return isinstance(getattr(sys.stdout, "buffer", None), RunnerStream)
