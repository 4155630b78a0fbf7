"""What each slot of a pool has done so far: counted from the facts of its run, those before a resume included."""

from __future__ import annotations

from collections import Counter

from cpool_flow import events


class SlotCounts:
    """By slot: attempts that have ended there, what is known of their cost (US dollars), and how often it was quarantined."""

    def __init__(self) -> None:
        self.attempts: Counter[str] = Counter()
        self.quarantines: Counter[str] = Counter()
        self.cost_usd: dict[str, float] = {}
        self._at_work: dict[str, str] = {}

    def take(self, event: events.Event) -> None:
        """Take in a fact."""
        match event:
            case events.AttemptStarted() if event.slot is not None:
                self._at_work[event.task] = event.slot
            case events.AttemptFinished() if event.task in self._at_work:
                slot = self._at_work.pop(event.task)
                self.attempts[slot] += 1
                known = event.cost_usd if event.cost_usd is not None else event.cost_at_least_usd
                self.cost_usd[slot] = self.cost_usd.get(slot, 0.0) + (known or 0.0)
            case events.SlotQuarantined() if not event.last:
                self.quarantines[event.slot] += 1
