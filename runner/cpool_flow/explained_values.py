"""Where the values in the texts of a step came from, for `explain`: each name that stands in them, and what it was."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cpool_flow import model, template
from cpool_flow.executor.context import NoHost, declared_values
from cpool_flow.history import Run
from cpool_flow.scope import Scope
from cpool_flow.tasks import Frame, StepState, Task
from cpool_flow.values import Record, text_of, wrap

JsonObject = dict[str, Any]
SHOWN_CHARACTERS = 200


def values(run: Run, step: StepState, task: Task | None) -> Iterator[JsonObject]:
    """Each name that a text of the step uses: where it stands, what it was, where that came from."""
    scope = _scope_of(run, step, task)
    for key, path in dict.fromkeys((key, reference.path) for key, references in _texts(step.plan.step) for reference in references):
        found = _look_up(scope, path)
        nowhere = "each item has its own" if step.plan.fans_out and task is None else "has no value here, or not any more"
        yield {
            "key": key,
            "name": ".".join(path),
            "value": None if found is None else _shown(found[0]),
            "source": _source(run, step, task, path) if found is not None else nowhere,
        }


def _texts(step: model.Step) -> Iterator[tuple[str, tuple[template.Reference, ...]]]:
    for key in ("when", "foreach", "filter", "limit"):
        text = getattr(step, key)
        if isinstance(text, str):
            yield key, template.parse_expression(text).references
    for key in ("run", "verify", "setup"):
        texts = getattr(step, key)
        for text in (texts,) if isinstance(texts, str) else texts or ():
            if isinstance(text, str) and template.is_template(text):
                yield key, (template.parse if isinstance(step.run, tuple) and key == "run" else template.parse_shell)(text).references
    for key in ("prompt", "recovery_prompt", "stdin", "cwd", "approve", "reason"):
        text = getattr(step, key)
        if text is not None:
            yield key, template.parse(text).references
    for name, axis in (step.matrix or {}).items():
        if isinstance(axis, str):
            yield f"matrix.{name}", template.parse_expression(axis).references
    config = step.config.model_dump(exclude_unset=True) if step.config is not None else {}
    lists = {name: axis for name, axis in (step.matrix or {}).items() if not isinstance(axis, str)}
    items = None if isinstance(step.foreach, str) else step.foreach
    for key, held in (("foreach", items), ("with", step.with_), ("env", step.env), ("matrix", lists), ("config", config)):
        for inner, text in _texts_in(key, held):
            yield inner, template.parse(text).references


def _texts_in(key: str, value: object) -> Iterator[tuple[str, str]]:
    """The texts inside of a value, each with the path to it."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts_in(f"{key}.{name}", inner)
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            yield from _texts_in(f"{key}[{index}]", inner)


def _scope_of(run: Run, step: StepState, task: Task | None) -> Mapping[str, object]:
    scope = Scope(run.state, run.folder.load, lambda frame: _fixed(run, frame))
    if task is None:
        return scope.of_step(step)
    return scope.of_task(task, task.last.started.number if task.last else 1, task.error_before)


def _fixed(run: Run, frame: Frame) -> Mapping[str, object]:
    copy = run.inputs.copies[frame.plan.source]
    arguments = run.inputs.args if frame.arguments is None else json.loads(run.folder.load(frame.arguments))
    place = run.state.place
    about = {
        "id": run.folder.run_id,
        "dir": str(run.folder.path),
        "branch": place.branch if place else None,
        "base": place.base if place else None,
        "workflow": copy.name,
    }
    names: dict[str, object] = {"args": wrap(dict(arguments)), "run": Record(about)}
    env, context = declared_values(copy.workflow, names, NoHost())
    return {**names, "env": Record(dict(env)), "context": wrap(dict(context))}


def _look_up(scope: Mapping[str, object], path: tuple[str, ...]) -> tuple[object] | None:
    """The value in a tuple of its own; None where there is none."""
    value: object = scope
    for name in path:
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return (value,)


def _source(run: Run, step: StepState, task: Task | None, path: tuple[str, ...]) -> str:
    name = path[0]
    if name == "args":
        return _argument_source(run, step, path[1] if len(path) > 1 else "")
    if name == "steps" and len(path) > 1:
        return f"step `{path[1]}`"
    if name == "previous":
        return f"step `{step.plan.needs[0]}`, the one before"
    told = {
        "env": "`env` of the workflow",
        "context": "`context` of the workflow",
        "run": "this run",
        "attempt": "the number of the attempt",
        "error": "why the attempt before failed",
        "iteration": "the round of the loop",
        "index": "the position of the item",
        "matrix": "the combination of the matrix",
    }
    return told.get(name) or (f"item {task.index} of the fan-out" if task is not None and task.index is not None else "an item around it")


def _argument_source(run: Run, step: StepState, name: str) -> str:
    if step.plan.source:
        return f"argument `{name}`, given by the step that runs this sub-workflow"
    declared = run.inputs.workflow.args.get(name, {})
    is_default = "default" in declared and declared["default"] == run.inputs.args.get(name)
    return f"argument `{name}`: {'its default' if is_default else 'given at the start'}"


def _shown(value: object) -> str:
    text = text_of(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}… ({len(text):,} characters)"
