"""A terminal of its own with the program in it, as a person sees it."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import time

from session import Session


class Terminal:
    """The program on a terminal of its own, as a person sees it."""

    def __init__(self, session: Session, *arguments: str) -> None:
        self.shown = b""
        self._ours, theirs = pty.openpty()
        self.process = subprocess.Popen(
            session.command(*arguments),
            cwd=session.path,
            env={**session.environment, "TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),  # which makes it the controlling terminal
        )
        os.close(theirs)

    def read_until(self, text: str, seconds: float = 60) -> str:
        deadline = time.monotonic() + seconds
        while text.encode() not in self.shown:
            ready, _, _ = select.select([self._ours], [], [], 0.1)
            if ready and not self._read():
                break
            assert time.monotonic() < deadline, self.shown
        return self.shown.decode()

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self._read():
            pass
        os.close(self._ours)
        return self.process.wait(60)

    def _read(self) -> bool:
        try:
            data = os.read(self._ours, 65536)
        except OSError:  # nobody holds the other end
            return False
        self.shown += data
        return bool(data)
