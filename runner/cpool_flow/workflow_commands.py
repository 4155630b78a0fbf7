"""What the runner of GitHub Actions reads in the output of a step: its workflow commands, made and defused.

Pure text. Knows how the runner finds a command: `::name …::` at the beginning of a line, after blanks; `##[name …]` anywhere in
one; a line ends with LF or CR. Does not know what is worth telling (`annotations.py`, `cli/actions.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

SHORTEST_MASK = 4
# Where a line has held nothing but blanks so far, `::` begins a command. Whatever is not ASCII counts as blank: some of it is.
_COMMAND = re.compile(rb"((?:\A|(?<=[\r\n]))[^\x21-\x7e\r\n]*:)(?=:)|(##)(?=\[)")
_LINE_END = re.compile(rb"[\r\n]")


def command(name: str, data: str = "", properties: dict[str, str | int] | None = None) -> str:
    """One command as a line. `data` and the values of `properties` may be any text."""
    listed = ",".join(f"{key}={escape_property(str(value))}" for key, value in (properties or {}).items())
    return f"::{name}{' ' if listed else ''}{listed}::{escape_data(data)}"


def escape_data(text: str) -> str:
    """Text as the data of a command: one line, which the runner makes whole again."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """Text as the value of a property of a command."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")


def masks(values: Iterable[str]) -> list[str]:
    """The commands that make the runner cover these secrets, line by line: older runners only know whole lines. A line of a secret
    that is shorter than 4 characters (the brace of a JSON text) would shred the log, and is left out."""
    lines = {line.strip() for value in values for line in value.splitlines()}
    return [command("add-mask", line) for line in sorted(lines) if len(line) >= SHORTEST_MASK]


def foreign(lines: Sequence[str], token: str) -> list[str]:
    """Text of others as lines in which the runner looks for no command. `token` is random, and never used twice."""
    return [command("stop-commands", token), *lines, f"::{token}::"]


def group(title: str, lines: Sequence[str], token: str) -> list[str]:
    """A foldable group of foreign lines."""
    return [command("group", title), *foreign(lines, token), "::endgroup::"]


def without_commands(text: str) -> str:
    """JSON in which no `##[` stands. It means the same."""
    return text.replace("##[", "\\u0023#[")


def assignment(name: str, value: str, delimiter: str) -> str:
    """An output for the file `$GITHUB_OUTPUT`. `delimiter` is random: no line of the value is it."""
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


class Defuser:
    """Takes the bytes of a stream as they come, and puts a blank into what the runner would obey: `: :error::`, `## [error]`."""

    def __init__(self) -> None:
        self._before = b""  # as much of the line so far as the next bytes could make a command of

    @property
    def at_line_start(self) -> bool:
        """Whether the next byte begins a line, blanks aside."""
        return self._before == b""

    def feed(self, data: bytes) -> bytes:
        """The same bytes, harmless. What went before is remembered, so it may be cut anywhere."""
        whole = self._before + data
        given = _COMMAND.sub(rb"\1\2 ", whole) if b":" in whole or b"##" in whole else whole
        given = given[len(self._before) :]
        self._before = _remembered(whole)
        return given

    def begin_line(self) -> None:
        """A line has been ended by other means."""
        self._before = b""


def _remembered(text: bytes) -> bytes:
    """A short text that stands for the last line of this one."""
    line = _LINE_END.split(text[-_TAIL:])[-1]
    if len(line) == _TAIL:  # the line began before: only what is not blank in it counts
        line = text[max(text.rfind(b"\n"), text.rfind(b"\r")) + 1 :]
    seen = line.lstrip(_BLANKS)
    if seen in (b"", b":"):
        return seen
    return b"##" if seen.endswith(b"##") else b"#" if seen.endswith(b"#") else b"x"


_TAIL = 4096
_BLANKS = bytes(code for code in range(256) if not 0x21 <= code <= 0x7E)
