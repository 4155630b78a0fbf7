"""Skills: their file, and how values come into their text."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import cases
from cpool_flow.errors import InvalidInput, render_problems
from cpool_flow.library import bundled
from cpool_flow.skill import Skill, parse_skill
from cpool_flow.values import RenderError

FILE = "skills/fix/SKILL.md"


class Host:
    """What a template may ask for; the nonce is the worst one."""

    def nonce(self) -> str:
        return "0"

    def write_file(self, text: str) -> str:
        raise AssertionError("no file is asked for")


HOST = Host()


def skill(body: str, metadata: str = "{}", front: str = "description: Fix it.") -> Skill:
    return parse_skill(f"---\nname: fix\n{front}\nmetadata: {metadata}\n---\n{body}".encode(), FILE)


def refusal(text: str) -> str:
    with pytest.raises(InvalidInput) as error:
        parse_skill(text.encode(), FILE)
    return render_problems(error.value.problems, {FILE: text})


def complaints(of: Skill, *names: str) -> list[str]:
    return [
        f"{'warning: ' if problem.warning else ''}{problem.message} | {problem.hint or problem.help}"
        for _, problem in of.check_arguments(names)
    ]


# ---- the file ----


def test_names_alone_may_be_a_list_of_arguments() -> None:
    found = skill("{{ args.a }}{{ args.b }}", "{arguments: [a, {name: b, required: false}]}")
    assert found.arguments == {"a": {}, "b": {"required": False}}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("[a, {name: a}]", "argument `a` stands twice"),
        ("[{description: x}]", "an argument in a list is a name, or a mapping with a `name`"),
        ("[5]", "an argument in a list is a name, or a mapping with a `name`"),
        ("[[a]]", "an argument in a list is a name, or a mapping with a `name`"),
        ("[a b]", "`a b` cannot be the name of an argument (letters, digits and `_`)"),
    ],
)
def test_a_list_of_arguments_has_a_name_for_each(arguments: str, complaint: str) -> None:
    text = f"---\ndescription: x\nmetadata: {{arguments: {arguments}}}\n---\nx\n"
    assert refusal(text).splitlines()[:2] == [
        f"error: {complaint}",
        f"  --> skills/fix/SKILL.md:3:{27 if 'twice' in complaint else 24}",
    ]


def test_a_hint_in_brackets_is_taken_as_it_is_written() -> None:
    assert skill("x", front="argument-hint: [issue-number]").argument_hint == "[issue-number]"


def test_a_skill_has_no_script_of_answers() -> None:
    text = "---\nname: fix\ndescription: x\nmetadata:\n  config: {agent: scripted, script: answers.yaml}\n---\nFix it.\n"
    assert refusal(text).splitlines() == [
        "error: a skill cannot name a `script`: its path is relative to a workflow file",
        "  --> skills/fix/SKILL.md:5:29",
        "  |",
        "5 |   config: {agent: scripted, script: answers.yaml}",
        "  |                             ^^^^^^",
        "help: set it in the workflow: `config: {agent: scripted, script: …}`",
    ]


def test_a_skill_file_is_front_matter_and_text() -> None:
    source = (
        "---\r\n"
        "name: fix\r\n"
        'description: "Fix it --- or not."\r\n'
        "argument-hint: <what>\r\n"
        "license: MIT\r\n"
        "allowed-tools: Read, Bash(git diff:*)  Edit\r\n"
        "metadata:\r\n"
        "  author: someone\r\n"
        "  arguments: {what: {type: string}, deep: {type: boolean, default: false}}\r\n"
        "  config: {model: opus, allowed_tools: [Edit, Write]}\r\n"
        "---\r\n"
        "\r\n"
        "Fix {{ args.what }}.\r\n"
        "---\r\n"
        "End.\r\n"
    )
    found = parse_skill(source.encode(), FILE)
    assert (found.name, found.description, found.argument_hint) == ("fix", "Fix it --- or not.", "<what>")
    assert found.body == "Fix {{ args.what }}.\n---\nEnd."
    assert found.arguments == {"what": {"type": "string"}, "deep": {"type": "boolean", "default": False}}
    assert found.config.model == "opus"
    assert found.config.allowed_tools == ("Edit", "Write", "Read", "Bash(git diff:*)")
    assert found.warnings == ()


def test_a_plain_skill_of_another_tool_is_taken_as_it_is() -> None:
    found = parse_skill(
        b"---\ndescription: Deploy\nmodel: opus\nhooks: {a: [b]}\n---\nRun `deploy $0` {{ not.a.template }} {%", "x/deploy/SKILL.md"
    )
    assert found.name == "deploy"
    assert found.arguments is None
    assert found.render({"where": "prod"}, HOST) == "Run `deploy prod` {{ not.a.template }} {%"


def test_arguments_may_be_a_list_of_names() -> None:
    found = skill("{{ args.a }}{{ args.b }}", "{arguments: [{name: a, description: First}, {name: b, required: false}]}")
    assert found.render({"a": 1}, HOST) == "1"
    assert complaints(found) == ["argument `a` is missing | `with: {a: …}`, any value that matches its schema: First"]


def test_tools_may_be_a_list() -> None:
    assert skill("x", front="allowed-tools: [Read, 'Bash(ls *)']").config.allowed_tools == ("Read", "Bash(ls *)")


def test_what_is_wrong_is_told_with_its_place_and_all_at_once() -> None:
    text = (
        "---\nname: fix\ndescription: [x]\nmetadata:\n  arguments: {a: {type: strin}, 'b-c': {}}\n  config: {modle: opus, effort: huge}\n---\n\n"
        "Fix {{ args.b }} and {{ steps.x.output }}.\n"
    )
    told = refusal(text)
    for line, words in {
        3: "`description` must be text",
        5: "`b-c` cannot be the name of an argument",
        6: "unknown key `modle`",
        9: "unknown argument `b`",
    }.items():
        assert re.search(rf"error: {re.escape(words)}[^\n]*\n  --> {FILE}:{line}:", told), words
    assert "argument `a`: unknown type `strin`: did you mean `string`?" in told
    assert "`steps`: a skill sees only `args`" in told
    assert "did you mean `model`?" in told


def test_a_template_that_does_not_parse_is_told_with_its_place() -> None:
    told = refusal("---\nname: fix\nmetadata: {arguments: {}}\n---\n\nFine.\nNot {% if %}.\n")
    assert f"--> {FILE}:7:" in told


@pytest.mark.parametrize(
    "text",
    ["", "Fix it.", "---\nname: fix\n", "---\n- a\n---\nx", "---\nname: [\n---\nx", "---\nname: fix\n---\n", "---\na: 1\na: 2\n---\nx"],
)
def test_what_is_no_skill_file_is_refused(text: str) -> None:
    assert f"--> {FILE}:" in refusal(text)


def test_bytes_that_are_no_text_are_refused_with_the_line() -> None:
    with pytest.raises(InvalidInput) as error:
        parse_skill(b"---\nname: fix\n---\n\xff", FILE)
    (problem,) = error.value.problems
    assert problem.location is not None
    assert problem.location.line == 4


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: f"---\n{text}\n---\n{{{{ args.x }}}}".encode("utf-8", "replace")))
def test_any_file_is_a_skill_or_is_refused(source: bytes) -> None:
    try:
        parse_skill(source, FILE)
    except InvalidInput:
        return


def test_what_is_odd_is_a_warning() -> None:
    found = parse_skill(b"---\nname: other\narguments: [a]\nmetadata: {argument: {}}\n---\nx", FILE)
    assert sorted(problem.message for problem in found.warnings) == [
        "`argument` means nothing here",
        "`arguments` counts only under `metadata`",
        "the skill has no `description`",
        "the skill is called by its folder, `fix`, not `other`",
    ]
    assert all(problem.warning and problem.location is not None for problem in found.warnings)


# ---- values in the text ----

TWO = {"target": "a.py", "goal": "less code"}


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ("$ARGUMENTS", "a.py less code"),
        ("$ARGUMENTS[1], $ARGUMENTS[0]!", "less code, a.py!"),
        ("$1 in $0.", "less code in a.py."),
        (r"\$0 \$ARGUMENTS[1] \$ARGUMENTS $0", "$0 $ARGUMENTS[1] $ARGUMENTS a.py"),
        ("$0 $10 $2 $0x $ARGUMENTS_ALL $A", "a.py $10 $2 $0x $ARGUMENTS_ALL $A"),
        (r"costs \$5 and 3$ of $0", "costs $5 and 3$ of a.py"),
        ("Go.", "Go.\n\nARGUMENTS: a.py less code"),
    ],
)
def test_placeholders_stand_for_the_values_in_the_order_of_with(body: str, prompt: str) -> None:
    assert skill(body).render(TWO, HOST) == prompt
    assert skill(body, "{arguments: {target: {}, goal: {}}}").render(TWO, HOST) == prompt


def test_without_values_the_text_stays_as_it_is_but_for_arguments() -> None:
    assert skill("Run awk '{print $1}' on $ARGUMENTS.").render({}, HOST) == "Run awk '{print $1}' on ."
    assert skill("Go.").render({}, HOST) == "Go."


def test_values_that_are_no_text_come_as_json() -> None:
    assert skill("$0 $1 $2 $3").render({"a": 1, "b": True, "c": ["é"], "d": None}, HOST) == '1 true ["é"] '


def test_a_template_that_uses_its_arguments_gets_no_list_of_them() -> None:
    found = skill(
        "Refactor {{ args.target }}{% if args.goal %} for {{ args.goal }}{% endif %}.", "{arguments: {target: {}, goal: {required: false}}}"
    )
    assert found.render(TWO, HOST) == "Refactor a.py for less code."
    assert found.render({"target": "a.py"}, HOST) == "Refactor a.py."


def test_both_forms_may_be_mixed() -> None:
    found = skill("$0: {{ args.target | upper }} {{ '$1' }}", "{arguments: {target: {}, goal: {default: none}}}")
    assert found.render(TWO, HOST) == "a.py: A.PY less code"


HOSTILE = [
    "$0",
    "$1",
    "$ARGUMENTS",
    "$ARGUMENTS[1]",
    r"\$0",
    "{{ args.b }}",
    "{% raw %}",
    "{{ 7*7 }}",
    "\ue00048.0\ue000",
    "{#",
    "\\1",
    "\\g<0>",
]
BODIES = ["<$0|$1>", "<$ARGUMENTS[0]|$ARGUMENTS[1]>", "<{{ args.a }}|{{ args.b }}>", "<{{ args.a }}|$1>", "<$0|{{ args.b }}>"]


@given(
    st.sampled_from(BODIES),
    st.lists(st.sampled_from(HOSTILE) | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8), max_size=3),
    st.sampled_from(HOSTILE),
)
def test_a_value_is_never_expanded_again(body: str, parts: list[str], other: str) -> None:
    value = "".join(parts)
    assert skill(body, "{arguments: {a: {}, b: {}}}").render({"a": value, "b": other}, NonceHost()) == f"<{value}|{other}>"


class NonceHost(Host):
    def nonce(self) -> str:
        return "a5c3f0"


def test_naughty_values_come_through_unchanged() -> None:
    for case in cases("hostile/naughty_strings.json")["cases"]:
        value: Any = case["value"]
        assert skill("<$0>").render({"v": value}, HOST) == f"<{value}>"
        assert skill("<{{ args.v }}>", "{arguments: {v: {type: string}}}").render({"v": value}, HOST) == f"<{value}>"


def test_arguments_are_checked_by_name_at_load_and_by_schema_at_last() -> None:
    found = skill("{{ args.target }}", "{arguments: {target: {type: string}, depth: {enum: [1, 2], default: 1}}}")
    assert complaints(found, "target") == []
    assert complaints(found, "targt") == [
        "unknown argument `targt` | did you mean `target`?",
        "argument `target` is missing | `with: {target: …}`, string",
    ]
    with pytest.raises(InvalidInput) as error:
        found.render({"depth": 3}, HOST)
    assert [problem.message for problem in error.value.problems] == [
        "skill `fix`: argument `depth`: expected one of 1, 2, found 3",
        "skill `fix`: argument `target` is missing",
    ]


def test_a_placeholder_without_a_value_is_told() -> None:
    found = skill("$ARGUMENTS[2] $1")
    assert complaints(found, "a") == [
        r"warning: `$1` in the text of skill `fix` has no value: `with` gives 1 | it stays as it is; write `\$1` if that is meant",
        "`$ARGUMENTS[2]` in the text of skill `fix` has no value: `with` gives 1 | None",
    ]
    with pytest.raises(InvalidInput, match=r"ARGUMENTS\[2\]"):
        found.render({"a": 1}, HOST)


@pytest.mark.parametrize("body", ["$0", "{{ args.v }}"])
def test_a_value_with_nul_is_refused(body: str) -> None:
    with pytest.raises(RenderError, match="NUL"):
        skill(body, "{arguments: {v: {}}}").render({"v": "a\0"}, HOST)


def test_values_that_would_fill_the_memory_are_refused() -> None:
    with pytest.raises(InvalidInput, match="too large"):
        skill("$ARGUMENTS " * 1000).render({"a": "x" * 1_000_000}, HOST)


# ---- the bundled ones ----

BUNDLED = sorted(bundled("skills").glob("*/SKILL.md"))


def test_the_bundled_skills_are_there() -> None:
    assert {"code_review", "implement", "refactor", "summarize", "write_tests"} <= {path.parent.name for path in BUNDLED}


@pytest.mark.parametrize("path", BUNDLED, ids=lambda path: path.parent.name)
def test_a_bundled_skill_needs_every_argument_and_shows_it(path: Path) -> None:
    found = parse_skill(path.read_bytes(), str(path))
    assert found.warnings == ()
    assert found.description
    assert found.argument_hint
    assert found.arguments
    values: dict[str, Any] = {name: f"the value of {name}" for name in found.arguments}
    prompt = found.render(values, HOST)
    assert all(value in prompt for value in values.values())
    assert not re.search(r"\{\{|\{%|\$[0-9A]|ARGUMENTS", prompt)
