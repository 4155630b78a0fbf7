"""The bottom of a terminal: lines that are drawn anew in place, and lines above them that stay.

While it is shown, the terminal does not echo what is typed, so that it does not stand between the lines; whoever wants to read from the
terminal clears the area first. In the background nothing is drawn: there the terminal belongs to somebody else. A terminal that
takes nothing now (Ctrl-S) holds nobody up, and one that is gone is left alone.

One that gets too low for what is shown pushes the upper lines of that up, where nothing can be drawn any more; when it gets higher, it may
bring them back, or not. So they are remembered, and gone over where they can be among what is seen.
"""

from __future__ import annotations

import os
import select
import signal
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import FrameType
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

from cpool_flow.errors import printable

# Terminals that break lines anew when they get narrower, as far as they say who they are.
_REFLOW = ("VTE_VERSION", "TERM_PROGRAM", "KITTY_WINDOW_ID", "WT_SESSION", "KONSOLE_VERSION", "ALACRITTY_WINDOW_ID", "TMUX")
_NO_WRAP, _WRAP, _CLEAR_LINE, _CLEAR_BELOW = "\x1b[?7l", "\x1b[?7h", "\x1b[K", "\x1b[J"


class Area:
    """Nothing is drawn before the first `draw`. `close` may be called twice."""

    def __init__(self, stream: TextIO, environment: Mapping[str, str] = os.environ) -> None:
        self._stream = stream
        self._terminal = _reopened(stream)
        self._unsent = b""
        self._console = Console(file=stream, force_terminal=True, no_color=False, highlight=False, markup=False, emoji=False)
        self._environment = environment
        self._reflows = any(environment.get(name) for name in _REFLOW)
        self._drawn: list[int] = []  # the cells of each line that is shown now
        self._last: str = ""
        self._width, self._height = 0, 0
        self._pushed = 0  # the lines of ours that a lower terminal has pushed up, right above what is shown
        self._above: list[str] = []
        self._kept: list[Any] | None = None  # how the terminal was
        self._stop_handler: Any = None

    def size(self) -> tuple[int, int]:
        """Columns and lines of the terminal now."""
        try:
            columns, lines = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            columns, lines = 0, 0
        return columns or self._stated("COLUMNS", 80), lines or self._stated("LINES", 24)

    def _stated(self, variable: str, default: int) -> int:
        """The size that the environment names, of a terminal that does not know its own."""
        text = self._environment.get(variable, "")
        return int(text) if text.isdecimal() and 0 < int(text) < 10_000 else default

    def above(self, text: str) -> None:
        """Lines that stay, from the next drawing on."""
        self._above += [printable(line) for line in text.split("\n")]

    def draw(self, lines: Sequence[Text], *, patient: bool = False) -> None:
        """Show these lines in place of those before. `patient`: wait for a terminal that takes nothing now."""
        if not self._in_front() or not self._send(patient):
            return
        shown = self._encoded(lines)
        size = self.size()
        if shown == self._last and size == (self._width, self._height) and not self._above:
            return
        self._enter()
        kept = "".join([_CLEAR_BELOW, *(f"{line}\n" for line in self._above)]) if self._above else ""
        cells = [line.cell_len for line in lines]
        try:
            self._write(f"{self._to_top(*size)}{kept}{_NO_WRAP}{shown}{_CLEAR_BELOW}{_WRAP}", patient=patient)
        finally:  # who is ended by a signal takes away what he has drawn
            if self._above:
                self._pushed = 0
            self._above.clear()
            self._drawn, self._last, (self._width, self._height) = cells, shown, size

    def clear(self) -> None:
        """Take the lines away, give the terminal back as it was, and show what stands above. What was typed unseen is forgotten: it is no
        answer to what is asked next."""
        if self._drawn and self._in_front():
            self._write(f"{self._to_top(*self.size())}{_CLEAR_BELOW}")
        if self._above:
            self._write("".join(f"{line}\n" for line in self._above))
            self._above.clear()
        self._leave(forget=True)

    def close(self) -> None:
        """Leave the lines where they are, below them the next line is free, and the terminal as it was."""
        if self._above:
            self.clear()
        elif self._drawn and self._in_front():
            self._write("\n")
        self._leave()

    # ---- drawing --------------------------------------------------------------------------------------------

    def _encoded(self, lines: Sequence[Text]) -> str:
        with self._console.capture() as capture:
            for number, line in enumerate(lines):
                self._console.print(line, end=_CLEAR_LINE if number == len(lines) - 1 else f"{_CLEAR_LINE}\n", soft_wrap=True)
        return capture.get()

    def _to_top(self, width: int, height: int) -> str:
        """To the first cell of what is shown, or has been. The cursor is in its last line."""
        if not self._drawn:
            return "\r"
        up = len(self._drawn) - 1
        if self._reflows and width < self._width:
            up = sum(max(1, -(-cells // width)) for cells in self._drawn) - 1
        up += self._come_back(width, height)
        if up >= height - 1:
            return "\x1b[H"  # there is nothing else to be seen
        return f"\r\x1b[{up}A" if up else "\r"

    def _come_back(self, width: int, height: int) -> int:
        """The lines of ours that a higher terminal may have brought back. Where it has not, they are above the first line of it, and to go
        up to them leads no further than there. With another width it is not known how many they are."""
        self._pushed = self._pushed + max(len(self._drawn) - height, 0) if width == self._width else 0
        back = min(self._pushed, max(height - self._height, 0))
        self._pushed -= back
        return back

    def _write(self, text: str, *, patient: bool = True) -> None:
        self._unsent += text.encode(self._stream.encoding or "utf-8", "backslashreplace")
        self._send(patient)

    def _send(self, patient: bool) -> bool:
        """Whether the terminal has taken all that there is for it. One that is gone takes everything."""
        try:
            self._stream.flush()
            while self._unsent:
                if not self._takes_more(patient):
                    return False
                with suppress(BlockingIOError):
                    self._unsent = self._unsent[os.write(self._terminal, self._unsent) :]
        except (OSError, ValueError):
            self._unsent = b""  # the run goes on
        return True

    def _takes_more(self, patient: bool) -> bool:
        return bool(select.select([], [self._terminal], [], None if patient else 0)[1])

    # ---- the terminal ---------------------------------------------------------------------------------------

    def _in_front(self) -> bool:
        """Whether the terminal is ours to write to."""
        try:
            return os.tcgetpgrp(self._stream.fileno()) == os.getpgrp()
        except OSError:
            return True  # it is nobody's controlling terminal

    def _enter(self) -> None:
        if self._kept is not None:
            return
        with suppress(termios.error, OSError):
            self._kept = termios.tcgetattr(self._stream.fileno())
            quiet = [*self._kept]
            quiet[3] &= ~termios.ECHO
            termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, quiet)
        with suppress(ValueError):  # not the main thread
            self._stop_handler = signal.signal(signal.SIGTSTP, self._stopped)

    def _leave(self, *, forget: bool = False) -> None:
        self._drawn, self._last, self._pushed = [], "", 0
        if self._kept is None:
            return
        with suppress(termios.error, OSError):
            if self._in_front():
                termios.tcsetattr(self._stream.fileno(), termios.TCSANOW, self._kept)
                if forget:
                    termios.tcflush(self._stream.fileno(), termios.TCIFLUSH)
        self._kept = None
        if self._stop_handler is not None:
            signal.signal(signal.SIGTSTP, self._stop_handler)
            self._stop_handler = None

    def _stopped(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: the shell gets its terminal back as it was."""
        self.close()
        os.kill(os.getpid(), signal.SIGTSTP)


def _reopened(stream: TextIO) -> int:
    """The terminal of a stream, opened so that no write to it ever waits. The stream itself is shared with the shell, and stays as it is."""
    try:
        return os.open(os.ttyname(stream.fileno()), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except OSError:
        return stream.fileno()
