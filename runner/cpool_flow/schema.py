"""JSON Schemas (draft 2020-12) of arguments and outputs: compiled once, checked in bounded time, explained in our words.

Knows no files: what `$ref` names is handed in by the caller, and a URL is never fetched. `format` is a note to the reader and is
not checked. `jsonschema` and what goes with it are imported only for a schema that says more than `type` and `enum`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from cpool_flow.json_value import JsonValue, canonical
from cpool_flow.schema_errors import InvalidSchema, SchemaProblem, not_a_member, told, wrong_type

if TYPE_CHECKING:
    from cpool_flow.schema_bundle import Retrieve

__all__ = ["InvalidSchema", "Schema", "SchemaProblem", "compile_schema"]

MAX_ERRORS = 5


class Schema(Protocol):
    """A compiled schema. `document` is it in one piece, with every file that it refers to: for an agent that can enforce it."""

    document: JsonValue

    def errors(self, value: JsonValue) -> list[str]:
        """Where and why `value` does not match, at most five; empty when it matches."""


def compile_schema(schema: JsonValue, *, file: str = "", retrieve: Retrieve | None = None) -> Schema:
    """`schema` made ready. Raises InvalidSchema, and whatever `retrieve` raises.

    `file` is where it stands, relative to the project; a `$ref` to another file is asked of `retrieve` by its path in the project.
    """
    if isinstance(schema, dict) and _is_plain(schema):
        return _Plain(schema)
    if not isinstance(schema, (dict, bool)):
        raise InvalidSchema(SchemaProblem("a JSON Schema is a mapping (or true, or false)"))
    from cpool_flow.schema_bundle import bundle

    try:
        document = bundle(schema, file, retrieve)
        return _compiled(json.dumps(document))
    except RecursionError:
        raise InvalidSchema(SchemaProblem("the schema is nested too deeply")) from None


# ---- schemas of `type` and `enum` alone ----

_NOTES = {"title": str, "description": str, "$comment": str, "examples": list, "deprecated": bool, "default": object}
_TYPES: dict[str, Callable[[JsonValue], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}


def _is_plain(schema: Mapping[str, JsonValue]) -> bool:
    kind, members = schema.get("type", "string"), schema.get("enum", [])
    notes = all(key not in schema or isinstance(schema[key], kinds) for key, kinds in _NOTES.items())
    return schema.keys() <= {"type", "enum", *_NOTES} and notes and isinstance(kind, str) and kind in _TYPES and isinstance(members, list)


class _Plain:
    def __init__(self, schema: dict[str, JsonValue]) -> None:
        self.document: JsonValue = schema
        self._type = schema.get("type")
        members = schema.get("enum")
        self._members = members if isinstance(members, list) else None

    def errors(self, value: JsonValue) -> list[str]:
        errors = []
        if isinstance(self._type, str) and not _TYPES[self._type](value):
            errors.append(wrong_type(self._type, value))
        if self._members is not None and canonical(value) not in map(canonical, self._members):
            errors.append(not_a_member(self._members, value))
        return errors


# ---- all others ----


@lru_cache(maxsize=256)
def _compiled(document: str) -> Schema:
    from cpool_flow.schema_bundle import reference_problems
    from cpool_flow.schema_keywords import check

    root = json.loads(document)
    problems = [*check(root), *reference_problems(root)]
    if problems:
        raise InvalidSchema(*problems[:MAX_ERRORS])
    return _Full(root)


class _Full:
    def __init__(self, document: JsonValue) -> None:
        from cpool_flow.schema_keywords import validator

        self.document = document
        self._validator = validator(document)

    def errors(self, value: JsonValue) -> list[str]:
        from cpool_flow.pattern import TooMuchWork
        from cpool_flow.schema_keywords import bounded_errors

        try:
            errors = [told(error) for error in islice(bounded_errors(self._validator, value), MAX_ERRORS + 1)]
        except TooMuchWork:
            return ["checking this value takes too long (patterns, references or unevaluated items of its schema)"]
        except RecursionError:
            return ["nested too deeply for its schema"]
        return errors if len(errors) <= MAX_ERRORS else [*errors[:MAX_ERRORS], "and more"]
