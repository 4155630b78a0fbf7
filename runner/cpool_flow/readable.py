"""What can be read of a workflow in spite of what is wrong with its shape: names, order and references hang on the rest.

Knows which keys can go, and what stands in for those that cannot; not what is wrong with them (`shape.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cpool_flow import model
from cpool_flow.nodes import Document, Path

# Keys on which no name and no order hangs: without them, the references of all others can still be read.
_INDEPENDENT: dict[type, frozenset[str]] = {
    model.Workflow: frozenset(
        "version requires name description config slots budget_usd timeout isolation base include_changes setup keep concurrency "
        "outputs".split()
    ),
    model.Step: frozenset(
        "description run prompt approve end reason join when foreach matrix filter limit max_items max_parallel fail_fast repeat config profile "
        "session timeout idle_timeout retries retry recovery_prompt recoveries verify expect effects on_failure output output_schema "
        "artifacts env secrets cwd stdin shell ok_codes allow_denials slot isolation merge setup".split()
    ),
}
# What stands in for a key that others hang on: that there is an item, a round, something to do.
_STAND_INS: dict[str, Any] = {
    "run": "x",
    "prompt": "x",
    "approve": "x",
    "end": "success",
    "foreach": [],
    "matrix": {"include": "[]"},
    "repeat": {"until": "iteration > 0", "max": 1},
}
# What is kept of a step that does not do exactly one thing.
_HUNG_ON = frozenset("name needs join when foreach matrix as filter limit repeat output output_vars".split())


def to_leave_out(path: Path, kinds: Iterable[str], document: Document) -> Path | None:
    """What has to go so that the rest can be read; None where names or references hang on it. `kinds`: pydantic's words for what is
    wrong there."""
    if set(kinds) == {"extra_forbidden"} or _names_nothing_else(path, document):
        return path
    start = 0
    while path[start : start + 1] in (("steps",), ("finally",)):
        start += 2
    known = _INDEPENDENT[model.Step if start else model.Workflow]
    return path[: start + 1] if path[start : start + 1] and path[start] in known else None


def _names_nothing_else(path: Path, document: Document) -> bool:
    """Whether this is the name of a step that stands nowhere else in the file."""
    if len(path) < 3 or path[-1] != "name" or path[-3] not in ("steps", "finally"):
        return False
    return document.text.count(document.source(path)) == 1


def without(data: Any, paths: Iterable[Path]) -> Any:
    """A copy of `data` without the keys at `paths`, in which every step does exactly one thing."""
    for path in sorted(paths, key=len, reverse=True):
        data = _without_one(data, path)
    return {key: _doing_one_thing(value) if key in ("steps", "finally") else value for key, value in data.items()}


def _without_one(data: Any, path: Path) -> Any:
    part: Any = path[0]
    copy: Any = list(data) if isinstance(data, list) else dict(data)
    if len(path) == 1 and part in _STAND_INS:
        copy[part] = _STAND_INS[part]
    elif len(path) == 1:
        copy.pop(part, None)
    else:
        copy[part] = _without_one(data[part], path[1:])
    return copy


def _doing_one_thing(steps: Any) -> Any:
    return [_one_thing(step) if isinstance(step, dict) else step for step in steps] if isinstance(steps, list) else steps


def _one_thing(step: Mapping[str, Any]) -> Mapping[str, Any]:
    kinds = [kind for kind in step if kind in model.KINDS]
    kept = step if len(kinds) == 1 else {key: value for key, value in step.items() if key in _HUNG_ON}
    if "steps" in step:
        return {**kept, "steps": _doing_one_thing(step["steps"])}
    return kept if len(kinds) == 1 else {**kept, "run": "x"}
