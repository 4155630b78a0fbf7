"""The placeholders of Agent Skills: `$ARGUMENTS`, `$ARGUMENTS[N]` and `$N`, counted from 0.

Replaced in one pass, so that a value is never looked at again; `$10` is the eleventh value and `$5k` is text. A backslash in front
keeps one as it is. `$N` of a value that is not there stays (it is a price, or awk's); `$ARGUMENTS[N]` can mean nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Callable

_PLACEHOLDER = re.compile(r"(?P<escape>\\?)\$(?:ARGUMENTS(?:\[(?P<index>[0-9]{1,4})\]|(?!\w))|(?P<short>[0-9]{1,4})(?!\w))")

ALL = -1


def replace(body: str, value_of: Callable[[int], str | None]) -> str:
    """`body` with each placeholder replaced by what `value_of` says of its number (`ALL` for `$ARGUMENTS`); None leaves it."""

    def replaced(found: re.Match[str]) -> str:
        if found["escape"]:
            return found[0][1:]
        value = value_of(_number(found))
        return found[0] if value is None else value

    return _PLACEHOLDER.sub(replaced, body)


def used(body: str) -> set[str]:
    """The placeholders that stand in `body`, as they are written."""
    return {found[0] for found in _PLACEHOLDER.finditer(body) if not found["escape"]}


def count(body: str) -> int:
    """How many placeholders stand in `body`."""
    return sum(not found["escape"] for found in _PLACEHOLDER.finditer(body))


def number(placeholder: str) -> int:
    """Which value a placeholder asks for: `ALL`, or its number."""
    found = _PLACEHOLDER.fullmatch(placeholder)
    if found is None:
        raise AssertionError(f"BUG: `{placeholder}` is no placeholder")
    return _number(found)


def _number(found: re.Match[str]) -> int:
    written = found["index"] or found["short"]
    return int(written) if written else ALL
