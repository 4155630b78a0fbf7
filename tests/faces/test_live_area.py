"""The bottom of a terminal that is drawn anew in place: what stays, what goes, and terminals that do not play along."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import termios
from collections.abc import Iterator

import pyte
import pytest
from rich.text import Text

from cpool_flow.live.area import Area


class Glass:
    """A terminal of 20 columns and 6 lines, seen from outside. `look` reads what was printed."""

    def __init__(self, **environment: str) -> None:
        self.screen = pyte.HistoryScreen(20, 6, history=1000)
        self._parser = pyte.ByteStream(self.screen)
        self.ours, self.theirs = pty.openpty()
        self.size(20, 6)
        os.set_blocking(self.ours, False)
        self.stream = os.fdopen(self.theirs, "w", encoding="utf-8")
        self.area = Area(self.stream, environment)

    def size(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def height(self, lines: int, *, brings_back: bool = True) -> None:
        """Make the terminal lower or higher, as one does that pushes lines up only where it must, and `brings_back` what it can."""
        self.look()
        screen = self.screen
        rows = [screen.buffer[number] for number in range(screen.lines)]
        above, cursor = screen.history.top, screen.cursor
        del rows[max(cursor.y + 1, lines) :]
        while len(rows) > lines:
            above.append(rows.pop(0))
            cursor.y -= 1
        while len(rows) < lines and above and brings_back:
            rows.insert(0, above.pop())
            cursor.y += 1
        screen.buffer.clear()
        screen.buffer.update(enumerate(rows))
        screen.lines = lines
        self.size(20, lines)

    def draw(self, *lines: str) -> None:
        self.area.draw([Text(line) for line in lines])

    def printed(self) -> bytes:
        data = b""
        while True:
            try:
                data += os.read(self.ours, 65536)
            except OSError:
                return data

    def look(self) -> list[str]:
        self._parser.feed(self.printed())
        gone = ["".join(line[column].data for column in range(20)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*gone, *self.screen.display]).rstrip("\n").split("\n")

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self.ours)[3] & termios.ECHO)


@pytest.fixture
def glass() -> Iterator[Glass]:
    found = Glass()
    yield found
    found.area.close()


def test_lines_are_drawn_in_place_of_those_before(glass: Glass) -> None:
    glass.stream.write("$ a command\n")
    glass.draw("one", "two", "three")
    glass.draw("one more", "2")
    glass.draw("first", "second", "third", "last")
    assert glass.look() == ["$ a command", "first", "second", "third", "last"]
    assert (glass.screen.cursor.y, glass.screen.cursor.x) == (4, 4)


def test_lines_above_stay_and_scroll(glass: Glass) -> None:
    for number in range(8):
        glass.area.above(f"note {number}")
        glass.draw(f"at {number}", "totals")
    assert glass.look() == [*(f"note {number}" for number in range(8)), "at 7", "totals"]


def test_a_long_line_above_is_wrapped_and_a_long_line_of_the_area_is_not(glass: Glass) -> None:
    glass.draw("x" * 30, "totals")
    glass.area.above("a note of thirty characters, ok")
    glass.draw("y" * 30, "totals")
    assert glass.look() == ["a note of thirty cha", "racters, ok", "y" * 20, "totals"]


@pytest.mark.parametrize("brings_back", [True, False])
def test_a_terminal_that_gets_lower_and_higher_again_keeps_no_line_of_before_in_sight(glass: Glass, brings_back: bool) -> None:
    glass.stream.write("$ a command\n")
    glass.draw("1", "2", "3", "4", "totals")
    for lines in (3, 2):
        glass.height(lines)
        glass.draw("totals")
    glass.draw("now")
    assert glass.look() == ["$ a command", "1", "2", "now"]
    glass.height(6, brings_back=brings_back)
    glass.draw("1 now", "totals now")
    glass.look()
    seen = "\n".join(line.rstrip() for line in glass.screen.display).rstrip().split("\n")
    assert seen == (["$ a command", "1 now", "totals now"] if brings_back else ["1 now", "totals now"])


def test_what_stands_above_is_not_taken_for_lines_that_were_pushed_up(glass: Glass) -> None:
    glass.draw("1", "2", "3", "4", "totals")
    glass.height(3)
    glass.area.above("a note")
    glass.draw("1", "totals")
    glass.height(6)
    glass.draw("1", "totals")
    assert glass.look() == ["1", "2", "a note", "1", "totals"]


def test_what_is_cleared_leaves_what_stands_above_and_nothing_else(glass: Glass) -> None:
    glass.draw("one", "two")
    glass.area.above("asked")
    glass.area.clear()
    glass.stream.write("y\n")
    glass.draw("three")
    assert glass.look() == ["asked", "y", "three"]


def test_what_is_closed_leaves_its_lines_and_a_free_one_below(glass: Glass) -> None:
    glass.draw("one", "two")
    glass.area.close()
    glass.area.close()
    glass.stream.write("after\n")
    glass.stream.flush()
    assert glass.look() == ["one", "two", "after"]


def test_nothing_typed_is_echoed_while_lines_are_shown(glass: Glass) -> None:
    assert glass.echoes
    glass.draw("one")
    assert not glass.echoes
    os.write(glass.ours, b"typed\n")
    glass.draw("two")
    assert glass.look() == ["two"]
    glass.area.clear()
    assert glass.echoes


def test_what_has_not_changed_is_not_printed_again(glass: Glass) -> None:
    glass.draw("one", "two")
    assert glass.printed() != b""
    glass.draw("one", "two")
    assert glass.printed() == b""


def test_who_is_ended_while_he_draws_takes_away_what_he_has_drawn(glass: Glass) -> None:
    class Ending(io.TextIOWrapper):
        """A terminal at which a signal comes while it is written to."""

        def flush(self) -> None:
            super().flush()
            if self.ending:
                self.ending = False
                raise KeyboardInterrupt

        ending = False

    stream = Ending(io.FileIO(os.dup(glass.theirs), "w"), encoding="utf-8")
    area = Area(stream, {})
    area.draw([Text("before")])
    stream.ending = True
    with pytest.raises(KeyboardInterrupt):
        area.draw([Text("one"), Text("two")])
    area.clear()
    assert glass.look() == [""]


def test_text_of_others_moves_no_cursor(glass: Glass) -> None:
    glass.area.above("bad \x1b[2J\r\x07")
    glass.draw("fine")
    assert glass.look() == ["bad \\x1b[2J\\r\\x07", "fine"]


@pytest.mark.timeout(20)
def test_a_terminal_that_takes_nothing_holds_nobody_up(glass: Glass) -> None:
    for number in range(5000):
        glass.draw(f"{number} {'x' * 10}", "totals")
    seen = glass.look()
    assert len(seen) == 2
    glass.draw("at last", "totals")
    assert glass.look() == ["at last", "totals"]


def test_a_terminal_that_is_gone_is_left_alone(glass: Glass) -> None:
    glass.draw("one")
    os.close(glass.ours)
    glass.area.above("note")
    glass.draw("two")
    glass.area.clear()
    glass.draw("three")
    glass.area.close()
    glass.ours = os.open(os.devnull, os.O_RDWR)


@pytest.mark.parametrize(
    ("environment", "size"),
    [({}, (80, 24)), ({"COLUMNS": "132", "LINES": "50"}, (132, 50)), ({"COLUMNS": "0", "LINES": "many"}, (80, 24))],
)
def test_a_terminal_that_does_not_know_its_size_has_that_of_the_environment(environment: dict[str, str], size: tuple[int, int]) -> None:
    glass = Glass(**environment)
    assert glass.area.size() == (20, 6)
    glass.size(0, 0)
    assert glass.area.size() == size


@pytest.mark.parametrize(("terminal", "up"), [({"TERM_PROGRAM": "WezTerm"}, b"\r\x1b[2A"), ({}, b"\r\x1b[1A")])
def test_where_a_narrower_terminal_breaks_lines_anew_all_their_parts_go(terminal: dict[str, str], up: bytes) -> None:
    glass = Glass(**terminal)
    glass.draw("x" * 15, "totals")
    glass.printed()
    glass.size(10, 6)
    glass.draw("short", "totals")
    assert glass.printed().startswith(up)
    glass.area.close()
