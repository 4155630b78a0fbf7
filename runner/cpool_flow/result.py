"""A run as the JSON document of `run --json` and `status --json`, computed from its journal.

Texts above 64 kB and the places of files come from functions that are handed in. Shape: `schemas/result.schema.json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cpool_flow.events import AttemptFinished, Stored
from cpool_flow.state import State
from cpool_flow.tasks import Attempt, Product, StepState, Task

Load = Callable[[Stored], str]
Find = Callable[[str], str | None]
JsonObject = dict[str, Any]


class Result:
    """Makes the document of one run. `find`: the absolute path of a file of the run, by its path there; None if there is none.
    For a report: `log_ends` gives the ends of an attempt's logs, and `all_rounds` also shows the rounds before the latest."""

    def __init__(
        self,
        state: State,
        load: Load,
        args: Mapping[str, Any],
        find: Find,
        log_ends: Callable[[Attempt], list[JsonObject]] | None = None,
        *,
        all_rounds: bool = False,
    ) -> None:
        self._state = state
        self._load = load
        self._args = args
        self._find = find
        self._log_ends = log_ends
        self._all_rounds = all_rounds

    def document(self) -> JsonObject:
        state = self._state
        created = state.created
        return {
            "run_id": created.run_id if created else None,
            "name": created.name if created else None,
            "workflow": created.workflow if created else None,
            "status": state.status,
            "args": dict(self._args),
            "outputs": json.loads(self._load(state.outputs)) if state.outputs else {},
            **_cost(attempt for step in state.root.steps.values() for task in step.tasks for attempt in task.all_attempts()),
            "budget_usd": state.spending.limit_usd,
            "started_at": iso_time(state.created_at),
            "ended_at": iso_time(state.ended_at),
            "duration_seconds": _seconds(state.created_at, state.ended_at),
            "branch": state.branch_at(),
            "base": state.place.base if state.place else None,
            "directory": self._directory(),
            "tags": list(created.tags) if created else [],
            "error": self._error(),
            "error_kind": self._error_kind(),
            "limits": [{"agent": agent, "resumes_at": iso_time(until)} for agent, until in state.parked.items() if not state.finished],
            **({"rerun_of": created.rerun_of} if created and created.rerun_of else {}),
            "steps": [self._step(step) for step in state.root.steps.values()],
        } | self._quarantined()

    def _quarantined(self) -> JsonObject:
        """The slots on which agents have not worked since they had to rest."""
        found = [
            {"slot": slot, "until": iso_time(health.until), "reason": health.reason}
            for slot, health in sorted(self._state.health.items())
            if health.rests
        ]
        return {"quarantined": found} if found else {}

    def _directory(self) -> str | None:
        closed = self._state.place_closed
        if closed is not None:
            return closed.directory
        return self._state.place.directory if self._state.place else None

    def _error(self) -> str | None:
        if self._state.status in ("failed", "cancelled", "waiting"):
            return self._state.reason or None
        return None

    def _error_kind(self) -> str | None:
        """The kind of failure of the run as a whole, in the words of attempts."""
        cause = self._state.stopping.cause if self._state.stopping else None
        if self._state.status == "cancelled":
            return "cancelled"
        return None if self._state.status != "failed" else cause if cause in ("budget", "timeout", "errored") else "failed"

    def _step(self, step: StepState) -> JsonObject:
        plan = step.plan
        alone = step.tasks[0] if step.tasks and not plan.fans_out else None
        document: JsonObject = {
            "name": plan.name,
            "kind": step.plan.step.result_kind,
            "status": step.status,
            "reason": step.reason or None,
            **self._output(alone),
            "items": self._item_documents(step),
            "attempts": [self._attempt(attempt) for attempt in alone.attempts] if alone else [],
            **_cost(alone.all_attempts() if alone else (attempt for task in step.tasks for attempt in task.all_attempts())),
            "branch": self._state.branch_at(alone.id if alone and plan.isolated else step.frame.place),
            "commit": alone.commit if alone else None,
        }
        error = step.error or (alone.failure if alone else "")
        if error:
            document["error"] = error
        if plan.phase == "finally":
            document["phase"] = "finally"
        return self._completed(document, step, alone)

    def _items(self, step: StepState) -> list[Any]:
        return json.loads(self._load(step.items)) if step.items else []

    def _item_documents(self, step: StepState) -> list[JsonObject]:
        if not step.plan.fans_out:
            return []
        kind_of_all = step.plan.step.result_kind
        return [self._item(step, task, item, kind_of_all) for task, item in zip(step.tasks, self._items(step), strict=False)]

    def _item(self, step: StepState, task: Task, item: Any, kind: str) -> JsonObject:
        document: JsonObject = {
            "item": item,
            "name": task.id,
            "kind": kind,
            "status": task.status,
            "reason": task.reason or None,
            **self._output(task),
            "items": [],
            "attempts": [self._attempt(attempt) for attempt in task.attempts],
            **_cost(task.all_attempts()),
            "branch": self._state.branch_at(self._state.place_of(task)),
            "commit": task.commit,
        }
        if task.failure:
            document["error"] = task.failure
        return self._completed(document, step, task)

    def _completed(self, document: JsonObject, step: StepState, task: Task | None) -> JsonObject:
        """With what only some steps have."""
        if task is not None and task.asked is not None:
            document["question"] = self._load(task.asked)
        if step.plan.step.artifacts is not None:
            document["artifacts"] = self._artifacts(task)
        if step.plan.inner is not None:
            document |= self._inside(step, task)
        return document

    def _artifacts(self, task: Task | None) -> list[str | None]:
        """The files that the last attempt left to be kept, as absolute paths."""
        finished = task.attempts[-1].finished if task and task.attempts else None
        return [self._find(path) for path in finished.artifacts] if finished else []

    def _inside(self, step: StepState, task: Task | None) -> JsonObject:
        """The steps of the latest round of a task that holds steps, and how many rounds a loop has made."""
        frame = task.frame if task else None
        steps = [self._step(inside) for inside in frame.steps.values()] if frame else []
        rounds = {"rounds": len(task.rounds) if task else 0} if step.plan.step.repeat is not None else {}
        return {"steps": steps, **rounds, **self._earlier_rounds(task)}

    def _earlier_rounds(self, task: Task | None) -> JsonObject:
        earlier = task.rounds[:-1] if task is not None and self._all_rounds else []
        return {"earlier_rounds": [[self._step(inside) for inside in frame.steps.values()] for frame in earlier]} if earlier else {}

    def _output(self, task: Task | None) -> JsonObject:
        """The output of the attempt that counts; one above 64 kB is named by its file."""
        product = task.product if task else None
        if product is None or product.output is None:
            return {"output": None, "vars": {}}
        return {**self._text(product), "vars": json.loads(self._load(product.variables)) if product.variables else {}}

    def _text(self, product: Product) -> JsonObject:
        stored = product.output
        if stored is None or stored.file is None:
            return {"output": stored.text if stored else None}
        return {"output": None, "output_file": self._find(stored.file), "output_bytes": stored.bytes}

    def _attempt(self, attempt: Attempt) -> JsonObject:
        started, finished = attempt.started, attempt.finished
        document: JsonObject = {
            "number": started.number,
            "kind": started.kind,
            "status": attempt_status(attempt),
            "error_kind": finished.error_kind if finished else None,
            "error": (finished.error or None) if finished else None,
            "exit_code": finished.exit_code if finished else None,
            "slot": started.slot,
            "agent": started.agent,
            "model": (finished.model if finished else None) or started.model,
            "session_id": (finished.session_id if finished else None) or started.session_id,
            "cost_usd": _whole_cost(attempt),
            "cost_at_least_usd": _known_cost(finished) if finished else None,
            "budget_usd": started.budget_usd,
            "turns": finished.turns if finished else None,
            "started_at": iso_time(attempt.started_at),
            "ended_at": iso_time(attempt.ended_at),
            "log": self._find(f"logs/{started.log}") if finished else None,  # none where it printed nothing
        }
        if self._log_ends is not None:
            document["log_ends"] = self._log_ends(attempt)
        return document


def attempt_status(attempt: Attempt) -> str:
    """An attempt in the status words of steps."""
    if attempt.finished is None:
        return "running"
    kind = attempt.finished.error_kind
    return "success" if kind is None else "cancelled" if kind == "cancelled" else "failed"


def iso_time(at: float | None) -> str | None:
    """Seconds since the epoch as ISO 8601 in UTC, to the millisecond."""
    if at is None:
        return None
    minute, rest = divmod(round(at * 1_000_000) // 1000, 60_000)
    return f"{_minute(minute)}:{rest // 1000:02}.{rest % 1000:03}Z"


@lru_cache(maxsize=64)
def _minute(number: int) -> str:
    """A minute since the epoch, without its seconds: those next to each other are asked for again and again."""
    return f"{datetime.fromtimestamp(number * 60, UTC):%Y-%m-%dT%H:%M}"


def _seconds(start: float, end: float | None) -> float | None:
    return None if end is None else round(end - start, 3)


def _cost(attempts: Iterable[Attempt]) -> JsonObject:
    """US dollars of the attempts together: what they have cost, null where one of them is unknown; and what is known of that. What
    another run has paid for costs nothing here."""
    known, complete = 0.0, True
    for attempt in attempts:
        finished = attempt.finished
        if finished is not None and not attempt.taken:
            known += _known_cost(finished) or 0.0
            complete = complete and (finished.cost_usd is not None or attempt.started.agent is None)
    return {"cost_usd": known if complete else None, "cost_at_least_usd": known}


def _whole_cost(attempt: Attempt) -> float | None:
    """What an attempt has cost with the runs inside of it; null where that is unknown."""
    finished = attempt.finished
    known = finished is not None and (finished.cost_usd is not None or attempt.started.agent is None)
    return _known_cost(finished) if finished is not None and known else None


def _known_cost(finished: AttemptFinished) -> float | None:
    own = finished.cost_usd if finished.cost_usd is not None else finished.cost_at_least_usd
    return own if finished.nested_usd is None else (own or 0.0) + finished.nested_usd
