"""`explain`: where values came from, which rules decided, what proves a success."""

from __future__ import annotations

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
