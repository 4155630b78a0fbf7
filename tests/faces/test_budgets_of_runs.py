"""Budgets by the real command line: of a run, a step, a day, and of runs inside of runs. Agents are scripted; money is US dollars."""

from __future__ import annotations

import pytest
from session import Session

from survivors import eventually

ANSWERS = """
    steps:
      cheap: {answer: done, cost_usd: 0.4}
      dear: {answer: done, cost_usd: 3}
      secret: {answer: done, cost_usd: null}
    default: {answer: done, cost_usd: 0.4}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("answers.yaml", ANSWERS)
    return session


def flow(session: Session, steps: str, top: str = "") -> None:
    session.file("flow.yaml", f"config: {{agent: scripted, script: answers.yaml}}\n{top}\nsteps:\n{steps}\n")


CHAIN = """
  - {name: cheap, prompt: x}
  - {name: second, prompt: x}
  - {name: third, prompt: x}
  - {name: after, run: echo after}
"""


def test_a_run_out_of_budget_fails_with_3_and_says_what_was_spent(project: Session) -> None:
    flow(project, CHAIN, "budget_usd: 1")
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 3
    result = ended.json()
    assert (result["status"], result["error_kind"], result["budget_usd"]) == ("failed", "budget", 1)
    assert result["cost_usd"] == pytest.approx(1.0)
    assert result["error"] == "the run's budget of $1.00 is used up: $1.00 spent"
    steps = {step["name"]: step for step in result["steps"]}
    assert {name: step["status"] for name, step in steps.items()} == {
        "cheap": "success",
        "second": "success",
        "third": "failed",
        "after": "cancelled",
    }
    (attempt,) = steps["third"]["attempts"]
    assert (attempt["error_kind"], attempt["budget_usd"]) == ("budget", pytest.approx(0.2))
    assert "third" in ended.err
    assert "go on: cpool-flow resume" in ended.err
    assert "--budget USD (more than $1.00)" in ended.err


def test_a_resume_with_a_higher_budget_goes_on_where_the_run_was(project: Session) -> None:
    flow(project, CHAIN)
    assert project.flow("run", "flow.yaml", "--budget", "1").code == 3
    assert project.flow("resume", "last").code == 3
    refused = project.flow("resume", "last", "--budget", "0.9")
    assert refused.code == 2
    assert "has spent $1.00 already" in refused.err
    ended = project.flow("resume", "last", "--budget", "2", "--json")
    assert ended.code == 0
    assert ended.json()["cost_usd"] == pytest.approx(1.4)
    assert ended.json()["budget_usd"] == 2
    assert [len(step["attempts"]) for step in ended.json()["steps"]] == [1, 1, 2, 1]


def test_the_command_line_wins_over_the_file(project: Session) -> None:
    flow(project, CHAIN, "budget_usd: 0.5")
    assert project.flow("run", "flow.yaml", "--budget", "2.50").code == 0


def test_a_rerun_may_have_another_budget_and_keeps_what_it_takes_over(project: Session) -> None:
    flow(project, CHAIN, "budget_usd: 1")
    assert project.flow("run", "flow.yaml").code == 3
    assert project.flow("rerun", "last", "--failed", "--budget", "0").code == 2
    ended = project.flow("rerun", "last", "--failed", "--budget", "2", "--json")
    assert (ended.code, ended.json()["budget_usd"]) == (0, 2)
    again = project.flow("rerun", "last", "--json")
    assert (again.code, again.json()["budget_usd"]) == (0, 2)


def test_the_budget_of_a_step_fails_the_step_and_the_exit_code_is_1(project: Session) -> None:
    flow(project, "  - {name: dear, prompt: x, config: {max_budget_usd: 1}}", "budget_usd: 5")
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 1
    assert ended.json()["error_kind"] == "failed"
    assert ended.json()["steps"][0]["attempts"][0]["error_kind"] == "budget"
    assert ended.json()["cost_usd"] == 1


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "much", "1e400"])
def test_a_budget_that_is_none_is_refused(project: Session, value: str) -> None:
    flow(project, CHAIN)
    ended = project.flow("run", "flow.yaml", "--budget", value)
    assert ended.code == 2
    assert "--budget" in ended.err
    assert not (project.path / ".cpool").exists()


def test_where_a_cost_is_unknown_the_totals_are_at_least_what_is_known(project: Session) -> None:
    flow(project, "  - {name: cheap, prompt: x}\n  - {name: secret, prompt: x}")
    ended = project.flow("run", "flow.yaml")
    assert "at least $0.40" in ended.err
    result = project.status()
    assert (result["cost_usd"], result["cost_at_least_usd"]) == (None, pytest.approx(0.4))
    assert [(step["cost_usd"], step["cost_at_least_usd"]) for step in result["steps"]] == [(0.4, 0.4), (None, 0)]
    assert "at least $0.40" in project.flow("status", "last").out


def test_an_attempt_that_ran_out_of_time_counts(project: Session) -> None:
    project.file("answers.yaml", "default: {hang: true, cost_usd: 0.3}")
    flow(
        project, "  - {name: slow, prompt: x, timeout: 1s, on_failure: continue}\n  - {name: next, prompt: x, timeout: 1s}", "budget_usd: 5"
    )
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 1
    assert [step["attempts"][0]["error_kind"] for step in ended.json()["steps"]] == ["timeout", "timeout"]
    assert ended.json()["cost_usd"] == pytest.approx(0.6)
    assert ended.json()["steps"][1]["attempts"][0]["budget_usd"] == pytest.approx(4.7)


def test_an_agent_that_was_not_even_asked_has_cost_nothing(project: Session) -> None:
    flow(project, "  - {name: cheap, prompt: x, cwd: nowhere}", "budget_usd: 5")
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 1
    assert ended.json()["steps"][0]["attempts"][0]["error_kind"] == "errored"
    assert ended.json()["cost_usd"] == 0


def test_what_an_agent_has_cost_is_known_although_the_check_after_it_could_not_be_made(project: Session) -> None:
    flow(
        project,
        """  - {name: cheap, prompt: x, verify: "echo {{ steps.first.json[5] }}", needs: first}\n  - {name: first, needs: [], run: "echo '[]'"}""",
    )
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.json()["steps"][0]["attempts"][0]["error_kind"] == "invalid"
    assert ended.json()["cost_usd"] == pytest.approx(0.4)


UNPRICED = "  - {name: ask, prompt: hello, config: {agent: command, command: [cat]}}\n  - {name: next, prompt: x}"


def test_an_agent_whose_cost_nobody_knows_is_refused_where_there_is_a_budget(project: Session) -> None:
    flow(project, UNPRICED)
    assert project.flow("validate", "flow.yaml").code == 0
    assert project.flow("run", "flow.yaml", "--run-id", "free").code == 0
    refused = project.flow("run", "flow.yaml", "--budget", "5")
    assert refused.code == 2
    assert "nobody knows what agent `command` of step `ask` costs" in refused.err
    assert "--allow-unpriced" in refused.err
    flow(project, UNPRICED, "budget_usd: 5")
    assert project.flow("validate", "flow.yaml").code == 2
    assert project.flow("validate", "flow.yaml", "--allow-unpriced").code == 0
    assert project.flow("plan", "flow.yaml").code == 0
    assert [path.name for path in (project.path / ".cpool" / "runs").iterdir()] == ["free"]


def test_where_an_unknown_cost_is_allowed_it_counts_as_nothing_and_the_totals_say_so(project: Session) -> None:
    flow(project, UNPRICED, "budget_usd: 1")
    ended = project.flow("run", "flow.yaml", "--allow-unpriced")
    assert ended.code == 0
    assert "at least $0.40 of $1.00" in ended.err
    assert project.status()["steps"][1]["attempts"][0]["budget_usd"] == pytest.approx(1)


def test_an_agent_that_does_not_say_its_cost_counts_with_all_that_it_might_spend(project: Session) -> None:
    flow(project, "  - {name: secret, prompt: x, config: {max_budget_usd: 0.7}}\n  - {name: dear, prompt: x}", "budget_usd: 1")
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 3
    result = ended.json()
    assert result["error"] == ("the run's budget of $1.00 is used up: $1.00 spent, $0.70 of it for agents that did not say what they cost")
    assert (result["cost_usd"], result["cost_at_least_usd"]) == (None, pytest.approx(0.3))


def test_tokens_have_the_price_that_the_project_gives_them(project: Session) -> None:
    project.file("cpool.yaml", "prices: {scripted: {m: {input: 1000000, output: 0}}}")
    project.file("answers.yaml", "default: {answer: x, cost_usd: null}")
    flow(project, '  - {name: ask, prompt: "12345678", config: {model: m}}', "budget_usd: 5")
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 0
    assert ended.json()["cost_usd"] == 3  # of the scripted agent, four letters are a token, and one more


def test_after_a_crash_the_run_goes_on_within_its_budget(project: Session) -> None:
    project.file("answers.yaml", "steps: {slow: [{hang: true, edits: {started: x}}, {answer: x, cost_usd: 0.3}]}\ndefault: {cost_usd: 0.5}")
    flow(project, "  - {name: first, prompt: x}\n  - {name: slow, prompt: x}", "budget_usd: 1")
    running = project.start("run", "flow.yaml")
    assert eventually((project.path / "started").exists)
    running.kill()
    running.wait(30)
    ended = project.flow("resume", "last", "--json")
    assert ended.code == 0
    result = ended.json()
    assert (result["cost_usd"], result["cost_at_least_usd"]) == (None, pytest.approx(0.8))
    assert [attempt["budget_usd"] for attempt in result["steps"][1]["attempts"]] == [pytest.approx(0.5), pytest.approx(0.5)]
