"""A run for people who watch it: one line per change of state, a heartbeat, a summary. On stderr.

Computed from what was recorded, never from the running objects. Text of agents and commands is data: control
characters are shown, never interpreted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import TextIO

from cpool_flow import events
from cpool_flow.errors import printable
from cpool_flow.journal import Recorded
from cpool_flow.state import State
from cpool_flow.tasks import StepState

HEARTBEAT_SECONDS = 60.0
SHOWN_ERROR_LINES = 12


class PlainProgress:
    """Prints lines. `quiet`: errors only. `clock` is in seconds."""

    def __init__(self, stream: TextIO = sys.stderr, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._last = clock()

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        for entry in recorded:
            line = self._line(entry.event, entry.at, state)
            if line and not self._quiet:
                self._say(line)

    def heartbeat(self, state: State) -> None:
        """A line after a minute of silence, so that no log looks dead."""
        if not self._quiet and self._clock() - self._last >= HEARTBEAT_SECONDS:
            self._say(f"  … {totals(state, time.time())}")

    def head(self, state: State) -> None:
        """The first lines: which run, and where it works."""
        created, place = state.created, state.place
        if created is None or self._quiet:
            return
        self._say(f"run {created.run_id} ({created.name}) · {created.workflow} · {created.slots} slots")
        if place is not None:
            self._say(f"  {place.note}{f' · branch {place.branch}' if place.branch else ''}")

    def summary(self, state: State) -> None:
        """The last lines: what failed with its last output, totals, and the command to look further."""
        for line in summary_lines(state, quiet=self._quiet):
            self._say(line)

    def _say(self, text: str) -> None:
        print("\n".join(printable(line) for line in text.split("\n")), file=self._stream, flush=True)
        self._last = self._clock()

    def _line(self, event: events.Event, at: float, state: State) -> str | None:
        match event:
            case events.AttemptStarted():
                how = "recovery" if event.kind == "recovery" else f"attempt {event.number}" if event.number > 1 else ""
                return _row(event.task, "started", event.slot or "", event.agent or "", how)
            case events.AttemptFinished():
                return self._finished(event, state)
            case events.RetryScheduled() if not event.free or event.reason == "usage limit":
                return _row(event.task, "waiting", event.reason, f"again in {event.not_before - at:.1f}s" if event.not_before > at else "")
            case events.TaskClosed() if not _is_told(event, state):
                return _row(event.task, event.status, event.reason)
            case events.StepClosed():
                return _row(event.step, event.status, event.reason)
            case events.StepOpened() if state.steps[event.step].plan.fans_out:
                return _row(event.step, "fan-out", f"{event.count} items")
            case events.RoundStarted() if state.steps[state.tasks[event.task].step].plan.step.repeat is not None:
                return _row(event.task, "started", f"round {event.number}")
            case events.RoundFinished() if not event.again:
                return _row(event.task, event.status, event.reason)
            case events.ApprovalRequested():
                return _row(event.task, "waiting", f"for approval: cpool-flow approve {_run_id(state)} {event.task}")
            case events.ApprovalAnswered():
                return _row(event.task, "approved" if event.approved else "rejected", event.reason, event.by)
            case events.EndReached():
                return _row(event.task, f"ends: {event.status}", event.reason)
            case events.DecisionNeeded():
                return _row(event.task, "waiting", "for a decision: it may have happened before the crash")
            case events.RunStopping():
                return f"  stopping: {event.reason}"
            case events.PlaceCommitted():
                return _row(", ".join(event.tasks[:3]), "committed", event.commit[:10])
            case events.SetupFinished() if event.error:
                return f"  setup failed: {event.error}"
            case events.Noted():
                return f"  note: {event.text}"
        return None

    def _finished(self, event: events.AttemptFinished, state: State) -> str:
        task = state.tasks[event.task]
        attempt = task.attempts[event.number - 1]
        took = f"{(attempt.ended_at or 0) - attempt.started_at:.1f}s"
        cost = f"${event.cost_usd:.2f}" if event.cost_usd else ""
        if event.error_kind is None:
            return _row(event.task, "success" if attempt.started.kind == "normal" else "recovered", took, cost)
        return _row(event.task, event.error_kind, took, cost, event.reason)


def _run_id(state: State) -> str:
    return state.created.run_id if state.created else ""


def _is_told(closed: events.TaskClosed, state: State) -> bool:
    """Whether the line of the task's last attempt has said it already."""
    last = state.tasks[closed.task].last
    return last is not None and last.finished is not None and last.finished.error_kind is not None and last.finished.reason == closed.reason


def _row(name: str, status: str, *details: str) -> str:
    return f"  {name:<20} {status:<10} {' · '.join(detail for detail in details if detail)}".rstrip()


def summary_lines(state: State, *, quiet: bool = False) -> list[str]:
    """What became of a run, shortest first: failures with their last lines, then one line of totals and what to do next."""
    lines = []
    for step in state.failed_steps():
        lines += _failure(step)
    if quiet and state.status == "success":
        return lines
    run_id = state.created.run_id if state.created else ""
    lines.append(f"{state.status}{f': {state.reason}' if state.reason else ''} · {totals(state, state.ended_at)}")
    lines += _branch_lines(state)
    if state.status != "success":
        lines.append(f"look: cpool-flow logs {run_id} · go on: cpool-flow resume {run_id}{_decide(state)}")
    return lines


def _failure(step: StepState) -> list[str]:
    if step.error:
        return [f"failed {step.plan.name}: {step.error}"]
    lines = []
    for task in [task for task in step.tasks if task.status == "failed"][:3]:
        shown = task.error.strip().split("\n")
        cut = (
            [shown[0], f"… {len(shown) - SHOWN_ERROR_LINES} lines", *shown[-SHOWN_ERROR_LINES + 1 :]]
            if len(shown) > SHOWN_ERROR_LINES
            else shown
        )
        lines.append(f"failed {task.id}: {task.reason}")
        lines += [f"    {line}" for line in cut[1:]]
    return lines


def _branch_lines(state: State) -> list[str]:
    closed = state.place_closed
    if closed is None:
        return []
    lines = [f"branch {closed.branch}"] if closed.branch else []
    if closed.directory and closed.branch:
        lines.append(f"directory {closed.directory}")
    return [*lines, *([f"note: {closed.note}"] if closed.note else [])]


def _decide(state: State) -> str:
    return "".join(f" --decide {task}=rerun|skip|fail" for task in state.asking)


def totals(state: State, now: float | None) -> str:
    """`4/9 steps · 3 running · $0.84 · 2m10s`."""
    steps = state.root.steps
    parts = [f"{sum(step.ended_well for step in steps.values())}/{len(steps)} steps"]
    if state.running:
        parts.append(f"{len(state.running)} running")
    if state.cost_usd or not state.cost_known:
        parts.append(f"{'' if state.cost_known else 'at least '}${state.cost_usd:.2f}")
    if now is not None:
        from cpool_flow.executor.outcome import seconds_text

        parts.append(seconds_text(round(now - state.created_at, 1)))
    return " · ".join(parts)
