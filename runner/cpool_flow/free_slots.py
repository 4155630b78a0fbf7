"""The slots that are free in one turn, as they are given away: which one a task gets.

Pure. Knows which slots a step asks for and which of them rest; not what is started in them (`policy.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from cpool_flow import supervision
from cpool_flow.plan import PlannedStep
from cpool_flow.state import State
from cpool_flow.tasks import Task


class FreeSlots:
    """The slots that are free in one turn, as they are given away. A step that asks for slots never gets another, however many are free;
    of those that answer it gets the first, an agent none of those that rest."""

    def __init__(self, state: State, resting: Mapping[str, float]) -> None:
        self._all = state.slot_order
        self._free = {state.slot_order[rank]: None for rank in state.free_slots}
        self._answering: dict[str | None, list[str]] = {}
        self._resting = resting

    @property
    def any(self) -> bool:
        return bool(self._free)

    @property
    def count(self) -> int:
        return len(self._free)

    def next_for(self, plan: PlannedStep, task: Task, agent: str | None) -> str | None:
        """The slot that the task would get; None where it has to wait."""
        if self._resting or any(attempt.finished and attempt.finished.fault for attempt in task.counted):
            return self._chosen(plan, task, agent)
        if plan.slots is None:
            return next(iter(self._free), None)
        answering = self._answering.get(plan.step.slot)
        if answering is None:
            answering = self._answering[plan.step.slot] = [name for name in reversed(plan.slots) if name in self._free]
        while answering and answering[-1] not in self._free:
            answering.pop()
        return answering[-1] if answering else None

    def has_for(self, plan: PlannedStep, agent: str | None) -> bool:
        """Whether there is a slot that another task of the step could take."""
        return any(name in self._free and (agent is None or name not in self._resting) for name in plan.slots or self._all)

    def take(self, slot: str | None) -> None:
        self._free.pop(slot or "", None)

    def _chosen(self, plan: PlannedStep, task: Task, agent: str | None) -> str | None:
        slots = plan.slots or self._all
        if agent is None:
            free = [slot for slot in slots if slot in self._free]
            return next((slot for slot in free if slot in self._resting), free[0] if free else None)
        faults = Counter(attempt.started.slot or "" for attempt in task.counted if attempt.finished and attempt.finished.fault)
        return supervision.choose(slots, self._free, self._resting, faults)
