"""A pool at one moment, as plain values: counted from its state, never kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from cpool_flow.dataclass import dataclass
from cpool_flow.inputs import Inputs
from cpool_flow.state import State


@dataclass(frozen=True)
class SlotStatus:
    """One slot. `state`: `idle`, `busy`, `resting` (quarantined by the supervisor until `resting_until`, with a `reason`), or `leaving`
    (taken away by `scale`, and still at work). `task` is what it works on."""

    name: str
    state: Literal["idle", "busy", "resting", "leaving"]
    task: str | None = None
    role: str = ""
    resting_until: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class PoolStatus:
    """Counts of slots and tasks; money in US dollars. `accepting`: whether work can be given to it. `spent_usd` is what counts against
    the budget, `spending_complete` whether all costs are known. `parked`: agents at their usage limit, and until when (seconds since the
    epoch)."""

    accepting: bool
    slots: tuple[SlotStatus, ...]
    idle_slots: int
    busy_slots: int
    pending_tasks: int
    running_tasks: int
    succeeded_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    spent_usd: float
    budget_usd: float | None
    spending_complete: bool
    parked: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The status as plain data that JSON can hold."""
        return asdict(self)


@dataclass(frozen=True)
class DrainSummary:
    """What a pool has done when it has ended. `spent_usd`: what counts against the budget, in US dollars."""

    succeeded_tasks: int
    failed_tasks: int
    cancelled_tasks: int
    spent_usd: float


def slot_statuses(state: State, inputs: Inputs, now: float) -> tuple[SlotStatus, ...]:
    """The slots in the order in which work is given to them, those that leave last."""
    leaving = [name for name in state.slots if name not in state.slot_order]
    return tuple(_slot(state, inputs, name, now) for name in (*state.slot_order, *leaving))


def _slot(state: State, inputs: Inputs, name: str, now: float) -> SlotStatus:
    known = inputs.slot_named(name)
    role = known.role if known is not None else ""
    task, health = state.slots.get(name), state.health.get(name)
    if name not in state.slot_order:
        return SlotStatus(name, "leaving", task, role)
    if task is not None:
        return SlotStatus(name, "busy", task, role)
    if health is not None and health.until > now:
        return SlotStatus(name, "resting", None, role, health.until, health.reason)
    return SlotStatus(name, "idle", None, role)
