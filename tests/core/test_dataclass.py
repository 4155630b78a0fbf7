"""Our data classes do what those of the standard library do, but that nothing is refused to a frozen one while the program runs."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from dataclasses import dataclass as standard
from dataclasses import field
from typing import Any

import pytest

from cpool_flow.dataclass import dataclass as ours

BOTH = pytest.mark.parametrize("make", [standard, ours])


def _point(make: Any, **options: Any) -> Any:
    @make(frozen=True, slots=True, **options)
    class Point:
        """A place."""

        x: int
        y: int = 2
        note: str = field(default="", compare=False)
        hidden: list[int] = field(default_factory=list, repr=False)

    return Point


@ours(frozen=True, slots=True)
class Kept:
    """One that can be found by its name."""

    words: tuple[str, ...]
    more: str = ""


@BOTH
def test_values_with_equal_fields_are_equal_and_others_are_not(make: Any) -> None:
    point = _point(make)
    assert point(1) == point(1, 2, "elsewhere")
    assert point(1) != point(1, 3)
    assert point(1) != (1, 2, [])
    assert point(1) != _point(make)(1)


@BOTH
def test_all_is_shown_but_what_is_hidden(make: Any) -> None:
    shown = repr(_point(make)(1, note="it's"))
    assert shown.endswith("""Point(x=1, y=2, note="it's")""")
    assert shown.startswith("_point.<locals>.")


@BOTH
def test_a_frozen_one_can_be_a_key_and_a_changing_one_cannot(make: Any) -> None:
    @make(frozen=True)
    class Frozen:
        a: int
        b: str = field(default="", compare=False)

    @make
    class Changing:
        a: int

    assert {Frozen(1, "x"): "found"}[Frozen(1, "y")] == "found"
    with pytest.raises(TypeError, match="unhashable"):
        hash(Changing(1))


@BOTH
def test_without_eq_everyone_is_only_itself(make: Any) -> None:
    @make(eq=False)
    class Thing:
        a: int

    one, other = Thing(1), Thing(1)
    assert one != other
    assert len({one, one, other}) == 2


@BOTH
def test_what_a_class_has_written_itself_is_kept(make: Any) -> None:
    @make(frozen=True)
    class Own:
        a: int

        def __repr__(self) -> str:
            return "own"

        def __eq__(self, other: object) -> bool:
            return True

    assert repr(Own(1)) == "own"
    assert Own(1) == Own(2)
    assert hash(Own(1)) == hash(Own(1))


@BOTH
def test_a_child_compares_its_own_fields_as_well(make: Any) -> None:
    @make(frozen=True)
    class Parent:
        a: int

    @make(frozen=True)
    class Child(Parent):
        b: int = 0

    assert Child(1, 2) == Child(1, 2)
    assert Child(1, 2) != Child(1, 3)
    assert Child(1) != Parent(1)
    assert "Child(a=1, b=2)" in repr(Child(1, 2))


@BOTH
def test_one_without_fields_is_a_value_too(make: Any) -> None:
    @make(frozen=True, slots=True)
    class Nothing:
        pass

    assert Nothing() == Nothing()
    assert len({Nothing(), Nothing()}) == 1


@BOTH
def test_ordered_ones_are_in_the_order_of_their_fields(make: Any) -> None:
    @make(frozen=True, slots=True, order=True)
    class Version:
        major: int
        minor: int = 0

    assert sorted([Version(2), Version(1, 5), Version(1)]) == [Version(1), Version(1, 5), Version(2)]


@BOTH
def test_it_is_made_by_position_by_name_and_with_what_is_left_out(make: Any) -> None:
    @make(slots=True)
    class Given:
        first: int
        second: str = "two"
        more: list[int] = field(default_factory=list)
        _shown: bool = field(kw_only=True, default=False)

    one, other = Given(1), Given(second="b", first=2, _shown=True)
    one.more.append(1)
    assert (one.first, one.second, one.more, one._shown) == (1, "two", [1], False)
    assert (other.first, other.second, other.more, other._shown) == (2, "b", [], True)
    assert Given(3, "c", [4]).more == [4]


@BOTH
@pytest.mark.parametrize("arguments", [{}, {"first": 1, "other": 2}])
def test_what_it_does_not_know_or_misses_is_an_error_that_names_it(make: Any, arguments: dict[str, int]) -> None:
    @make(frozen=True, slots=True)
    class Given:
        first: int

    for _ in range(2):
        with pytest.raises(TypeError, match=r"Given\.__init__\(\) .*'(first|other)'"):
            Given(**arguments)


@BOTH
def test_what_comes_after_it_is_made_is_done_for_each(make: Any) -> None:
    @make
    class Doubled:
        value: int

        def __post_init__(self) -> None:
            self.value *= 2

    @make
    class Child(Doubled):
        other: int = 1

    class Plain(Doubled):
        pass

    assert [Plain(3).value, Child(4, 5).value, Doubled(6).value, Plain(7).value] == [6, 8, 12, 14]


@BOTH
def test_a_class_that_writes_its_own_init_keeps_it(make: Any) -> None:
    @make
    class Own:
        value: int

        def __init__(self) -> None:
            self.value = 7

    assert Own().value == 7


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda kept: pickle.loads(pickle.dumps(kept)), dataclasses.replace])
def test_it_can_be_copied(again: Callable[[Kept], Kept]) -> None:
    kept = Kept(("a", "b"), more="c")
    assert again(kept) == kept
    assert again(kept) is not kept
    assert dataclasses.asdict(kept) == {"words": ("a", "b"), "more": "c"}
