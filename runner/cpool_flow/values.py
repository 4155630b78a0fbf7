"""What a template can hold: plain JSON data, and records of declared names; with their text and their JSON.

Plain JSON (None, bool, int, float, str, list, dict) is a value as it stands and is never wrapped.
Knows nothing of Jinja, of steps, or of limits: who reads untrusted data measures it first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from cpool_flow.dataclass import dataclass
from cpool_flow.json_value import JsonValue


class RenderError(Exception):
    """A template that parses could not be rendered with these values.

    `message` is safe to show: it names paths and kinds of values, never their content. `offset` counts
    characters from the start of the template's text, `source`; None where that is not known.
    """

    def __init__(self, message: str, offset: int | None = None, source: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.source = source


@dataclass(frozen=True, slots=True)
class Lazy:
    """A field of a record that is read when it is first asked for, at most once: a large output in a file."""

    load: Callable[[], object]


@dataclass(frozen=True, slots=True)
class Absent:
    """A field that has no value now, and why: "step `build` was skipped". To a template it is undefined."""

    reason: str


class Record(Mapping[str, object]):
    """Names that were declared, and nothing else: `args.items` is the argument, whatever Python thinks.

    Cannot be changed. Values are JSON data, other records, lists of them, `Lazy` or `Absent`.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, object]) -> None:
        self._fields = dict(fields)

    def __getitem__(self, name: str) -> object:
        value = self._fields[name]
        if isinstance(value, Absent):
            raise KeyError(name)
        if isinstance(value, Lazy):
            value = self._fields[name] = value.load()
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name, value in self._fields.items() if not isinstance(value, Absent))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._fields and not isinstance(self._fields[name], Absent)

    def __repr__(self) -> str:
        return f"Record({', '.join(self)})"

    def readable(self) -> Iterator[tuple[str, object]]:
        """The fields that have a value now: an output that is no JSON has no `json`."""
        for name in self:
            try:
                yield name, self[name]
            except RenderError:
                continue

    def absence(self, name: str) -> str | None:
        """Why the field has no value; None where it has one or was never declared."""
        value = self._fields.get(name)
        return value.reason if isinstance(value, Absent) else None


def wrap(value: JsonValue) -> object:
    """Plain JSON data as a template value: itself, because templates read every object by its own names only."""
    return value


def unwrap(value: object) -> JsonValue:
    """The value as plain JSON data of its own: records become dicts, nothing is shared with the template.

    Raises RenderError for what is no JSON: functions, loops, numbers that are not finite.
    """
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float):
        return _finite(value)
    if isinstance(value, Record):
        return {name: unwrap(field) for name, field in value.readable()}
    if isinstance(value, Mapping):
        return {_key(key): unwrap(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [unwrap(item) for item in value]
    raise RenderError(value.reason if isinstance(value, Absent) else f"{kind(value)} is no value")


def parts(container: object) -> Iterable[object]:
    """What a list or a mapping holds, of a record the fields that can be read."""
    if isinstance(container, Record):
        return (field for _, field in container.readable())
    if isinstance(container, Mapping):
        return container.values()
    return container if isinstance(container, (list, tuple)) else ()


def json_text(value: object, indent: int | None = None) -> str:
    """The value as JSON: keys in their order, no HTML escapes, only what UTF-8 cannot carry is escaped."""
    text = json.dumps(unwrap(value), ensure_ascii=False, allow_nan=False, indent=indent)
    return text if text.isascii() else _LONE_SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def text_of(value: object) -> str:
    """The value as it stands in text: text unchanged, `true` and `false`, null as nothing, lists and objects as JSON."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return _digits(value)
    return json_text(value)


def truth(value: object) -> bool:
    """What a condition (`when`, `until`) makes of a value.

    Null, zero, empty lists and objects are false. Text is a trap ("false" would be true), so only `true`,
    `false` and the empty text pass; raises RenderError for any other.
    """
    if not isinstance(value, str):
        return bool(value)
    if value in ("true", "false", ""):
        return value == "true"
    raise RenderError("the condition gives text, neither true nor false; compare it, such as `… == 'text'`")


def kind(value: object) -> str:
    """The value's kind in words, for messages: nothing of its content."""
    if value is None:
        return "null"
    for types, word in _KINDS:
        if isinstance(value, types):
            return word
    return "a function or loop"


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "text"),
    ((list, tuple), "a list"),
    (Mapping, "an object"),
)


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise RenderError("a key of an object must be text")
    return key


def _finite(number: float) -> float:
    if not math.isfinite(number):
        raise RenderError("the number is not finite")
    return number


def _digits(number: int | float) -> str:
    try:
        return str(_finite(number) if isinstance(number, float) else number)
    except ValueError:
        raise RenderError("the number is too large") from None
