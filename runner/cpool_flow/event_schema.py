"""The JSON Schema of one line of `cpool-flow events`, made from the classes of `events.py`.

Knows the form in which an event is shown: its number, type and time beside its fields; a field at its default is left out.
"""

from __future__ import annotations

import types
import typing
from dataclasses import MISSING, Field, fields
from typing import Any, Literal

from cpool_flow import events

JsonObject = dict[str, Any]

_SCALARS: dict[object, JsonObject] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    types.NoneType: {"type": "null"},
    Any: {},
}


def event_schema() -> JsonObject:
    """The schema (draft 2020-12) of any event as it is shown."""
    # By name, the last of each: `slots=True` makes a class anew, and the first one may still be there.
    kinds = sorted({kind.__name__: kind for kind in events.Event.__subclasses__()}.items())
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:cpool-flow:schema:events:1",
        "title": "An event of a cpool-flow run",
        "description": "One line of `cpool-flow events` and of `cpool-flow run --events`. Fields at their default are left out.",
        "oneOf": [{"$ref": f"#/$defs/{name}"} for name, _ in kinds],
        "$defs": {name: _event(kind) for name, kind in kinds} | {"Stored": _STORED},
    }


# `Stored` has a form of its own: the text, or the file that holds it.
_STORED: JsonObject = {
    "description": "A text: itself, or above 64 kB the file of the run's folder that holds it.",
    "oneOf": [
        {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"], "additionalProperties": False},
        {
            "type": "object",
            "properties": {"file": {"type": "string"}, "bytes": {"type": "integer", "minimum": 0}},
            "required": ["file", "bytes"],
            "additionalProperties": False,
        },
    ],
}


def _event(kind: type[events.Event]) -> JsonObject:
    hints = typing.get_type_hints(kind)
    return {
        "type": "object",
        **_description(kind),
        "properties": {
            "seq": {"type": "integer", "minimum": 1},
            "type": {"const": kind.__name__},
            "at": {"type": "string", "format": "date-time"},
            **{field.name: _of(hints[field.name]) for field in fields(kind)},
        },
        "required": list(dict.fromkeys(("seq", "type", "at", *(field.name for field in fields(kind) if _is_required(field))))),
        "additionalProperties": False,
    }


def _description(kind: type[events.Event]) -> JsonObject:
    text = " ".join((kind.__doc__ or "").split())
    return {} if text.startswith(f"{kind.__name__}(") else {"description": text}  # what `dataclass` writes is no description


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _of(hint: Any) -> JsonObject:
    if hint is events.Stored:
        return {"$ref": "#/$defs/Stored"}
    if hint in _SCALARS:
        return _SCALARS[hint]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        return {"type": "array", "items": _of(arguments[0])}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_of(argument) for argument in arguments]}
    raise AssertionError(f"BUG: no schema for {hint}")
