"""A run for people who watch it: one line per change of state, a heartbeat, a summary. On stderr.

Computed from what was recorded, never from the running objects. Text of agents and commands is data: control
characters are shown, never interpreted.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import TextIO

from cpool_flow import events
from cpool_flow.cli.colour import has_colour, with_status
from cpool_flow.cli.summary import approve_command, clock_time, question_lines, summary_lines, took, totals
from cpool_flow.errors import printable
from cpool_flow.journal import Recorded
from cpool_flow.model import duration_text
from cpool_flow.spending import dollars
from cpool_flow.state import State
from cpool_flow.usage_limit import USAGE_LIMIT

HEARTBEAT_SECONDS = 60.0
SHOWN_TASKS = 3
# Why an attempt is made again that costs no retry, where other lines say it.
UNTOLD = ("recovered", "lost when the coordinator died", "rerun by decision")


class PlainProgress:
    """Prints lines. `quiet`: errors only. `clock` is in seconds."""

    heartbeat_seconds = 5.0

    def __init__(self, stream: TextIO = sys.stderr, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._quiet = quiet
        self._clock = clock
        self._last = clock()
        self._paint = with_status if has_colour(stream) else str

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        for entry in recorded:
            line = self.line(entry.event, entry.at, state)
            if line and not self._quiet:
                self.say(line)

    def heartbeat(self, state: State) -> None:
        """A line after a minute of silence, so that no log looks dead."""
        if not self._quiet and self._clock() - self._last >= HEARTBEAT_SECONDS:
            self.tell_of_now(state)

    def tell_of_now(self, state: State) -> None:
        """A line that says what the run is at, and how far it is."""
        running = f"{_shown(state.running)} · " if state.running else ""
        self.say(f"  … {running}{totals(state, time.time())}")

    def head(self, state: State, *, resumed: bool = True) -> None:
        """The first line: which run, where it works, and what of the checkout it does not see."""
        created, place = state.created, state.place
        if created is None or self._quiet:
            return
        slots = f"{created.slots} slot{'' if created.slots == 1 else 's'}"
        parts = [f"run {created.run_id} ({created.name})", created.workflow, slots, *(["resumed"] if resumed else [])]
        if place is not None:
            parts += [place.note, *([f"branch {place.branch}"] if place.branch else [])]
        self.say(" · ".join(parts))

    def summary(self, state: State) -> None:
        """The last lines: what failed with its last output, totals, and the command to look further."""
        for line in summary_lines(state, quiet=self._quiet):
            self.say(line)

    def take(self) -> None:
        """Somebody else prints and reads at the terminal: lines go on coming."""

    def give(self) -> None: ...

    def close(self) -> None: ...

    def say(self, text: str) -> None:
        """Print lines."""
        # The run goes on where nobody reads any more: the terminal is gone, the pipe is closed.
        with suppress(OSError):
            print("\n".join(self._paint(printable(line)) for line in text.split("\n")), file=self._stream, flush=True)
        self._last = self._clock()

    def line(self, event: events.Event, at: float, state: State) -> str | None:
        """What is said of a change of state, where anything is. A text of several lines where a person is asked."""
        match event:
            case events.AttemptStarted():
                how = "recovery" if event.kind != "normal" else f"attempt {event.number}" if event.number > 1 else ""
                return _row(event.task, "started", event.slot or "", event.agent or "", how)
            case events.AttemptFinished():
                return self._finished(event, state)
            case events.SlotQuarantined():
                return _quarantine(event, at)
            case events.AgentParked():
                named = "" if event.named else "it does not say until when"
                return _row(event.agent, "parked", "usage limit", f"resumes {clock_time(event.until, at)}", named)
            case events.RetryScheduled() if not event.free or event.reason not in UNTOLD:
                return _row(event.task, "waiting", event.reason, _again(event, at))
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
                return "\n".join(
                    [_row(event.task, "waiting", f"for approval: {approve_command(state, event.task)}"), *_asked(event, state)]
                )
            case events.ApprovalAnswered():
                return _row(event.task, "approved" if event.approved else "rejected", event.reason, event.by)
            case events.EndReached():
                return _row(event.task, f"ends: {event.status}", event.reason)
            case events.DecisionNeeded():
                return _row(event.task, "waiting", "for a decision: it may have happened before the crash")
            case events.RunStopping() if event.cause == "budget":
                return f"  out of budget: {event.reason}; what runs comes to its end"
            case events.RunStopping():
                return "  stopping at once" if event.at_once else _stopping(event, state)
            case events.TurnAwaited():
                return f"  waits for its turn in group `{event.group}`: run {event.ahead[0]} is at work{_more(event.ahead)}"
            case events.TurnCame():
                return "  its turn has come"
            case events.PlaceCommitted():
                return _row(_shown(event.tasks), "committed", event.commit[:10])
            case events.PlaceMerged():
                return _row(event.task, "merged" if event.commit else "unmerged", (event.commit or "")[:10], event.reason)
            case events.PlaceClosed() if event.task and event.branch:
                return _row(event.task, "kept", f"branch {event.branch}", event.note)
            case events.SetupFinished() if event.error and not event.task:  # of an item it is told by the attempt that needed it
                return "  setup failed: " + event.error.replace("\n", "\n    ")
            case events.Noted():
                return f"  note: {event.text}"
        return None

    def _finished(self, event: events.AttemptFinished, state: State) -> str:
        task = state.tasks[event.task]
        attempt = task.attempts[event.number - 1]
        time = took((attempt.ended_at or 0) - attempt.started_at)
        cost = dollars(event.cost_usd) if event.cost_usd else ""
        if event.error_kind is None:
            return _row(event.task, "success" if attempt.started.kind == "normal" else "recovered", time, cost)
        return _row(event.task, event.error_kind, time, cost, event.reason)


def _stopping(event: events.RunStopping, state: State) -> str:
    """What is stopped, and how to go on: who has pressed Ctrl-C may be gone before the end."""
    line = f"  stopping in order: {event.reason}"
    if event.reason.endswith("Ctrl-C") and state.created is not None:
        line += f" · Ctrl-C again stops at once · go on later: cpool-flow resume {state.created.run_id}"
    return line


def _more(ahead: Sequence[str]) -> str:
    return f", then {', '.join(ahead[1:])}" if len(ahead) > 1 else ""


def _quarantine(event: events.SlotQuarantined, at: float) -> str:
    if event.last:
        return _row(event.slot, "suspect", event.reason, "no other slot is left, so it goes on")
    return _row(event.slot, "quarantined", f"for {duration_text(round(event.until - at))}", event.reason)


def _asked(event: events.ApprovalRequested, state: State) -> list[str]:
    return [f"  {line}" for line in question_lines(state.tasks[event.task])]


def _again(event: events.RetryScheduled, at: float) -> str:
    """When the next attempt comes."""
    if event.not_before <= at:
        return ""
    soon = f"again in {event.not_before - at:.1f}s"
    return f"resumes {clock_time(event.not_before, at)}" if event.reason == USAGE_LIMIT else soon


def _is_told(closed: events.TaskClosed, state: State) -> bool:
    """Whether the line of the task's last attempt, or of its merge, has said it already."""
    task = state.tasks[closed.task]
    if task.place is not None and task.place.unmerged is not None and task.place.unmerged.reason == closed.reason:
        return True
    last = task.last
    return last is not None and last.finished is not None and last.finished.error_kind is not None and last.finished.reason == closed.reason


def _shown(tasks: Iterable[str]) -> str:
    names = list(tasks)
    return ", ".join(names[:SHOWN_TASKS]) + (f" and {len(names) - SHOWN_TASKS} more" if len(names) > SHOWN_TASKS else "")


def _row(name: str, status: str, *details: str) -> str:
    return f"  {name:<20} {status:<10} {' · '.join(detail for detail in details if detail)}".rstrip()
