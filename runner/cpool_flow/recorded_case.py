"""Makes a case out of a run that has happened: its arguments, what its steps answered, what people said, what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from cpool_flow.events import AttemptFinished
from cpool_flow.history import Run
from cpool_flow.recorded_changes import Changed, Changes
from cpool_flow.scope import Scope
from cpool_flow.tasks import StepState, Task, task_names

JsonObject = dict[str, Any]
# What a commit changed, in words of the scripted agent; empty where it cannot be had any more.
ReadChanges = Callable[[Changed], JsonObject]


def recorded_case(run: Run, changes: Changes, read: ReadChanges) -> JsonObject:
    """The case as plain data, in the form of `cases.py`."""
    state = run.state
    answers: dict[str, list[JsonObject]] = {}
    approvals: JsonObject = {}
    scope = Scope(state, run.folder.load, lambda frame: {})
    shared = _shared_names(run)
    for task in state.tasks.values():
        step = state.steps[task.step]
        if _is_abandoned(task):
            continue
        if step.plan.executes:
            exact = step.plan.name in shared
            which = {} if exact else _which(task, scope)
            name = _replayed(task) if exact else step.plan.name
            answers.setdefault(name, []).extend({**which, **answer} for answer in _answers(run, step, task, changes, read))
        elif step.plan.step.approve is not None and task.left is not None:
            approvals[_replayed(task)] = _approval(run, task)
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


def together(run: Run, changes: Changes) -> list[str]:
    """The agents' tasks whose changes were committed together with those of others: nobody knows any more what is whose."""
    shared = {task for (task, _), changed in changes.items() if not changed.alone}
    return [task.id for task in run.state.tasks.values() if task.id in shared and run.state.steps[task.step].plan.step.is_agent]


def unseen(run: Run) -> list[str]:
    """The agents' tasks of which nobody knows what files they changed: the run worked in the project itself."""
    if run.state.place is None or run.state.place.branch is not None:
        return []
    steps = run.state.steps
    return [task.id for task in run.state.tasks.values() if steps[task.step].plan.step.is_agent and steps[task.step].plan.may_write]


def _shared_names(run: Run) -> frozenset[str]:
    """Names that alone do not say which task is meant: of steps within what fans out, and of several steps."""
    paths: dict[str, set[str]] = {}
    for task in run.state.tasks.values():
        name = run.state.steps[task.step].plan.name
        owner = task.within.owner
        paths.setdefault(name, set()).add(task_names(task.id, name)[1])
        while owner is not None:
            if owner.index is not None:
                paths[name].add(owner.id)
            owner = owner.within.owner
    return frozenset(name for name, found in paths.items() if len(found) > 1)


def _is_abandoned(task: Task) -> bool:
    """Whether it belongs to an earlier life of the run, in which a loop came to nothing."""
    frame = task.within
    while frame.owner is not None:
        if frame.number <= frame.owner.counted_from:
            return True
        frame = frame.owner.within
    return False


def _replayed(task: Task) -> str:
    """The id that the task has in a run that goes through at once: rounds are counted without those that a resume has left behind."""
    owner = task.within.owner
    if owner is None:
        return task.id
    number = task.within.number - owner.counted_from
    return f"{_replayed(owner)}{f'#{number}' if number > 1 else ''}{task.id.removeprefix(task.within.id)}"


def _which(task: Task, scope: Scope) -> JsonObject:
    """The item and the round that an answer is for, where there are several."""
    item, owner = scope.item(task), task.within.owner
    rounds = {} if owner is None or len(owner.rounds) - owner.counted_from < 2 else {"round": task.within.number - owner.counted_from}
    return ({} if item is None else {"item": item}) | rounds


def _answers(run: Run, step: StepState, task: Task, changes: Changes, read: ReadChanges) -> Iterator[JsonObject]:
    for attempt in task.counted:
        finished = attempt.finished
        if finished is None or finished.interrupted:
            continue
        is_agent = step.plan.step.is_agent or attempt.started.kind != "normal"
        answer = _agent_answer(run, finished) if is_agent else _printed(run, finished)
        changed = changes.get((task.id, attempt.started.number))
        yield {**answer, **(read(changed) if is_agent and changed is not None else {})}


def _agent_answer(run: Run, finished: AttemptFinished) -> JsonObject:
    if finished.error_kind in _ERRORS:
        return {"error": finished.error_kind, "message": finished.reason}
    if finished.error_kind in _FAILED and not finished.reason.startswith(_CHECKS):
        return {"error": "failed", "message": finished.reason}
    if finished.value is not None:
        return {"answer": json.loads(run.folder.load(finished.value))}
    return {"answer": run.folder.load(finished.output) if finished.output else "done"}


# Failures that an answer cannot bring about; others follow again from the answer itself.
_ERRORS = frozenset({"overloaded", "rate_limited", "auth", "max_turns", "budget", "permission_denied", "invalid", "lost"})
# The agent's own failure, which no answer brings about either; unless it is one of the step's checks, which are made again.
_FAILED = frozenset({"failed", "timeout", "errored"})
_CHECKS = ("verify `", "expected ")


def _printed(run: Run, finished: AttemptFinished) -> JsonObject:
    text = run.folder.load(finished.output) if finished.output else ""
    return {"stdout": f"{text}\n" if text else "", **({"exit_code": finished.exit_code} if finished.exit_code else {})}


def _approval(run: Run, task: Task) -> JsonObject | str:
    left = task.left
    assert left is not None
    if getattr(left, "approved", False):
        return {"answer": run.folder.load(left.output) if left.output else ""}
    return {"reject": True, "reason": left.reason}
