"""The schemas that are shipped, and real documents of real runs held against them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from session import ROOT, Session

from cpool_flow.document import load

NAMES = ("workflow", "pool", "events", "result")
MIXED = """
    version: 1
    isolation: none
    args: {n: {type: integer, default: 2}, words: {type: array, default: [a, {b: null}]}}
    slots: 2
    config: {agent: scripted, script: answers.yaml}
    steps:
      - name: big
        run: head -c 100000 /dev/zero | tr '\\0' x
      - name: skipped
        when: args.n > 2
        run: echo never
      - name: many
        foreach: [good, bad]
        output: json
        output_vars: {word: word}
        on_failure: continue
        run: |
          [ {{ item }} = good ]
          echo '{"word": "good"}'
      - name: flaky
        run: '[ {{ attempt }} = 2 ]'
        retries: 1
        retry: {delay: 1ms}
      - name: ask
        prompt: What now?
        recovery_prompt: "{{ error }}"
      - name: none
        foreach: "{{ [] }}"
        run: echo {{ item }}
      - name: fails
        run: exit 3
        timeout: 10s
      - name: after
        run: echo never
    finally:
      - name: tidy
        run: [echo, bye]
    outputs: {word: "{{ steps.many.items[0].word }}"}
"""
ANSWERS = """
    steps:
      ask:
        - {error: failed, message: no}
        - {answer: Go on, cost_usd: 0.5, turns: 2}
"""


@cache
def validator(name: str) -> Draft202012Validator:
    schema = json.loads((ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def wrong(name: str, document: Any) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in validator(name).iter_errors(document)]


@pytest.fixture
def project(session: Session) -> Session:
    session.file("flow.yaml", MIXED)
    session.file("answers.yaml", ANSWERS)
    return session


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_printed_as_it_is_shipped(session: Session, name: str) -> None:
    ended = session.flow("schema", name)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (ROOT / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8")


def test_without_a_name_it_is_the_schema_of_a_workflow(session: Session) -> None:
    assert session.flow("schema").json()["$id"] == "urn:cpool-flow:schema:workflow:1"


def test_the_front_matter_of_every_skill_that_is_shipped_fits_its_schema() -> None:
    fronts = [path.read_text(encoding="utf-8").split("---\n")[1] for path in (ROOT / "skills").glob("*/SKILL.md")]
    assert len(fronts) >= 8
    assert [wrong("skill", load(front.encode(), "SKILL.md").data) for front in fronts] == [[]] * len(fronts)


def test_the_result_of_a_run_in_which_everything_happens_fits_its_schema(project: Session) -> None:
    ended = project.flow("run", "flow.yaml", "--json", "--tag", "nightly")
    assert ended.code == 1, ended.err
    result = ended.json()
    assert {step["name"]: step["status"] for step in result["steps"]} == {
        "big": "success",
        "skipped": "skipped",
        "many": "failed",
        "flaky": "success",
        "ask": "success",
        "none": "success",
        "fails": "failed",
        "after": "skipped",
        "tidy": "success",
    }
    assert wrong("result", result) == []
    assert wrong("result", project.status()) == []
    assert project.status() == result
    resumed = project.flow("resume", "last", "--json")
    assert wrong("result", resumed.json()) == []


def test_steps_within_steps_fit_the_schemas_as_well(session: Session) -> None:
    session.file(
        "child.yaml", "args: {n: {type: integer}}\nsteps: [{name: say, run: 'echo {{ args.n }}'}]\noutputs: {n: '{{ steps.say.output }}'}"
    )
    session.file(
        "flow.yaml",
        """
        steps:
          - name: each
            foreach: [1, 2]
            steps:
              - {name: one, run: "echo {{ item }} > kept.txt", artifacts: [kept.txt]}
              - {name: two, workflow: child.yaml, with: {n: "{{ item }}"}}
          - {name: grid, matrix: {a: [1, 2]}, run: "echo {{ matrix.a }}"}
          - name: loop
            repeat: {until: iteration == 2, max: 3}
            run: echo {{ iteration }}
          - {name: ask, approve: "Go on?"}
          - {name: stop, end: failed, reason: enough}
          - {name: after, run: echo after}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json", "--auto-approve")
    result = ended.json()
    assert {step["name"]: step["kind"] for step in result["steps"]} == {
        "each": "group", "grid": "run", "loop": "run", "ask": "approve", "stop": "end", "after": "run",
    }  # fmt: skip
    assert result["steps"][0]["items"][0]["steps"][1]["kind"] == "workflow"
    assert [Path(path).read_text() for path in result["steps"][0]["items"][1]["steps"][0]["artifacts"]] == ["2\n"]
    assert wrong("result", result) == []
    assert wrong("result", session.status()) == []
    kept = [json.loads(line) for line in session.flow("events", "last").out.splitlines()]
    assert [problem for event in kept for problem in wrong("events", event)] == []
    assert {event["type"] for event in kept} >= {"RoundStarted", "RoundFinished", "ApprovalRequested", "ApprovalAnswered", "EndReached"}
    session.file("refused.yaml", "steps: [{name: ask, approve: Really?}]")
    assert session.flow("run", "refused.yaml", "--json").code == 4
    session.flow("approve", "last", "ask", "--reject")
    assert wrong("result", session.flow("resume", "last", "--json").json()) == []


def test_every_event_of_such_a_run_fits_its_schema(project: Session) -> None:
    ended = project.flow("run", "flow.yaml", "--events")
    printed = [json.loads(line) for line in ended.out.splitlines()]
    assert [problem for event in printed for problem in wrong("events", event)] == []
    kept = [json.loads(line) for line in project.flow("events", "last").out.splitlines()]
    assert [problem for event in kept for problem in wrong("events", event)] == []
    assert {event["type"] for event in kept} >= {"RunCreated", "StepOpened", "AttemptStarted", "AttemptFinished", "RunFinished"}
    assert [event["type"] for event in printed] == [event["type"] for event in kept]


@pytest.mark.parametrize(
    "change",
    [
        lambda result: result.pop("steps"),
        lambda result: result.update(status="done"),
        lambda result: result.update(more=1),
        lambda result: result["steps"][0].pop("attempts"),
        lambda result: result["steps"][0].update(kind="dance"),
        lambda result: result["steps"][0]["attempts"][0].update(status="pending"),
    ],
)
def test_a_document_of_another_shape_does_not_fit(session: Session, change: Any) -> None:
    session.file("flow.yaml", "version: 1\nsteps:\n  - run: 'true'\n")
    result = session.flow("run", "flow.yaml", "--json").json()
    assert wrong("result", result) == []
    change(result)
    assert wrong("result", result)


def test_a_file_that_fits_the_schema_of_a_workflow_is_valid_and_one_that_does_not_is_not(session: Session) -> None:
    schema = Draft202012Validator(session.flow("schema", "workflow").json())
    for name, text in {"good.json": {"steps": [{"run": "true"}]}, "bad.json": {"steps": [{"rum": "true"}]}}.items():
        session.file(name, json.dumps(text))
        assert schema.is_valid(text) == (session.flow("validate", name).code == 0)


def test_the_result_of_a_run_that_goes_on_fits_its_schema(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        version: 1
        isolation: none
        steps:
          - name: wait
            run: while [ ! -e go ]; do sleep 0.05; done
          - name: after
            run: echo bye
        """,
    )
    process = session.start("run", "flow.yaml", "--run-id", "slow")
    try:
        while not session.status("slow").get("steps", [{}])[0].get("attempts"):
            assert process.poll() is None
        result = session.status("slow")
        assert [step["status"] for step in result["steps"]] == ["running", "pending"]
        assert wrong("result", result) == []
    finally:
        session.file("go", "")
        assert process.wait() == 0
