"""Which output schemas an API with strict structured answers takes (OpenAI's); the others the agent is told in words.

Such an API wants every object closed and every property required. A schema that leaves that open is narrowed: what fits the
narrow one fits the whole, and answers are checked again elsewhere, with the whole schema.
"""

from __future__ import annotations

import json
from typing import Any

_PLAIN = frozenset((
    "type", "enum", "const", "description", "title", "pattern", "format", "multipleOf", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minItems", "maxItems",
))  # fmt: skip
_NO_RULE = frozenset(("$schema", "$id", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"))
_MAX_BYTES = 100 * 1024
_DEEPEST = 10


def strict(schema: Any) -> dict[str, Any] | None:
    """The schema as such an API takes it, perhaps narrowed; None where it would refuse it."""
    try:
        narrow = _object(schema, 0)
    except _Refused:
        return None
    return narrow if len(json.dumps(narrow, ensure_ascii=False).encode("utf-8", "replace")) <= _MAX_BYTES else None


class _Refused(Exception):
    """The API would refuse a part of the schema."""


def _node(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise _Refused
    kinds = schema.get("type")
    if "$ref" in schema:
        return _reference(schema)
    if "anyOf" in schema:
        return {**_rest(schema, "anyOf"), "anyOf": [_node(each, depth + 1) for each in _list(schema["anyOf"])]}
    if kinds == "object":
        return _object(schema, depth)
    if kinds == "array":
        return {**_rest(schema, "items"), "items": _node(schema.get("items"), depth + 1)}
    if not {"type", "enum", "const"} & schema.keys() or (isinstance(kinds, list) and {"object", "array"} & set(map(str, kinds))):
        raise _Refused
    return _rest(schema)


def _object(schema: Any, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict) or schema.get("type") != "object" or schema.get("additionalProperties", False) is not False:
        raise _Refused
    properties = schema.get("properties")
    named = schema.get("required", [])
    if not isinstance(properties, dict) or not properties or not isinstance(named, list) or not set(map(str, named)) <= properties.keys():
        raise _Refused
    narrow = _rest(schema, "properties", "required", "additionalProperties", "$defs")
    narrow["properties"] = {name: _node(inner, depth + 1) for name, inner in properties.items()}
    narrow |= {"required": list(properties), "additionalProperties": False}
    if "$defs" in schema:
        if depth or not isinstance(schema["$defs"], dict):
            raise _Refused
        narrow["$defs"] = {name: _node(inner, 1) for name, inner in schema["$defs"].items()}
    return narrow


def _reference(schema: dict[str, Any]) -> dict[str, Any]:
    if (
        schema.keys() - {"$ref", "description"}
        or not str(schema["$ref"]).startswith(("#/$defs/", "#"))
        or str(schema["$ref"]).count("/") > 2
    ):
        raise _Refused
    return schema


def _rest(schema: dict[str, Any], *known: str) -> dict[str, Any]:
    """The keywords beside those that are dealt with."""
    rest = {key: value for key, value in schema.items() if key not in known and key not in _NO_RULE}
    if not rest.keys() <= _PLAIN:
        raise _Refused
    return rest


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise _Refused
    return value
