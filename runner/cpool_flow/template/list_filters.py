"""Filters whose value is a list or an object. Lists come out as lists; no filter changes the list it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpool_flow.json_value import canonical
from cpool_flow.template.operations import binary, items_of, joined, member, written
from cpool_flow.template.work import Function, Work
from cpool_flow.values import Absent, RenderError, kind, unwrap


def default(work: Work, value: object, default: object = "", boolean: bool = False) -> object:
    return default if isinstance(value, Absent) or (boolean and not value) else value


def length(work: Work, value: Any) -> int:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise RenderError(f"{kind(value)} has no length")
    return len(value)


def as_list(work: Work, value: object) -> list[Any]:
    return list(items_of(work.meter, value, absent=True))


def first(work: Work, value: Any) -> object:
    return _at(value, 0)


def last(work: Work, value: Any) -> object:
    return _at(value, -1)


def reverse(work: Work, value: object) -> object:
    if isinstance(value, str):
        work.meter.produce(len(value))
        return value[::-1]
    return as_list(work, value)[::-1]


def join(work: Work, value: object, separator: str = "", attribute: object = None) -> str:
    items = items_of(work.meter, _attributes(work, value, attribute))
    return joined(work.meter, items, written(work.meter, separator))


def sum_up(work: Work, value: object, attribute: object = None, start: Any = 0) -> object:
    """The sum of numbers, or with `start=[]` the lists one after the other."""
    items = items_of(work.meter, _attributes(work, value, attribute))
    if not isinstance(start, list):
        for item in items:
            start = binary(work.meter, start, "+", item)
        return start
    flat = list(start)
    for item in items:
        if not isinstance(item, list):
            raise RenderError(f"filter `sum`: {kind(item)} is no list")
        work.meter.spend(len(item))
        flat += item
    return flat


def map_items(work: Work, value: object, *arguments: Any, **named: Any) -> list[Any]:
    """The items with one filter applied (`map('upper')`), or one attribute of each (`map(attribute='a.b')`)."""
    if arguments:
        return [work.apply(arguments[0], item, *arguments[1:], **named) for item in as_list(work, value)]
    found = _attributes(work, value, named.pop("attribute"))
    if "default" in named:
        replacement = named.pop("default")
        found = [replacement if isinstance(item, Absent) else item for item in found]
    if named:
        raise TypeError
    return found


def selecting(keep: bool, by_attribute: bool) -> Function:
    """`select`, `reject`, `selectattr`, `rejectattr`: the items that pass a test, or do not."""

    def select(work: Work, value: object, *arguments: Any) -> list[Any]:
        items = as_list(work, value)
        asked = items
        if by_attribute:
            asked, arguments = _attributes(work, items, arguments[0]), arguments[1:]
        return [item for item, subject in zip(items, asked, strict=True) if _passes(work, subject, *arguments) is keep]

    return select


def _passes(work: Work, subject: object, *arguments: Any) -> bool:
    if arguments:
        return work.test(arguments[0], subject, *arguments[1:])
    return not isinstance(subject, Absent) and bool(subject)


def sort(work: Work, value: object, reverse: bool = False, case_sensitive: bool = False, attribute: object = None) -> list[Any]:
    """The items in order; by one or more attributes (`attribute='a,b'`)."""
    items = items_of(work.meter, value)
    keys = zip(*(_keys(work, items, each, case_sensitive) for each in _each_attribute(attribute)), strict=True)
    work.meter.spend(len(items) * len(items).bit_length())
    return [item for _, item in _ordered(list(zip(keys, items, strict=True)), reverse)]


def unique(work: Work, value: object, case_sensitive: bool = False, attribute: object = None) -> list[Any]:
    """The items without those that came before, in their order."""
    items = items_of(work.meter, value)
    seen: dict[str, Any] = {}
    for key, item in zip(_keys(work, items, attribute, case_sensitive), items, strict=True):
        seen.setdefault(canonical(unwrap(key)), item)
    return list(seen.values())


def extreme_of(pick: Callable[..., Any]) -> Function:
    """`min` and `max`."""

    def extreme(work: Work, value: object, case_sensitive: bool = False, attribute: object = None) -> object:
        items = items_of(work.meter, value)
        if not items:
            return Absent("the list is empty")
        keys = _keys(work, items, attribute, case_sensitive)
        return pick(_comparable(list(zip(keys, items, strict=True))), key=lambda pair: pair[0])[1]

    return extreme


def group_by(work: Work, value: object, attribute: object, default: object = None, case_sensitive: bool = False) -> list[Any]:
    """`[key, items]` for each value of the attribute, in the order of the keys."""
    items = items_of(work.meter, value)
    found = [default if isinstance(key, Absent) else key for key in _attributes(work, items, attribute)]
    groups: dict[object, tuple[object, list[Any]]] = {}
    for key, item in zip(found, items, strict=True):
        groups.setdefault(_folded(key, case_sensitive), (key, []))[1].append(item)
    ordered = _ordered([((folded,), list(group)) for folded, group in groups.items()], False)
    return [group for _, group in ordered]


def batch(work: Work, value: object, size: int, fill: object = None) -> list[list[Any]]:
    """Lists of `size` items each; the last filled up with `fill` if there is one."""
    items = items_of(work.meter, value)
    if size < 1:
        raise ValueError
    found = [items[start : start + size] for start in range(0, len(items), size)]
    if fill is not None and found:
        missing = size - len(found[-1])
        work.meter.spend(missing)
        found[-1] = found[-1] + [fill] * missing
    return found


def pairs(work: Work, value: Any) -> list[list[Any]]:
    """`[key, value]` of an object, in its order."""
    if not isinstance(value, Mapping):
        raise RenderError(f"{kind(value)} is no object")
    work.meter.spend(1 + 2 * len(value))
    return [[key, item] for key, item in value.items()]


def sorted_pairs(work: Work, value: object, case_sensitive: bool = False, by: str = "key", reverse: bool = False) -> list[Any]:
    found = pairs(work, value)
    keys = [_folded(pair[("key", "value").index(by)], case_sensitive) for pair in found]
    return [pair for _, pair in _ordered([((key,), pair) for key, pair in zip(keys, found, strict=True)], reverse)]


def _at(value: Any, index: int) -> object:
    if isinstance(value, Mapping):
        value = list(value)
    if not isinstance(value, (str, list, tuple)):
        raise RenderError(f"{kind(value)} is no list")
    return value[index] if value else Absent("the list is empty")


def _attributes(work: Work, value: object, path: object) -> list[Any]:
    """What `path` (`a.b.0`) leads to in each item; Absent where it leads nowhere. The items themselves without a path."""
    items = as_list(work, value)
    if path is None:
        return items
    parts: list[object] = [int(part) if part.isdigit() else part for part in path.split(".")] if isinstance(path, str) else [path]
    work.meter.spend(len(items) * len(parts))
    return [_attribute(item, parts, number, path) for number, item in enumerate(items)]


def _attribute(item: object, parts: Iterable[object], number: int, path: object) -> object:
    for part in parts:
        item = member(item, part, f"[{number}].{path}")
        if isinstance(item, Absent):
            return item
    return item


def _each_attribute(attribute: object) -> list[object]:
    return list(attribute.split(",")) if isinstance(attribute, str) else [attribute]


def _keys(work: Work, items: list[Any], attribute: object, case_sensitive: bool) -> list[Any]:
    found = items_of(work.meter, _attributes(work, items, attribute))
    for key in found:
        work.meter.weigh(key)
    return [_folded(key, case_sensitive) for key in found]


def _folded(key: object, case_sensitive: bool) -> object:
    return key.lower() if isinstance(key, str) and not case_sensitive else key


def _ordered(keyed: list[tuple[Any, Any]], reverse: bool) -> list[tuple[Any, Any]]:
    try:
        return sorted(_comparable(keyed), key=lambda pair: pair[0], reverse=reverse)
    except TypeError:
        raise RenderError("numbers and texts have no common order") from None


def _comparable(keyed: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Numbers and texts have an order, lists and objects none that a person would guess."""
    for key, _ in keyed:
        for part in key if isinstance(key, tuple) else (key,):
            if not isinstance(part, (str, int, float)):
                raise RenderError(f"{kind(part)} cannot be put in order; name an `attribute`")
    return keyed
