"""What stands in the documents between fences, and whether a command gave what a document shows.

A block is `console` (commands after `$ `, each followed by what it prints), or a file where its first line names one
(`# review.yaml`). Shown output is compared without what differs from run to run; `…` stands for anything. A line `^C` in it
is the reader's Ctrl-C, as soon as the lines above it are there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

CTRL_C = "^C"
_FENCE = re.compile(r"^```(?P<language>\w*)\n(?P<text>(?:# (?P<file>[\w./-]+\.\w+)\n)?.*?)^```$", re.MULTILINE | re.DOTALL)
_DIFFERS = (
    (r"\b[0-9]{8}-[0-9]{6}-[0-9a-f]{6}\b", "RUN"),
    (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]+Z", "MOMENT"),
    (r"\b[0-9]{4}-[0-9]{2}-[0-9]{2} (?=[0-9:]+ UTC)", "DAY "),
    (r"\b[0-9]{2}:[0-9]{2}:[0-9]{2}\b", "CLOCK"),
    (r"(?<=RUN )\([a-z]+-[a-z]+\)", "(NAME)"),
    (r"(?<=^RUN  )[a-z]+-[a-z]+", "NAME"),
    (r'(?<="name": ")[a-z]+-[a-z]+(?=")', "NAME"),
    (r'(?<="duration_seconds": )[0-9.]+', "TIME"),
    (r"\b(?:[0-9]+h)?(?:[0-9]+m)?[0-9]+(?:\.[0-9]+)?m?s\b|\b(?:[0-9]+h)?[0-9]+m\b", "TIME"),
    (r"\bslot-[0-9]+", "SLOT"),
    (r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{7,40}\b", "COMMIT"),
    (r"\b[0-9]+ kB\b", "SIZE"),
    (r"[ ]{2,}", "  "),
)


@dataclass(frozen=True)
class Block:
    """One fenced block; `start` and `end` are the places of its text in the document."""

    language: str
    file: str | None
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Shown:
    """One command of a `console` block and the output that is shown for it."""

    command: str
    output: str

    @property
    def lines_before_ctrl_c(self) -> int | None:
        """How many lines come before the reader presses Ctrl-C; None where that does not happen."""
        lines = self.output.split("\n")
        return lines.index(CTRL_C) if CTRL_C in lines else None


def blocks(document: Path) -> list[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text(encoding="utf-8")
    return [
        Block(found["language"], found["file"], found["text"], found.start("text"), found.end("text")) for found in _FENCE.finditer(text)
    ]


def session(text: str) -> Iterator[Shown]:
    """The commands of a `console` block. A command goes on in the next line where a line ends with a backslash."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.split("\n")
        length = next((number for number, line in enumerate(lines, 1) if not line.endswith("\\")), len(lines))
        yield Shown("\n".join(lines[:length]), "\n".join(lines[length:]).strip("\n"))


def same(shown: str, given: str) -> bool:
    """Whether the output given is the output shown. Progress lines next to each other may stand in any order."""
    if re.search(r"^…$", shown, re.MULTILINE):
        return re.fullmatch(_pattern(_plain(shown)), _plain(given), re.DOTALL) is not None
    wanted, found = _in_order(_plain(shown)), _in_order(_plain(given))
    return len(wanted) == len(found) and all(re.fullmatch(_pattern(line), other) for line, other in zip(wanted, found, strict=True))


def _plain(text: str) -> str:
    lines = []
    for line in text.strip("\n").split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        rest = line.strip(" ")
        for pattern, word in _DIFFERS:
            rest = re.sub(pattern, word, rest)
        lines.append(indent + rest)
    return "\n".join(lines)


def _in_order(text: str) -> list[str]:
    return [
        line
        for steps, lines in groupby(text.split("\n"), lambda line: line.startswith("  "))
        for line in (sorted(lines) if steps else lines)
    ]


def _pattern(text: str) -> str:
    """`…` is any text within a line; a line of nothing else is any lines."""
    lines = ["(?s:.*)" if line == "…" else "[^\n]*".join(map(re.escape, line.split("…"))) for line in text.split("\n")]
    return "\n".join(lines)
