"""How the text that a step gave is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from cpool_flow.model import OutputVariable
from cpool_flow.outputs import BadOutput, Output, Structured, extract_json, mode_of, path_keys, read_output
from cpool_flow.schema import compile_schema

FINDINGS = compile_schema({"type": "object", "required": ["findings"], "properties": {"findings": {"type": "array"}}})


def reason(text: str, **how: Any) -> str:
    with pytest.raises(BadOutput) as problem:
        read_output(text, **how)
    assert str(problem.value).isprintable()
    return str(problem.value)


def test_the_output_of_a_command_loses_exactly_one_last_newline() -> None:
    assert read_output("a \n\n") == Output("a \n", None, {})
    assert read_output("a\r\n").text == "a\r"
    assert read_output("").text == ""


def test_the_answer_of_an_agent_is_stripped_at_both_ends() -> None:
    assert read_output("\n  a \n\n", answer=True).text == "a"


def test_lines_are_a_list_without_empty_lines_and_split_at_newlines_alone() -> None:
    assert read_output("a\r\n\n b\u2028c \n\n", "lines").json == ["a", " b\u2028c "]
    assert read_output("", "lines").json == []


def test_a_command_must_print_one_json_value_and_nothing_else() -> None:
    assert read_output(' {"a": 1}\n', "json").json == {"a": 1}
    assert reason('Done: {"a": 1}', mode="json") == 'the output is not one JSON value: expecting value at line 1, column 1: Done: {"a": 1}'


def test_the_value_of_an_answer_is_searched_and_its_text_stays_whole() -> None:
    assert read_output('Done: {"a": 1}', "json", answer=True) == Output('Done: {"a": 1}', {"a": 1}, {})


def test_json_is_implied_by_a_schema_and_by_every_path_but_the_dot() -> None:
    assert mode_of(None, False, {}) == mode_of(None, False, {"all": "."}) == "text"
    assert mode_of(None, True, {}) == mode_of(None, False, {"a": "a"}) == mode_of("text", False, {"a": "[0]"}) == "json"
    assert mode_of("lines", False, {"first": "[0]"}) == "lines"


def test_the_dot_is_everything() -> None:
    assert read_output("hello", variables={"all": "."}).vars == {"all": "hello"}
    assert read_output("[1]", "json", variables={"all": "."}).vars == {"all": [1]}
    assert read_output("a\nb", "lines", variables={"all": ".", "last": "[-1]"}).vars == {"all": ["a", "b"], "last": "b"}


def test_variables_are_taken_by_path() -> None:
    text = '{"a": {"b": [{"c": 1}], "x.y": null, "": 2}}'
    paths = {"c": "a.b[0].c", "null": 'a["x.y"]', "empty": "a['']", "dotted": ".a.b"}
    assert read_output(text, variables=paths).vars == {"c": 1, "null": None, "empty": 2, "dotted": [{"c": 1}]}


def test_a_variable_that_is_not_there_names_the_path_and_what_is_there() -> None:
    text = '{"finding": [1], "ok": true}'
    assert reason(text, variables={"f": "findings"}) == (
        "output variable `f` (`findings`): the output has no `findings` (it has `finding`, `ok`); did you mean `finding`? "
        '(the output: {"finding": [1], "ok": true})'
    )
    assert "`finding` has 1 item, there is no `[1]`" in reason(text, variables={"f": "finding[1]"})
    assert "`ok` is a boolean, not an object" in reason(text, variables={"f": "ok.x"})
    both = reason(text, variables={"f": "a", "g": "b"})
    assert "`f`" in both
    assert "`g`" in both


def test_a_default_makes_a_variable_optional() -> None:
    optional = {"n": OutputVariable(path="a.n", default=0), "null": OutputVariable(path="x", default=None)}
    assert read_output('{"a": 1}', variables=optional).vars == {"n": 0, "null": None}
    assert "no `x`" in reason("{}", variables={"x": OutputVariable(path="x")})


@pytest.mark.parametrize("path", ["", " ", "..", "a..b", "a.", "a[", "a[x]", "a[0]b", "a]", "[1.5]"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="is no path"):
        path_keys(path)


KEYS = st.lists(st.integers(0, 99) | st.text(st.characters(exclude_characters="\"'\n", exclude_categories=["Cs"])), max_size=5)


@given(KEYS)
def test_every_place_in_a_value_has_a_path(keys: list[str | int]) -> None:
    path = "".join(f"[{key}]" if isinstance(key, int) else f'["{key}"]' for key in keys) or "."
    assert path_keys(path) == tuple(keys)


def test_an_answer_that_does_not_match_its_schema_is_told_where_what_and_what_it_was() -> None:
    assert reason('{"findings": 1}', schema=FINDINGS, answer=True) == (
        'the output does not match its schema: at `/findings`: expected array, found 1 (the output: {"findings": 1})'
    )


def test_of_several_values_the_last_that_is_valid_counts() -> None:
    text = 'Input {"findings": [0]}, answer {"findings": []}, with options {"depth": 3}.'
    assert extract_json(text, FINDINGS) == {"findings": []}
    fenced = '```json\n{"findings": [1]}\n```\n```json\n{"no": 1}\n```\nSee {"findings": [2]}'
    assert extract_json(fenced, FINDINGS) == {"findings": [1]}


def test_where_no_value_is_valid_the_last_one_is_explained() -> None:
    assert "there is `depth`" in reason('{"finding": 1} then {"depth": 3}', schema=FINDINGS, answer=True)


def test_many_invalid_values_are_given_up_in_time() -> None:
    assert "`findings` is missing" in reason("```json\n{}\n```\n" * 50_000, schema=FINDINGS, answer=True)


def test_the_value_that_an_agent_gave_beside_its_text_is_checked_as_well() -> None:
    given_value = Structured({"findings": ["é"]})
    assert read_output("", schema=FINDINGS, answer=True, structured=given_value) == Output('{"findings": ["é"]}', given_value.value, {})
    assert read_output("Done.", schema=FINDINGS, answer=True, structured=given_value).text == "Done."
    assert "does not match" in reason("", schema=FINDINGS, answer=True, structured=Structured({}))
    assert "not finite" in reason("", mode="json", answer=True, structured=Structured(float("nan")))


def test_text_mode_takes_any_text_as_it_is() -> None:
    for text in (case["value"] for case in cases("hostile/naughty_strings.json")["cases"]):
        assert read_output(f"{text}\n").text == text
        assert read_output(text, answer=True).text == text.strip()
