"""`runs`: which of the runs of a project are listed."""

from __future__ import annotations

import pytest
from session import Session


@pytest.fixture
def project(session: Session) -> Session:
    """Runs `one` (success), `two` (failed), `three` (waits) of two workflows."""
    session.file("flow.yaml", "steps: [{name: say, run: 'exit ${CODE:-0}'}]\n")
    session.file("ask.yaml", "steps: [{name: ask, approve: Go?}]\n")
    assert session.flow("run", "flow.yaml", "--run-id", "one", "--tag", "nightly").code == 0
    session.file("flow.yaml", "steps: [{name: say, run: exit 3}]\n")
    assert session.flow("run", "flow.yaml", "--run-id", "two").code == 1
    assert session.flow("run", "ask.yaml", "--run-id", "three", "--tag", "nightly").code == 4
    return session


def test_runs_are_listed_as_they_are_asked_for(project: Session) -> None:
    listed = {
        "": ["three", "two", "one"],
        "--status failed": ["two"],
        "--status failed --status waiting": ["three", "two"],
        "--workflow flow": ["two", "one"],
        "--workflow ./flow.yaml": ["two", "one"],
        "--tag nightly": ["three", "one"],
        "--tag nightly --status success": ["one"],
        "--limit 1": ["three"],
        "--workflow flow --limit 1": ["two"],
        "--since 1h": ["three", "two", "one"],
        "--since 2020-01-01": ["three", "two", "one"],
        "--since 2999-12-31T08:00": [],
        "--since 0s": [],
    }
    for options, runs in listed.items():
        ended = project.flow("runs", "--json", *options.split())
        assert (options, [run["run_id"] for run in ended.json()["runs"]]) == (options, runs)
    assert [line.split()[0] for line in project.flow("runs", "--status", "failed").out.splitlines()] == ["two"]


def test_where_no_run_is_listed_it_is_said_why(project: Session) -> None:
    assert project.flow("runs", "--workflow", "flwo").err == "no run of a workflow `flwo`, did you mean `flow`?\n"
    assert project.flow("runs", "--status", "cancelled").err == "none of 3 runs is like that; see `cpool-flow runs`\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--since yesterday", "`--since`: `yesterday` is no time: `90m` or `7d` ago, or a date such as"),
        ("--status failing", "`--status` cannot be `failing`: one of"),
        ("--limit 0", "`--limit` cannot be `0`: at least 1"),
    ],
)
def test_what_cannot_be_asked_is_one_error(options: str, message: str, project: Session) -> None:
    ended = project.flow("runs", *options.split())
    assert (ended.code, ended.out) == (2, "")
    assert message in ended.err


def test_the_list_is_a_table_and_says_what_a_run_has_cost(session: Session) -> None:
    session.file("answers.yaml", "default: {answer: done, cost_usd: 0.4}\n")
    session.file(
        "dear.yaml",
        "config: {agent: scripted, script: answers.yaml}\nsteps: [{name: ask, prompt: hi, effects: none}, {name: see, run: 'true'}]\n",
    )
    session.file("free.yaml", "steps: [{name: a, run: 'true'}]\n")
    session.flow("run", "dear.yaml", "--run-id", "a-long-id-of-my-own")
    session.flow("run", "free.yaml", "--run-id", "b")
    lines = session.flow("runs").out.splitlines()
    assert [line.index("success") for line in lines] == [38, 38]
    assert [line.rpartition("  ")[2] for line in lines] == ["free", "dear · $0.40"]
    assert [run["cost_usd"] for run in session.flow("runs", "--json").json()["runs"]] == [0.0, 0.4]
