"""What goes wrong with a value at run time is told with its place in the file."""

from __future__ import annotations

import re

import pytest
from session import Session

TABLE = [
    ("when", "    when: steps.text.output + 1 > 1\n    run: echo x", "5:11"),
    ("foreach", "    foreach: steps.text.json\n    run: echo x", "5:14"),
    ("foreach that is no list", '    foreach: steps.number.json\n    run: "true"', "5:14"),
    ("max_items", "    foreach: range(3) | list\n    max_items: 2\n    run: echo x", "5:14"),
    ("limit", "    foreach: [1]\n    limit: steps.text.output\n    run: echo x", "6:12"),
    ("filter", "    foreach: [1]\n    filter: item + steps.text.output\n    run: echo x", "6:13"),
    ("matrix", "    matrix:\n      a: steps.number.json\n    run: echo x", "6:10"),
    ("run", "    run: |\n      echo a\n      echo {{ steps.text.json.b }}", "7:15"),
    ("run as a list", '    run: [echo, "{{ steps.text.json }}"]', "5:21"),
    ("env", '    env: {A: "{{ steps.text.json }}"}\n    run: echo x', "5:18"),
    ("stdin", '    stdin: "{{ steps.text.json }}"\n    run: cat', "5:16"),
    ("verify", '    run: "true"\n    verify: ["true", "test {{ steps.text.json }}"]', "6:31"),
    ("until", "    repeat: {until: steps.text.output > 1, max: 2}\n    run: echo x", "5:31"),
    ("prompt", '    prompt: "Look: {{ steps.text.json }}"\n    config: {agent: scripted, script: answers.yaml}', "5:23"),
    ("approve", '    approve: "Sure? {{ steps.text.json }}"', "5:24"),
    ("reason", '    end: failed\n    reason: "{{ steps.text.json }}"', "6:17"),
    ("inside of a group", '    steps:\n      - run: echo "{{ steps.text.json }}"', "6:23"),
]


@pytest.mark.parametrize(("key", "step", "place"), TABLE, ids=[row[0] for row in TABLE])
def test_a_value_that_cannot_be_used_fails_the_step_with_its_place(session: Session, key: str, step: str, place: str) -> None:
    session.file("answers.yaml", "default: {echo: true}")
    (session.path / "flow.yaml").write_text(
        "steps:\n"
        "  - {name: text, needs: [], run: echo text}\n"
        "  - {name: number, needs: [], run: echo 7, output: json}\n"
        f"  - name: bad\n{step}\n    needs: [text, number]\n"
    )
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 1, ended.err
    assert re.findall(rf"\(({re.escape(str(session.path))}/flow.yaml:\S+)\)", ended.out)[0].endswith(f"flow.yaml:{place}")
    assert '"invalid' in ended.out


def test_what_goes_wrong_in_a_sub_workflow_has_its_place_there(session: Session) -> None:
    session.file("child.yaml", 'steps:\n  - {name: a, run: echo x}\n  - {name: b, run: "echo {{ steps.a.json }}"}\n')
    session.file("flow.yaml", "steps:\n  - workflow: child.yaml\n")
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 1
    assert f"({session.path}/child.yaml:3:29)" in ended.out


def test_files_that_are_named_are_shown_as_they_are_reached_from_here(session: Session) -> None:
    session.file("answers.yaml", "steps: {a: {itme: 3}}\n")
    session.file("flow.yaml", "config: {agent: scripted, script: answers.yaml}\nisolation: none\nsteps: [{name: a, prompt: hi}]\n")
    assert "  --> answers.yaml:1:13\n" in session.flow("run", "flow.yaml").err
    session.file("answers.yaml", "default: hi\n")
    deep = session.path / "sub" / "deep"
    deep.mkdir(parents=True)
    ended = session.program(*session.command("run", "../../flow.yaml"), cwd=deep)
    assert ended.code == 0
    assert f"  --> {session.path}/flow.yaml:" in ended.err
