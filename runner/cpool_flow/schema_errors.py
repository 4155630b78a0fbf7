"""Why a value does not match its schema, in our words: what is allowed, what was found, and the nearest name.

Knows the shape of jsonschema's errors, and does not import jsonschema itself for the two keywords that need no errors of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, printable
from cpool_flow.json_value import JsonValue, shown

if TYPE_CHECKING:
    from jsonschema.exceptions import ValidationError


@dataclass(frozen=True, slots=True)
class SchemaProblem:
    """What is wrong with a schema itself; `path` leads to the place inside it."""

    message: str
    path: tuple[str | int, ...] = ()


class InvalidSchema(Exception):
    """A schema that is none. All its problems are in `problems`."""

    def __init__(self, *problems: SchemaProblem) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = problems


def told(error: ValidationError) -> str:
    """The error with its place as a JSON pointer."""
    place = pointer(list(error.absolute_path))
    why = _alternatives(error) if error.validator in ("anyOf", "oneOf") and error.context else reason(error)
    return f"at `{place}`: {why}" if place else why


def reason(error: ValidationError) -> str:
    """The error without its place."""
    found = _REASONS.get(str(error.validator))
    return found(error.validator_value, error.instance, error) if found else _other(error)


def pointer(path: list[str | int]) -> str:
    return printable("".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path))


def wrong_type(allowed: str | list[str], value: JsonValue) -> str:
    """What the keyword `type` says."""
    return f"expected {allowed if isinstance(allowed, str) else ' or '.join(allowed)}, found {shown(value)}"


def not_a_member(members: list[JsonValue], value: JsonValue) -> str:
    """What the keyword `enum` says."""
    hint = did_you_mean(value, [member for member in members if isinstance(member, str)]) if isinstance(value, str) else None
    listed = ", ".join(shown(member) for member in members[:20]) + (" …" if len(members) > 20 else "")
    return f"expected one of {listed}, found {shown(value)}{f'; {hint}' if hint else ''}"


def _alternatives(error: ValidationError) -> str:
    from jsonschema.exceptions import best_match

    context: list[ValidationError] = error.context or []
    value: Any = error.instance
    alternatives: Any = error.validator_value
    if all(inner.validator == "type" and not inner.path for inner in context):
        return wrong_type([str(inner.validator_value) for inner in context], value)
    nearest = best_match([error])
    closest = told(nearest) if nearest is not None and nearest is not error else f"found {shown(value)}"
    return f"none of {len(alternatives)} alternatives fits: {closest}"


def _other(error: ValidationError) -> str:
    message = error.message if len(error.message) <= 200 else f"{error.message[:200]}…"
    return printable(message[:1].lower() + message[1:]) if error.validator else "nothing is allowed here"


def _missing(required: list[str], value: dict[str, Any], error: ValidationError) -> str:
    missing = [name for name in required if name not in value]
    name = next((name for name in missing if error.message.startswith(repr(name))), missing[0])
    return f"`{printable(name)}` is missing{_there(value, did_you_mean(name, [key for key in value if key not in required]))}"


def _there(value: dict[str, Any], hint: str | None) -> str:
    if hint:
        return f"; {hint.removesuffix('?')} in what is there?"
    listed = ", ".join(f"`{printable(key[:40])}`" for key in list(value)[:10])
    return f"; there is {listed}" if listed else ""


def _unknown_key(_: object, value: dict[str, Any], error: ValidationError) -> str:
    known = list(error.schema.get("properties", {})) if isinstance(error.schema, dict) else []
    key = str(error.path[-1]) if error.path else ""
    return f"unknown key `{printable(key[:80])}`; {did_you_mean(key, known) or 'known: ' + (', '.join(f'`{name}`' for name in known[:20]) or 'none')}"


def _bound(words: str) -> Callable[[Any, Any, ValidationError], str]:
    return lambda limit, value, error: f"expected {words.format(limit)}, found {shown(value)}"


def _size(words: str) -> Callable[[Any, Any, ValidationError], str]:
    return lambda limit, value, error: f"expected {words.format(limit)}, found {len(value)}"


_REASONS: dict[str, Callable[[Any, Any, ValidationError], str]] = {
    "type": lambda allowed, value, error: wrong_type(allowed, value),
    "enum": lambda members, value, error: not_a_member(members, value),
    "const": lambda member, value, error: f"expected {shown(member)}, found {shown(value)}",
    "required": _missing,
    "additionalProperties": _unknown_key,
    "pattern": lambda pattern, value, error: f"expected text that matches `{printable(pattern[:80])}`, found {shown(value)}",
    "uniqueItems": lambda wanted, value, error: "expected items that are all different",
    "minimum": _bound("at least {}"),
    "maximum": _bound("at most {}"),
    "exclusiveMinimum": _bound("more than {}"),
    "exclusiveMaximum": _bound("less than {}"),
    "multipleOf": _bound("a multiple of {}"),
    "minLength": _size("at least {} characters"),
    "maxLength": _size("at most {} characters"),
    "minItems": _size("at least {} items"),
    "maxItems": _size("at most {} items"),
    "minProperties": _size("at least {} keys"),
    "maxProperties": _size("at most {} keys"),
}
