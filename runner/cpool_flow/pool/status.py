"""A pool at one moment, as plain values: counted from its state, never kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from cpool_flow.dataclass import dataclass
from cpool_flow.inputs import Inputs
from cpool_flow.pool.slot_counts import SlotCounts
from cpool_flow.state import State


@dataclass(frozen=True)
class SlotStatus:
    """One slot. `state`: `idle`, `busy`, `resting` (quarantined by the supervisor until `resting_until`, with a `reason`), or `leaving`
    (taken away by `scale`, and still at work). `task` is what it works on. `attempts` have ended there, and have cost `cost_usd` (US dollars)
    as far as that is known; `quarantines`: how often it had to rest."""

    name: str
    state: Literal["idle", "busy", "resting", "leaving"]
    task: str | None = None
    role: str = ""
    resting_until: float | None = None
    reason: str = ""
    attempts: int = 0
    cost_usd: float = 0.0
    quarantines: int = 0


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


def slot_statuses(state: State, inputs: Inputs, counts: SlotCounts, now: float) -> tuple[SlotStatus, ...]:
    """The slots in the order in which work is given to them, those that leave last."""
    leaving = [name for name in state.slots if name not in state.slot_order]
    return tuple(_slot(state, inputs, counts, name, now) for name in (*state.slot_order, *leaving))


def _slot(state: State, inputs: Inputs, counts: SlotCounts, name: str, now: float) -> SlotStatus:
    known, health, task = inputs.slot_named(name), state.health.get(name), state.slots.get(name)
    rests = task is None and health is not None and health.until > now
    return SlotStatus(
        name,
        "leaving" if name not in state.slot_order else "busy" if task is not None else "resting" if rests else "idle",
        task,
        role=known.role if known is not None else "",
        resting_until=health.until if rests and health is not None else None,
        reason=health.reason if rests and health is not None else "",
        attempts=counts.attempts[name],
        cost_usd=counts.cost_usd.get(name, 0.0),
        quarantines=counts.quarantines[name],
    )
