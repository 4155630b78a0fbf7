"""The text that a step gave, read as the step says: text, lines or JSON, checked by its schema, taken apart into variables.

Pure. Knows neither agents nor processes: what it cannot read is BadOutput, with the place and the reason for `{{ error }}`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import islice
from types import MappingProxyType
from typing import Literal

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, printable
from cpool_flow.json_value import BadJson, JsonValue, NotJson, check_value, read_json, shown
from cpool_flow.model import OutputVariable
from cpool_flow.schema import Schema

MAX_CANDIDATES = 200

Mode = Literal["text", "json", "lines"]
Keys = tuple[str | int, ...]
Variables = Mapping[str, str | OutputVariable]


class BadOutput(Exception):
    """An output is not what its step promises: the attempt failed with kind `bad_output`. The message says where and why."""


@dataclass(frozen=True, slots=True)
class Output:
    """`text` is what `steps.NAME.output` shows, `json` what `.json` does: the value, the list of lines, or None for text."""

    text: str
    json: JsonValue
    vars: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Structured:
    """The value that an agent gave beside its text, where it can enforce a schema."""

    value: JsonValue


def mode_of(mode: Mode | None, schema: bool, variables: Variables) -> Mode:
    """How an output is read: a schema, or a variable with any path but `.`, implies JSON unless the step asks for lines."""
    if mode == "lines":
        return "lines"
    return "json" if mode == "json" or schema or any(path_keys(_path(variable)) for variable in variables.values()) else "text"


def read_output(
    text: str,
    mode: Mode | None = None,
    *,
    answer: bool = False,
    schema: Schema | None = None,
    variables: Variables = MappingProxyType({}),
    structured: Structured | None = None,
) -> Output:
    """Reads what a command wrote or, with `answer`, what an agent answered. Raises BadOutput.

    A command's output loses one last newline and must be one JSON value as a whole; an answer is stripped, and its value is searched.
    """
    text = text.strip() if answer else text.removesuffix("\n")
    mode = mode_of(mode, schema is not None, variables)
    if mode == "text":
        return Output(text, None, _variables(text, variables))
    if mode == "lines":
        value: JsonValue = [line for line in (line.removesuffix("\r") for line in text.split("\n")) if line]
    elif structured is not None:
        value = _kept(structured.value)
        text = text or json.dumps(value, ensure_ascii=False)
    elif answer:
        value = extract_json(text, schema)
    else:
        value = _only_value(text)
    _check(value, schema)
    return Output(text, value, _variables(value, variables))


def extract_json(text: str, schema: Schema | None = None) -> JsonValue:
    """The JSON value of an agent's answer: of several that may be meant, the last that is valid. Raises BadOutput."""
    from cpool_flow.json_answer import candidates

    refused: BadOutput | None = None
    try:
        for value in islice(candidates(text), MAX_CANDIDATES):
            try:
                _check(value, schema)
                return value
            except BadOutput as problem:
                refused = refused or problem
    except BadJson as problem:
        refused = refused or BadOutput(f"no valid JSON in the answer: {problem}")
    raise refused or AssertionError("BUG: neither a value nor a reason")


def path_keys(path: str) -> Keys:
    """`a.b[0]["x.y"]` as keys; `.` is everything. Raises ValueError, whose message says what a path is."""
    path = path.strip()
    if path == ".":
        return ()
    keys: list[str | int] = []
    position = 0
    while position < len(path) or not keys:
        part = _PART.match(path, position)
        if part is None or (keys and part["name"] and not path.startswith(".", position)):
            raise ValueError(f'`{printable(path)}` is no path: write `a.b[0]`, `a["any key"]`, or `.` for everything')
        keys.append(
            int(part["index"]) if part["index"] else next(found for found in part.group("name", "double", "single") if found is not None)
        )
        position = part.end()
    return tuple(keys)


_PART = re.compile(
    r"""\.?+(?:(?P<name>[^.\[\]"'\s](?:[^.\[\]"']*[^.\[\]"'\s])?)|\[(?:(?P<index>-?[0-9]{1,9})|"(?P<double>[^"]*)"|'(?P<single>[^']*)')\])"""
)


def _only_value(text: str) -> JsonValue:
    try:
        return read_json(text)
    except NotJson as problem:
        raise BadOutput(f"the output is not one JSON value: {problem.within(text)}") from None
    except BadJson as problem:
        raise BadOutput(f"the output holds {problem}") from None


def _kept(value: JsonValue) -> JsonValue:
    try:
        check_value(value)
    except BadJson as problem:
        raise BadOutput(f"the answer holds {problem}") from None
    return value


def _check(value: JsonValue, schema: Schema | None) -> None:
    errors = schema.errors(value) if schema else []
    if errors:
        raise BadOutput(f"the output does not match its schema: {'; '.join(errors)} (the output: {shown(value)})")


# ---- variables ----


def _variables(value: JsonValue, variables: Variables) -> dict[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    problems = []
    for name, variable in variables.items():
        try:
            found[name] = _follow(value, path_keys(_path(variable)))
        except _Missing as missing:
            if isinstance(variable, OutputVariable) and "default" in variable.model_fields_set:
                found[name] = variable.default
            else:
                problems.append(f"output variable `{name}` (`{_path(variable)}`): {missing}")
    if problems:
        raise BadOutput(f"{'; '.join(problems)} (the output: {shown(value)})")
    return found


def _path(variable: str | OutputVariable) -> str:
    return variable if isinstance(variable, str) else variable.path


class _Missing(Exception):
    pass


def _follow(value: JsonValue, keys: Keys) -> JsonValue:
    for depth, key in enumerate(keys):
        place = f"`{printable(_text(keys[:depth]))}`" if depth else "the output"
        if isinstance(key, int) and isinstance(value, list):
            if not -len(value) <= key < len(value):
                raise _Missing(f"{place} has {len(value)} item{'' if len(value) == 1 else 's'}, there is no `[{key}]`")
            value = value[key]
        elif isinstance(key, str) and isinstance(value, dict):
            if key not in value:
                raise _Missing(f"{place} has no `{printable(key)}`{_others(key, value)}")
            value = value[key]
        else:
            raise _Missing(f"{place} is {_kind(value)}, not {'a list' if isinstance(key, int) else 'an object'}")
    return value


def _others(key: str, value: Mapping[str, JsonValue]) -> str:
    if not value:
        return ", it is empty"
    listed = ", ".join(f"`{printable(other[:40])}`" for other in list(value)[:10])
    hint = did_you_mean(key, list(value)[:1000])
    return f" (it has {listed}{' …' if len(value) > 10 else ''}){f'; {hint}' if hint else ''}"


def _text(keys: Keys) -> str:
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys).removeprefix(".")


def _kind(value: JsonValue) -> str:
    kinds = {dict: "an object", list: "a list", str: "text", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")
