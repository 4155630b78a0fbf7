"""The slots of a run by name, and which of them a step may take.

Knows names, roles and labels; not which slots are free (`policy.py`), nor what an agent is told of one (`settings.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from cpool_flow import model
from cpool_flow.dataclass import dataclass
from cpool_flow.nodes import Path
from cpool_flow.pool_file import NO_FILE, PoolFile

# What a step asks for that takes no slot.
NO_SLOT = "none"
# Before the number of a slot that nobody has given a name.
UNNAMED = "slot-"


@dataclass(frozen=True, slots=True)
class NamedSlot:
    """One slot of a run. `kind`: the name that it shares with others of its `count`; empty where nobody gave it a name. `pooled`: it
    stands in `cpool.yaml`."""

    name: str
    kind: str = ""
    role: str = ""
    description: str = ""
    labels: tuple[str, ...] = ()
    config: model.AgentConfig | None = None
    pooled: bool = False

    @property
    def words(self) -> tuple[str, ...]:
        """What a step may ask for that gets the slot."""
        return tuple(dict.fromkeys(filter(None, (self.kind, self.name, self.role, *self.labels))))


@dataclass(frozen=True)
class SlotPool:
    """What the steps of a run share beyond their files: the project's `cpool.yaml`, and the slots of the run."""

    file: PoolFile
    slots: tuple[NamedSlot, ...]

    def answering(self, asked: str) -> tuple[NamedSlot, ...]:
        """The slots that a step gets which asks for this."""
        return self._by_word.get(asked, ())

    def for_step(self, step: model.Step) -> tuple[NamedSlot, ...] | None:
        """The slots that a step may take; None where any will do."""
        return None if step.slot in (None, NO_SLOT) else self.answering(step.slot)

    def names_for(self, step: model.Step) -> tuple[str, ...] | None:
        """What those slots are called: the same tuple for the same word."""
        return None if step.slot in (None, NO_SLOT) else self._names_by_word.get(step.slot, ())

    def kinds_for(self, step: model.Step) -> list[NamedSlot | None]:
        """One slot of each kind that a step may get, or None where any will do."""
        slots: Sequence[NamedSlot | None] = self.for_step(step) or (None,)
        return list({id(slot and slot.config): slot for slot in slots}.values())

    @property
    def words(self) -> tuple[str, ...]:
        """All that a step may ask for."""
        return tuple(self._by_word)

    @cached_property
    def _by_word(self) -> dict[str, tuple[NamedSlot, ...]]:
        found: dict[str, list[NamedSlot]] = {}
        for slot in self.slots:
            for word in slot.words:
                found.setdefault(word, []).append(slot)
        return {word: tuple(slots) for word, slots in found.items()}

    @cached_property
    def _names_by_word(self) -> dict[str, tuple[str, ...]]:
        return {word: tuple(slot.name for slot in slots) for word, slots in self._by_word.items()}


NO_POOL = SlotPool(NO_FILE, ())


def slot_pool(file: PoolFile | None = None, slots: model.Slots | None = None, command_line: int | None = None) -> SlotPool:
    """The pool of a run: of the slots that the command line, the workflow and `cpool.yaml` want, the first wins."""
    file = file or NO_FILE
    if command_line is not None or slots is not None:
        return SlotPool(file, named_slots(command_line or slots or model.DEFAULT_SLOTS))
    return SlotPool(file, named_slots(file.slots or model.DEFAULT_SLOTS, pooled=True))


def named_slots(slots: model.Slots, *, pooled: bool = False) -> tuple[NamedSlot, ...]:
    """The slots in the order of the file: `NAME`, `NAME-1` … with `count`, and `slot-1` … those without a name."""
    if isinstance(slots, int):
        return tuple(NamedSlot(f"{UNNAMED}{number}") for number in range(1, slots + 1))
    found: list[NamedSlot] = []
    unnamed = 0
    for slot in slots:
        for number in range(1, (slot.count or 1) + 1):
            if slot.name is None:
                unnamed += 1
                name = f"{UNNAMED}{unnamed}"
            else:
                name = slot.name if slot.count is None else f"{slot.name}-{number}"
            labels = slot.labels or ()
            found.append(NamedSlot(name, slot.name or "", slot.role or "", slot.description or "", labels, slot.config, pooled))
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
