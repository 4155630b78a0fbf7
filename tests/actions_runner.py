"""The runner of GitHub Actions, as far as it reads the output of a step: which commands it would obey.

Written from its rules: two forms of a command, `stop-commands` until its token, what is unescaped in data and properties.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

KNOWN = frozenset(
    {"add-mask", "add-matcher", "add-path", "debug", "echo", "endgroup", "error", "group", "notice", "remove-matcher", "save-state"}
    | {"set-env", "set-output", "stop-commands", "warning"}
)
# What .NET takes for white space.
BLANKS = "\t\n\v\f\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + "\u2028\u2029\u202f\u205f\u3000"


@dataclass(frozen=True)
class Obeyed:
    """A command that was obeyed."""

    name: str
    data: str
    properties: dict[str, str] = field(default_factory=dict)


class Runner:
    """Reads the whole of one stream. `obeyed`: commands in order; `text`: the other lines."""

    def __init__(self, output: bytes) -> None:
        self.obeyed: list[Obeyed] = []
        self.text: list[str] = []
        self._token: str | None = None
        for line in re.split("\r\n|\r|\n", output.decode("utf-8", "replace")):
            self._read(line)

    def names(self) -> list[str]:
        """The obeyed commands by name, without the brackets around foreign text."""
        return [command.name for command in self.obeyed]

    def of(self, name: str) -> list[Obeyed]:
        return [command for command in self.obeyed if command.name == name]

    @property
    def stopped(self) -> bool:
        return self._token is not None

    def _read(self, line: str) -> None:
        known = KNOWN | ({self._token.lower()} if self._token else set())
        command = _new_form(line, known) or _old_form(line, known)
        if self._token is not None:
            if command is not None and command.name.lower() == self._token.lower():
                self._token = None
            else:
                self.text.append(line)
        elif command is None:
            self.text.append(line)
        elif command.name.lower() == "stop-commands":
            assert command.data, "a runner would refuse an empty token"
            self._token = command.data
        else:
            self.obeyed.append(command)


def _new_form(line: str, known: frozenset[str] | set[str]) -> Obeyed | None:
    line = line.lstrip(BLANKS)
    end = line.find("::", 2)
    if not line.startswith("::") or end < 0:
        return None
    name, _, listed = line[2:end].partition(" ")
    if name.lower() not in known:
        return None
    pairs = [part.split("=", 1) for part in listed.strip().split(",") if part]
    properties = {
        pair[0]: _unescaped(pair[1], ("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ",")) for pair in pairs if len(pair) == 2
    }
    return Obeyed(name, _unescaped(line[end + 2 :], ("%0D", "\r"), ("%0A", "\n")), properties)


def _old_form(line: str, known: frozenset[str] | set[str]) -> Obeyed | None:
    start = line.find("##[")
    end = line.find("]", start)
    if start < 0 or end < 0:
        return None
    name = line[start + 3 : end].partition(" ")[0]
    return Obeyed(name, line[end + 1 :]) if name.lower() in known else None


def _unescaped(text: str, *pairs: tuple[str, str]) -> str:
    for code, character in (*pairs, ("%25", "%")):
        text = text.replace(code, character)
    return text
