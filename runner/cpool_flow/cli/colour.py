"""Whether a stream gets colours, and how a text gets one. Foreign text is made printable first, so no colour is its own."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from typing import TextIO

_CODES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
_STATUS_COLOURS = {
    "success": "green",
    "recovered": "green",
    "approved": "green",
    "running": "cyan",
    "started": "cyan",
    "failed": "red",
    "rejected": "red",
    "unreadable": "red",
    "waiting": "yellow",
    "cancelled": "yellow",
    "interrupted": "yellow",
}
_STATUS_WORD = re.compile(rf"^(\s*(?:\S+\s+)?)({'|'.join(_STATUS_COLOURS)})(?![\w-])")
_LABEL_COLOURS = {"error": "red", "warning": "yellow", "help": "cyan", "hint": "cyan"}
_LABEL = re.compile(rf"^({'|'.join(_LABEL_COLOURS)})(?=: )", re.MULTILINE)
_CARETS = re.compile(r"^( +\| +)(\^+.*)$", re.MULTILINE)
# Terminals that take text and nothing else.
_DUMB = ("dumb", "unknown")


def has_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """`FORCE_COLOR` and `CLICOLOR_FORCE` decide, else `NO_COLOR` and `CI`, else whether it is a terminal."""
    for name in ("FORCE_COLOR", "CLICOLOR_FORCE"):
        if environment.get(name):
            return environment[name] not in ("0", "false")
    refused = environment.get("NO_COLOR") or environment.get("CI") or environment.get("CLICOLOR") == "0"
    return not refused and stream.isatty() and environment.get("TERM") not in _DUMB


def is_live(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether what stands on a stream can be drawn anew: a terminal that may have colours, and that is ours to write to."""
    if not stream.isatty() or environment.get("TERM") in _DUMB or not has_colour(stream, environment):
        return False
    try:
        return os.tcgetpgrp(stream.fileno()) == os.getpgrp()
    except OSError:
        return True  # it is nobody's controlling terminal


def coloured(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[m"


def with_status(line: str) -> str:
    """A line with its status word coloured, where that is its first or second word."""
    return _STATUS_WORD.sub(lambda found: found[1] + coloured(found[2], _STATUS_COLOURS[found[2]]), line, count=1)


def status_word(word: str) -> str:
    """A status, with spaces around it or not, in its colour."""
    colour = _STATUS_COLOURS.get(word.strip())
    return coloured(word, colour) if colour else word


def with_labels(problems: str, stream: TextIO | None = None) -> str:
    """Problems as people read them, with their labels and marks coloured where the stream (stderr, if nothing is said) has colours."""
    if not has_colour(stream or sys.stderr):
        return problems
    labelled = _LABEL.sub(lambda found: coloured(found[1], _LABEL_COLOURS[found[1]]), problems)
    return _CARETS.sub(lambda found: found[1] + coloured(found[2], "red"), labelled)
