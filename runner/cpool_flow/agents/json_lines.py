"""Reading lines of JSON that anybody may have printed: every value may be of any type, and a line may be no JSON at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_MAX_DOLLARS = 1e9


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


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def dollars(value: object) -> float | None:
    """An amount of money; NaN, infinite and negative ones are unknown."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= _MAX_DOLLARS else None


def plain(words: str) -> str:
    """Text that can be written as UTF-8: half of a surrogate pair is none."""
    return words.encode("utf-8", "replace").decode()


def first_line(words: str) -> str | None:
    """What the live view shows of a text."""
    first, _, _ = words.lstrip().partition("\n")
    return first[:200].rstrip() or None
