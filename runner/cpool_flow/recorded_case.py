"""Makes a case out of a run that has happened: its arguments, what its steps answered, what people said, what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from cpool_flow.events import AttemptFinished
from cpool_flow.history import Run
from cpool_flow.scope import Scope
from cpool_flow.tasks import StepState, Task

JsonObject = dict[str, Any]
# The patch of a commit, empty where it cannot be had any more.
ReadPatch = Callable[[str], str]


def recorded_case(run: Run, read_patch: ReadPatch) -> JsonObject:
    """The case as plain data, in the form of `cases.py`."""
    state = run.state
    answers: dict[str, list[JsonObject]] = {}
    approvals: JsonObject = {}
    scope = Scope(state, run.folder.load, lambda frame: {})
    for task in state.tasks.values():
        step = state.steps[task.step]
        if step.plan.executes:
            answers.setdefault(step.plan.name, []).extend(_answers(run, step, task, scope, read_patch))
        elif step.plan.step.approve is not None and task.left is not None:
            approvals[task.id] = _approval(run, task)
    document = run.document()
    expect = {
        "status": state.status,
        "steps": {step.id: step.status for step in state.root.steps.values()},
        "outputs": document["outputs"],
    }
    case = {
        "name": f"as in run {run.folder.run_id}",
        "args": dict(run.inputs.args),
        "env": dict.fromkeys(run.inputs.secrets, "not-a-secret"),
        "answers": {name: calls[0] if len(calls) == 1 else calls for name, calls in answers.items()},
        "approvals": approvals,
        "expect": expect,
    }
    return {"cases": [{key: value for key, value in case.items() if value != {}}]}


def unpatched(run: Run) -> list[str]:
    """The agents' tasks whose changes were committed together with those of others: nobody knows any more what is whose."""
    together: dict[str, list[str]] = {}
    for task in run.state.tasks.values():
        if task.commit and run.state.steps[task.step].plan.step.is_agent:
            together.setdefault(task.commit, []).append(task.id)
    return [name for names in together.values() if len(names) > 1 for name in names]


def _answers(run: Run, step: StepState, task: Task, scope: Scope, read_patch: ReadPatch) -> Iterator[JsonObject]:
    which: JsonObject = {}
    item = scope.item(task)
    if item is not None:
        which["item"] = item
    loop = task.within if task.within.owner is not None else None
    if loop is not None and loop.owner is not None and len(loop.owner.rounds) > 1:
        which["round"] = loop.number - loop.owner.counted_from
    for attempt in task.attempts:
        finished = attempt.finished
        if finished is None or finished.interrupted:
            continue
        is_agent = step.plan.step.is_agent or attempt.started.kind == "recovery"
        answer = _agent_answer(run, finished) if is_agent else _printed(run, finished)
        last = attempt is task.attempts[-1]
        patch = read_patch(task.commit) if is_agent and last and task.commit and task.changed_files else ""
        yield {**which, **answer, **({"patch": patch} if patch else {})}


def _agent_answer(run: Run, finished: AttemptFinished) -> JsonObject:
    if finished.error_kind in _ERRORS:
        return {"error": finished.error_kind, "message": finished.reason}
    if finished.value is not None:
        return {"answer": json.loads(run.folder.load(finished.value))}
    return {"answer": run.folder.load(finished.output) if finished.output else "done"}


# Failures that an answer cannot bring about; others follow again from the answer itself.
_ERRORS = frozenset({"overloaded", "rate_limited", "auth", "max_turns", "budget", "permission_denied", "invalid", "lost"})


def _printed(run: Run, finished: AttemptFinished) -> JsonObject:
    text = run.folder.load(finished.output) if finished.output else ""
    return {"stdout": f"{text}\n" if text else "", **({"exit_code": finished.exit_code} if finished.exit_code else {})}


def _approval(run: Run, task: Task) -> JsonObject | str:
    left = task.left
    assert left is not None
    if getattr(left, "approved", False):
        return {"answer": run.folder.load(left.output) if left.output else ""}
    return {"reject": True, "reason": left.reason}
