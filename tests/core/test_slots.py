"""What slots are called, who answers to what, and whose slots a run has."""

from __future__ import annotations

from cpool_flow.model import Slot, Step
from cpool_flow.pool_file import PoolFile
from cpool_flow.slots import named_slots, slot_pool


def slots(*given: dict[str, object]) -> tuple[Slot, ...]:
    return tuple(Slot.model_validate(each) for each in given)


def names(*given: dict[str, object]) -> list[str]:
    return [slot.name for slot in named_slots(slots(*given))]


def test_a_number_of_slots_are_called_by_their_numbers() -> None:
    assert [slot.name for slot in named_slots(3)] == ["slot-1", "slot-2", "slot-3"]


def test_named_slots_are_numbered_only_with_a_count() -> None:
    assert names({"name": "reviewer"}, {"name": "writer", "count": 2}, {}, {"role": "x", "count": 2}) == [
        "reviewer", "writer-1", "writer-2", "slot-1", "slot-2", "slot-3",
    ]  # fmt: skip


def test_a_slot_answers_to_its_name_its_kind_its_role_and_its_labels() -> None:
    pool = slot_pool(slots=slots({"name": "writer", "count": 2, "labels": ["python"]}, {"role": "Senior reviewer", "labels": ["python"]}))
    answering = {
        word: [slot.name for slot in pool.answering(word)] for word in ("writer", "writer-2", "python", "Senior reviewer", "slot-1")
    }
    assert answering == {
        "writer": ["writer-1", "writer-2"],
        "writer-2": ["writer-2"],
        "python": ["writer-1", "writer-2", "slot-1"],
        "Senior reviewer": ["slot-1"],
        "slot-1": ["slot-1"],
    }
    assert pool.answering("senior reviewer") == pool.answering("") == ()


def test_the_command_line_wins_over_the_file_and_the_file_over_the_pool() -> None:
    pool, own = PoolFile(slots=slots({"name": "pooled"})), slots({"name": "own"})
    assert [slot.name for slot in slot_pool(pool).slots] == ["pooled"]
    assert [slot.name for slot in slot_pool(pool, own).slots] == ["own"]
    assert [slot.name for slot in slot_pool(pool, own, 2).slots] == ["slot-1", "slot-2"]
    assert [slot.name for slot in slot_pool(pool, 1).slots] == ["slot-1"]
    assert len(slot_pool().slots) == 4


def test_a_step_without_a_slot_may_have_any_and_none_is_no_name() -> None:
    pool = slot_pool(slots=slots({"name": "a"}, {"name": "b"}))
    assert pool.for_step(Step(run="x")) is None
    assert pool.for_step(Step(run="x", slot="none")) is None
    assert [slot.name for slot in pool.for_step(Step(run="x", slot="b")) or ()] == ["b"]
