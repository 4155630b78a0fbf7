"""Hostile text in whole runs: it arrives unchanged wherever a program reads it, and does nothing where people do."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest
from session import Session

from cases import cases

NAUGHTY = [case["value"] for case in cases("hostile/naughty_strings.json")["cases"]]
TEMPLATES = [case["template"] for case in cases("hostile/ssti.json")["cases"]]
ANSWERS = {case["id"]: case["text"] for case in cases("hostile/agent_answers.json")["cases"]}
LARGE = {name for name, text in ANSWERS.items() if len(text) > 100_000}

RECORD = """\
#!/bin/sh
# Keeps what it was given: arguments, the variables whose names begin with V_, standard input.
test $# -eq 0 || printf '%s\\0' "$@" > "$HOME/arguments"
env -0 | grep -z '^V_' > "$HOME/variables" || true
cat > "$HOME/input"
"""


def recorder(session: Session) -> None:
    session.file("record", RECORD).chmod(0o755)


def recorded(session: Session, what: str) -> list[str]:
    return (session.home / what).read_bytes().decode().split("\0")[:-1]


def no_trace(session: Session) -> None:
    assert not [path for place in (session.path, session.home) for path in place.rglob("*") if "PWNED" in path.name.upper()]


@pytest.mark.parametrize("values", [NAUGHTY, TEMPLATES], ids=["naughty strings", "templates"])
def test_arguments_arrive_unchanged_in_argv_shell_text_environment_stdin_files_and_the_result(session: Session, values: list[str]) -> None:
    recorder(session)
    names = [f"v{number}" for number in range(len(values))]
    declared = "".join(f"  {name}: {{type: string}}\n" for name in names)
    words = ", ".join(f'"{{{{ args.{name} }}}}"' for name in names)
    variables = ", ".join(f'V_{name}: "{{{{ args.{name} }}}}"' for name in names)
    shell = " ".join(f"{{{{ args.{name} }}}}" for name in names)
    (session.path / "flow.yaml").write_text(
        f"""version: 1
args:
{declared}
steps:
  - name: listed
    run: [./record, {words}]
    env: {{{variables}}}
    stdin: "{{{{ args | tojson }}}}"
  - name: shell
    run: |
      printf '%s\\0' {shell} > "$HOME/shell"
      cp {{{{ args | file }}}} "$HOME/file"
outputs: {{all: "{{{{ args }}}}"}}
"""
    )
    expected = dict(zip(names, values, strict=True))
    given = [part for name, value in expected.items() for part in ("--arg", f"{name}={value}")]
    ended = session.flow("run", "flow.yaml", "--json", *given)
    assert ended.code == 0, ended.err
    assert recorded(session, "arguments") == values
    assert recorded(session, "shell") == values
    assert dict(line.removeprefix("V_").split("=", 1) for line in recorded(session, "variables")) == expected
    assert json.loads((session.home / "input").read_text()) == expected
    assert json.loads((session.home / "file").read_text()) == expected
    assert ended.json()["args"] == ended.json()["outputs"]["all"] == expected
    assert session.status()["args"] == expected
    assert ended.err.replace("\n", "").isprintable()
    no_trace(session)


def test_arguments_arrive_unchanged_from_files(session: Session) -> None:
    session.file(
        "flow.yaml",
        'version: 1\nargs: {v: {type: array}, t: {type: string}}\nsteps: [{run: "true"}]\noutputs: {v: "{{ args.v }}", t: "{{ args.t }}"}\n',
    )
    session.file("arguments.json", json.dumps({"v": NAUGHTY + TEMPLATES, "t": ""}))
    text = "\n".join(NAUGHTY)
    (session.path / "text").write_text(text + "\n", newline="")
    ended = session.flow("run", "flow.yaml", "--json", "--args-file", "arguments.json", "--arg", "t=@text")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"v": NAUGHTY + TEMPLATES, "t": text}


FAN = """
version: 1
args: {values: {type: array}}
steps:
  - name: printed
    foreach: args.values
    run: [printf, "%s", "{{ item }}"]
  - name: asked
    foreach: steps.printed.items | map(attribute='output')
    as: text
    config: {agent: command, command: [cat]}
    prompt: "<{{ text }}>"
  - name: fenced
    config: {agent: command, command: [cat]}
    prompt: "{{ args.values | join(' ') | untrusted }}"
outputs: {asked: "{{ steps.asked.json }}", fenced: "{{ steps.fenced.output }}"}
"""


def test_every_naughty_string_passes_through_an_item_an_output_a_prompt_and_an_answer(session: Session) -> None:
    session.file("flow.yaml", FAN)
    session.file("arguments.json", json.dumps({"values": NAUGHTY}))
    ended = session.flow("run", "flow.yaml", "--json", "--args-file", "arguments.json")
    assert ended.code == 0, ended.err
    result = ended.json()
    printed, asked, _ = result["steps"]
    assert [item["item"] for item in printed["items"]] == NAUGHTY
    assert [item["output"] for item in printed["items"]] == NAUGHTY
    assert [item["item"] for item in asked["items"]] == NAUGHTY
    assert result["outputs"]["asked"] == [f"<{value}>" for value in NAUGHTY]
    assert session.flow("status", "--json").json() == result
    for reader in ("status", "logs", "events", "runs"):
        assert session.flow(reader).code == 0
    for line in session.flow("events").out.split("\n")[:-1]:
        json.loads(line)


ANSWERED = """
version: 1
args: {names: {type: array}}
steps:
  - name: ask
    foreach: args.names
    config: {agent: scripted, script: answers.yaml}
    prompt: Answer {{ item }}
  - name: repeated
    foreach: steps.ask.items | map(attribute='output')
    config: {agent: command, command: [cat]}
    prompt: "<{{ item }}>"
  - name: shell
    foreach: steps.ask.items | map(attribute='output')
    run: printf '<%s>' {{ item }} "{{ item }}" '{{ item }}'
  - name: whole
    stdin: "{{ steps.ask.json | tojson }}"
    run: [./record]
  - name: skill
    skill: echo
    with: {text: "{{ steps.ask.items[0].output }}"}
    config: {agent: command, command: [cat]}
outputs: {answers: "{{ steps.ask.json }}", repeated: "{{ steps.repeated.json }}", shell: "{{ steps.shell.json }}"}
"""


def test_bytes_that_are_no_text_come_as_replacement_characters_and_break_nothing(session: Session) -> None:
    folder = session.path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    (folder / "flow.yaml").write_text(
        "version: 1\nsteps:\n  - {name: odd, run: \"printf 'a\\\\377\\\\000b'; cat missing-$(printf '\\\\377') || true\"}\noutputs: {odd: '{{ steps.odd.output }}'}\n"
    )
    moved = Session(session.path.parent / "moved")
    moved.path = folder
    ended = moved.flow("run", "flow.yaml", "--json", "--tag", os.fsdecode(b"t\xff"))
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"odd": "a\ufffd\0b"}
    for reader in (["status"], ["status", "--json"], ["logs"], ["events"], ["runs"], ["runs", "--json"]):
        assert moved.flow(*reader).code == 0


def test_every_hostile_answer_arrives_as_data_and_does_nothing(session: Session) -> None:
    recorder(session)
    session.repository()
    texts = {name: text for name, text in ANSWERS.items() if text.strip() and name not in LARGE}
    session.file("answers.yaml", json.dumps({"steps": {"ask": [{"item": name, "answer": text} for name, text in texts.items()]}}))
    session.file("flow.yaml", ANSWERED)
    session.file("skills/echo/SKILL.md", "---\nname: echo\ndescription: Say it\n---\nSay $ARGUMENTS and $0, not $1.\n")
    before = session.git("status", "--porcelain", "--ignored")
    ended = session.flow("run", "flow.yaml", "--json", "--isolation", "none", "--arg", f"names:={json.dumps(list(texts))}")
    assert ended.code == 0, ended.err
    stripped = [text.strip() for text in texts.values()]
    outputs = ended.json()["outputs"]
    assert outputs["answers"] == stripped
    assert outputs["repeated"] == [f"<{text}>" for text in stripped]
    assert outputs["shell"] == [f"<{text}>" * 3 for text in stripped]
    assert json.loads((session.home / "input").read_text()) == stripped
    assert ended.err.replace("\n", "").isprintable()
    assert session.git("status", "--porcelain", "--ignored").replace("!! .cpool/\n", "") == before
    no_trace(session)


def test_an_answer_that_is_too_large_for_a_variable_fails_with_the_ways_out_and_passes_by_them(session: Session) -> None:
    recorder(session)
    for name in sorted(LARGE):
        session.file("answers.yaml", json.dumps({"default": {"answer": ANSWERS[name]}}))
        session.file(
            "flow.yaml",
            """
            version: 1
            steps:
              - {name: ask, prompt: Answer, config: {agent: scripted, script: answers.yaml}}
              - {name: shell, run: "printf %s {{ steps.ask.output }}", on_failure: continue}
              - {name: listed, run: [printf, "%s", "{{ steps.ask.output }}"], on_failure: continue}
              - {name: variable, run: "true", env: {V: "{{ steps.ask.output }}"}, on_failure: continue}
              - {name: stdin, run: [./record], stdin: "{{ steps.ask.output }}"}
              - {name: file, run: "cmp {{ steps.ask.output | file }} $HOME/input"}
              - {name: again, prompt: "{{ steps.ask.output }}", config: {agent: command, command: [cat]}}
            """,
        )
        ended = session.flow("run", "flow.yaml", "--json", "--isolation", "none")
        assert ended.code == 0, ended.err
        _, shell, listed, variable, *_, again = ended.json()["steps"]
        for step in (shell, listed, variable):
            assert step["attempts"][0]["error_kind"] == "invalid"
            assert "`stdin:`" in step["reason"]
            assert "`| file`" in step["reason"]
            assert ANSWERS[name][:200] not in json.dumps(step)
        assert (session.home / "input").read_text() == ANSWERS[name]
        assert Path(again["output_file"]).read_text() == ANSWERS[name]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("lone-surrogate-escape", None),
        ("deep-json", None),
        ("dup-keys", "last"),
        ("proto", "data"),
        ("markdown-json", {"a": 1}),
        ("ignore-instructions", {"approved": False}),
        ("only-blank", None),
    ],
)
def test_odd_json_of_an_agent_is_data_or_a_clear_failure(session: Session, name: str, expected: Any) -> None:
    session.file("answers.yaml", json.dumps({"default": {"answer": ANSWERS[name]}}))
    session.file(
        "flow.yaml",
        """
        version: 1
        config: {agent: scripted, script: answers.yaml}
        isolation: none
        steps: [{name: ask, prompt: Answer, output: json, retries: 0}]
        outputs: {data: "{{ steps.ask.json }}"}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json")
    attempt = ended.json()["steps"][0]["attempts"][0]
    if expected is None:
        assert ended.code == 1
        assert attempt["error_kind"] in ("bad_output", "failed")
        assert len(attempt["error"]) < 5000
        return
    assert ended.code == 0, ended.err
    data = ended.json()["outputs"]["data"]
    assert data == (json.loads(ANSWERS[name]) if isinstance(expected, str) else expected)


# ---- the terminal -------------------------------------------------------------------------------------------


def on_a_terminal(session: Session, *arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code, and everything that a terminal is sent."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        session.command(*arguments),
        cwd=session.path,
        env={**session.environment, "TERM": "xterm", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    content = b""
    while select.select([ours], [], [], 90)[0]:
        try:
            content += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    return process.wait(), content.decode()


def test_nothing_is_parsed_as_json_that_is_no_json_we_can_keep(session: Session) -> None:
    for text in ("[" * 100_000, '{"a": "\\ud800"}', '{"a": NaN}', "1e999", "9" * 5000):
        (session.home / "text").write_text(text)
        session.file(
            "flow.yaml",
            """
            version: 1
            steps:
              - {name: text, run: 'cat "$HOME/text"'}
              - {name: use, run: [printf, "%s", "{{ steps.text.json }}"]}
            outputs: {data: "{{ steps.text.json }}"}
            """,
        )
        ended = session.flow("run", "flow.yaml", "--json")
        assert ended.code == 1, ended.err
        assert ended.json()["steps"][1]["reason"] == (
            f"the output of step `text` is not JSON: give the step `output: json` ({session.path}/flow.yaml:5:41)"
        )


# What the live view itself sends: colours, and moves to draw its lines anew.
COLOURS = re.compile(r"\x1b\[(?:1|3[1236])?m")  # of labels and status words
VIEW = re.compile(r"\x1b\[(?:\?7[lh]|K|J|[0-9]+A|[0-9;]*m)|\r(?!\n)")


def assert_only_text(screen: str) -> None:
    shown = COLOURS.sub("", screen).replace("\r\n", "").replace("\t", "")
    bad = {character for character in shown if not character.isprintable()}
    assert not bad, screen


def test_on_a_terminal_no_hostile_text_is_anything_but_text(session: Session) -> None:
    values = [
        *NAUGHTY,
        *(text for name, text in ANSWERS.items() if name not in LARGE),
        "\x9b31mred",
        "a\rb",
        "\x1b]0;title\x07",
        "\u202eevil",
        "\ud7ff\ue000",
    ]
    session.file("values.json", json.dumps({"values": values}))
    session.file(
        "flow.yaml",
        """
        version: 1
        args: {values: {type: array}}
        steps:
          - {name: shown, run: [printf, "%s\\n", "{{ args.values | join('\\n') }}"]}
          - {name: refused, run: "printf '%s\\n' {{ args.values | join('\\n') }} >&2; exit 3", on_failure: continue}
          - {name: described, run: "true", when: "args.values | length > 0", needs: [shown], on_failure: continue}
          - {name: broken, foreach: args.values, run: [sh, -c, "printf '%s' \\"$1\\" >&2; exit 4", sh, "{{ item }}"], needs: [shown], on_failure: continue, retries: 0}
        outputs: {all: "{{ args.values | join('\\n') }}", list: "{{ args.values }}"}
        """,
    )
    arguments = ("run", "flow.yaml", "--args-file", "values.json", "--tag", "\x1b[31mtag", "--run-id")
    code, screen = on_a_terminal(session, *arguments, "one", NO_COLOR="1")
    assert code == 0, screen[-2000:]
    assert_only_text(screen)
    code, drawn = on_a_terminal(session, *arguments, "two")
    assert code == 0, drawn[-2000:]
    assert_only_text(VIEW.sub("", drawn))
    for command in (["status"], ["logs"], ["runs"], ["plan", "flow.yaml", "--args-file", "values.json"], ["events"], ["status", "--json"]):
        code, more = on_a_terminal(session, *command, NO_COLOR="1")
        assert code == 0, more
        assert_only_text(more)


def test_on_a_terminal_files_of_others_are_listed_and_refused_as_text(session: Session) -> None:
    evil = "\x1b]0;title\x07\x9b2J\u202e\r"
    described = json.dumps(
        {"version": 1, "description": f"d{evil}", "args": {"a": {"description": evil, "default": evil}}, "steps": [{"run": "true"}]}
    )
    session.file("flow.yaml", described)
    session.file(f"b{evil}.yaml", described)
    session.file(".cpool/workflows/named.yaml", described)
    session.file(".cpool/skills/told/SKILL.md", f"---\nname: told\ndescription: {json.dumps(evil)}\n---\n{evil}\n")
    session.file(".cpool/skills/broken/SKILL.md", f"---\nname: {json.dumps(evil)}\nmetadata: [{json.dumps(evil)}]\n---\nx\n")
    session.file(
        "wrong.yaml",
        json.dumps({"version": 1, "steps": [{"run": evil, evil: 1}, {"name": evil, "run": "{{ args." + evil}]}, ensure_ascii=False),
    )
    commands = ([], ["list"], ["list", "--json"], ["show", "named"], ["show", "told"], ["show", "broken"], ["plan", "flow.yaml"])
    refused = (
        ["validate", "wrong.yaml"],
        ["run", f"b{evil}.yaml", "--arg", f"{evil}=1"],
        [evil],
        ["run", evil],
        ["status", evil],
        ["show", evil],
    )
    for command in (*commands, *refused):
        code, more = on_a_terminal(session, *command, NO_COLOR="1")
        assert code in (0, 2), (command, more)
        assert_only_text(more)
