"""What follows for a task whose last attempt did not make it succeed: a retry, a recovery, a decision, its end.

Pure: time comes in as a number, jitter from the run's id.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Literal

from cpool_flow import events, usage_limit
from cpool_flow.budget import out_for_good, used_share
from cpool_flow.halting import ANOTHER_FAILED, halted
from cpool_flow.model import DEFAULT_AGENT_RETRIES, Retry
from cpool_flow.plan import AGENT_RETRIED, NEVER_RETRIED, PlannedStep
from cpool_flow.state import State
from cpool_flow.tasks import SKIPPED_BY_PERSON, Task

SHARE_USED_UP = "its share of the budget was used up"
NO_PROGRESS = "no progress: this state was seen before"


def after_failure(state: State, task: Task, now: float, parked: Mapping[str, float]) -> events.Event:
    """What follows for a task whose last attempt did not make it succeed: another attempt, a person, or its end. `parked`: agents at
    their usage limit, and until when."""
    step = state.steps[task.step]
    attempt = task.attempts[-1]
    finished = attempt.finished
    if finished is None:
        raise AssertionError("BUG: an attempt that runs has no outcome")
    if task.decision is not None:
        return _decided(task, now)
    halt = halted(state, step)
    if finished.interrupted and halt is None:
        if step.plan.effects == "external":
            return events.DecisionNeeded(task.id)
        return events.RetryScheduled(task.id, attempt.started.kind, now, "lost when the coordinator died", free=True)
    halt = halt or (ANOTHER_FAILED if task.step in state.failing_fast else None)
    if finished.error_kind == "cancelled":
        return events.TaskClosed(task.id, "cancelled", halt or finished.reason or "cancelled")
    if halt is not None:
        if finished.error_kind is None or finished.interrupted:
            return events.TaskClosed(task.id, "cancelled", halt)
        return _failed(step.plan, task, finished)
    if finished.error_kind is None:
        return events.RetryScheduled(task.id, "normal", now, "recovered", free=True)
    if finished.error_kind == "rate_limited":
        return usage_limit.waited_out(step.plan, task, attempt.started.kind, now, parked)
    if used_share(state, task) and out_for_good(state, task) is None:
        return events.RetryScheduled(task.id, attempt.started.kind, now, SHARE_USED_UP, free=True)
    return _retry(state, step.plan, task, finished, now) or _recover(state, step.plan, task, now) or _failed(step.plan, task, finished)


def after_conflict(state: State, task: Task, now: float) -> events.Event:
    """What follows for an item that could not be merged: its recovery where the conflict is, or its end."""
    step = state.steps[task.step]
    unmerged = task.place.unmerged if task.place is not None else None
    if unmerged is None:
        raise AssertionError("BUG: what was not merged has a reason")
    rounds = recovery_rounds(task, "merge")
    if halted(state, step) is None and rounds < step.plan.recoveries:
        return events.RetryScheduled(task.id, "merge", now, f"not merged, recovery {rounds + 1} of {step.plan.recoveries}")
    return events.TaskClosed(task.id, "failed", unmerged.reason, unmerged.error)


def _decided(task: Task, now: float) -> events.Event:
    if task.decision == "rerun":
        return events.RetryScheduled(task.id, task.attempts[-1].started.kind, now, "rerun by decision", free=True)
    if task.decision == "skip":
        return events.TaskClosed(task.id, "skipped", SKIPPED_BY_PERSON)
    return events.TaskClosed(task.id, "failed", "failed by decision")


def _retry(state: State, plan: PlannedStep, task: Task, finished: events.AttemptFinished, now: float) -> events.Event | None:
    if recovery_rounds(task) or task.attempts[-1].started.kind == "merge":
        return None
    used = sum(not _is_free(attempt.finished) for attempt in task.counted)
    if used > plan.retries or not retryable(plan, finished):
        return None
    at = now + retry_delay_seconds(plan, used, f"{state.created.run_id if state.created else ''}/{task.id}/{used}")
    limit = plan.step.retry.timeout if plan.step.retry else None
    if limit is not None and at >= _began(task, now) + limit:
        return None
    return events.RetryScheduled(task.id, "normal", at, f"{finished.error_kind}, retry {used} of {plan.retries}")


def retryable(plan: PlannedStep, finished: events.AttemptFinished) -> bool:
    """Whether a failure is of a class that another attempt may mend (format.md 9)."""
    kind, step = finished.error_kind, plan.step
    if kind in NEVER_RETRIED:
        return False
    if step.retry and step.retry.exit_codes is not None:
        return finished.exit_code in step.retry.exit_codes or (step.retry.on is not None and kind in step.retry.on)
    if step.retry and step.retry.on is not None:
        return kind in step.retry.on
    return step.retries is not None or kind in AGENT_RETRIED


def retry_delay_seconds(plan: PlannedStep, retry: int, seed: str) -> float:
    """The wait before retry number `retry` (from 1): exponential, capped, then shortened by up to a quarter where
    jitter is on. `seed` stands in for chance, so the same run waits the same."""
    rule = plan.step.retry or Retry.model_construct()
    delay = min(rule.delay * rule.factor ** min(retry - 1, 64), rule.max_delay)
    return delay * (1 - 0.25 * zlib.crc32(seed.encode()) / 2**32) if rule.jitter else delay


def attempt_timeout_seconds(plan: PlannedStep, task: Task, now: float) -> float:
    """How long the attempt that has just started may take: its own limit, and what is left of all retries together."""
    limit = plan.step.retry.timeout if plan.step.retry else None
    if limit is None or any(attempt.started.kind != "normal" for attempt in task.counted):
        return plan.timeout_seconds
    return min(plan.timeout_seconds, max(0.001, _began(task, now) + limit - now))


def _began(task: Task, now: float) -> float:
    """Since when the time of all attempts together runs: not before one that costs no retry, nor while that waited."""
    began = now
    for attempt in reversed(task.counted):
        if _is_free(attempt.finished):
            break
        began = attempt.started_at
    return began


def _is_free(finished: events.AttemptFinished | None) -> bool:
    """Whether an attempt costs no retry: lost with its coordinator, at a usage limit, or short of money where there is more."""
    return finished is not None and (finished.interrupted or finished.error_kind in ("rate_limited", "budget"))


def _recover(state: State, plan: PlannedStep, task: Task, now: float) -> events.Event | None:
    finished = task.attempts[-1].finished
    kind = _recovers(task)
    rounds = recovery_rounds(task, kind)
    if finished is None or rounds >= plan.recoveries or finished.error_kind in ("auth", "budget", "invalid"):
        return None
    if no_progress(task, kind):
        return None
    return events.RetryScheduled(task.id, kind, now, f"{finished.error_kind}, recovery {rounds + 1} of {plan.recoveries}")


def recovery_rounds(task: Task, kind: events.AttemptKind = "recovery") -> int:
    """Rounds that count, of the work or of its merge: not those lost with the coordinator or at a limit, nor the first few that found the
    model overloaded or lost their process, which are made again as any agent task is."""
    ended = [attempt.finished for attempt in task.counted if attempt.started.kind == kind and attempt.finished]
    real = [finished for finished in ended if not _is_free(finished)]
    transient = sum(finished.error_kind in AGENT_RETRIED for finished in real)
    return len(real) - min(transient, DEFAULT_AGENT_RETRIES)


def _recovers(task: Task) -> Literal["recovery", "merge"]:
    """What a recovery of a task would mend now."""
    return "merge" if task.attempts[-1].started.kind == "merge" else "recovery"


def no_progress(task: Task, kind: events.AttemptKind) -> bool:
    """Whether the last round of recovery ended in a state (files, failure, answer) that an earlier failure had left."""
    if not recovery_rounds(task, kind):
        return False
    counted = [attempt for attempt in task.counted if (attempt.started.kind == "merge") == (kind == "merge")]
    states = [attempt.finished.state for attempt in counted if attempt.finished and attempt.finished.state]
    return bool(states) and states[-1] in states[:-1] and task.attempts[-1].finished is not None


def _failed(plan: PlannedStep, task: Task, finished: events.AttemptFinished) -> events.Event:
    reason = finished.reason or finished.error_kind or "failed"
    if plan.recoveries and no_progress(task, _recovers(task)):
        reason = f"{reason}; {NO_PROGRESS}"
    return events.TaskClosed(task.id, "failed", reason)
