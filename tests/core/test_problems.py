"""A file is a valid workflow, or all that is wrong with it: whatever stands in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mutations import EVERYTHING, mutated

from cases import cases
from cpool_flow.errors import InvalidInput, Problem, render_problems
from cpool_flow.validate import validate


def problems(source: str | bytes) -> tuple[Problem, ...]:
    with pytest.raises(InvalidInput) as caught:
        validate(source if isinstance(source, bytes) else source.encode(), "flow.yaml")
    return caught.value.problems


def content(case: dict[str, Any]) -> bytes:
    return bytes.fromhex(case["bytes_hex"]) if "bytes_hex" in case else "".join(text * times for text, times in case["parts"]).encode()


@pytest.mark.parametrize("case", cases("yaml/attacks.json")["cases"], ids=lambda case: case["id"])
def test_an_attack_in_a_workflow_file_is_refused_with_its_line_or_harmless(case: dict[str, Any]) -> None:
    source = content(case)
    found = wrong(source)
    assert case["expect"] == ("error" if found else "ok") or case.get("accept_error" if found else "accept_ok")
    assert not found or case.get("hint", "") in render_problems(found, {"flow.yaml": source.decode("utf-8", "replace")})
    assert not found or case.get("line") in (None, found[0].location and found[0].location.line)


def test_more_problems_than_anybody_reads_are_cut_and_that_is_said() -> None:
    found = problems("steps:\n" + "".join(f"  - {{run: x, key{number}: 1}}\n" for number in range(300)))
    assert found[0].message == "more than 100 problems; these are some of them"
    assert len(found) == 102


def test_problems_of_every_kind_of_check_come_together_in_the_order_of_the_file() -> None:
    found = problems(
        "args: {n: {type: intger}}\n"  # a schema
        "nam: x\n"  # a key
        "steps:\n"
        "  - name: a\n"
        "    run: echo {{ args.m }}\n"  # a reference
        "    recoveries: 2\n"  # a rule
        "  - name: a\n"  # a name
        "    run: echo {{ 1 + }}\n"  # a template
        "    needs: [b]\n"  # the order
        "    output_schema: {type: objct}\n"
        "  - run: echo $(( {{ args.n }} ))\n"  # a place in shell text
    )
    assert [problem.location.line for problem in found if problem.location] == [1, 2, 5, 6, 7, 8, 9, 10, 11]


def test_a_wrong_shape_hides_what_depends_on_it_and_nothing_else() -> None:
    hides = problems("args: []\nsteps:\n  - run: echo {{ args.m }}\n  - {run: [], needs: x}\n")
    assert [problem.message for problem in hides] == ["`args` must be a mapping, and this is a list", "`run` is empty"]
    found = problems("steps:\n  - name: 3\n    run: echo {{ args.m }}\n  - {run: [], needs: x}\n")
    told = [
        "`name` must be text, and this is the number 3",
        "unknown argument `m`",
        "`run` is empty",
        "step `step_2` needs unknown step `x`",
    ]
    assert [problem.message for problem in found] == told


def test_warnings_are_told_of_valid_files_only() -> None:
    assert [problem.warning for problem in problems("args: {n: {}}\nsteps: [{run: x, needs: [y]}]\n")] == [False]
    assert [problem.warning for problem in validate(b"args: {n: {}}\nsteps: [{run: x}]\n", "flow.yaml").warnings] == [True]


def test_many_warnings_are_no_error_and_the_first_of_them_are_shown() -> None:
    args = "".join(f"  a{number}: {{type: string}}\n" for number in range(1234))
    found = validate(f"args:\n{args}steps: [{{run: x}}]\n".encode(), "flow.yaml").warnings
    assert [problem.message for problem in found[:2]] == ["1,234 warnings; these are the first 100", "argument `a0` is not used"]
    assert len(found) == 101


def wrong(source: bytes) -> tuple[Problem, ...]:
    """Everything that is wrong, nothing where it is valid."""
    try:
        validate(source, "flow.yaml")
    except InvalidInput as error:
        return error.problems
    return ()


def check(source: bytes) -> None:
    """Whatever is wrong has a place and can be shown."""
    found = wrong(source)
    shown = render_problems(found, {"flow.yaml": source.decode("utf-8", "replace")})
    assert all(line.isprintable() for line in shown.split("\n"))
    assert all(problem.location or "more than 100" in problem.message for problem in found)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_any_mutated_workflow_is_valid_or_refused_with_places(data: Any) -> None:
    check(json.dumps(data).encode())


WORDS = [
    "{{ ",
    " }}",
    "{% if ",
    " %}",
    "{% endif %}",
    "{% for x in ",
    "{% endfor %}",
    "args.pr",
    "steps.diff.output",
    "steps['review']",
    ".items",
]
WORDS += [
    "previous",
    "item",
    "| raw",
    "| default('x')",
    "| untrusted",
    "'",
    '"',
    "$",
    "$(",
    ")",
    "`",
    "<<EOF\n",
    "EOF\n",
    "\n",
    " ",
    "&&",
    "-",
    "(",
]
WORDS += ["eval", "x=", "[[", "]]", "\\", "#", "é", "\u2028", "1", "0", "+", "**", "==", "in", "not", "{#", "#}", "${", "}", "[", "]"]
SOUP = st.lists(st.sampled_from(WORDS), max_size=12).map("".join)
FIELDS = [
    "run",
    "prompt",
    "when",
    "foreach",
    "stdin",
    "cwd",
    "verify",
    "recovery_prompt",
    "skill",
    "output_schema",
    "shell",
    "name",
    "needs",
    "as",
]


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(st.sampled_from(FIELDS), SOUP, max_size=4), st.dictionaries(st.sampled_from(["env", "context", "outputs"]), SOUP))
def test_any_text_in_any_field_is_valid_or_refused_with_its_place(step: dict[str, str], top: dict[str, str]) -> None:
    data = {**EVERYTHING, "steps": [*EVERYTHING["steps"], {"run": "true", **step}], **{key: {"a": text} for key, text in top.items()}}
    check(json.dumps(data).encode())
