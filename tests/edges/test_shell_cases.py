"""The places of shell text where it is not plain what becomes of a value: it arrives, or the file is refused, or warned of."""

from __future__ import annotations

import pytest
from shells import each_shell, run

from cases import cases
from cpool_flow.template import TemplateError, parse_shell

CASES = {case["id"]: case for case in cases("hostile/shell_places.json")["cases"]}
HOSTILE = "x'y\"z $(touch PWNED) `touch PWNED` ; touch PWNED # *"

ARRIVES = {
    "value": "{v}",
    "value twice": "{v}{v}",
    "value without trailing newlines": "{v}",
    "\"value\" 'value' + newline": "\"{v}\" '{v}'\n",
    "4 newline value": "4\n{v}",
    "2 + value": "2{v}",
    "it's + value": "it's {v}",
    "a + value without trailing newlines + b": "a{v}b",
    '"value"': '"{v}"',
    "$(touch PWNED) as text": "$(touch PWNED)",
    "{{ x }}": "{{{{ x }}}}",
    "ok": "ok",
    "n": "n",
    "2": "2",
}
REFUSED = {"error", "value or error", "error or warn"}
WARNED = {"warn", "warn or error"}
UNSEEN = {"not seen by a scanner"}
OF_BASH = {"array-element"}
TOLD_ELSEWHERE = {"redirect-target", "list-form-glued"}


def expecting(*expected: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "case", [pytest.param(case, id=name) for name, case in CASES.items() if name not in TOLD_ELSEWHERE and case["expect"] in expected]
    )


@each_shell
@expecting(*ARRIVES)
def test_the_value_arrives(case, shell, tmp_path):
    if shell[0] == "dash" and case["id"] in OF_BASH:
        pytest.skip("dash has no arrays")
    ran = run(shell, case["run"], {"v": HOSTILE}, tmp_path)
    assert (ran.out, ran.pwned) == (ARRIVES[case["expect"]].format(v=HOSTILE), False)


@each_shell
def test_the_value_arrives_after_filters(shell, tmp_path):
    assert run(shell, CASES["filter-in-place"]["run"], {"v": HOSTILE}, tmp_path).out == HOSTILE.upper()


@each_shell
def test_the_value_may_name_a_file_of_a_redirection_and_is_warned_of(shell, tmp_path):
    text = CASES["redirect-target"]["run"]
    assert run(shell, text, {"v": HOSTILE}, tmp_path).code == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == [HOSTILE]
    assert [warning.message for warning in parse_shell(text).warnings] == ["this value names the file of a redirection"]


@expecting(*REFUSED)
def test_the_place_is_refused(case):
    with pytest.raises(TemplateError) as refusal:
        parse_shell(case["run"])
    assert refusal.value.offset == case["run"].index("args.v")
    assert refusal.value.length == len("args.v")


@expecting(*WARNED)
def test_the_place_is_warned_of(case):
    (warning,) = parse_shell(case["run"]).warnings
    assert (warning.offset, warning.length) == (case["run"].index("args.v"), len("args.v"))


@expecting(*UNSEEN)
def test_what_the_author_does_with_a_value_later_is_his(case):
    assert parse_shell(case["run"]).warnings == ()


def test_every_case_is_told():
    told = {*ARRIVES, *REFUSED, *WARNED, *UNSEEN}
    assert {name for name, case in CASES.items() if case["expect"] not in told} == {"filter-in-place", "list-form-glued"}
