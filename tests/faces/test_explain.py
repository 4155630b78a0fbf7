"""`explain`: where values came from, which rules decided, what proves a success."""

from __future__ import annotations

import re
from typing import Any

import pytest
from session import Session


@pytest.fixture
def project(session: Session) -> Session:
    session.file(
        "flow.yaml",
        """
        args: {who: {type: string, default: you}, pr: {type: integer}}
        steps:
          - name: flaky
            run: test -f "$MARK" || { touch "$MARK"; exit 75; }
            retries: 2
            retry: {delay: 0s, exit_codes: [75]}
          - name: greet
            run: [echo, "{{ args.who }} {{ args.pr }} {{ steps.flaky.status }}"]
            verify: test 1 = 1
            output_vars: {all: .}
          - name: never
            when: args.who == 'nobody'
            run: echo {{ previous.output }}
          - name: bad
            needs: greet
            run: exit 3
          - name: after
            run: echo {{ item | default('') }}
            needs: bad
            foreach: [1]
        """,
    )
    session.environment["MARK"] = str(session.home / "mark")
    assert session.flow("run", "flow.yaml", "--arg", "pr=7").code == 1
    return session


def explained(session: Session, step: str) -> Any:
    ended = session.flow("explain", "last", step, "--json")
    assert ended.code == 0, ended.err
    return ended.json()


def test_the_source_of_every_value_is_named(project: Session) -> None:
    values = {value["name"]: (value["value"], value["source"]) for value in explained(project, "greet")["values"]}
    assert values == {
        "args.who": ("you", "argument `who`: its default"),
        "args.pr": ("7", "argument `pr`: given at the start"),
        "steps.flaky.status": ("success", "step `flaky`"),
    }


def test_the_rules_that_made_it_try_again_are_told_in_order(project: Session) -> None:
    rules = [rule["rule"] for rule in explained(project, "flaky")["rules"]]
    assert rules == [
        "its needs were met",
        "attempt 1 (normal) started on slot-1",
        'attempt 1 failed as `failed`: `test -f "$MARK" || { touch "$MARK"; exit 75; }` ended with exit code 75',
        "tried again: failed, retry 1 of 2",
        "attempt 2 (normal) started on slot-1",
        "attempt 2 ended well",
    ]


def test_a_success_has_its_evidence(project: Session) -> None:
    assert explained(project, "greet")["evidence"] == [
        "its command ended with exit code 0",
        "its output holds `all`",
        "verify `test 1 = 1` ended with exit code 0",
        "within its time limit of 1h",
    ]


def test_a_skipped_step_says_which_rule_skipped_it(project: Session) -> None:
    assert explained(project, "never")["rules"][-1]["rule"] == "skipped: `when` is false: `args.who == 'nobody'`"
    assert explained(project, "after")["rules"][-1]["rule"] == "skipped: upstream failed: `bad` failed"


def test_it_reads_well_for_people(project: Session) -> None:
    text = project.flow("explain", "last", "greet").out
    assert text.startswith("greet (run): success\n  after `flaky` (success), the step above it; when all have ended well\nwhat happened:\n")
    assert "  run: args.who = you  ← argument `who`: its default\n" in text


def test_an_unknown_step_names_the_nearest(project: Session) -> None:
    ended = project.flow("explain", "last", "gret")
    assert ended.code == 2
    assert "did you mean `greet`?" in ended.err


def rules_of(session: Session, step: str) -> list[str]:
    return [rule["rule"] for rule in explained(session, step)["rules"]]


def test_an_item_of_a_group_or_loop_tells_only_what_happened_to_it(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        steps:
          - name: part
            foreach: [a, b]
            steps:
              - {name: one, run: "echo {{ item }}"}
              - {name: two, run: "test {{ previous.output }} = a"}
          - name: loop
            needs: []
            repeat: {until: iteration == 2, max: 3}
            steps: [{name: within, run: "echo {{ iteration }}"}]
          - {name: stop, needs: [part, loop], join: done, run: exit 1, on_failure: stop}
          - {name: after, run: echo never}
        """,
    )
    assert session.flow("run", "flow.yaml").code == 1
    well = ["attempt 1 (normal) started on SLOT", "attempt 1 ended well"]
    told = {name: [re.sub(r"slot-\d", "SLOT", rule) for rule in rules_of(session, name)] for name in ("part[0]/two", "loop#2/within")}
    assert told == {"part[0]/two": ["its needs were met", *well], "loop#2/within": ["its needs were met", *well]}
    assert rules_of(session, "part[0]") == ["its needs were met; item 0 of 2, counted from 0", "round 1 started", "round 1: success"]
    assert rules_of(session, "part") == ["its needs were met; it fans out over 2 items", "part[1] failed: step `two` failed"]
    assert rules_of(session, "after")[0] == "the run was being stopped: step `stop` failed"


def test_a_fan_out_tells_which_of_its_items_did_not_end_well(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: each, foreach: [0, 1, 2], max_parallel: 1, slot: none, run: 'exit {{ item }}'}]\n")
    assert session.flow("run", "flow.yaml").code == 1
    assert rules_of(session, "each") == [
        "its needs were met; it fans out over 3 items",
        "each[1] failed: `exit {{ item }}` ended with exit code 1",
        "each[2] failed: `exit {{ item }}` ended with exit code 2",
    ]


def test_values_within_values_are_told_as_well(session: Session) -> None:
    session.file("sub.yaml", "args: {x: {}}\nsteps: [{run: 'true'}]\n")
    session.file("answers.yaml", "default: {echo: true}\n")
    session.file(
        "flow.yaml",
        """
        args: {a: {type: array, default: [1]}, b: {type: string, default: B}}
        config: {agent: scripted, script: answers.yaml, permission_mode: plan}
        steps:
          - {name: sub, workflow: sub.yaml, with: {x: [{y: "{{ args.b }}"}]}}
          - {name: grid, matrix: {one: args.a, two: ["{{ args.b }}"]}, run: "true"}
          - {name: ask, prompt: hi, config: {model: "{{ args.b }}"}}
        """,
    )
    assert session.flow("run", "flow.yaml").code == 0
    told = {
        step: [(value["key"], value["name"], value["value"]) for value in explained(session, step)["values"]]
        for step in ("sub", "grid", "ask")
    }
    assert told == {
        "sub": [("with.x[0].y", "args.b", "B")],
        "grid": [("matrix.one", "args.a", "[1]"), ("matrix.two[0]", "args.b", "B")],
        "ask": [("config.model", "args.b", "B")],
    }
