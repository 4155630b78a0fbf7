"""The JSON value that an agent's answer means."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from cpool_flow.json_answer import candidates
from cpool_flow.json_value import MAX_DEPTH, BadJson, check_value, read_json

PLAIN_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(min_value=-(10**30), max_value=10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_TEXT, inner, max_size=4),
    max_leaves=12,
)
CONTAINERS = VALUES.filter(lambda value: isinstance(value, (dict, list)))
# Prose without brackets and without lines that open a fence.
PROSE = st.text(alphabet=st.characters(exclude_categories=["Cs"], exclude_characters="{}[]`~"), max_size=40)


def answer(text: str) -> Any:
    return next(candidates(text))


def dumped(value: object, indent: int | None = None) -> str:
    return json.dumps(value, ensure_ascii=False, indent=indent)


def verdict(text: str) -> Any:
    try:
        return answer(text)
    except BadJson:
        return "error"


ANSWERS = json.loads((Path(__file__).parents[1] / "data" / "json_answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", ANSWERS["cases"], ids=lambda case: case["name"])
def test_an_answer_means_what_the_rule_says(case: dict[str, Any]) -> None:
    expected = "error" if case.get("error") else case["expect"]
    # As text: to Python 1, 1.0 and true are equal.
    assert dumped(verdict(case["text"])) in [dumped(value) for value in (expected, *case.get("also", []))]


@pytest.mark.parametrize("case", ANSWERS["generated"], ids=lambda case: case["name"])
def test_a_huge_answer_is_read_in_time(case: dict[str, Any]) -> None:
    text = "".join(part * times for part, times in case["parts"])
    started = time.process_time()
    found = verdict(text)
    assert time.process_time() - started < case["max_seconds"]
    if case.get("error"):
        assert found == "error"
    elif "check" in case:
        check = case["check"]
        assert "value" not in check or found[check["path"]] == check["value"]
        assert len(found[check.get("length_of", check["path"])]) == check["length"]
    else:
        assert found == case["expect"]


@given(VALUES, st.sampled_from([None, 2]), st.sampled_from(["", " ", "\n", "\ufeff", "\r\n\t", "\u00a0"]))
def test_a_value_that_is_the_whole_text_comes_out_as_it_went_in(value: Any, indent: int | None, around: str) -> None:
    assert answer(f"{around}{dumped(value, indent)}{around}") == value


@given(VALUES, PROSE, PROSE, st.sampled_from(["```", "````", "~~~"]), st.sampled_from(["", "json", " JSON", "json title=x"]))
def test_a_fenced_value_comes_out_whatever_prose_is_around(value: Any, before: str, after: str, fence: str, label: str) -> None:
    assert answer(f"{before}\n{fence}{label}\n{dumped(value, 2)}\n{fence}\n{after}") == value


@given(CONTAINERS, PROSE, PROSE)
def test_an_object_or_list_in_prose_comes_out(value: Any, before: str, after: str) -> None:
    assert answer(f"So {before}: {dumped(value)} {after}") == value


@given(CONTAINERS, CONTAINERS, PROSE)
def test_of_two_values_in_prose_the_last_counts(first: Any, last: Any, between: str) -> None:
    assert list(candidates(f"{dumped(first)} {between}, {dumped(last)}.")) == [last, first]


@given(CONTAINERS.filter(bool), PROSE, st.data())
def test_a_value_that_was_cut_is_never_taken_for_a_smaller_one(value: Any, before: str, data: st.DataObject) -> None:
    text = dumped(value)
    cut = data.draw(st.integers(min_value=2, max_value=len(text) - 1))
    assert verdict(f"So {before}: {text[:cut]}") == "error"


@pytest.mark.parametrize("text", ["[[null]", ': [[1], {"a": 1}', "[ [true] , [2]", "so [[[1.5]]"])
def test_a_list_that_was_cut_behind_a_list_in_it_is_no_smaller_one(text: str) -> None:
    assert verdict(text) == "error"


@given(st.text())
def test_any_text_gives_a_value_or_a_reason(text: str) -> None:
    verdict(text)


@given(st.text(alphabet="{}[]\":,\\'`~ \n1ae-/x\x1b", max_size=60))
def test_any_tangle_of_brackets_and_quotes_gives_a_value_or_a_reason(text: str) -> None:
    verdict(text)


@pytest.mark.parametrize(
    "unit",
    [
        "{x} ",
        '{"x" y} ',
        "[1] ",
        "{ ",
        '" ',
        "'a' ",
        "[' ",
        "{'\\'",
        '{"\\"',
        "```\n",
        "```json\n{\n",
        "- - ",
        "> > ",
        ":{ }",
        "[0m",
        "{\n",
    ],
)
@pytest.mark.parametrize("before", ["", "see: ", "see { "])
def test_no_repeated_text_takes_more_than_linear_time(unit: str, before: str) -> None:
    def seconds(characters: int) -> float:
        started = time.process_time()
        verdict(before + unit * (characters // len(unit)))
        return time.process_time() - started

    assert seconds(400_000) < 3  # a quadratic reader takes minutes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"a": 1,\n "b": nope}', "expecting value at line 2, column 7: "),
        ("", "nothing but blanks"),
        ("All is well.", "expecting value at line 1, column 1: All is well."),
        ('Result: {"a": [1, 2', 'it ends inside an unfinished value that begins at line 1, column 9: Result: {"a": [1, 2'),
        ('{"a": NaN}', "`NaN` is no JSON at line 1, column 7"),
        ('{"a": 1e999}', "a number that is too large: 1e999"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ("[" * 100_000, "brackets nested more than"),
        ('See "x" {y: \x1b[31m\n1}', 'expecting property name enclosed in double quotes at line 1, column 10: See "x" {y: \\x1b[31m\\n1}'),
    ],
)
def test_the_reason_says_where_and_ends_with_an_excerpt(text: str, reason: str) -> None:
    with pytest.raises(BadJson) as problem:
        answer(text)
    assert str(problem.value).startswith(reason)
    assert str(problem.value).isprintable()


def test_values_nested_as_deep_as_we_keep_come_out_and_deeper_ones_are_refused() -> None:
    assert dumped(answer("[" * MAX_DEPTH + "]" * MAX_DEPTH)) == "[" * MAX_DEPTH + "]" * MAX_DEPTH
    with pytest.raises(BadJson):
        answer("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": ["\udc80"]}, {"\ud800": 1}])
def test_a_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(BadJson):
        check_value(value)


@given(VALUES)
def test_one_value_and_nothing_else_is_read_strictly(value: Any) -> None:
    assert read_json(f" {dumped(value)}\n") == value
    with pytest.raises(BadJson):
        read_json(f"{dumped(value)} x")


def test_no_hostile_answer_raises_anything_but_a_reason() -> None:
    for case in cases("hostile/agent_answers.json")["cases"]:
        verdict(case["text"])
