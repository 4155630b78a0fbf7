"""Filters whose value is text, JSON or a number. Every one asks the meter before it makes or walks much."""

from __future__ import annotations

import math
from typing import Any
from urllib.parse import quote

from cpool_flow.json_value import BadJson, read_json
from cpool_flow.template.fence import fence
from cpool_flow.template.operations import METHODS, replaced, written
from cpool_flow.template.work import Function, Work
from cpool_flow.values import RenderError, json_text, kind


def of_text(method: str) -> Function:
    """A filter that is a method of text."""

    def apply(work: Work, value: object, *arguments: Any) -> object:
        text = written(work.meter, value)
        work.meter.produce(len(text))
        return METHODS[method](work.meter, text, *arguments)

    return apply


def replace(work: Work, value: object, old: object, new: object, count: int | None = None) -> str:
    text, old_text, new_text = (written(work.meter, each) for each in (value, old, new))
    return replaced(work.meter, text, old_text, new_text, -1 if count is None else count)


def indent(work: Work, value: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    """The text with each line but the first moved to the right; empty lines only with `blank`."""
    text = written(work.meter, value)
    if isinstance(width, int) and width > 1000:
        raise RenderError("filter `indent`: the width is too large")
    pad = width if isinstance(width, str) else " " * width
    lines = text.split("\n")
    work.meter.spend(len(lines))
    work.meter.produce(len(text) + len(pad) * len(lines))
    return "\n".join(pad + line if (number or first) and (line or blank) else line for number, line in enumerate(lines))


def truncate(work: Work, value: object, length: int = 255, killwords: bool = False, end: str = "...") -> str:
    """The first `length` characters, `end` included, cut between words unless `killwords`."""
    text = written(work.meter, value)
    if len(text) <= length:
        return text
    work.meter.produce(length + len(end))
    cut = text[: max(0, length - len(end))]
    return (cut if killwords else cut.rsplit(" ", 1)[0]) + end


def lines(work: Work, value: object) -> list[str]:
    """The lines of a text that are not empty, as `output: lines` reads them."""
    text = written(work.meter, value)
    work.meter.spend(text.count("\n"))
    work.meter.produce(len(text))
    return [line for line in (each.removesuffix("\r") for each in text.split("\n")) if line]


def urlencode(work: Work, value: object) -> str:
    text = written(work.meter, value)
    work.meter.spend(len(text) // 20)
    work.meter.produce(9 * len(text))
    return quote(text, safe="/", errors="replace")


def untrusted(work: Work, value: object) -> str:
    text = written(work.meter, value)
    work.meter.spend(len(text) // 100)
    work.meter.produce(len(text))
    return fence(text, work.host.nonce())


def file(work: Work, value: object) -> str:
    """The path of a file that holds the value's text."""
    return work.host.write_file(written(work.meter, value))


# ---- JSON and numbers ---------------------------------------------------------------------------------------


def tojson(work: Work, value: object, indent: int | None = None) -> str:
    """Plain JSON: keys in their order, no HTML escapes."""
    if indent is not None and not (type(indent) is int and 0 <= indent <= 16):
        raise RenderError("filter `tojson`: `indent` is a number from 0 to 16")
    work.meter.weigh(value)
    text = json_text(value, indent)
    work.meter.produce(len(text))
    return text


def fromjson(work: Work, value: object) -> object:
    """The data that a JSON text stands for."""
    if not isinstance(value, str):
        raise RenderError(f"filter `fromjson` takes text, not {kind(value)}")
    work.meter.scan(value)
    work.meter.spend(sum(map(value.count, ",[{")))
    try:
        return read_json(value)
    except BadJson:
        raise RenderError("filter `fromjson`: the text is no JSON") from None


def to_int(work: Work, value: Any, default: object = 0, base: int = 10) -> object:
    """The whole number that the value, or its text, is; else `default`."""
    try:
        return int(value, base) if isinstance(value, str) else int(value)
    except (TypeError, ValueError, OverflowError):
        number = to_float(work, value, None)
        return int(number) if isinstance(number, float) and base == 10 else default


def to_float(work: Work, value: Any, default: object = 0.0) -> object:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return default
    return number if math.isfinite(number) else default


def round_number(work: Work, value: float, precision: int = 0, method: str = "common") -> float:
    if abs(precision) > 300 or method not in ("common", "ceil", "floor"):
        raise ValueError
    if method == "common":
        return float(round(value, precision))
    factor = 10.0**precision
    return float((math.ceil if method == "ceil" else math.floor)(value * factor) / factor)
