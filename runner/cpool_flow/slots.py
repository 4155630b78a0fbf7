"""The slots of a run by name, and which of them a step may take.

Knows names, roles and labels; not which slots are free (`policy.py`), nor what an agent is told of one (`settings.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from cpool_flow import model
from cpool_flow.nodes import Path

# What a step asks for that takes no slot.
NO_SLOT = "none"


@dataclass(frozen=True, slots=True)
class NamedSlot:
    """One slot of a run. `kind`: the name that it shares with others of its `count`; empty where nobody gave it a name."""

    name: str
    kind: str = ""
    role: str = ""
    description: str = ""
    labels: tuple[str, ...] = ()
    config: model.AgentConfig | None = None

    def answers_to(self, asked: str) -> bool:
        """Whether a step that asks for this gets the slot."""
        return asked in (self.name, self.kind, self.role, *self.labels)


def named_slots(slots: model.Slots) -> tuple[NamedSlot, ...]:
    """The slots in the order of the file: `NAME`, `NAME-1` … with `count`, and `slot-1` … those without a name."""
    if isinstance(slots, int):
        return tuple(NamedSlot(f"slot-{number}") for number in range(1, slots + 1))
    found: list[NamedSlot] = []
    unnamed = 0
    for slot in slots:
        for number in range(1, (slot.count or 1) + 1):
            if slot.name is None:
                unnamed += 1
                name = f"slot-{unnamed}"
            else:
                name = slot.name if slot.count is None else f"{slot.name}-{number}"
            found.append(NamedSlot(name, slot.name or "", slot.role or "", slot.description or "", slot.labels or (), slot.config))
    return tuple(found)


def slot_problems(slots: model.Slots | None) -> Iterator[tuple[Path, str]]:
    """What cannot be meant in a list of slots: where in it, and why."""
    if slots is None or isinstance(slots, int):
        return
    for index, slot in enumerate(slots):
        words = [("name", slot.name), ("role", slot.role), *((f"label {each + 1}", label) for each, label in enumerate(slot.labels or ()))]
        for what, word in words:
            if word == NO_SLOT:
                yield (index,), f"the {what} of a slot cannot be `{NO_SLOT}`: `slot: {NO_SLOT}` means no slot at all"
    if sum(slot.count or 1 for slot in slots) > model.MOST_SLOTS:
        yield (), f"these are more than {model.MOST_SLOTS} slots"
        return
    taken = Counter(slot.name for slot in named_slots(slots))
    for index, slot in enumerate(slots):
        names = [each.name for each in named_slots((slot,))] if slot.name is not None else []
        twice = next((name for name in names if taken[name] > 1), None)
        if twice is not None:
            yield (index, "name"), f"two slots are called `{twice}`"
