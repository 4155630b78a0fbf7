"""The slots that runs inside of runs share: who gets one that has become free."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpool_flow.shared_slots import SharedSlots
from cpool_flow.slot_wishes import FOLDER


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "slots"


def numbers(slots: SharedSlots, *tasks: str) -> list[int | None]:
    return [held.number if (held := slots.take(task, 1)) else None for task in tasks]


def test_a_slot_that_becomes_free_goes_to_the_run_that_has_the_fewest(folder: Path) -> None:
    wide, narrow = SharedSlots(folder, 3), SharedSlots(folder, 3)
    assert numbers(wide, "a", "b", "c") == [1, 2, 3]
    assert numbers(narrow, "x") == [None]
    wide.give_back("a")
    assert numbers(wide, "d") == [None]  # it has two, and another run waits that has none
    assert numbers(narrow, "x", "y") == [1, None]
    wide.give_back("b")
    assert numbers(wide, "d") == [2]  # both have one: who asks first gets it


def test_who_has_got_what_it_wanted_is_not_waited_for(folder: Path) -> None:
    wide, narrow = SharedSlots(folder, 2), SharedSlots(folder, 2)
    assert numbers(wide, "a", "b") == [1, 2]
    assert numbers(narrow, "x") == [None]
    wide.give_back("a")
    assert numbers(narrow, "x") == [1]
    narrow.give_back("x")
    assert numbers(wide, "c") == [1]


@pytest.mark.parametrize("end", ["closed", "killed"])
def test_who_has_gone_is_not_waited_for(folder: Path, end: str) -> None:
    wide, narrow = SharedSlots(folder, 2), SharedSlots(folder, 2)
    assert numbers(wide, "a", "b") == [1, 2]
    assert numbers(narrow, "x") == [None]
    if end == "closed":
        narrow.close()
    for wish in (folder / FOLDER).iterdir():  # of a run that was killed nobody renews it
        os.utime(wish, (0, 0))
    wide.give_back("a")
    assert numbers(wide, "c") == [1]


def test_a_run_that_is_alone_leaves_no_trace_of_waiting(folder: Path) -> None:
    slots = SharedSlots(folder, 2)
    assert numbers(slots, "a", "b") == [1, 2]
    assert [path.name for path in sorted(folder.iterdir())] == ["1", "2"]
