"""Items: what makes a list of them, and the combinations of a matrix."""

from __future__ import annotations

from typing import Any

import pytest
from simulation import workflow

from cpool_flow import fan_out, plan
from cpool_flow.errors import InvalidInput


@pytest.mark.parametrize(
    ("value", "what"), [("abc", "text"), ({"a": 1}, "an object"), (None, "null"), (7, "a number"), (True, "true or false")]
)
def test_only_a_list_makes_items(value: object, what: str) -> None:
    with pytest.raises(InvalidInput, match=f"^`foreach` of step `a` came to {what}, not to a list$"):
        fan_out.listed(value, "a", "foreach")


def test_more_items_than_max_items_are_refused_by_the_name_of_that_key() -> None:
    step = plan.build(workflow({"name": "a", "run": "x", "foreach": "args.x", "max_items": 3}))["a"]
    fan_out.check_count(3, step)
    with pytest.raises(InvalidInput, match=r"^`foreach` of step `a` came to 4 items; `max_items` allows 3$"):
        fan_out.check_count(4, step)


@pytest.mark.parametrize("value", [-1, 1.5, "3", None, True])
def test_a_limit_is_a_whole_number(value: object) -> None:
    with pytest.raises(InvalidInput, match="`limit` of step `a`"):
        fan_out.bound(value, "a")


def test_the_first_key_of_a_matrix_varies_slowest() -> None:
    found = fan_out.combinations({"a": [1, 2], "b": ["x", "y"]}, "m")
    assert found == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


def test_an_exclude_takes_away_all_that_agree_with_it() -> None:
    matrix: dict[str, Any] = {"a": [1, 2], "b": ["x", "y"], "exclude": [{"a": 1}, {"a": 2, "b": "y"}]}
    assert fan_out.combinations(matrix, "m") == [{"a": 2, "b": "x"}]


def test_includes_work_as_in_the_documentation_of_github_actions() -> None:
    """The example of "Expanding or adding matrix configurations"."""
    matrix: dict[str, Any] = {
        "fruit": ["apple", "pear"],
        "animal": ["cat", "dog"],
        "include": [
            {"color": "green"},
            {"color": "pink", "animal": "cat"},
            {"fruit": "apple", "shape": "circle"},
            {"fruit": "banana"},
            {"fruit": "banana", "animal": "cat"},
        ],
    }
    assert fan_out.combinations(matrix, "m") == [
        {"fruit": "apple", "animal": "cat", "color": "pink", "shape": "circle"},
        {"fruit": "apple", "animal": "dog", "color": "green", "shape": "circle"},
        {"fruit": "pear", "animal": "cat", "color": "pink"},
        {"fruit": "pear", "animal": "dog", "color": "green"},
        {"fruit": "banana"},
        {"fruit": "banana", "animal": "cat"},
    ]


def test_a_matrix_of_includes_alone_is_those() -> None:
    assert fan_out.combinations({"include": [{"a": 1}, {"a": 2}]}, "m") == [{"a": 1}, {"a": 2}]


def test_true_is_not_1_when_combinations_are_compared() -> None:
    assert fan_out.combinations({"a": [1, True], "exclude": [{"a": True}]}, "m") == [{"a": 1}]


def test_a_matrix_that_is_too_large_is_refused_before_it_is_made() -> None:
    with pytest.raises(InvalidInput, match="1,000,000,000,000 combinations"):
        fan_out.combinations({"a": list(range(10**4)), "b": list(range(10**4)), "c": list(range(10**4))}, "m")


@pytest.mark.parametrize("matrix", [{"a": "text"}, {"a": [1], "include": {}}, {"a": [1], "exclude": [1]}])
def test_a_matrix_of_something_else_than_lists_is_refused(matrix: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="`matrix"):
        fan_out.combinations(matrix, "m")
