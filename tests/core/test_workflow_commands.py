"""Workflow commands of GitHub Actions: what we say arrives whole, and what others say is never obeyed."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actions_runner import Obeyed, Runner
from cpool_flow.annotations import Annotations
from cpool_flow.errors import Location, Problem
from cpool_flow.workflow_commands import Defuser, assignment, command, foreign, group, masks, without_commands

# Text that is likely to come near to a command.
PIECES = (
    *(":: : ## # [ ] error add-mask stop-commands x %0A é".split()),
    *("set-output name=x", " ", "\t", "\r", "\n", "\r\n", "\v", "\u2003", "\u3000", "\x85", "\x1b[0m", "\u200b", "\0", "\ufeff"),
)
NEAR = st.lists(st.sampled_from(PIECES), max_size=14).map("".join)
ANY = st.one_of(NEAR, st.text(max_size=40))


@pytest.mark.parametrize(
    ("made", "line"),
    [
        (command("endgroup"), "::endgroup::"),
        (command("error", "100% of\r\nthem"), "::error::100%25 of%0D%0Athem"),
        (command("error", "x: y, z", {"file": "a:b,c%.yaml", "line": 3}), "::error file=a%3Ab%2Cc%25.yaml,line=3::x: y, z"),
    ],
)
def test_a_command_is_one_line_with_everything_escaped(made: str, line: str) -> None:
    assert made == line


@given(data=ANY, value=ANY)
def test_what_a_command_says_arrives_as_it_was(data: str, value: str) -> None:
    read = Runner(command("error", data, {"file": f"f{value}", "line": 3}).encode("utf-8", "surrogatepass"))
    assert (read.obeyed, read.text) == ([Obeyed("error", data, {"file": f"f{value}", "line": "3"})], [])


def test_a_secret_is_masked_line_by_line_but_for_what_would_shred_the_log() -> None:
    assert masks(['{\n  "key": "s3cret%"\n}', "t0ken", "abc\r\nword"]) == [
        '::add-mask::"key": "s3cret%25"',
        "::add-mask::t0ken",
        "::add-mask::word",
    ]


def test_a_group_holds_foreign_text_in_which_no_command_is_obeyed() -> None:
    lines = group("review: 2", ["::error::no", "##[add-mask]e", "  ::stop-commands::x"], "t0")
    assert lines == [
        "::group::review: 2",
        "::stop-commands::t0",
        "::error::no",
        "##[add-mask]e",
        "  ::stop-commands::x",
        "::t0::",
        "::endgroup::",
    ]
    assert Runner("\n".join(lines).encode()).names() == ["group", "endgroup"]


@given(st.lists(ANY, max_size=5))
def test_no_foreign_text_ends_its_own_quotation(lines: list[str]) -> None:
    read = Runner("\n".join([*foreign(lines, "cpool-5a1e"), command("notice", "after")]).encode("utf-8", "surrogatepass"))
    assert read.names() == ["notice"]


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        ("plain: text, std::vector, a # b ##", "plain: text, std::vector, a # b ##"),
        ("::error::x", ": :error::x"),
        ("  \t::error::x", "  \t: :error::x"),
        ("\u3000::error::x", "\u3000: :error::x"),
        ("ok\r::set-env name=PATH::/tmp\r\n", "ok\r: :set-env name=PATH::/tmp\r\n"),
        ("see ##[error]x", "see ## [error]x"),
        ("###[group]", "### [group]"),
        (":::error::x", ": ::error::x"),
    ],
)
def test_what_looks_like_a_command_gets_a_blank_and_nothing_else_is_changed(text: str, harmless: str) -> None:
    assert Defuser().feed(text.encode()).decode() == harmless


@given(text=st.lists(ANY, max_size=6).map("".join), cuts=st.lists(st.integers(0, 200)))
def test_nothing_that_was_defused_is_obeyed_however_it_is_cut(text: str, cuts: list[int]) -> None:
    data = text.encode("utf-8", "surrogatepass")
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    defuser = Defuser()
    pieces = [defuser.feed(data[start:end]) for start, end in pairwise(places)]
    assert Runner(b"".join(pieces)).obeyed == []
    assert b"".join(pieces) == Defuser().feed(data)


def test_a_line_of_blanks_however_long_is_remembered() -> None:
    defuser = Defuser()
    assert defuser.feed(b" " * 9000) == b" " * 9000
    assert defuser.feed(b"::error::x") == b": :error::x"
    assert defuser.feed(b"\n" + b"x" * 9000) + defuser.feed(b"::error::x") == b"\n" + b"x" * 9000 + b"::error::x"


@given(st.recursive(ANY, lambda inner: st.lists(inner) | st.dictionaries(ANY, inner)))
def test_json_without_the_old_form_of_a_command_means_the_same(value: object) -> None:
    text = without_commands(json.dumps(value, ensure_ascii=False))
    assert "##[" not in text
    assert json.loads(text) == value


def test_an_output_has_a_delimiter_of_its_own() -> None:
    assert assignment("report", "a\nb", "d1") == "report<<d1\na\nb\nd1\n"


def problem(number: int, *, warning: bool = False) -> Problem:
    return Problem(f"m{number}", Location("flow.yaml", number, 5), warning=warning)


def test_ten_errors_and_ten_warnings_are_annotated_errors_first_and_the_rest_in_one_line() -> None:
    found = [problem(number, warning=number % 2 == 0) for number in range(1, 25)]
    commands, rest = Annotations().commands(found)
    assert commands[:2] == ["::error file=flow.yaml,line=1,col=5::m1", "::error file=flow.yaml,line=3,col=5::m3"]
    assert [line.split(" ")[0] for line in commands] == ["::error"] * 10 + ["::warning"] * 10
    assert rest == "4 more: flow.yaml:21:5: m21; flow.yaml:23:5: m23; flow.yaml:22:5: m22; flow.yaml:24:5: m24"


def test_ten_are_ten_also_over_several_calls() -> None:
    annotations = Annotations()
    assert [len(annotations.commands([problem(number) for number in range(7)])[0]) for _ in range(3)] == [7, 3, 0]


def test_an_annotation_without_a_place_in_the_repository_is_only_a_text() -> None:
    annotations = Annotations(lambda file: None)
    assert annotations.commands([problem(3), Problem("why", hint="did you mean `x`?", help="do this")]) == (
        ["::error::m3", "::error::why; did you mean `x`?; do this"],
        "",
    )


def test_control_characters_of_an_annotation_are_shown() -> None:
    (line,), _ = Annotations().commands([Problem("a\x1b[31m\u202e ##[error]\r\n::error::b")])
    assert line == "::error::a\\x1b[31m\\u202e ## [error]%0D%0A::error::b"
