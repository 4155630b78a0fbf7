"""Reading lines of JSON that anybody may have printed: every value may be of any type, and a line may be no JSON at all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from cpool_flow.agents.protocol import MAX_LINE_BYTES

_MAX_DOLLARS = 1e9
# Of a line of stderr only so much is looked at.
_NOTICED_BYTES = 4096


def event(line: bytes) -> Mapping[str, Any] | None:
    """The JSON object on a line; None where there is none."""
    try:
        value = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def number(value: object, most: float) -> float | None:
    """A number from 0 to `most`; NaN, infinite and negative ones are unknown."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most else None


def dollars(value: object) -> float | None:
    """An amount of money."""
    return number(value, _MAX_DOLLARS)


def http_status(value: object) -> int | None:
    """An HTTP status, also where it stands as text."""
    found = int(value) if isinstance(value, str) and re.fullmatch(r"[1-5][0-9]{2}", value) else value
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def notice(line: bytes) -> str:
    """The beginning of a line of stderr, in which a known word may stand."""
    return line[:_NOTICED_BYTES].decode("utf-8", "replace")


def plain(words: str) -> str:
    """Text that can be written as UTF-8: half of a surrogate pair is none."""
    return words.encode("utf-8", "replace").decode()


def first_line(words: str) -> str | None:
    """What the live view shows of a text."""
    first, _, _ = words.lstrip().partition("\n")
    return first[:200].rstrip() or None


class Joined:
    """Texts that come one after the other, up to MAX_LINE_BYTES in all: what an agent says has no end of its own."""

    def __init__(self, between: str = "") -> None:
        self._between = between
        self._parts: list[str] = []
        self._length = 0
        self.too_long = False

    def add(self, words: str) -> None:
        self._length += len(words) + len(self._between)
        self.too_long = self.too_long or self._length > MAX_LINE_BYTES
        if not self.too_long:
            self._parts.append(words)

    def clear(self) -> None:
        self._parts = []
        self._length = 0
        self.too_long = False

    @property
    def text(self) -> str:
        return self._between.join(self._parts)
