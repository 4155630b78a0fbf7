"""A run as spans for a collector of traces: the run, its steps, their attempts, each with its times and numbers. Pure.

One trace a run. Each life of it (a start, a resume) has a span of its own, below which are the steps that were at work in it. No text
of a person, an agent or a command is in a span: no prompt, output, argument, reason or error.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from typing import Literal

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.state import State

Attribute = str | int | float | bool
Entry = tuple[float, events.Event]
_LAST_ITEM = re.compile(r"(\[\d+\])?(#\d+)?$")


@dataclass(frozen=True)
class Span:
    """One span. Times are seconds since the epoch. `status`: of the work; "unset" where it did not come to an end of its own."""

    trace_id: int
    span_id: int
    parent_id: int | None
    name: str
    start: float
    end: float
    status: Literal["ok", "error", "unset"]
    attributes: Mapping[str, Attribute]


@dataclass
class Life:
    """What was recorded from a start or resume to the next."""

    began: float
    entries: list[Entry] = field(default_factory=list)

    @property
    def ended(self) -> float:
        return self.entries[-1][0]

    @property
    def is_closed(self) -> bool:
        """Whether its coordinator left in order: the run ended or waits, and only those were told who wanted to know."""
        last = next((event for _, event in reversed(self.entries) if not isinstance(event, events.Notified | events.Noted)), None)
        return isinstance(last, events.RunFinished | events.RunWaiting)


def lives(recorded: Iterable[Entry]) -> list[Life]:
    """The lives of a run. What a resume records of the attempts that were lost belongs to the life in which they were."""
    found: list[Life] = []
    for at, event in recorded:
        if isinstance(event, events.RunCreated | events.RunResumed) or not found:
            found.append(Life(at))
        elif isinstance(event, events.AttemptFinished) and event.interrupted:
            at = found[-1].ended  # when it was lost is not known: not later than this
        found[-1].entries.append((at, event))
    return found


def untold(found: list[Life]) -> list[int]:
    """The numbers of the lives that have not been sent: the last one, and those before it that a crash has cut off."""
    numbers = [len(found) - 1]
    while numbers[-1] > 0 and not found[numbers[-1] - 1].is_closed:
        numbers.append(numbers[-1] - 1)
    return numbers[::-1]


def spans(state: State, life: Life, number: int) -> list[Span]:
    """The spans of a life of a run; `number` counts from 0. The span of the run is the last."""
    return list(_Spans(state, life, number).all())


class _Spans:
    def __init__(self, state: State, life: Life, number: int) -> None:
        self._state = state
        self._life = life
        self._number = number
        created = state.created
        assert created is not None
        self._run = f"{created.run_id} {state.created_at}"
        self._trace_id = int.from_bytes(hashlib.sha256(self._run.encode()).digest()[:16]) or 1
        self._times: dict[str, tuple[float, float]] = {}  # of each step that was at work

    def all(self) -> Iterator[Span]:
        started: dict[str, tuple[float, events.AttemptStarted]] = {}
        for at, event in self._life.entries:
            if isinstance(event, events.AttemptStarted):
                started[event.task] = (at, event)
            elif isinstance(event, events.AttemptFinished) and event.task in started:
                yield self._attempt(*started.pop(event.task), at, event)
        for at, event in started.values():
            yield self._attempt(at, event, self._life.ended, None)
        yield from (self._step(step, *times) for step, times in self._times.items())
        yield self._whole()

    def _attempt(self, start: float, started: events.AttemptStarted, end: float, finished: events.AttemptFinished | None) -> Span:
        step = _step_of(started.task)
        self._widen(step, start, end)
        attributes: dict[str, Attribute | None] = {
            "cpool.task": started.task,
            "cpool.attempt.number": started.number,
            "cpool.attempt.kind": started.kind,
            "cpool.slot": started.slot,
            "cpool.agent": started.agent,
            "cpool.model": (finished.model if finished else None) or started.model,
            "cpool.status": "running" if finished is None else finished.error_kind or "success",
            "cpool.exit_code": finished.exit_code if finished else None,
            "cpool.turns": finished.turns if finished else None,
            "cpool.cost_usd": finished.cost_usd if finished else None,
        }
        name = f"attempt {started.number} of {started.task}"
        status: Literal["ok", "error", "unset"] = "unset" if finished is None else "error" if finished.error_kind else "ok"
        return self._span(f"attempt {started.task} {started.number}", f"step {step}", name, (start, end), status, attributes)

    def _widen(self, step: str, start: float, end: float) -> None:
        """A step is at work while its attempts are, and what holds it as well."""
        while step:
            before = self._times.get(step, (start, end))
            self._times[step] = (min(before[0], start), max(before[1], end))
            step = _step_of(step.rpartition("/")[0])

    def _step(self, step: str, start: float, end: float) -> Span:
        known = self._state.steps.get(step)
        around = _step_of(step.rpartition("/")[0])
        status = known.status if known is not None else None
        attributes: dict[str, Attribute | None] = {
            "cpool.step": step,
            "cpool.kind": known.plan.step.result_kind if known is not None else None,
            "cpool.status": status,
            "cpool.items": len(known.tasks) if known is not None and known.plan.fans_out else None,
        }
        parent = f"step {around}" if around else "run"
        return self._span(f"step {step}", parent, f"step {step}", (start, end), _outcome(status), attributes)

    def _whole(self) -> Span:
        state = self._state
        created = state.created
        assert created is not None
        is_last = state.started_at == self._life.began
        status = state.status if is_last else None  # of a life that a crash has cut off
        attributes: dict[str, Attribute | None] = {
            "cpool.run_id": created.run_id,
            "cpool.workflow": created.workflow,
            "cpool.life": self._number + 1,
            "cpool.status": status or "interrupted",
            "cpool.cost_usd": state.cost_usd if is_last and state.cost_known else None,
        }
        times = (self._life.began, self._life.ended)
        return self._span("run", None, f"run {created.workflow}", times, _outcome(status), attributes)

    def _span(
        self,
        key: str,
        parent: str | None,
        name: str,
        times: tuple[float, float],
        status: Literal["ok", "error", "unset"],
        attributes: Mapping[str, Attribute | None],
    ) -> Span:
        given = {key: value for key, value in attributes.items() if value is not None}
        return Span(self._trace_id, self._id(key), self._id(parent) if parent else None, name, *times, status, given)

    def _id(self, key: str) -> int:
        """Made from what it names: to send a span again is to send the same."""
        return int.from_bytes(hashlib.sha256(f"{self._run} {self._number} {key}".encode()).digest()[:8]) or 1


def _step_of(task: str) -> str:
    """The step of a task: its id without its item and round."""
    return _LAST_ITEM.sub("", task)


def _outcome(status: str | None) -> Literal["ok", "error", "unset"]:
    return "ok" if status == "success" else "error" if status == "failed" else "unset"
