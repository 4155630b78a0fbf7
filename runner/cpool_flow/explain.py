"""Why a step of a run became what it is: where its values came from, which rules decided, what proves its success.

Read from the journal and the run's own copies, never from a running object. Writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from cpool_flow import events, model, template
from cpool_flow.dataclass import dataclass
from cpool_flow.executor.context import declared_values
from cpool_flow.executor.outcome import seconds_text
from cpool_flow.history import Run
from cpool_flow.journal import Recorded
from cpool_flow.plan import PlannedStep
from cpool_flow.result import attempt_status, iso_time
from cpool_flow.scope import Scope
from cpool_flow.tasks import SKIPPED_BY_WHEN, UPSTREAM_FAILED, Attempt, Frame, StepState, Task
from cpool_flow.values import Record, text_of, wrap

JsonObject = dict[str, Any]
SHOWN_CHARACTERS = 200


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
        "values": list(_values(run, subject)),
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
    for recorded in journal:
        text = _rule(recorded.event, subject)
        if text is not None:
            yield {"seq": recorded.seq, "at": iso_time(recorded.at), "rule": text}


def _rule(event: events.Event, subject: Subject) -> str | None:
    step, task = subject.step, subject.task
    match event:
        case events.StepOpened() if event.step == step.id:
            return _opened(event, step.plan.step)
        case events.StepClosed() if event.step == step.id:
            return _closed(event, step)
        case events.ResultsTaken() if step.frame.owner is None and step.plan.name in event.steps:
            return f"all of this was done by run {event.run}, and is taken over"
        case events.ResultsTaken() if step.frame.owner is None and step.plan.name in event.partly:
            return f"all of this was done by run {event.run}: what has succeeded is taken over"
        case events.RunStopping():
            return f"the run was being stopped: {event.reason}" if not event.frame else None
        case events.RunResumed() if event.reopen:
            return "the run was resumed: what had failed was open again"
    if task is None or getattr(event, "task", None) != task.id:
        return None
    return _task_rule(event)


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


def _opened(event: events.StepOpened, step: model.Step) -> str:
    held = f"`when` held: `{step.when}`" if isinstance(step.when, str) else "its needs were met"
    return f"{held}; it fans out over {event.count} items" if step.fans_out else held


def _closed(event: events.StepClosed, step: StepState) -> str:
    if event.reason == SKIPPED_BY_WHEN:
        return f"skipped: `when` is false: `{step.plan.step.when}`"
    if event.reason == UPSTREAM_FAILED:
        bad = [f"`{need.plan.name}` {need.status}" for need in step.frame.needs(step) if need.ended and not need.ended_well]
        return f"skipped: upstream failed: {', '.join(bad)}"
    return f"{event.status}: {event.reason}"


# ---- values -------------------------------------------------------------------------------------------------


def _values(run: Run, subject: Subject) -> Iterator[JsonObject]:
    """Each name that a text of the step uses: where it stands, what it was, where that came from."""
    step, task = subject.step, subject.task
    scope = _scope_of(run, subject)
    for key, references in _texts(step.plan.step):
        for reference in references:
            path = ".".join(reference.path)
            found = _look_up(scope, reference.path)
            yield {
                "key": key,
                "name": path,
                "value": None if found is None else _shown(found[0]),
                "source": _source(run, step, task, reference.path) if found is not None else "has no value here, or not any more",
            }


def _texts(step: model.Step) -> Iterator[tuple[str, tuple[template.Reference, ...]]]:
    for key in ("when", "foreach", "filter", "limit"):
        text = getattr(step, key)
        if isinstance(text, str):
            yield key, template.parse_expression(text).references
    for key in ("run", "verify"):
        texts = getattr(step, key)
        for text in (texts,) if isinstance(texts, str) else texts or ():
            if isinstance(text, str) and template.is_template(text):
                yield key, (template.parse if isinstance(step.run, tuple) and key == "run" else template.parse_shell)(text).references
    for key in ("prompt", "recovery_prompt", "stdin", "cwd", "approve", "reason"):
        text = getattr(step, key)
        if text is not None:
            yield key, template.parse(text).references
    for key, values in (("with", step.with_), ("env", step.env)):
        for name, value in (values or {}).items():
            if isinstance(value, str):
                yield f"{key}.{name}", template.parse(value).references


def _scope_of(run: Run, subject: Subject) -> Mapping[str, object]:
    scope = Scope(run.state, run.folder.load, lambda frame: _fixed(run, frame))
    if subject.task is None:
        return scope.of_step(subject.step)
    last = subject.task.last
    before = subject.task.attempts[-2].finished if len(subject.task.attempts) > 1 else None
    return scope.of_task(subject.task, last.started.number if last else 1, before.error if before and before.error_kind else None)


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
    env, context = declared_values(copy.workflow, names, _NoHost())
    return {**names, "env": Record(dict(env)), "context": wrap(dict(context))}


class _NoHost:
    """Explains only: writes no file."""

    def write_file(self, text: str) -> str:
        return "/file"

    def nonce(self) -> str:
        return "0"


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
        yield f"the agent `{last.started.agent}` reported a result and no error, in {finished.turns or 'an unknown number of'} turns"
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


def _promises(expect: model.Expect | None) -> Iterator[str]:
    if expect is None:
        return
    if expect.changes is not None:
        yield "files have changed, as expected" if expect.changes else "no file has changed, as expected"
    if expect.commit is not None:
        yield "it made a commit, as expected" if expect.commit else "it made no commit, as expected"
    if expect.files:
        yield f"there are files for {', '.join(f'`{pattern}`' for pattern in expect.files)}"
