"""jsonschema with the keywords whose work an agent's answer could blow up replaced by bounded ones.

Replaced: patterns (Python's `re` can take for ever), `uniqueItems` (quadratic), `$ref` (counted). The allowance of one check is in
a context variable, because jsonschema hands nothing of its caller's to a keyword.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import cache, lru_cache
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError, best_match
from jsonschema.protocols import Validator
from referencing import Registry

from cpool_flow.errors import did_you_mean
from cpool_flow.json_value import JsonValue, canonical
from cpool_flow.pattern import Pattern, PatternError, Work
from cpool_flow.schema_bundle import Node, Path, nodes
from cpool_flow.schema_errors import SchemaProblem, reason

REFERENCE_UNITS = 50
TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")

WORK_UNITS = 10_000_000

_work: ContextVar[Work] = ContextVar("work")


def validator(root: JsonValue) -> Validator:
    """A validator for a bundled and checked schema."""
    return _class()(root, registry=Registry())


def bounded_errors(validator: Validator, value: JsonValue) -> Iterator[ValidationError]:
    """All errors, as they are found. Raises TooMuchWork, RecursionError."""
    _work.set(Work(WORK_UNITS))
    yield from validator.iter_errors(value)


def check(root: JsonValue) -> Iterator[SchemaProblem]:
    """What is wrong with the schema as a schema."""
    known = set[Path]()
    unevaluated = any("unevaluatedProperties" in node for _, node in nodes(root))
    for path, node in nodes(root):
        for problem in _node_problems(path, node):
            known.add(problem.path)
            yield problem
        if unevaluated and "patternProperties" in node:  # jsonschema would ask `re`
            yield SchemaProblem("`patternProperties` with `unevaluatedProperties` is not taken here: use `additionalProperties`", path)
    for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(root):
        path = tuple(error.absolute_path)
        if path not in known:
            nearest = best_match([error]) or error
            yield SchemaProblem(f"not a JSON Schema: {reason(nearest)}", tuple(nearest.absolute_path))


def _node_problems(path: Path, node: Node) -> Iterator[SchemaProblem]:
    kinds = node.get("type")
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if isinstance(kind, str) and kind not in TYPES:
            hint = did_you_mean(kind, TYPES) or f"a type is one of {', '.join(TYPES)}"
            yield SchemaProblem(f"unknown type `{kind}`: {hint}", (*path, "type"))
    patterns = node.get("patternProperties")
    named = [("patternProperties", pattern) for pattern in patterns] if isinstance(patterns, dict) else []
    for keyword, pattern in [("pattern", node.get("pattern")), *named]:
        try:
            if isinstance(pattern, str):
                _pattern(pattern)
        except PatternError as error:
            yield SchemaProblem(f"`{keyword}` `{pattern[:60]}`: {error}", (*path, keyword))


@cache
def _class() -> Callable[..., Validator]:
    original = Draft202012Validator.VALIDATORS
    bounded: Callable[..., Validator] = validators.extend(  # type: ignore[no-untyped-call]
        Draft202012Validator,
        {
            "$ref": _counted(original["$ref"]),
            "$dynamicRef": _counted(original["$dynamicRef"]),
            "pattern": _check_pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            "uniqueItems": _unique_items,
            "unevaluatedItems": _squared(original["unevaluatedItems"]),
            "unevaluatedProperties": _squared(original["unevaluatedProperties"]),
        },
    )
    return bounded


_Errors = Iterator[ValidationError]


def _counted(keyword: Callable[..., Any]) -> Callable[..., _Errors]:
    def counted(validator: Any, value: Any, instance: Any, schema: Any) -> _Errors:
        _work.get().spend(REFERENCE_UNITS)
        yield from keyword(validator, value, instance, schema)

    return counted


def _squared(keyword: Callable[..., Any]) -> Callable[..., _Errors]:
    def squared(validator: Any, value: Any, instance: Any, schema: Any) -> _Errors:
        if isinstance(instance, (list, dict)):
            _work.get().spend(len(instance) ** 2 // 8)
        yield from keyword(validator, value, instance, schema)

    return squared


@lru_cache(maxsize=256)
def _pattern(source: str) -> Pattern:
    return Pattern(source)


def _check_pattern(validator: Any, pattern: str, instance: Any, schema: Node) -> _Errors:
    if isinstance(instance, str) and not _pattern(pattern).search(instance, _work.get()):
        yield ValidationError(f"the text does not match `{pattern}`")


def _pattern_properties(validator: Any, patterns: Node, instance: Any, schema: Node) -> _Errors:
    if isinstance(instance, dict):
        for pattern, subschema in patterns.items():
            for key, value in instance.items():
                if _pattern(pattern).search(key, _work.get()):
                    yield from validator.descend(value, subschema, path=key, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, instance: Any, schema: Node) -> _Errors:
    if not isinstance(instance, dict):
        return
    patterns = [_pattern(pattern) for pattern in schema.get("patternProperties", {})]
    properties = schema.get("properties", {})
    for key in instance:
        if key not in properties and not any(pattern.search(key, _work.get()) for pattern in patterns):
            if allowed is False:
                yield ValidationError("unknown key", path=[key])
            else:
                yield from validator.descend(instance[key], allowed, path=key)


def _unique_items(validator: Any, wanted: bool, instance: Any, schema: Node) -> _Errors:
    if wanted and isinstance(instance, list) and len(set(map(canonical, instance))) < len(instance):
        yield ValidationError("the items are not unique")
