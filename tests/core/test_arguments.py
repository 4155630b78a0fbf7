"""Arguments: read by their declared type, completed, checked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from cpool_flow.arguments import allowed, complete, declaration_problems, is_required, read_arguments
from cpool_flow.errors import InvalidInput

FILES = {"notes.md": "# Notes\n\n", "list.json": "[1, 2]\n"}
ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def read_file(path: str) -> str:
    if path not in FILES:
        raise InvalidInput(f"cannot read `{path}`: no such file")
    return FILES[path]


def read(declared: dict[str, Any], *given_values: str, file: Any = None) -> dict[str, Any]:
    return read_arguments(declared, given_values, file, read_file)


def one(declaration: dict[str, Any], text: str) -> Any:
    return read({"v": declaration}, f"v={text}")["v"]


def problems(declared: dict[str, Any], *given_values: str, file: Any = None) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        read(declared, *given_values, file=file)
    assert all(problem.message.isprintable() for problem in error.value.problems)
    return [f"{problem.message} | {problem.hint or problem.help}" for problem in error.value.problems]


@pytest.mark.parametrize(
    ("declaration", "text", "value"),
    [
        ({"type": "integer"}, "42", 42),
        ({"type": "integer"}, "1e3", 1000),
        ({"type": "integer"}, " 7 ", 7),
        ({"type": "number"}, "3.10", 3.1),
        ({"type": "string"}, "42", "42"),
        ({"type": "string"}, "3.10", "3.10"),
        ({"type": "string"}, " null ", " null "),
        ({"type": "string"}, "", ""),
        ({"type": "boolean"}, "false", False),
        ({"type": "array"}, '["a"]', ["a"]),
        ({"type": "object"}, '{"a": {"b": null}}', {"a": {"b": None}}),
        ({"type": "null"}, "null", None),
        ({"type": ["integer", "string"]}, "42", 42),
        ({"type": ["integer", "string"]}, "x42", "x42"),
        ({"type": ["string", "null"]}, "null", None),
        ({}, "42", 42),
        ({}, "forty two", "forty two"),
        ({"enum": ["quick", 1, "2", True]}, "quick", "quick"),
        ({"enum": ["quick", 1, "2", True]}, "1", 1),
        ({"enum": ["quick", 1, "2", True]}, "2", "2"),
        ({"enum": ["quick", 1, "2", True]}, "true", True),
        ({"type": "string", "enum": ["1", "2"]}, "1", "1"),
        ({"const": "1"}, "1", "1"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "minimum": 1}}}, "3", 3),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "string"}}}, "3", "3"),
        ({"anyOf": [{"type": "integer"}, {"pattern": "^a"}]}, "abc", "abc"),
        ({"type": "string"}, "-x", "-x"),
    ],
)
def test_text_is_read_by_the_declared_type(declaration: dict[str, Any], text: str, value: Any) -> None:
    found = one(declaration, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", ["1_000", "0x10", "1.5", "true", "", "NaN", "Infinity", "--1", "٤٢", "9" * 400, "1e400", '"1"', "1;2"])
def test_what_is_no_integer_is_refused(text: str) -> None:
    assert "argument `v`" in problems({"v": {"type": "integer"}}, f"v={text}")[0]


@pytest.mark.parametrize("text", ["True", "yes", "0", "", '"true"'])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    assert problems({"v": {"type": "boolean"}}, f"v={text}")[0].endswith("| allowed: true or false")


@pytest.mark.parametrize(
    ("declaration", "text", "told"),
    [
        ({"type": "string", "pattern": "^[a-z]+$"}, "A1", 'expected text that matches `^[a-z]+$`, found "A1" | allowed: string'),
        ({"type": "integer", "minimum": 1, "maximum": 5}, "9", "expected at most 5, found 9 | allowed: integer"),
        ({"type": "array", "items": {"type": "integer"}}, '["a", 2]', 'at `/0`: expected integer, found "a" | allowed: array'),
        ({"type": "array"}, "a,b", 'not JSON: expecting value at line 1, column 1: a,b | allowed: array, written as JSON: ["a", 1]'),
        ({"const": 5}, "6", "expected 5, found 6 | allowed: any value that matches its schema"),
        ({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer", "minimum": 1}}}, "0", "expected at least 1, found 0 | allowed: any value that matches its schema"),
        ({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^a"}]}, "xbc", "none of 2 alternatives fits: expected text that matches `^a`, "
         'found "xbc" | allowed: any value that matches its schema'),
        ({"type": ["boolean", "null"]}, "x", 'expected boolean or null, found "x" | allowed: true or false or null'),
        ({"enum": ["quick", "deep"]}, "QUICK", 'expected one of "quick", "deep", found "QUICK"; did you mean `quick`? '
         '| allowed: one of "quick", "deep"'),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_told_with_what_is_allowed(declaration: dict[str, Any], text: str, told: str) -> None:
    assert problems({"v": declaration}, f"v={text}") == [f"argument `v`: {told}"]


def test_format_is_a_note_and_is_not_checked() -> None:
    assert one({"type": "string", "format": "email"}, "x") == "x"


@pytest.mark.parametrize("text", ["v", "v:", "=x", ":=1", "=@notes.md", ""])
def test_what_has_no_name_or_no_value_is_shown_as_it_was_given(text: str) -> None:
    assert f"`--arg {text}`: expected NAME=VALUE | NAME=TEXT, NAME=@FILE, or NAME:=JSON" in problems({"v": {"type": "string"}}, text)


def test_the_case_of_a_name_counts() -> None:
    assert problems({"v": {"required": False}}, "V=1") == ["unknown argument `V` | did you mean `v`?"]


def test_the_forms_of_an_argument() -> None:
    text, anything = {"type": "string"}, {"required": False}
    declared = {"text": text, "file": text, "json": {}, "list": {"type": "array"}, "equals": text, "at": text, "none": anything}
    found = read(declared, "text=a:=b", "file=@notes.md", 'json:={"a": 1}', "list=@list.json", "equals==@x=y", 'at:="@x"')
    assert found == {
        "text": "a:=b",
        "file": "# Notes\n",
        "json": {"a": 1},
        "list": [1, 2],
        "equals": "=@x=y",
        "at": "@x",
        "none": None,
    }


def test_defaults_and_null_complete_what_was_not_given() -> None:
    declared = {"a": {"default": 1}, "b": {"required": False, "type": "string"}, "c": {"required": True}, "d": {"default": None}}
    assert read(declared, "c=x") == {"a": 1, "b": None, "c": "x", "d": None}
    assert read(declared, file={"c": 3, "b": None}) == {"a": 1, "b": None, "c": 3, "d": None}


def test_required_that_is_a_list_belongs_to_the_schema() -> None:
    assert problems({"o": {"type": "object", "required": ["a"]}}, "o={}") == ["argument `o`: `a` is missing | allowed: object"]


def test_given_arguments_win_over_the_file_and_the_last_of_a_name_wins() -> None:
    declared = {"a": {"type": "integer"}, "b": {"type": "string"}}
    assert read(declared, "a=2", "a=3", file={"a": 1, "b": "x"}) == {"a": 3, "b": "x"}
    assert read(declared, "a=nope", "a=3", "b=y") == {"a": 3, "b": "y"}


def test_values_of_the_file_keep_their_types() -> None:
    assert problems({"v": {"type": "integer"}}, file={"v": "42"}) == ['argument `v`: expected integer, found "42" | allowed: integer']
    assert problems({"v": {"type": "string"}}, file={"v": 42}) == ["argument `v`: expected string, found 42 | allowed: string"]
    assert problems({}, file=["v"]) == ['the file of `--args-file` must hold a mapping of arguments, not ["v"] | None']
    assert "not finite" in problems({"v": {}}, file={"v": [float("inf")]})[0]


def test_all_that_is_wrong_is_told_at_once() -> None:
    declared = {
        "pr": {"type": "integer", "description": "Pull request number"},
        "depth": {"enum": ["quick", "deep"], "default": "quick"},
        "notes": {"type": "string"},
        "options": {"type": "object"},
    }
    assert problems(declared, "depht=deep", "depth=depe", "notes=@nope.md", "options={a", "lonely") == [
        "`--arg lonely`: expected NAME=VALUE | NAME=TEXT, NAME=@FILE, or NAME:=JSON",
        'argument `depth`: expected one of "quick", "deep", found "depe"; did you mean `deep`? | allowed: one of "quick", "deep"',
        "argument `notes`: cannot read `nope.md`: no such file | None",
        "argument `options`: not JSON: expecting property name enclosed in double quotes at line 1, column 2: {a | allowed: object",
        "argument `pr` is missing | `--arg pr=…`, integer: Pull request number",
        "unknown argument `depht` | did you mean `depth`?",
    ]


def test_bytes_that_are_no_text_are_refused() -> None:
    for given_value in ("v=a\udc80", "v=@\udc80", 'v:="\\ud800"', 'v:={"\\udfff": 1}'):
        assert len(problems({"v": {}}, given_value)) == 1


def test_a_name_that_is_no_name_is_shown_printably() -> None:
    assert problems({}, "\x1b[31m=1")[0].startswith("unknown argument `\\x1b[31m`")


def test_text_arguments_arrive_unchanged() -> None:
    for text in (case["value"] for case in cases("hostile/naughty_strings.json")["cases"]):
        if not text.startswith("@"):
            assert one({"type": "string"}, text) == text
        assert read({"v": {"type": "string"}}, f"v:={json.dumps(text)}") == {"v": text}


@given(ANY_TEXT.filter(lambda text: not text.startswith("@")))
def test_any_text_is_itself_for_a_text_argument(text: str) -> None:
    assert one({"type": "string"}, text) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(ANY_TEXT, inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_any_json_value_goes_through_each_form(value: Any) -> None:
    text = json.dumps(value)
    assert read({"v": {}}, f"v:={text}") == read({"v": {}}, f"v={text}") == read({"v": {}}, file={"v": value}) == {"v": value}


@given(st.lists(st.text(max_size=12), max_size=4), JSON)
def test_anything_given_is_read_or_refused_as_invalid_input(texts: list[str], file: Any) -> None:
    declared = {"a": {"type": "integer"}, "b": {"enum": [1, "x"]}, "c": {"required": False}}
    try:
        found = read(declared, *texts, file=file)
    except InvalidInput:
        return
    assert found.keys() == declared.keys()


def test_a_declaration_is_checked_with_its_default() -> None:
    assert declaration_problems({"type": "integer", "default": 1, "required": True, "description": "n"}) == ()
    assert declaration_problems({"type": "integer", "default": None, "required": False}) == ()
    (wrong,) = declaration_problems({"type": "integer", "default": "1"})
    assert (wrong.message, wrong.path) == ('the default does not match the schema: expected integer, found "1"', ("default",))
    (null,) = declaration_problems({"type": "string", "default": None})
    assert null.message.endswith("found null; for an argument that may be left out, write `required: false`")
    (neither,) = declaration_problems({"required": "no"})
    assert (neither.message, neither.path) == ('`required` is true or false, not "no"', ("required",))
    (unknown,) = declaration_problems({"type": "int"})
    assert unknown.path == ("type",)


def test_what_an_argument_may_be_is_told_in_a_few_words() -> None:
    assert allowed({"type": ["integer", "boolean"]}) == "integer or true or false"
    assert allowed({}) == "any value that matches its schema"
    assert [is_required(declaration) for declaration in ({}, {"required": True}, {"required": False}, {"default": None})] == [
        True,
        True,
        False,
        False,
    ]


def test_complaints_name_the_argument_that_they_are_about() -> None:
    _, complaints = complete({"a": {"type": "integer"}, "b": {}}, {"a": "x", "c": 1})
    assert [name for name, _ in complaints] == ["c", "b", "a"]
