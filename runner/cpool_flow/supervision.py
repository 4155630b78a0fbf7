"""Slots whose agent does not work: which of them rest, for how long, and which slot an attempt takes instead.

Pure, and told of agents only: what a shell step does says nothing of a slot. Times are seconds, those in `until` since the epoch.

A slot rests when the agent's process has died, hung or not come up on it three times in a row, in the work of more than one task: else it is
more likely the task. Afterwards it is tried once, and rests longer if that goes wrong too. One slot always goes on: where no slot works, the
steps fail for what the agent does.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import field

from cpool_flow import events
from cpool_flow.dataclass import dataclass

FAULTS = 3
FAULTS_OF_A_TASK = 2
FIRST_REST_SECONDS = 30.0
LONGEST_REST_SECONDS = 600.0
# Ends that say neither that the agent's process works nor that it does not.
_SAYS_NOTHING = frozenset({"cancelled", "errored", "timeout", "lost"})
_WORDS = {"died": "died", "hung": "fell silent", "not started": "could not be started"}


@dataclass(slots=True)
class Health:
    """How the agent has fared on one slot. `faults`: the tasks of those in a row, the last with its `reason`; `rests`: how often in a row it
    has rested, the last time `until` then."""

    faults: list[str] = field(default_factory=list)
    kind: str = ""
    reason: str = ""
    rests: int = 0
    until: float = 0.0

    def take(self, finished: events.AttemptFinished) -> None:
        """Take in how an agent's attempt ended here."""
        if finished.fault:
            self.faults.append(finished.task)
            self.kind, self.reason = finished.fault, finished.reason
        elif finished.error_kind not in _SAYS_NOTHING:
            self.faults.clear()
            self.rests = 0

    def rest(self, event: events.SlotQuarantined) -> None:
        self.faults.clear()
        self.reason = event.reason
        if not event.last:
            self.rests, self.until = self.rests + 1, event.until

    @property
    def suspect(self) -> bool:
        if self.rests:
            return bool(self.faults)
        return len(self.faults) >= FAULTS and len(set(self.faults)) > 1

    @property
    def told(self) -> str:
        """What has gone wrong here, for people."""
        times = f"{len(self.faults)} times in a row" if len(self.faults) > 1 else "again"
        return f"the agent's process {_WORDS.get(self.kind, self.kind)} {times}: {self.reason}"


def quarantines(health: Mapping[str, Health], groups: Sequence[Sequence[str]], now: float) -> Iterator[events.SlotQuarantined]:
    """The next slot that has to rest; or to be told of, where it is the last that could work. `groups`: the slots that can do each
    other's work."""
    for slot, found in health.items():
        if not found.suspect or found.until > now:
            continue
        last = any(slot in group and all(_rests(health, other, now) for other in group if other != slot) for group in groups)
        if last and len(found.faults) < FAULTS:
            continue
        yield events.SlotQuarantined(slot, found.told, now if last else now + _rest_seconds(found.rests), last)
        return


def resting(health: Mapping[str, Health], now: float) -> dict[str, float]:
    """The slots that rest, and until when."""
    return {slot: found.until for slot, found in health.items() if found.until > now}


def choose(slots: Sequence[str], free: Collection[str], resting: Collection[str], faults: Mapping[str, int]) -> str | None:
    """The slot for an agent's attempt: none that rests, and the one on which its task has met with the fewest faults. None: it waits, for
    no task shall use up its attempts on one slot while there are others."""
    working = [slot for slot in slots if slot not in resting]
    usable = [slot for slot in working if slot in free]
    best = min(usable, key=lambda slot: faults.get(slot, 0), default=None)
    if best is not None and faults.get(best, 0) >= FAULTS_OF_A_TASK and any(slot not in faults for slot in working):
        return None
    return best


def _rests(health: Mapping[str, Health], slot: str, now: float) -> bool:
    return slot in health and health[slot].until > now


def _rest_seconds(rests: int) -> float:
    return min(FIRST_REST_SECONDS * 2.0 ** min(rests, 16), LONGEST_REST_SECONDS)
