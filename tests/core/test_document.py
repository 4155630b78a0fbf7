"""YAML text becomes plain data with places, within limits."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from cpool_flow import document
from cpool_flow.document import Document, Limits, load
from cpool_flow.errors import InvalidInput, Problem, render_problems


def read(text: str | bytes, **limits: int) -> Document:
    return load(text if isinstance(text, bytes) else text.encode(), "f.yaml", Limits(**limits))


def problems(text: str | bytes, **limits: int) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        read(text, **limits)
    return caught.value.problems


def only_problem(text: str | bytes, **limits: int) -> str:
    (found,) = problems(text, **limits)
    return f"{found.location}: {found.message}"


# YAML 1.2 core values


@pytest.mark.parametrize("case", cases("yaml/scalars.json")["cases"], ids=lambda case: case["scalar"])
def test_a_plain_scalar_has_its_core_type_and_value(case: dict[str, Any]) -> None:
    text = f"v: {case['scalar']}\n"
    if case["value"] in (".inf", "-.inf", ".nan"):
        assert "no JSON value" in only_problem(text)
        return
    value = read(text).data["v"]  # type: ignore[index, call-overload]
    assert (type(value), value) == (type(case["value"]), case["value"])


def is_read_as_asked(case: dict[str, Any]) -> bool:
    """What MANIFEST.md asks of one case of the YAML test suite."""
    try:
        data = read(case["yaml"]).data
    except InvalidInput as error:
        reasons = ("the tag", "second document", "a key must be text", "holds nothing", "stands inside", "no JSON value")
        return "error" in case or case["pyyaml"] in ("refuses", "differs") or any(reason in str(error) for reason in reasons)
    return ("json" in case and data == case["json"]) or case["pyyaml"] in ("accepts", "differs") or "no_json" in case


@pytest.mark.parametrize("case", cases("yaml/suite.json")["cases"], ids=lambda case: case["id"])
def test_the_yaml_test_suite_is_read_as_its_rules_say(case: dict[str, Any]) -> None:
    assert is_read_as_asked(case)


def test_the_parser_in_python_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "_FastParser", yaml.SafeLoader)
    for case in cases("yaml/scalars.json")["cases"]:
        if case["value"] not in (".inf", "-.inf", ".nan"):
            assert read(f"v: {case['scalar']}\n").data == {"v": case["value"]}
    assert read("a: &a {k: 1}\nb: {<<: *a, l: [x, '{{ y }}']}\n").data == {"a": {"k": 1}, "b": {"k": 1, "l": ["x", "{{ y }}"]}}
    assert only_problem("a: 1\nb: [1\n") == "f.yaml:2:4: this `[` is not closed, or a `,` is missing in it"
    assert only_problem('a: "\\ud800"\n').startswith("f.yaml:1:4: this text holds half of a surrogate pair")


# Attacks


def wanted(data: Any, path: str) -> Any:
    for part in path.replace("[", ".").replace("]", "").split("."):
        data = data[int(part)] if part.isdigit() else data[part]
    return data


def holds(data: Any, want: Any) -> bool:
    return all(data[key] == value for key, value in want.items()) if isinstance(want, dict) else data == want


# Good YAML that is no workflow: refused in `validate.py`.
NOT_OURS = {"bool-key-on", "scalar-root", "list-root"}


@pytest.mark.parametrize(
    "case", [case for case in cases("yaml/attacks.json")["cases"] if case["id"] not in NOT_OURS], ids=lambda case: case["id"]
)
def test_an_attack_is_one_clear_error_or_harmless(case: dict[str, Any]) -> None:
    text = "".join(text * times for text, times in case["parts"])
    source = bytes.fromhex(case["bytes_hex"]) if "bytes_hex" in case else text.encode()
    started = time.process_time()
    try:
        data, found = read(source).data, ()
    except InvalidInput as error:
        data, found = None, error.problems
    assert time.process_time() - started < case["max_seconds"]
    answer = "error" if found else "ok"
    assert answer == case["expect"] or case.get(f"accept_{answer}")
    if "want" in case and not found:
        assert holds(wanted(data, case["want_path"]) if "want_path" in case else data, case["want"])
    if found:
        check_clear(found, source, case)


def check_clear(found: tuple[Problem, ...], source: bytes, case: dict[str, Any]) -> None:
    shown = render_problems(found, {"f.yaml": source.decode("utf-8", "replace")})
    assert len(shown.splitlines()) < 60
    assert max(map(len, shown.splitlines())) < 400
    assert all(problem.location for problem in found)
    assert case.get("hint", "") in shown
    assert case.get("line") in (None, found[0].location and found[0].location.line)


def test_aliases_share_what_they_name() -> None:
    data: Any = read("a: &a [1]\nb: *a\n").data
    assert data["a"] is data["b"]


def test_limits_count_aliases_in_full() -> None:
    text = "a: &a [1, 2, 3]\nb: [*a, *a]\n"
    assert read(text, nodes=16).data
    assert only_problem(text, nodes=14) == "f.yaml:2:9: the file holds more than 14 values, aliases counted in full"
    assert "more than 10 characters" in only_problem("a: &a abcd\nb: [*a, *a]", characters=10)


def test_depth_counts_what_stands_behind_an_alias() -> None:
    assert read("a: &a [[1]]\nb: [[*a]]", depth=5).data
    assert only_problem("a: &a [[1]]\nb: [[*a]]", depth=4) == "f.yaml:2:6: values are nested deeper than 4 levels"


def test_a_merge_in_a_chain_costs_no_depth() -> None:
    text = "m0: &m0 {k: v}\n" + "".join(f"m{n}: &m{n} {{<<: *m{n - 1}, k{n}: v}}\n" for n in range(1, 60))
    data: Any = read(text).data
    assert len(data["m59"]) == 60


# Merge keys


def test_own_keys_win_over_merged_ones_and_earlier_sources_over_later() -> None:
    data: Any = read("a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nc: {z: 3, <<: [*a, *b]}\n").data
    assert data["c"] == {"x": 1, "y": 1, "z": 3}


def test_a_quoted_merge_key_is_a_key() -> None:
    assert read('a: {"<<": 1}\n').data == {"a": {"<<": 1}}


def test_two_merge_keys_are_a_duplicate() -> None:
    (found,) = problems("a: &a {x: 1}\nb: {<<: *a, <<: *a}\n")
    assert (found.message, found.help) == ("`<<` stands twice, first in line 2", "merge several mappings as a list: `<<: [*a, *b]`")


def test_a_merged_value_is_found_where_it_stands() -> None:
    loaded = read("a: &a\n  x: 1\nb:\n  <<: *a\n  y: 2\n")
    assert str(loaded.location(("b", "x"))) == "f.yaml:2:6"
    assert str(loaded.location(("b", "x"), key=True)) == "f.yaml:2:3"


# Problems


def test_all_problems_come_at_once_sorted_by_place() -> None:
    found = problems("a: !x 1\nb: 1\nb: 2\n1: c\nd: .inf\ne: *f\ng: [\n")
    assert [str(problem.location) for problem in found] == [f"f.yaml:{place}" for place in ("1:4", "3:1", "4:1", "5:4", "6:4", "7:4")]


def test_many_problems_end_after_a_few() -> None:
    found = problems("".join(f"{n}: x\n" for n in range(50)))
    assert len(found) == 11
    assert found[-1].message == "more problems follow from here on"


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a:\n  b: 1\n\tc: 2\n", "3:1", "a tab cannot indent YAML"),
        ("run: echo a: b\n", "1:12", "a `:` cannot stand here"),
        ("run: @x\n", "1:6", "a value cannot begin with `@`"),
        ("run: *.py\n", "1:7", "`*` and `&` begin the name of an alias"),
        ("run: 'x\nb: c\n", "1:6", "this quote is never closed"),
        ("run: {{ x }} y\n", "1:6", "an unquoted `{{`"),
        ("run: {% if x %}y{% endif %}\n", "1:7", "a template stands outside of quotes"),
        ("- a\n b: c\n", "2:3", "a `:` cannot stand here"),
        ("a: 1\nb\nc: 2\n", "2:1", "a key without `:`"),
        ('a: "\\q"\n', "1:5", "this escape is unknown in YAML"),
        ("a: b\n... \nc: d\n", "3:1", "a second document begins here"),
        ("steps:\n- a: 1\n  b\n", "3:3", "a key without `:`"),
        (b"\xff\xfea\x00", "1:1", "the file is UTF-16"),
        ("steps: []".encode("utf-16-le"), "1:1", "the file is UTF-16"),
        ("steps: []".encode("utf-16-be"), "1:1", "the file is UTF-16"),
        ("steps: []".encode("utf-32"), "1:1", "the file is UTF-32"),
        (b"\0\0\0", "1:1", "the character U+0000 cannot stand in YAML"),
        ("a: é\nb: ".encode() + b"x\xffy", "2:5", "the file is not UTF-8: byte 0xff at offset 10"),
        (b"\x7fELF\x02\x00\x00", "1:1", "the character U+007F cannot stand in YAML"),
        ("a: \x80b\n".encode(), "1:4", "the character U+0080 cannot stand in YAML"),
        ("a: |\n  x\ufffe\n".encode(), "2:4", "the character U+FFFE cannot stand in YAML"),
        (b"PK\x03\x04\x00", "1:3", "the character U+0003 cannot stand in YAML"),
        ("", "1:1", "the file holds nothing"),
        ("\ufeff", "1:1", "the file holds nothing"),
    ],
)
def test_a_broken_file_is_explained_at_its_place(text: str | bytes, place: str, words: str) -> None:
    found = problems(text)[0]
    assert (str(found.location), words in found.message) == (f"f.yaml:{place}", True), found


@pytest.mark.parametrize("ascii_only", [True, False])
@given(
    value=st.recursive(
        st.text() | st.integers(-99, 99), lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=9), inner), max_leaves=9
    )
)
def test_json_text_is_yaml_text_of_the_same_value(value: Any, ascii_only: bool) -> None:
    assert load(json.dumps(value, ensure_ascii=ascii_only).encode(), "f.json").data == value


def test_a_line_ends_at_line_feeds_only() -> None:
    assert read("a: 'x\x85y\u2028z'\nb: p\x85q\u2029\nc: |\n  k\u2028l\n").data == {
        "a": "x\x85y\u2028z",
        "b": "p\x85q\u2029",
        "c": "k\u2028l\n",
    }


def test_a_file_that_is_too_large_is_not_parsed() -> None:
    assert only_problem("a: 'b\n", file_bytes=3) == "f.yaml:1:1: the file has 6 bytes; at most 3 are read"


@given(st.binary(max_size=200) | st.text("abc:-[]{}&*!|>'\"%@#, \t\n<{ 1~\ud7ff\u2028é", max_size=60).map(str.encode))
def test_any_bytes_are_data_or_problems_with_places(source: bytes) -> None:
    try:
        json.dumps(read(source).data, allow_nan=False)
    except InvalidInput as error:
        found = error.problems
        assert all(problem.location and problem.location.line > 0 and problem.location.column > 0 for problem in found)


# Places


def test_values_and_keys_are_found_by_path() -> None:
    loaded = read("name: x\nsteps:\n  - name: a\n    needs: [b, 'c d']\n    run: |\n      echo\nempty:\n")
    places = {
        (): "1:1+4",
        ("name",): "1:7+1",
        ("steps",): "3:3+1",
        ("steps", 0): "3:5+4",
        ("steps", 0, "needs"): "4:12+10",
        ("steps", 0, "needs", 1): "4:16+5",
        ("steps", 0, "run"): "5:10+1",
        ("steps", 0, "nope", "deeper"): "3:5+4",
        ("steps", 7): "3:3+1",
        ("empty",): "7:1+5",
    }
    assert {path: mark(loaded, path) for path in places} == places
    assert mark(loaded, ("steps", 0, "needs"), key=True) == "4:5+5"


def mark(loaded: Document, path: Any, *, key: bool = False) -> str:
    place = loaded.location(path, key=key)
    return f"{place.line}:{place.column}+{place.length}"


def test_anchors_and_tags_are_not_part_of_a_value() -> None:
    loaded = read("a: &x !!str  text\nb: !!map # why\n  k: v\n")
    assert mark(loaded, ("a",)) == "1:14+4"
    assert mark(loaded, ("b",)) == "3:3+4"


def test_columns_count_characters_and_lines_end_at_newlines_only() -> None:
    loaded = read("\ufeffé: [😀, 'x']\r\nt: 'a\u2028b'\r\nv: z\r\n")
    assert mark(loaded, ("é", 1)) == "1:8+3"
    assert mark(loaded, ("v",)) == "3:4+1"


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("v: echo HERE\n", "1:9"),
        ("v: 'it''s HERE'\n", "1:11"),
        ('v: "a\\tb\\u00e9 HERE"\n', "1:16"),
        ('v: "a\\\n   b HERE"\n', "2:6"),
        ('v: "a b\n\n   c HERE"\n', "3:6"),
        ("v: |\n  one\n    two HERE\n", "3:9"),
        ("v: | # a comment\n\n  one HERE\n", "3:7"),
        ("v: |2-\n   one\n  HERE\n", "3:3"),
        ("v: >\n  one two\n  three HERE four\n", "3:9"),
        ("v: one\n  two HERE\n", "2:7"),
        ("v: &a |\n  HERE\n", "2:3"),
        ("v: 'one\n\n  HERE'\n", "3:3"),
    ],
)
def test_a_character_of_a_text_is_found_in_every_style(source: str, place: str) -> None:
    loaded = read(source)
    value: Any = loaded.data
    found = loaded.location_in(("v",), value["v"].index("HERE"), 4)
    assert (f"{found.line}:{found.column}", found.length) == (place, 4)


def test_a_place_in_something_that_is_no_text_is_the_place_of_it() -> None:
    assert str(read("v: 12\n").location_in(("v",), 1)) == "f.yaml:1:4"


@given(st.text("ab {}'\"\\\n\té", max_size=20), st.sampled_from(["|", ">", "'", '"']), st.data())
def test_every_visible_character_is_found_as_itself(text: str, style: str, data: st.DataObject) -> None:
    source = yaml.dump({"v": text}, default_style=style, allow_unicode=True)
    loaded = read(source)
    value: Any = loaded.data["v"]  # type: ignore[index, call-overload]
    visible = [offset for offset, character in enumerate(value) if character in "ab{}é"]
    if visible:
        offset = data.draw(st.sampled_from(visible))
        place = loaded.location_in(("v",), offset)
        assert source.split("\n")[place.line - 1][place.column - 1] == value[offset]


def test_ten_thousand_steps_load_fast() -> None:
    text = "steps:\n" + "".join(
        f"  - name: s{n}\n    run: echo {{{{ args.x }}}}\n    needs: [s{n - 1}]\n    timeout: 5m\n" for n in range(10_000)
    )
    started = time.process_time()
    read(text)
    assert time.process_time() - started < 2  # 0.4 s on the machine of the targets
