"""Money that several runs share: the day's budget of a project, and runs that are started inside of a run. Agents are scripted."""

from __future__ import annotations

import shlex
import sys

import pytest
from session import Session

SCRIPTED = "config: {agent: scripted, script: answers.yaml}\n"


@pytest.fixture
def project(session: Session) -> Session:
    session.file("answers.yaml", "default: {answer: done, cost_usd: 0.4}")
    session.file("one.yaml", f"{SCRIPTED}steps:\n  - {{name: ask, prompt: x}}\n")
    session.file("two.yaml", f"{SCRIPTED}steps:\n  - {{name: first, prompt: x}}\n  - {{name: second, prompt: x}}\n")
    return session


def test_all_runs_of_a_day_spend_from_the_budget_of_the_day(project: Session) -> None:
    project.file("cpool.yaml", "budgets: {day: 1}")
    assert project.flow("run", "one.yaml").code == 0
    assert project.flow("run", "one.yaml").code == 0
    ended = project.flow("run", "two.yaml", "--json")
    assert ended.code == 3
    result = ended.json()
    assert result["error_kind"] == "budget"
    assert "the day's budget of $1.00 for all runs of the project (`budgets` in cpool.yaml)" in result["error"]
    assert result["cost_usd"] == pytest.approx(0.2)
    again = project.flow("run", "one.yaml", "--budget", "5", "--run-id", "again")
    assert again.err.splitlines()[-1] == "look: cpool-flow logs again · go on: cpool-flow resume again"  # more for the run does not help
    project.file("cpool.yaml", "budgets: {day: 5}")
    assert project.flow("resume", "again").code == 0


def test_runs_at_once_do_not_spend_the_same_money(project: Session) -> None:
    project.file("cpool.yaml", "budgets: {day: 1}")
    project.file("answers.yaml", "default: {answer: done, seconds: 0.5, cost_usd: 0.6}")
    running = [project.start("run", "one.yaml", "--run-id", f"run-{number}") for number in range(3)]
    codes = sorted(process.wait(60) for process in running)
    spent = sum(project.status(f"run-{number}")["cost_usd"] for number in range(3))
    assert spent <= 1 + 1e-9
    assert codes[-1] == 3


def nested(project: Session, run: str, top: str = "", after: str = "") -> None:
    command = shlex.join([sys.executable, "-m", "cpool_flow", "run", run, "--quiet"])
    lines = [
        f"{SCRIPTED}{top}",
        "steps:",
        f'  - {{name: inside, run: "{command}"}}',
        *([f"  - {{name: {after}, prompt: x}}"] if after else []),
    ]
    project.file("outer.yaml", "\n".join(lines) + "\n")


def test_a_run_inside_of_a_run_spends_its_budget_and_is_a_part_of_its_cost(project: Session) -> None:
    nested(project, "two.yaml", "budget_usd: 1", after="last")
    ended = project.flow("run", "outer.yaml", "--json")
    assert ended.code == 3
    result = ended.json()
    assert result["cost_usd"] == pytest.approx(1.0)
    inside, last = result["steps"]
    assert (inside["status"], inside["cost_usd"]) == ("success", pytest.approx(0.8))
    assert last["attempts"][0]["budget_usd"] == pytest.approx(0.2)


def test_a_run_inside_of_a_run_gets_no_more_than_is_left_there(project: Session) -> None:
    nested(project, "two.yaml", "budget_usd: 0.5")
    ended = project.flow("run", "outer.yaml", "--run-id", "outer", "--json")
    assert ended.code == 1
    assert ended.json()["cost_usd"] == pytest.approx(0.5)
    (inner,) = (path.name for path in (project.path / ".cpool" / "runs").iterdir() if path.name != "outer")
    result = project.status(inner)
    assert (result["status"], result["error_kind"]) == ("failed", "budget")
    assert "the budget of $0.50 of the run around it" in result["error"]
    first, second = result["steps"]
    assert first["attempts"][0]["budget_usd"] == pytest.approx(0.5)
    assert second["attempts"][0]["budget_usd"] == pytest.approx(0.1)


def test_in_a_day_a_run_inside_of_a_run_counts_once(project: Session) -> None:
    project.file("cpool.yaml", "budgets: {day: 1.3}")
    nested(project, "two.yaml")
    assert project.flow("run", "outer.yaml").code == 0
    assert project.flow("run", "one.yaml").code == 0
    assert project.flow("run", "one.yaml").code == 3
