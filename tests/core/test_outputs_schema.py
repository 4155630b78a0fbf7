"""JSON Schemas: what is wrong with a value, with a schema, and that neither can take for ever."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from cpool_flow.errors import InvalidInput
from cpool_flow.pattern import Pattern, PatternError, TooMuchWork, Work
from cpool_flow.schema import InvalidSchema, compile_schema


def errors(schema: Any, value: Any) -> list[str]:
    return compile_schema(schema).errors(value)


def refusal(schema: Any, **where: Any) -> list[tuple[str, tuple[str | int, ...]]]:
    with pytest.raises(InvalidSchema) as problem:
        compile_schema(schema, **where)
    return [(found.message, found.path) for found in problem.value.problems]


@pytest.mark.parametrize(
    ("schema", "value", "reason"),
    [
        ({"type": "integer"}, "3", 'expected integer, found "3"'),
        ({"type": ["integer", "null"]}, True, "expected integer or null, found true"),
        ({"enum": ["quick", "deep"]}, "quik", 'expected one of "quick", "deep", found "quik"; did you mean `quick`?'),
        ({"const": 1}, 2, "expected 1, found 2"),
        ({"items": {"type": "string"}}, ["a", 1], "at `/1`: expected string, found 1"),
        ({"properties": {"a/b": {"minimum": 3}}}, {"a/b": 2}, "at `/a~1b`: expected at least 3, found 2"),
        ({"required": ["name"]}, {"nam": 1}, "`name` is missing; did you mean `nam` in what is there?"),
        ({"required": ["name"]}, {}, "`name` is missing"),
        ({"properties": {"ab": {}}, "additionalProperties": False}, {"abc": 1}, "at `/abc`: unknown key `abc`; did you mean `ab`?"),
        ({"minItems": 1}, [], "expected at least 1 items, found 0"),
        ({"maxLength": 2}, "abc", "expected at most 2 characters, found 3"),
        ({"pattern": "^a+$"}, "ab", 'expected text that matches `^a+$`, found "ab"'),
        ({"uniqueItems": True}, [{"a": 1}, {"a": 1.0}], "expected items that are all different"),
        ({"oneOf": [{"type": "string"}, {"type": "null"}]}, 1, "expected string or null, found 1"),
        (
            {"anyOf": [{"required": ["a"]}, {"properties": {"b": {"type": "string"}}}]},
            {"b": 1},
            "none of 2 alternatives fits: at `/b`: expected string, found 1",
        ),
        (False, 1, "nothing is allowed here"),
    ],
)
def test_an_error_says_the_place_what_is_allowed_and_what_was_found(schema: Any, value: Any, reason: str) -> None:
    assert errors(schema, value) == [reason]


def test_at_most_five_errors_are_told() -> None:
    assert len(errors({"items": {"type": "string"}}, [1] * 100_000)) == 6
    assert errors({"items": {"type": "string"}}, [1] * 6)[-1] == "and more"


def test_large_and_odd_values_are_short_and_printable_in_an_error() -> None:
    for value in ["x" * 1_000_000, ["y"] * 100_000, {"\x1b[31m": "\u202e"}, {str(number): 1 for number in range(100)}]:
        (error,) = errors({"type": "integer"}, value)
        assert len(error) < 250
        assert error.isprintable()


def test_format_is_a_note_and_is_not_checked() -> None:
    assert errors({"type": "string", "format": "email"}, "nobody") == []


KINDS = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SMALL = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.floats(0, 2) | st.text("ab", max_size=1), lambda v: st.lists(v, max_size=2)
)


@given(st.fixed_dictionaries({}, optional={"type": KINDS, "enum": st.lists(SMALL, max_size=4), "title": st.text("ab")}), SMALL)
def test_plain_schemas_that_are_checked_without_jsonschema_agree_with_it(schema: dict[str, Any], value: Any) -> None:
    assert (not errors(schema, value)) == Draft202012Validator(schema).is_valid(value)


# ---- schemas that are none ----


def test_what_is_no_schema_is_refused_with_its_place() -> None:
    assert refusal({"type": "strin"}) == [("unknown type `strin`: did you mean `string`?", ("type",))]
    assert refusal({"properties": {"a": {"required": True}}})[0][1] == ("properties", "a", "required")
    assert refusal(3) == [("a JSON Schema is a mapping (or true, or false)", ())]
    assert "never closed" in refusal({"pattern": "("})[0][0]


def test_a_reference_to_a_url_is_never_fetched() -> None:
    for reference in ("https://127.0.0.1/x.json", "file:///etc/passwd", "//host/x", "urn:x"):
        assert "never fetched" in refusal({"$ref": reference}, retrieve=pytest.fail)[0][0]


def test_a_reference_stays_inside_the_project() -> None:
    for reference in ("../../x.json", "/etc/passwd", "a/../../../x", "%2e%2e/%2e%2e/x"):
        assert "out of the project" in refusal({"$ref": reference}, file="flows/w.yaml", retrieve=pytest.fail)[0][0]


def test_references_that_point_nowhere_or_never_get_anywhere_are_refused() -> None:
    assert "points nowhere" in refusal({"$ref": "#/$defs/x"})[0][0]
    assert "points nowhere" in refusal({"properties": {"a": {"$ref": "#name"}}})[0][0]
    assert "without end" in refusal({"$ref": "#"})[0][0]
    loop = {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/b"}]}, "b": {"not": {"$ref": "#/$defs/a"}}}}
    assert "without end" in refusal(loop)[0][0]


def test_a_schema_that_doubles_with_each_reference_is_refused() -> None:
    doubling = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(40)}
    assert "more than" in refusal({"$ref": "#/$defs/a0", "$defs": {**doubling, "a40": {}}})[0][0]


def test_files_are_referred_to_from_where_the_reference_stands_and_become_one_document() -> None:
    files: dict[str, Any] = {
        "shared/finding.json": {
            "$id": "https://example.com/f",
            "required": ["file"],
            "properties": {"line": {"$ref": "types.json#/$defs/line"}},
        },
        "shared/types.json": {"$schema": "http://json-schema.org/draft-07/schema#", "$defs": {"line": {"type": "integer"}}},
    }
    schema = compile_schema({"items": {"$ref": "../shared/finding.json"}}, file="flows/w.yaml", retrieve=files.__getitem__)
    assert schema.errors([{"file": "a", "line": "3"}, {}]) == ['at `/0/line`: expected integer, found "3"', "at `/1`: `file` is missing"]
    assert compile_schema(schema.document).errors([{}]) == ["at `/0`: `file` is missing"]


def test_a_file_that_cannot_be_read_is_the_callers_error() -> None:
    def unreadable(path: str) -> Any:
        raise InvalidInput(f"cannot read `{path}`")

    with pytest.raises(InvalidInput, match=r"cannot read `x.json`"):
        compile_schema({"$ref": "x.json#/a"}, retrieve=unreadable)


def test_names_that_look_like_keywords_are_names() -> None:
    schema = {"properties": {"$ref": {"type": "string"}, "enum": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}
    assert errors(schema, {"$ref": "x", "enum": "y"}) == ['at `/enum`: expected integer, found "y"']


# ---- values and schemas that could take for ever ----


def seconds(schema: Any, value: Any) -> float:
    compiled = compile_schema(schema)
    started = time.process_time()
    compiled.errors(value)
    return time.process_time() - started


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"pattern": r"^(\w+\s?)*$"}, "word " * 20_000 + "!"),
        ({"pattern": "^(a|aa)+$"}, "a" * 100_000 + "b"),
        ({"patternProperties": {"^(a+)+$": {}}, "additionalProperties": False}, {"a" * 40 + "!": 1}),
        ({"uniqueItems": True}, [{"a": number} for number in range(20_000)]),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"allOf": [{"items": {"$ref": "#/$defs/n"}}] * 2}}}, nested(60)),
        ({"unevaluatedItems": False, "prefixItems": [{}]}, [1] * 100_000),
    ],
)
def test_no_value_keeps_a_check_busy(schema: Any, value: Any) -> None:
    assert seconds(schema, value) < 20  # without bounds: for ever


def test_a_value_that_is_too_deep_for_its_schema_is_an_error() -> None:
    assert errors({"items": {"$ref": "#"}}, nested(30)) == []
    assert errors({"items": {"$ref": "#"}}, nested(250)) == ["nested too deeply for its schema"]


ATOMS = st.sampled_from(["a", "b", "_", " ", ".", "[ab]", "[^a]", r"\w", r"\D", r"\s", r"\b", "^", "$", "[a-c-]", r"\x61", r"[\d_]", "c"])
QUANTIFIERS = st.sampled_from(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "{0,1}", "{0}"])
PATTERNS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner), st.builds("(?:{}|{})".format, inner, inner), st.builds("({}){}".format, inner, QUANTIFIERS)
    ),
    max_leaves=8,
)


@given(PATTERNS, st.text("ab_ c1", max_size=8))
def test_patterns_find_what_python_finds(pattern: str, text: str) -> None:
    expected = re.search(pattern.replace("$", r"\Z"), text, re.ASCII) is not None
    assert Pattern(pattern).search(text, Work(10**6)) == expected


@pytest.mark.parametrize(
    "pattern",
    [
        "(",
        ")",
        "[",
        "*",
        "a**",
        "(?=a)",
        "(?<!a)",
        "(?i)a",
        r"\1",
        r"\p{L}",
        "a{3,1}",
        "((a{100}){100}){100}",
        "(" * 1000,
        "[b-a]",
        "\\",
        "a{999999}",
    ],
)
def test_a_pattern_that_is_none_or_not_taken_is_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        Pattern(pattern)


@given(st.text("()[]{}|*+?^$.\\-,:<=!0123abuxdwPi", max_size=20))
def test_any_text_is_a_pattern_or_is_refused(pattern: str) -> None:
    try:
        Pattern(pattern).search("ab1-", Work(10**6))
    except (PatternError, TooMuchWork):
        return
