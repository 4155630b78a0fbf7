"""A value of a template reaches a shell byte for byte wherever it may stand, and is never parsed by it."""

from __future__ import annotations

import pytest
from shells import Files, each_shell, rendered, run

from cases import cases
from cpool_flow.template import RenderError, parse_shell
from cpool_flow.values import Record

VALUES = cases("hostile/shell_values.json")
NAUGHTY = cases("hostile/naughty_strings.json")["cases"]
PLACES = [pytest.param(place["run"], place["add"], id=place["name"]) for place in VALUES["places"]]
UNQUOTED, SINGLE, DOUBLE, HERE_DOCUMENT = (place["run"] for place in VALUES["places"])
ALL_PLACES = f"{UNQUOTED}; printf '|'\n{SINGLE}; printf '|'\n{DOUBLE}; printf '|'\n{HERE_DOCUMENT}"
WAYS_OUT = "give it to the command by `stdin:`, or its file with `| file`"


def limit(name: str) -> str:
    case = next(case for case in VALUES["limits"] if case["id"] == name)
    value: str = case["value"] if "value" in case else "".join(text * count for text, count in case["parts"])
    return value


@each_shell
@pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in VALUES["cases"]])
def test_a_hostile_value_arrives_as_it_is_in_every_place(case, shell, tmp_path):
    ran = run(shell, ALL_PLACES, {"v": case["value"]}, tmp_path)
    assert (ran.out, ran.err, ran.code, ran.pwned) == (f"{case['value']}|" * 3 + f"{case['value']}\n", "", 0, False)


@each_shell
def test_naughty_strings_arrive_as_they_are_in_every_place(shell, tmp_path):
    for case in NAUGHTY:
        ran = run(shell, ALL_PLACES, {"v": case["value"]}, tmp_path)
        assert (ran.out, ran.err, ran.code) == (f"{case['value']}|" * 3 + f"{case['value']}\n", "", 0), case["id"]


@each_shell
def test_all_kinds_of_values_have_a_text(shell, tmp_path):
    values = {"list": ["it's", 1], "object": {"a b": [None, True]}, "yes": True, "no": False, "null": None, "number": 1.5, "text": "é\n"}
    text = "".join(f"printf '%s|' {{{{ args.{name} }}}} '{{{{ args.{name} }}}}' \"{{{{ args.{name} }}}}\"\n" for name in values)
    ran = run(shell, text, values, tmp_path)
    texts = ['["it\'s", 1]', '{"a b": [null, true]}', "true", "false", "", "1.5", "é\n"]
    assert (ran.out, ran.err, ran.code) == ("".join(f"{each}|" * 3 for each in texts), "", 0)


@each_shell
def test_a_value_that_is_no_utf_8_arrives_with_its_bytes(shell, tmp_path):
    assert run(shell, "printf %s {{ args.v }}", {"v": "\udcff\udc80a\udcc3"}, tmp_path).out == "\udcff\udc80a\udcc3"


@each_shell
@pytest.mark.parametrize(
    "text", ["cat {{ args.v | file }}", "cat '{{ args.v | file }}'", 'cat "{{ args.v | file }}"', 'cat "$(echo {{ args.v | file }})"']
)
def test_a_value_of_any_size_and_with_nul_arrives_by_its_file(text, shell, tmp_path):
    value = "a\0b" + limit("1-mb")
    ran = run(shell, text, {"v": value}, tmp_path)
    assert (ran.out == value, ran.err, ran.code) == (True, "", 0)


@each_shell
@pytest.mark.parametrize(("text", "added"), PLACES)
def test_a_value_just_below_the_limit_of_a_variable_arrives(text, added, shell, tmp_path):
    ran = run(shell, text, {"v": limit("just-below")}, tmp_path)
    assert (ran.out == limit("just-below") + added, ran.err, ran.code) == (True, "", 0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (limit("nul"), f"the value holds a NUL character, which no variable or argument can; {WAYS_OUT}"),
        (limit("1-mb"), f"the value is too large for one variable (more than 128 KiB); {WAYS_OUT}"),
        (limit("multibyte"), f"the value is too large for one variable (more than 128 KiB); {WAYS_OUT}"),
        ("\ud800", "the value holds half of a surrogate pair, which is no text"),
    ],
    ids=["nul", "1-mb", "multibyte", "surrogate"],
)
@pytest.mark.parametrize(("text", "added"), PLACES)
def test_a_value_that_no_variable_can_hold_is_an_error_that_names_the_ways_out(text, added, value, message, tmp_path):
    with pytest.raises(RenderError) as error:
        rendered(text, {"v": value}, tmp_path)
    assert error.value.message == message
    assert error.value.offset == text.index("args.v")


def test_values_that_are_too_large_together_are_an_error_that_names_the_ways_out(tmp_path):
    with pytest.raises(RenderError) as error:
        rendered("{% for i in range(9) %}echo {{ args.v }}\n{% endfor %}", {"v": "a" * 120_000}, tmp_path)
    assert error.value.message == f"the values of this script are too large together (more than 1024 KiB); {WAYS_OUT}"


@each_shell
def test_many_values_just_within_the_limit_together_arrive(shell, tmp_path):
    ran = run(shell, "{% for i in range(8) %}printf %s {{ args.v }}\n{% endfor %}", {"v": "a" * 120_000}, tmp_path)
    assert (len(ran.out), ran.err, ran.code) == (960_000, "", 0)


def test_a_script_that_is_too_large_for_an_argument_is_an_error(tmp_path):
    with pytest.raises(RenderError, match="the script is too large for one argument"):
        rendered("echo {{ args.v }}\n" + "# comment\n" * 14_000, {"v": "x"}, tmp_path)


def test_raw_puts_the_value_into_the_script_and_is_warned_of(tmp_path):
    template = parse_shell("echo {{ args.flags | raw }} {{ args.v }}")
    script = template.render({"args": Record({"flags": "-n -e", "v": "$x"})}, Files(tmp_path))
    assert script.script == 'echo -n -e "${CPOOL_VALUE_1}"'
    assert script.environment == {"CPOOL_VALUE_1": "$x"}
    assert [(warning.message, warning.offset) for warning in template.warnings] == [
        ("`raw` puts the value into the script as it is: the shell runs what it says", 21)
    ]
