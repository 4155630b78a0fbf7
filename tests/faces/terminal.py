"""A terminal of its own with a program in it, as a person sees it: a screen of a size, and what has scrolled off it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Sequence

import pyte
from session import Session


class Terminal:
    """`cpool-flow ARGUMENTS` on a terminal of `columns` and `lines`; with `program`, that instead. `environment` comes on top of the session's."""

    def __init__(
        self,
        session: Session,
        *arguments: str,
        columns: int = 80,
        lines: int = 24,
        program: Sequence[str] | None = None,
        **environment: str,
    ) -> None:
        self.shown = b""
        self.screen = pyte.HistoryScreen(columns, lines, history=100_000)
        self._parser = pyte.ByteStream(self.screen)
        self._ours, theirs = pty.openpty()
        self._set_size(columns, lines)
        self.process = subprocess.Popen(
            program or session.command(*arguments),
            cwd=session.path,
            env={**session.environment, "TERM": "xterm", **environment},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # which makes it the controlling terminal
        )
        os.close(theirs)

    @property
    def display(self) -> str:
        """The screen now."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def everything(self) -> str:
        """The screen and all that has scrolled off it."""
        gone = ["".join(line[column].data for column in range(self.screen.columns)).rstrip() for line in self.screen.history.top]
        return "\n".join([*gone, self.display])

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._ours)[3] & termios.ECHO)

    def read_until(self, text: str, seconds: float = 60) -> str:
        """Read until this was printed; all that was."""
        self._wait(lambda: text.encode() in self.shown, seconds)
        return self.shown.decode()

    def see(self, *texts: str, seconds: float = 60) -> str:
        """Read until all of these stand on the screen; the screen."""
        self._wait(lambda: all(text in self.display for text in texts), seconds)
        return self.display

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def resize(self, columns: int, lines: int) -> None:
        self._set_size(columns, lines)
        self.screen.resize(lines, columns)

    def read_all(self) -> str:
        """Read to the end; the screen."""
        while self._read():
            pass
        return self.display

    def end(self) -> int:
        """Read to the end; the exit code."""
        self.read_all()
        os.close(self._ours)
        return self.process.wait(60)

    def close(self) -> int:
        """Take the terminal away from the program; its exit code."""
        os.close(self._ours)
        return self.process.wait(60)

    def _set_size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _wait(self, seen: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not seen():
            ready, _, _ = select.select([self._ours], [], [], 0.1)
            if ready and not self._read():
                break
            assert time.monotonic() < deadline, self.everything
        assert seen(), self.everything

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # nobody holds the other end
            return False
        self.shown += data
        self._parser.feed(data)
        return bool(data)
