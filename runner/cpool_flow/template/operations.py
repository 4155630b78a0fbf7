"""What an operator, an index or a method does in a template, on our values and within the limits.

Nothing of Python can be reached through a value: objects have the names of their data, text has the methods listed
here, and nothing else has any. Knows nothing of Jinja; undefined values are refused before they come here.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpool_flow.errors import printable
from cpool_flow.template.limits import Meter, check_number
from cpool_flow.values import Absent, Record, RenderError, kind, text_of

NAMES_SHOWN = 8
RANGE_LIMIT = 100_000


def member(container: object, key: object, written: str) -> object:
    """`container.key` or `container[key]`; Absent, with what exists instead, where there is no such thing."""
    if isinstance(container, Mapping):
        if isinstance(key, str):
            return container[key] if key in container else _missing_name(container, key, written)
    elif isinstance(container, (list, tuple, str)) and isinstance(key, int):
        if -len(container) <= key < len(container):
            return container[key]
        return Absent(f"`{written}` does not exist: the length is {len(container)}")
    if container is None:
        return Absent(f"`{written}` does not exist: what stands before it is null")
    return Absent(f"`{written}` does not exist: {kind(container)} has no such part")


def piece(meter: Meter, value: object, start: int | None, stop: int | None, step: int | None) -> object:
    """`value[start:stop:step]` of a list or text."""
    if not isinstance(value, (list, tuple, str)):
        raise RenderError(f"{kind(value)} cannot be cut into pieces")
    found = value[slice(start, stop, step)]
    _charge(meter, found)
    return found


def items_of(meter: Meter, value: object, *, absent: bool = False) -> list[Any]:
    """The items that a loop or a filter walks: of a list, or the keys of an object. Text is never split into characters.

    Items without a value (a missing attribute, after `map`) are refused unless `absent`.
    """
    if isinstance(value, list):
        found = value
    elif isinstance(value, (tuple, Mapping)):
        found = list(value)
    else:
        wish = "; split it, such as `x | lines`" if isinstance(value, str) else ""
        raise RenderError(f"{kind(value)} is no list{wish}")
    meter.spend(1 + len(found))
    for item in () if absent else found:
        if isinstance(item, Absent):
            raise RenderError(item.reason)
    return found


def number_range(meter: Meter, *bounds: int) -> list[int]:
    """The list of `range(…)`."""
    found = range(*bounds)
    if len(found) > RANGE_LIMIT:
        raise RenderError(f"the range is too long (more than {RANGE_LIMIT:,})")
    meter.spend(1 + len(found))
    return list(found)


def compare(meter: Meter, left: object, *rest: Any) -> bool:
    """`left == a < b …`: `rest` are operator and operand in turn."""
    meter.spend(1)
    meter.weigh(left)
    for comparison, right in zip(rest[::2], rest[1::2], strict=True):
        if not (comparison in ("in", "notin") and isinstance(right, Mapping)):
            meter.weigh(right)
        if not _holds(comparison, left, right):
            return False
        left = right
    return True


def binary(meter: Meter, left: Any, symbol: str, right: Any) -> object:
    """`left + right` and the like."""
    meter.spend(1)
    if symbol == "%" and isinstance(left, str):
        return formatted(meter, left, right if isinstance(right, list) else [right])
    if symbol == "+" and isinstance(left, list) and isinstance(right, list):
        meter.spend(len(left) + len(right))
        return left + right
    if symbol == "+" and isinstance(left, str) and isinstance(right, str):
        meter.produce(len(left) + len(right))
        return left + right
    if symbol == "*" and isinstance(right, (str, list)):
        left, right = right, left
    if symbol == "*" and isinstance(left, (str, list)) and isinstance(right, int):
        _charge_length(meter, left, len(left) * max(right, 0))
        return left * right
    if not isinstance(left, (int, float)) or not isinstance(right, (int, float)):
        wish = "; `~` joins texts" if symbol == "+" else ""
        raise RenderError(f"`{symbol}` cannot take {kind(left)} and {kind(right)}{wish}")
    return _arithmetic(symbol, left, right)


def unary(meter: Meter, value: Any, symbol: str) -> object:
    """`-value` and `+value`."""
    meter.spend(1)
    if not isinstance(value, (int, float)):
        raise RenderError(f"`{symbol}` cannot take {kind(value)}")
    return -value if symbol == "-" else +value


def joined(meter: Meter, values: Iterable[object], separator: str = "") -> str:
    """The texts of the values, one after the other."""
    texts = [written(meter, value) for value in values]
    meter.produce(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def mapping(meter: Meter, *parts: Any) -> dict[str, object]:
    """An object that stands in the template itself: keys and values in turn."""
    meter.spend(1 + len(parts))
    if not all(isinstance(key, str) for key in parts[::2]):
        raise RenderError("a key of an object must be text")
    return dict(zip(parts[::2], parts[1::2], strict=True))


def written(meter: Meter, value: object) -> str:
    """The value's text (values.text_of), within the limits."""
    if isinstance(value, str):
        return value
    meter.weigh(value)
    text = text_of(value)
    meter.produce(len(text))
    return text


def formatted(meter: Meter, template: str, values: list[Any]) -> str:
    """`template % values` with plain conversions only."""
    for width in _WIDTHS.findall(template):
        if "*" in width or len(width) > 3:
            raise RenderError("the width of a format is too large")
    texts = tuple(value if isinstance(value, (int, float)) and not isinstance(value, bool) else written(meter, value) for value in values)
    meter.produce(len(template) + sum(len(text) if isinstance(text, str) else 400 for text in texts) + 1000 * template.count("%"))
    return template % texts


def call_method(meter: Meter, text: object, name: str, *arguments: Any) -> object:
    """`text.name(…)`."""
    if not isinstance(text, str) or name not in METHODS:
        raise RenderError(f"{kind(text)} has no method `{name}`{_filter_instead(name)}")
    meter.spend(1)
    meter.scan(text)
    found = METHODS[name](meter, text, *arguments)
    _charge(meter, found)
    return found


def split(meter: Meter, text: str, separator: str | None = None, limit: int = -1) -> list[str]:
    meter.spend(len(text) // 2 if separator is None else text.count(separator))
    return text.split(separator, limit)


def lines(meter: Meter, text: str) -> list[str]:
    meter.spend(sum(text.count(character) for character in _LINE_ENDS))
    return text.splitlines()


def replaced(meter: Meter, text: str, old: str, new: str, count: int = -1) -> str:
    found = text.count(old) if count < 0 else min(count, text.count(old))
    meter.produce(len(text) + found * max(0, len(new) - len(old)))
    return text.replace(old, new, count)


def _plain(name: str) -> Callable[..., object]:
    """A method whose result is no longer than the text."""
    method = getattr(str, name)
    return lambda meter, text, *arguments: method(text, *(tuple(each) if isinstance(each, list) else each for each in arguments))


_PLAIN = (
    *("upper", "lower", "title", "capitalize", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix"),
    *("startswith", "endswith", "find", "rfind", "count", "partition", "rpartition"),
    *("isdigit", "isalpha", "isalnum", "isspace", "islower", "isupper"),
)
METHODS: Mapping[str, Callable[..., object]] = {
    "split": split,
    "splitlines": lines,
    "replace": replaced,
    "join": lambda meter, text, values: joined(meter, items_of(meter, values), text),
    **{name: _plain(name) for name in _PLAIN},
}

_WIDTHS = re.compile(r"%(?:\([^)]*\))?[-#0 +]*([0-9*]*(?:\.[0-9*]*)?)")
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "lteq": operator.le,
    "gt": operator.gt,
    "gteq": operator.ge,
    "in": lambda left, right: left in right,
    "notin": lambda left, right: left not in right,
}
_ARITHMETIC: Mapping[str, Callable[[Any, Any], int | float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


def _holds(comparison: str, left: Any, right: Any) -> bool:
    try:
        return _COMPARISONS[comparison](left, right)
    except TypeError:
        if comparison in ("in", "notin"):
            raise RenderError(f"`in` cannot look for {kind(left)} in {kind(right)}") from None
        raise RenderError(f"{kind(left)} and {kind(right)} have no order") from None


def _arithmetic(symbol: str, left: int | float, right: int | float) -> object:
    if isinstance(left, int) and isinstance(right, int):
        if symbol == "**":
            check_number(left.bit_length() * abs(right) if abs(left) > 1 else 1)
        check_number(left.bit_length() + right.bit_length())
    try:
        found = _ARITHMETIC[symbol](left, right)
    except ZeroDivisionError:
        raise RenderError("division by zero") from None
    except OverflowError:
        raise RenderError("the number is too large") from None
    if not isinstance(found, (int, float)):
        raise RenderError("the number is not real")
    return found


def _charge(meter: Meter, made: object) -> None:
    if isinstance(made, (str, list, tuple)):
        _charge_length(meter, made, len(made))
    if isinstance(made, list):
        meter.produce(sum(len(item) for item in made if isinstance(item, str)))


def _charge_length(meter: Meter, like: object, length: int) -> None:
    if isinstance(like, str):
        meter.produce(length)
    else:
        meter.spend(length)


def _missing_name(container: Mapping[str, object], name: str, path: str) -> Absent:
    reason = container.absence(name) if isinstance(container, Record) else None
    if reason:
        return Absent(f"`{path}` has no value: {reason}")
    return Absent(f"`{path}` does not exist{listed(container)}")


def listed(names: Iterable[str]) -> str:
    """What exists instead, shortly; for the end of a message."""
    found = list(names)
    shown = [f"`{printable(name[:40])}`" for name in found[:NAMES_SHOWN]]
    more = f" and {len(found) - NAMES_SHOWN} more" if len(found) > NAMES_SHOWN else ""
    return f" (there is {', '.join(shown)}{more})" if shown else " (there is nothing)"


def _filter_instead(name: str) -> str:
    wish = {"items": "`| items`", "keys": "`| list`", "values": "`| items`", "get": "`| default(…)`", "append": "`+`"}.get(name)
    return f"; write {wish}" if wish else ""
