"""The standard streams of one process: files that it writes itself, and pipes that the loop reads and writes without ever blocking.

Knows nothing of processes: who holds the other end and when it is over is told from outside. Memory stays flat whatever comes: a chunk is
handed on before the next is read.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

Sink = str | os.PathLike[str] | Callable[[bytes], None] | None  # a file to append to | a reader of chunks | nobody

_CHUNK_BYTES = 65536
_MOST_CHUNKS_IN_A_PIPE = 16


class Streams:
    """Opened at once. As a context manager it closes the child's ends (`theirs`) when they were handed over, and ours if that failed.

    `stdin` is written and then closed, unless it is to be kept open; None and not kept: `null`, an open /dev/null.
    """

    def __init__(self, null: int, stdin: bytes | None, keep_stdin: bool, stdout: Sink, stderr: Sink) -> None:
        self.last_output = 0.0
        self._stdin = -1
        self._unwritten = bytearray(stdin or b"")
        self._keep_stdin = keep_stdin
        self._readers: dict[int, Callable[[bytes], None]] = {}
        self._files: set[str] = set()
        self._given: list[int] = []
        try:
            reads = stdin is not None or keep_stdin
            self.theirs = (self._input() if reads else null, self._output(stdout, null), self._output(stderr, null))
        except OSError as error:
            self.__exit__(error)
            raise

    def __enter__(self) -> Streams:
        return self

    def __exit__(self, error: object, *_: object) -> None:
        for end in (*self._given, *(self._ours() if error else ())):
            os.close(end)

    def attach(self, loop: asyncio.AbstractEventLoop, failed: Callable[[Exception], None]) -> None:
        """Begin to read and write. `failed` is told what a reader of chunks raises; it gets no more."""
        self._loop = loop
        self._failed = failed
        self.last_output = loop.time()
        for pipe in self._readers:
            loop.add_reader(pipe, self._read, pipe)
        self._feed()

    def write(self, data: bytes) -> None:
        """More standard input. What nobody reads any more is dropped."""
        self._unwritten += data
        self._feed()

    def close_stdin(self) -> None:
        """End the standard input after what was written."""
        self._keep_stdin = False
        self._feed()

    def finish(self) -> None:
        """Read what is in the pipes now and close all: whoever still holds an end is not waited for."""
        for pipe in list(self._readers):
            for _ in range(_MOST_CHUNKS_IN_A_PIPE):
                if not self._read(pipe):
                    break
        for pipe in self._ours():
            self._close(pipe)

    def links(self) -> set[str]:
        """Standard output and error as /proc names them."""
        return {os.path.realpath(path) for path in self._files} | {f"pipe:[{os.fstat(pipe).st_ino}]" for pipe in self._readers}

    def _input(self) -> int:
        theirs, self._stdin = os.pipe()
        os.set_blocking(self._stdin, False)
        self._given.append(theirs)
        return theirs

    def _output(self, sink: Sink, null: int) -> int:
        if sink is None:
            return null
        if callable(sink):
            ours, theirs = os.pipe()
            os.set_blocking(ours, False)
            self._readers[ours] = sink
        else:
            theirs = os.open(sink, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._files.add(os.fspath(sink))
        self._given.append(theirs)
        return theirs

    def _read(self, pipe: int) -> bool:
        """Read one chunk; whether there may be more."""
        try:
            data = os.read(pipe, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close(pipe)
            return False
        self.last_output = self._loop.time()
        try:
            self._readers[pipe](data)
        except Exception as error:
            self._close(pipe)
            self._failed(error)
            return False
        return True

    def _feed(self) -> None:
        if self._stdin < 0:
            self._unwritten.clear()
            return
        try:
            while self._unwritten:
                del self._unwritten[: os.write(self._stdin, self._unwritten)]
        except BlockingIOError:
            self._loop.add_writer(self._stdin, self._feed)
            return
        except OSError:  # nobody reads any more
            self._close(self._stdin)
            return
        if self._keep_stdin:
            self._loop.remove_writer(self._stdin)
        else:
            self._close(self._stdin)

    def _close(self, pipe: int) -> None:
        if not self._loop.is_closed():
            self._loop.remove_reader(pipe)
            self._loop.remove_writer(pipe)
        if pipe == self._stdin:
            self._stdin = -1
        else:
            del self._readers[pipe]
        os.close(pipe)

    def _ours(self) -> list[int]:
        return [*self._readers, *([self._stdin] if self._stdin >= 0 else [])]
