"""Which names a template uses, and where they stand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cpool_flow.template import TemplateError, parse, parse_expression


def found(text: str) -> list[tuple[str, str]]:
    """Path and written text of each reference."""
    return [(".".join(each.path), text[each.offset : each.offset + each.length]) for each in parse(text).references]


def paths(text: str) -> list[str]:
    return [path for path, _ in found(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", []),
        ("{{ args.pr }}", [("args.pr", "args.pr")]),
        ("{{ steps['fetch-data'].json.a }}", [("steps.fetch-data.json.a", "steps['fetch-data'].json.a")]),
        ('{{ steps[ "a" ] . b }}', [("steps.a.b", 'steps[ "a" ] . b')]),
        ("{{ steps.x.items[0].output }}", [("steps.x.items", "steps.x.items")]),
        ("{{ steps.x.items.0.output }}", [("steps.x.items", "steps.x.items")]),
        ("{{ steps[args.name].output }}", [("args.name", "args.name"), ("steps", "steps")]),
        ("{{ args.a.split(args.b) }}", [("args.a", "args.a"), ("args.b", "args.b")]),
        ("{{ args.a[1:index] }}", [("index", "index"), ("args.a", "args.a")]),
        ("é {{ a }}\n\n{{ b | replace(c, 'd') }}", [("a", "a"), ("c", "c"), ("b", "b")]),
        ("{{ a if b else c }}{{ not d and e.f > g ~ h }}", [(each, each) for each in ("b", "a", "c", "d", "e.f", "g", "h")]),
        ("{{ [a, {'k': b}] | map(attribute='x') }}", [("a", "a"), ("b", "b")]),
        ("{{ (a).b }}{{ 'x'.join(c) }}", [("a.b", "a).b"), ("c", "c")]),
        ("{{ range(a) }}", [("a", "a")]),
        ("{# {{ a }} #}{% raw %}{{ b }}{% endraw %}", []),
    ],
)
def test_references_and_their_places(text, expected):
    assert found(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{% for x in a.b if x != c %}{{ x.y }}{{ loop.index }}{{ d }}{% else %}{{ x }}{% endfor %}{{ x }}", ["a.b", "c", "d", "x", "x"]),
        ("{% for k, v in a | items %}{{ k }}{{ v }}{% endfor %}", ["a"]),
        ("{% set x = x %}{{ x }}", ["x"]),
        ("{% set x %}{{ a }}{{ x }}{% endset %}{{ x }}", ["a", "x"]),
        ("{% with a = b %}{{ a.c }}{% endwith %}{{ a }}", ["b", "a"]),
        ("{% macro m(a, b=c) %}{{ a }}{{ b }}{{ d }}{{ varargs }}{% endmacro %}{{ m(e) }}{{ a }}", ["c", "d", "e", "a"]),
        ("{% macro m() %}{{ caller(1) }}{% endmacro %}{% call(u) m() %}{{ u }}{{ a }}{% endcall %}", ["a"]),
        ("{% set ns = namespace(x=a) %}{% set ns.x = b %}{{ ns.x }}", ["a", "b"]),
        ("{% for x in a %}{% set y = x %}{% endfor %}{{ y }}", ["a", "y"]),
        ("{% filter upper %}{{ a }}{% endfilter %}", ["a"]),
    ],
)
def test_names_that_the_template_gives_itself_are_no_references(text, expected):
    assert paths(text) == expected


@pytest.mark.parametrize(
    ("text", "guarded"),
    [
        ("{{ a.b | default('') }}", {"a.b"}),
        ("{{ a.b | d(c) }}", {"a.b"}),
        ("{{ a.b | trim | default('') }}", set()),
        ("{{ a.b is defined }}", {"a.b"}),
        ("{% if a.b is not defined %}{{ a.b.c }}{{ a.d }}{% endif %}", {"a.b", "a.b.c"}),
        ("{{ a.b if a.b is defined else c }}", {"a.b"}),
        ("{{ a.b }}", set()),
    ],
)
def test_a_reference_is_guarded_where_the_template_says_what_else(text, guarded):
    assert {".".join(each.path) for each in parse(text).references if each.guarded} == guarded


def test_a_reference_knows_whether_its_text_is_fenced():
    references = parse("{{ a.b | untrusted }}{{ c | trim | untrusted }}{{ d }}{{ e | untrusted | trim }}").references
    assert [(each.path[0], each.fenced) for each in references] == [("a", True), ("c", True), ("d", False), ("e", True)]


def test_what_a_condition_asks_for_needs_no_fence_for_none_of_its_text_is_written():
    references = parse("{% if a %}{{ b }}{% elif c %}{{ d | untrusted }}{% endif %}{{ e if f | length > 1 else g }}").references
    assert {each.path[0] for each in references if not each.fenced} == {"b", "e", "g"}


def test_bare_and_braced_expressions_have_the_same_references():
    bare, braced = parse_expression("a.b > c"), parse_expression("{{ a.b > c }}")
    assert [each.path for each in bare.references] == [each.path for each in braced.references] == [("a", "b"), ("c",)]
    assert (bare.references[0].offset, braced.references[0].offset) == (0, 3)


def test_parsing_the_same_text_twice_gives_the_same_template():
    assert parse("{{ a }}") is parse("{{ a }}")


NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True).filter(
    lambda name: name not in {"in", "is", "if", "or", "and", "not", "else", "true", "false", "none", "self", "super", "range", "namespace"}
)
PATHS = st.tuples(NAMES, st.lists(st.tuples(st.booleans(), NAMES), max_size=4))
OPERATORS = st.sampled_from([" + ", " == ", " and ", " ~ ", " | default(", " in ", " if x else "])


@given(st.lists(st.tuples(PATHS, OPERATORS), min_size=1, max_size=5))
def test_references_of_generated_expressions_are_the_paths_they_are_made_of(parts):
    text, expected = "", []
    for (root, rest), operator in parts:
        written = root + "".join(f"['{name}']" if quoted else f".{name}" for quoted, name in rest)
        expected.append((".".join([root, *(name for _, name in rest)]), written))
        text += "{{ " + written + (f"{operator}1{')' * (operator.endswith('('))}" + " }}")
    assert [each for each in found(text) if each != ("x", "x")] == [each for each in expected if each != ("x", "x")]


@given(st.text(alphabet="{}%#-|.()[] \n'\"abif0123456789+*~!", max_size=60))
def test_any_text_is_a_template_or_has_one_error_with_a_place_inside_of_it(text):
    for read in (parse, parse_expression):
        references, error = attempt(read, text)
        assert all(text[each.offset :].startswith(each.path[0]) for each in references)
        assert error is None or (error.message and 0 <= error.offset <= len(text))


def attempt(read, text):
    try:
        return read(text).references, None
    except TemplateError as error:
        return (), error
