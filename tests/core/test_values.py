"""Records, their text and their JSON."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from rendering import JSON

from cpool_flow.values import Absent, Lazy, Record, RenderError, json_text, kind, text_of, truth, unwrap, wrap


def test_a_record_has_its_declared_names_and_nothing_of_python():
    record = Record({"items": [1], "keys": "k", "get": None})
    assert (record["items"], record["keys"], record["get"]) == ([1], "k", None)
    assert "__class__" not in record
    assert list(record) == ["items", "keys", "get"]


def test_a_record_cannot_be_changed():
    with pytest.raises(TypeError):
        Record({"a": 1})["a"] = 2  # type: ignore[index]
    with pytest.raises(AttributeError):
        Record({"a": 1}).b = 2  # type: ignore[attr-defined]


def test_a_lazy_field_is_read_once_and_only_when_it_is_asked_for():
    reads = []
    record = Record({"output": Lazy(lambda: reads.append(1) or "text"), "status": "success"})
    assert record["status"] == "success"
    assert reads == []
    assert (record["output"], record["output"]) == ("text", "text")
    assert reads == [1]


def test_an_absent_field_is_not_there_and_says_why():
    record = Record({"output": Absent("step `x` was skipped"), "status": "skipped"})
    assert "output" not in record
    assert dict(record) == {"status": "skipped"}
    assert len(record) == 1
    assert record.absence("output") == "step `x` was skipped"
    assert record.absence("status") is None
    with pytest.raises(KeyError):
        record["output"]


def test_a_field_that_cannot_be_read_is_left_out_of_the_whole_and_says_why_by_itself():
    def load():
        raise RenderError("the output of step `x` is not JSON")

    record = Record({"output": "text", "json": Lazy(load), "items": [Record({"json": Lazy(load), "index": 0})]})
    assert unwrap(record) == {"output": "text", "items": [{"index": 0}]}
    with pytest.raises(RenderError, match="is not JSON"):
        record["json"]


def test_records_are_equal_to_the_data_that_they_hold():
    assert Record({"a": [Record({"b": 1})]}) == {"a": [{"b": 1}]}


def test_a_record_shows_its_names_and_no_content():
    assert repr(Record({"token": "hunter2"})) == "Record(token)"


@given(JSON)
def test_plain_data_survives_wrapping_and_unwrapping(value):
    assert unwrap(wrap(value)) == value


@given(JSON)
def test_the_json_text_of_data_is_that_data(value):
    assert json.loads(json_text(value)) == value


def test_unwrapping_shares_nothing_with_the_source():
    source = {"a": [1]}
    found = unwrap(source)
    found["a"].append(2)
    assert source == {"a": [1]}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [float("-inf")], {1: 2}, len, object(), [Absent("gone")]])
def test_what_is_no_json_is_refused_without_showing_it(value):
    with pytest.raises(RenderError) as error:
        json_text(value)
    assert "0x" not in error.value.message
    assert "<" not in error.value.message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("a\n", "a\n"),
        ("", ""),
        (None, ""),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (1.5, "1.5"),
        ([], "[]"),
        (["é", {"a": None}], '["é", {"a": null}]'),
        (Record({"b": 1, "a": "<&>'"}), '{"b": 1, "a": "<&>\'"}'),
    ],
)
def test_text_of_a_value(value, text):
    assert text_of(value) == text


def test_a_number_too_long_for_text_is_refused():
    with pytest.raises(RenderError, match="too large"):
        text_of(10**5000)


def test_half_a_surrogate_pair_is_escaped_in_json():
    assert json_text(["\ud800é"]) == '["\\ud800é"]'


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (True, True),
        (False, False),
        (None, False),
        (0, False),
        (2, True),
        ([], False),
        ([0], True),
        ("true", True),
        ("false", False),
        ("", False),
    ],
)
def test_truth_of_a_condition(value, expected):
    assert truth(value) is expected


@pytest.mark.parametrize("value", ["no", "0", "False", " ", "yes", "secret"])
def test_a_condition_that_is_other_text_is_an_error_that_says_compare_it(value):
    with pytest.raises(RenderError, match="compare it") as error:
        truth(value)
    assert "secret" not in error.value.message


def test_kinds_have_words():
    assert [kind(each) for each in (None, True, 1, "", [], {}, len)] == [
        "null",
        "true or false",
        "a number",
        "text",
        "a list",
        "an object",
        "a function or loop",
    ]
