"""Why a step of a run became what it is: where its values came from, which rules decided, what proves its success.

Read from the journal and the run's own copies, never from a running object. Writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpool_flow import events, model
from cpool_flow.dataclass import dataclass
from cpool_flow.executor.outcome import seconds_text
from cpool_flow.explained_values import values
from cpool_flow.history import Run
from cpool_flow.journal import Recorded
from cpool_flow.plan import PlannedStep
from cpool_flow.result import attempt_status, iso_time
from cpool_flow.tasks import SKIPPED_BY_WHEN, UPSTREAM_FAILED, Attempt, StepState, Task, accounts

JsonObject = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Subject:
    """What is explained: a step of a frame, or one task of it."""

    step: StepState
    task: Task | None


def explanation(run: Run, subject: Subject, journal: list[Recorded]) -> JsonObject:
    """The explanation as data: `values`, `order`, `rules` (in the order of the journal), `attempts`, `evidence`."""
    step, task = subject.step, subject.task
    return {
        "run_id": run.folder.run_id,
        "step": task.id if task else step.id,
        "kind": step.plan.step.result_kind,
        "status": task.status if task else step.status,
        "reason": (task.reason if task else step.reason) or None,
        "order": _order(step),
        "rules": list(_rules(subject, journal)),
        "values": list(values(run, step, task)),
        "attempts": [_attempt(attempt) for attempt in task.attempts] if task else [],
        "evidence": list(_evidence(step.plan, task)) if task and task.status == "success" else [],
    }


# ---- order --------------------------------------------------------------------------------------------------


def _order(step: StepState) -> str:
    plan = step.plan
    if not plan.needs:
        return "first of `finally`: begins when all other steps have ended" if plan.phase == "finally" else "needs nothing: begins at once"
    named = ", ".join(f"`{need}` ({step.frame.steps[need].status})" for need in plan.needs)
    why = "the step above it" if plan.step.needs is None else "as `needs` says"
    joins = {"success": "when all have ended well", "done": "when all have ended, however", "any": "when the first has ended well"}
    implied = " (its `when` asks how they ended)" if plan.join == "done" and plan.step.join is None and plan.phase == "main" else ""
    return f"after {named}, {why}; {joins[plan.join]}{implied}"


# ---- rules --------------------------------------------------------------------------------------------------


def _rules(subject: Subject, journal: list[Recorded]) -> Iterator[JsonObject]:
    ended_at = _ended_at(subject)
    for recorded in journal:
        came_later = ended_at is not None and recorded.at > ended_at and isinstance(recorded.event, events.RunStopping | events.RunResumed)
        text = None if came_later else _rule(recorded.event, subject)
        if text is not None:
            yield {"seq": recorded.seq, "at": iso_time(recorded.at), "rule": text}


def _ended_at(subject: Subject) -> float | None:
    """When it ended for good: what became of the run after that is no rule of it."""
    task = subject.task
    return task.last.ended_at if task is not None and task.ended and task.last is not None else subject.step.ended_at


def _rule(event: events.Event, subject: Subject) -> str | None:
    step, task = subject.step, subject.task
    match event:
        case events.StepOpened() if event.step == step.id:
            return _opened(event, step.plan.step, task)
        case events.StepClosed() if event.step == step.id:
            return _closed(event, step)
        case events.ResultsTaken() if step.frame.owner is None and step.plan.name in event.steps:
            return f"all of this was done by run {event.run}, and is taken over"
        case events.ResultsTaken() if step.id in event.known:
            return f"all of this was done by run {event.run}: how it ended is taken over, for what comes after it was to know of it"
        case events.ResultsTaken() if step.frame.owner is None and step.plan.name in event.partly:
            return f"all of this was done by run {event.run}: what has succeeded is taken over"
        case events.RunStopping() if event.frame in {frame.id for frame in accounts(step.frame)}:
            return f"the {'sub-workflow' if event.frame else 'run'} was being stopped: {event.reason}"
        case events.RunResumed() if event.reopen:
            return "the run was resumed: what had failed was open again"
    named = getattr(event, "task", None) or ""
    if task is None:
        return _item_rule(event) if named.startswith(f"{step.id}[") and "/" not in named[len(step.id) :] else None
    return _task_rule(event) if named == task.id else None


def _item_rule(event: events.Event) -> str | None:
    """What a fan-out tells of its items: which did not end well."""
    match event:
        case events.TaskClosed():
            return f"{event.task} {event.status}: {event.reason}"
        case events.RoundFinished() if not event.again and event.status != "success":
            return f"{event.task} {event.status}: {event.reason}"
    return None


def _task_rule(event: events.Event) -> str | None:
    match event:
        case events.AttemptStarted():
            return f"attempt {event.number} ({event.kind}) started{f' on {event.slot}' if event.slot else ''}"
        case events.AttemptFinished() if event.interrupted:
            return f"attempt {event.number} was lost: the coordinator died"
        case events.AttemptFinished() if event.error_kind:
            return f"attempt {event.number} failed as `{event.error_kind}`: {event.reason}"
        case events.AttemptFinished():
            return f"attempt {event.number} ended well"
        case events.RetryScheduled():
            return f"tried again: {event.reason}{' (costs no retry)' if event.free else ''}"
        case events.TaskClosed():
            return f"{event.status}: {event.reason}"
        case events.PlaceOpened():
            return f"works on the branch {event.branch}, from {(event.base or '')[:10]}"
        case events.PlaceMerged():
            return f"merged: {event.commit[:10]}" if event.commit else f"not merged: {event.reason}"
        case events.PlaceClosed() if event.branch:
            return f"its branch stays: {event.branch}"
        case events.RoundStarted():
            return f"round {event.number} started"
        case events.RoundFinished():
            return (
                f"round {event.number}: {'another follows' if event.again else event.status}{f': {event.reason}' if event.reason else ''}"
            )
        case events.ApprovalRequested():
            return "a person was asked"
        case events.ApprovalAnswered():
            return (
                f"{'approved' if event.approved else 'rejected'} by {event.by or 'a person'}{f': {event.reason}' if event.reason else ''}"
            )
        case events.DecisionNeeded():
            return "its effects outside may have happened: a person had to decide"
        case events.Decided():
            return f"decided: {event.choice}"
        case events.EndReached():
            return f"ended the run as {event.status}: {event.reason}"
    return None


def _opened(event: events.StepOpened, step: model.Step, task: Task | None) -> str:
    held = f"`when` held: `{step.when}`" if isinstance(step.when, str) else "its needs were met"
    if not step.fans_out:
        return held
    return (
        f"{held}; it fans out over {event.count} items"
        if task is None
        else f"{held}; item {task.position} of {event.count}, counted from 0"
    )


def _closed(event: events.StepClosed, step: StepState) -> str:
    if event.reason == SKIPPED_BY_WHEN:
        return f"skipped: `when` is false: `{step.plan.step.when}`"
    if event.reason == UPSTREAM_FAILED:
        bad = [f"`{need.plan.name}` {need.status}" for need in step.frame.needs(step) if need.ended and not need.ended_well]
        return f"skipped: upstream failed: {', '.join(bad)}"
    return f"{event.status}: {event.reason}"


# ---- attempts -----------------------------------------------------------------------------------------------


def _attempt(attempt: Attempt) -> JsonObject:
    finished = attempt.finished
    return {
        "number": attempt.started.number,
        "kind": attempt.started.kind,
        "status": attempt_status(attempt),
        "error_kind": finished.error_kind if finished else None,
        "reason": (finished.reason or None) if finished else None,
        "exit_code": finished.exit_code if finished else None,
        "signal": finished.signal if finished else None,
        "cost_usd": finished.cost_usd if finished else None,
        "turns": finished.turns if finished else None,
        "seconds": None if attempt.ended_at is None else round(attempt.ended_at - attempt.started_at, 3),
    }


def _evidence(plan: PlannedStep, task: Task) -> Iterator[str]:
    """What the last attempt had to show for it to count as success."""
    step, last = plan.step, task.last
    if last is None or last.finished is None:
        return
    finished = last.finished
    if step.run is not None:
        codes = f" (one of `ok_codes` {list(step.ok_codes)})" if step.ok_codes else ""
        yield f"its command ended with exit code {finished.exit_code}{codes}"
    else:
        yield f"the agent `{last.started.agent}` reported a result and no error, in {_turns(finished.turns)}"
        yield "a tool may be refused (`allow_denials`)" if step.allow_denials else "no tool was refused"
    if step.output_schema is not None:
        yield "its output is valid against `output_schema`"
    elif step.output == "json":
        yield "its output is JSON"
    if step.output_vars:
        yield f"its output holds {', '.join(f'`{name}`' for name in step.output_vars)}"
    for command in (step.verify,) if isinstance(step.verify, str) else step.verify or ():
        yield f"verify `{command.strip().splitlines()[0]}` ended with exit code 0"
    yield from _promises(step.expect)
    yield f"within its time limit of {seconds_text(plan.timeout_seconds)}"


def _turns(number: int | None) -> str:
    return "1 turn" if number == 1 else f"{number or 'an unknown number of'} turns"


def _promises(expect: model.Expect | None) -> Iterator[str]:
    if expect is None:
        return
    if expect.changes is not None:
        yield "files have changed, as expected" if expect.changes else "no file has changed, as expected"
    if expect.commit is not None:
        yield "it made a commit, as expected" if expect.commit else "it made no commit, as expected"
    if expect.files:
        yield f"there are files for {', '.join(f'`{pattern}`' for pattern in expect.files)}"
