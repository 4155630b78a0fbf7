"""JSON values: read strictly, bounded, compared, shown in messages.

Where RFC 8259 is silent: of duplicate keys the last wins; NaN and Infinity are no JSON; numbers that no double can hold and halves
of surrogate pairs are refused, never changed.
"""

from __future__ import annotations

import json
import re

from cpool_flow.errors import printable

JsonValue = None | bool | int | float | str | list["JsonValue"] | dict[str, "JsonValue"]

MAX_DEPTH = 256
MAX_CHARACTERS = 64 * 1024 * 1024
MAX_DIGITS = 300  # any such integer is also a finite double


class BadJson(Exception):
    """Text that is no JSON, or a value that we cannot keep. The message is a reason without a subject."""


class NotJson(BadJson):
    """Text that is no JSON; `offset` is where that shows."""

    def __init__(self, reason: str, offset: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset

    def within(self, text: str) -> BadJson:
        """The same with line, column and an excerpt of `text`."""
        line = text.count("\n", 0, self.offset) + 1
        column = self.offset - text.rfind("\n", 0, self.offset)
        return BadJson(f"{self.reason} at line {line}, column {column}: {excerpt(text, self.offset)}")


def read_json(text: str) -> JsonValue:
    """The one JSON value that `text` is, blanks and byte order marks around it aside. Raises NotJson, BadJson."""
    if len(text) > MAX_CHARACTERS:
        raise BadJson(f"too large to be read as JSON (more than {MAX_CHARACTERS} characters)")
    inner = strip(text)
    if not inner:
        raise NotJson("nothing but blanks", 0)
    return decode(inner, text.find(inner))


def strip(text: str) -> str:
    """`text` without blanks and byte order marks at both ends."""
    return text.strip().strip("\ufeff").strip()


def decode(text: str, offset: int = 0) -> JsonValue:
    """The JSON value that `text` is, from its first to its last character; `offset` is where it stands, for errors."""
    value: JsonValue
    try:
        value, end = _DECODER.raw_decode(text)
    except json.JSONDecodeError as error:
        raise NotJson(_reason(error), offset + min(error.pos, len(text))) from None
    except _Constant as error:
        raise NotJson(f"`{error}` is no JSON", offset + text.find(str(error))) from None
    except RecursionError:
        raise BadJson(TOO_DEEP) from None
    if end != len(text):
        raise NotJson("more text after the value", offset + end)
    if _SURROGATE.search(text):
        check_value(value)
    else:
        _check_depth(value)
    return value


def check_value(value: JsonValue) -> None:
    """Raises BadJson where `value` is nested too deeply, or holds half of a surrogate pair or a number that is not finite."""
    _check_depth(value)
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise BadJson("half of a surrogate pair (one of `\\ud800` to `\\udfff` alone), which no text can hold") from None
    except ValueError:
        raise BadJson("a number that is not finite, or too long") from None


def canonical(value: JsonValue) -> str:
    """Equal for equal JSON values: 1 and 1.0 are equal, 1 and true are not, the order of keys does not matter."""
    return json.dumps(_whole_numbers(value), sort_keys=True)


def shown(value: JsonValue) -> str:
    """`value` for a message: as JSON where that is short, else what it is and how large."""
    if isinstance(value, (dict, list)) and len(value) > 20:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    if isinstance(value, str) and len(value) > 80:
        value = f"{value[:80]}…"
    text = printable(json.dumps(value, ensure_ascii=False))
    return text if len(text) <= 100 else f"{text[:100]}…"


def excerpt(text: str, offset: int) -> str:
    """A few characters around `offset`, on one line."""
    width = 60
    start = min(max(0, offset - width // 2), max(0, len(text) - width))
    return f"{'…' if start else ''}{printable(text[start : start + width])}{'…' if start + width < len(text) else ''}"


TOO_DEEP = f"brackets nested more than {MAX_DEPTH} deep"


class _Constant(Exception):
    pass


def _reason(error: json.JSONDecodeError) -> str:
    reason = error.msg.removesuffix(" at").removesuffix(" starting")
    return reason[:1].lower() + reason[1:]


def _check_depth(value: JsonValue) -> None:
    level: list[JsonValue] = [value]
    for _ in range(MAX_DEPTH):
        nested = [node.values() if isinstance(node, dict) else node for node in level if isinstance(node, (dict, list))]
        level = [child for children in nested for child in children if isinstance(child, (dict, list))]
        if not level:
            return
    raise BadJson(TOO_DEEP)


def _whole_numbers(value: JsonValue) -> JsonValue:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _whole_numbers(item) for key, item in value.items()}
    return value


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise BadJson(f"a number of more than {MAX_DIGITS} digits: {digits[:20]}…")
    return int(digits)


def _float(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise BadJson(f"a number that is too large: {digits[:20]}")
    return number


def _constant(name: str) -> None:
    raise _Constant(name)


_DECODER = json.JSONDecoder(parse_int=_integer, parse_float=_float, parse_constant=_constant)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")
