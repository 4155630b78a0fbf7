"""The items of a fan-out: a list that came out of an expression, or the combinations of a matrix. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product
from typing import Any

from cpool_flow.errors import InvalidValue
from cpool_flow.json_value import JsonValue
from cpool_flow.plan import PlannedStep
from cpool_flow.values import kind

# More combinations than this are not even counted out: the longest list that `max_items` can allow is shorter.
MOST_COMBINATIONS = 1_000_000
EXTRA = ("include", "exclude")


def listed(value: object, step: str, key: str) -> list[Any]:
    """The value of a key as a list: text is never iterated by character. Raises InvalidValue."""
    if not isinstance(value, list):
        raise InvalidValue(tuple(key.split(".")), f"`{key}` of step `{step}` came to {kind(value)}, not to a list")
    return value


def bound(value: object, step: str) -> int:
    """The value of `limit`. Raises InvalidValue."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidValue(("limit",), f"`limit` of step `{step}` came to {kind(value)}, not to a whole number from 0")
    return value


def check_count(count: int, step: PlannedStep) -> None:
    """Raises InvalidValue where a fan-out has more items than it may."""
    if count > step.max_items:
        key = "matrix" if step.step.matrix is not None else "foreach"
        raise InvalidValue((key,), f"`{key}` of step `{step.name}` came to {count} items; `max_items` allows {step.max_items}")


def combinations(matrix: Mapping[str, object], step: str) -> list[JsonValue]:
    """The combinations of a matrix, its first key slowest; then `exclude`, then `include`, as GitHub Actions has them: an entry of
    `exclude` takes away all combinations that agree with it; one of `include` adds its keys to all combinations that it does not
    contradict in an original value, and where there is none it is a combination of its own. Raises InvalidValue.

    Source: GitHub Docs, "Workflow syntax", `jobs.<job_id>.strategy.matrix.include` and `.exclude`.
    """
    axes = {key: listed(value, step, f"matrix.{key}") for key, value in matrix.items() if key not in EXTRA}
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > MOST_COMBINATIONS:
        raise InvalidValue(("matrix",), f"the matrix of step `{step}` has {count:,} combinations; at most {MOST_COMBINATIONS:,} are made")
    found: list[dict[str, Any]] = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())] if axes else []
    excluded = _entries(matrix.get("exclude", []), step, "exclude")
    found = [each for each in found if not any(_agrees(entry, each) for entry in excluded)]
    return list(_included(found, axes, _entries(matrix.get("include", []), step, "include")))


def _included(found: list[dict[str, Any]], axes: Mapping[str, object], entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    extended = [dict(each) for each in found]
    own: list[dict[str, Any]] = []
    for entry in entries:
        original = {key: value for key, value in entry.items() if key in axes}
        matching = [index for index, each in enumerate(found) if _agrees(original, each)]
        for index in matching:
            extended[index] |= entry
        if not matching:
            own.append(entry)
    return [*extended, *own]


def _agrees(entry: Mapping[str, Any], combination: Mapping[str, Any]) -> bool:
    return all(key in combination and combination[key] == value and type(combination[key]) is type(value) for key, value in entry.items())


def _entries(value: object, step: str, key: str) -> list[dict[str, Any]]:
    entries = listed(value, step, f"matrix.{key}")
    if not all(isinstance(entry, dict) for entry in entries):
        raise InvalidValue(("matrix", key), f"`matrix.{key}` of step `{step}` must be a list of mappings")
    return entries
