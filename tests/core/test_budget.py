"""A budget: what an attempt may spend, what counts, and what happens when nothing is left. Virtual time, no agent. US dollars."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from simulation import Outcome, Simulation, finished, workflow

from cpool_flow import events
from cpool_flow.budget import Others, Pot
from cpool_flow.spending import DAY_SECONDS, Spending, dollars


def costs(wanted: Mapping[str, float], seconds: Mapping[str, float] | None = None) -> Outcome:
    """Agents that stop where they may not spend more, as Claude Code does; each task has a price of its own."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        takes = (seconds or {}).get(started.task, 1.0)
        if started.agent is None:
            return takes, finished(started.task, started.number)
        price = wanted.get(started.task, 0.0)
        if started.budget_usd is not None and price > started.budget_usd + 1e-9:
            return takes, finished(started.task, started.number, "budget", cost_usd=started.budget_usd)
        return takes, finished(started.task, started.number, cost_usd=price)

    return outcome


def caps(run: Simulation) -> dict[str, list[float | None]]:
    """What each attempt was allowed to spend, in the order of their starts."""
    found: dict[str, list[float | None]] = {}
    for event, _ in run.journal:
        if isinstance(event, events.AttemptStarted):
            found.setdefault(event.task, []).append(None if event.budget_usd is None else round(event.budget_usd, 6))
    return found


def stops(run: Simulation) -> list[str]:
    return [event.reason for event, _ in run.journal if isinstance(event, events.RunStopping) and event.cause == "budget"]


A, B, C = ({"name": name, "prompt": "x"} for name in "abc")


def test_each_attempt_of_a_chain_may_spend_all_that_is_left():
    run = Simulation(workflow(A, B, C), costs({"a": 0.5, "b": 1.25}), budget_usd=5.0, slots=4).run()
    assert caps(run) == {"a": [5.0], "b": [4.5], "c": [3.25]}
    assert (run.state.status, run.state.cost_usd, run.state.cost_known) == ("success", 1.75, True)


def test_without_a_budget_nothing_is_held_back():
    run = Simulation(workflow(A), costs({"a": 100.0})).run()
    assert caps(run) == {"a": [None]}
    assert run.state.status == "success"


def test_out_of_budget_what_runs_ends_nothing_new_starts_and_the_run_fails():
    flow = workflow(
        {**A, "needs": []},
        {**B, "needs": "a"},
        {"name": "slow", "run": "x", "needs": []},
        {"name": "after", "run": "x", "needs": "slow"},
        **{"finally": [{"name": "tidy", "run": "x"}]},
    )
    run = Simulation(flow, costs({"a": 1.0}, {"slow": 9.0}), budget_usd=1.0).run()
    assert run.statuses() == {"a": "success", "b": "cancelled", "slow": "success", "after": "cancelled", "tidy": "success"}
    assert run.state.status == "failed"
    assert stops(run) == ["the run's budget of $1.00 is used up: $1.00 spent"]
    assert run.state.stopping
    assert run.state.stopping.cause == "budget"


def test_an_agent_that_uses_up_the_rest_fails_with_kind_budget_and_so_does_the_run():
    run = Simulation(workflow({**A, "retries": 3, "recovery_prompt": "mend"}, B), costs({"a": 2.0}), budget_usd=1.0).run()
    assert caps(run) == {"a": [1.0]}
    assert run.statuses() == {"a": "failed", "b": "cancelled"}
    assert run.state.steps["a"].reason == "budget"
    assert len(stops(run)) == 1


def test_the_budget_of_a_step_is_its_own_matter():
    """Its attempt fails and is never tried again; the run is not out of budget."""
    flow = workflow({**A, "retries": 3, "config": {"max_budget_usd": 0.5}, "on_failure": "continue"}, B)
    run = Simulation(flow, costs({"a": 2.0, "b": 3.0}), budget_usd=5.0).run()
    assert caps(run) == {"a": [0.5], "b": [4.5]}
    assert run.statuses() == {"a": "failed", "b": "success"}
    assert stops(run) == []


def test_steps_that_could_run_at_once_share_what_is_left():
    run = Simulation(workflow({**A, "foreach": [1]}), costs({}), items={"a": 3}, budget_usd=6.0, slots=4).run()
    assert caps(run) == {"a[0]": [2.0], "a[1]": [2.0], "a[2]": [2.0]}
    run = Simulation(workflow({**A, "foreach": [1]}), costs({}), items={"a": 3}, budget_usd=6.0, slots=2).run()
    assert caps(run) == {"a[0]": [3.0], "a[1]": [3.0], "a[2]": [6.0]}


@pytest.mark.parametrize("slots", [2, 3, 7, 8, 30])
def test_under_a_budget_no_slot_is_left_idle_for_want_of_a_share(slots):
    run = Simulation(workflow({**A, "foreach": [1]}), costs({}), items={"a": 200}, budget_usd=1e6 / 3, slots=slots).run()
    assert run.most_running == slots
    assert run.now == -(-200 // slots)


def test_a_budget_that_is_large_enough_slows_nothing_down():
    names = [f"a[{number}]" for number in range(100)]
    wanted = {name: 0.01 + number % 3 / 100 for number, name in enumerate(names)}
    seconds = {name: 1.0 + number % 7 for number, name in enumerate(names)}
    flow = workflow({**A, "foreach": [1]})
    free = Simulation(flow, costs(wanted, seconds), items={"a": 100}, slots=8).run()
    run = Simulation(flow, costs(wanted, seconds), items={"a": 100}, slots=8, budget_usd=8.0).run()
    assert run.now == free.now
    assert run.state.status == "success"


def test_a_step_leaves_a_share_for_one_that_may_start_beside_it_later():
    flow = workflow({**A, "needs": []}, {"name": "first", "run": "x", "needs": []}, {**B, "needs": "first"}, {**C, "needs": "b"})
    run = Simulation(flow, costs({}, {"a": 9.0, "first": 2.0}), budget_usd=6.0, slots=4).run()
    assert caps(run)["a"] == [3.0]
    assert run.state.tasks["b"].attempts[0].started_at == 2.0
    assert caps(run)["b"] == [3.0]
    assert caps(run)["c"] == [3.0]


def test_max_budget_usd_of_a_step_is_all_that_is_held_back_for_it():
    flow = workflow({**A, "needs": [], "config": {"max_budget_usd": 1.0}}, {**B, "needs": []})
    run = Simulation(flow, costs({}), budget_usd=6.0).run()
    assert caps(run) == {"a": [1.0], "b": [5.0]}


def test_a_step_whose_own_cap_is_more_than_is_left_waits_for_those_that_run():
    flow = workflow(*({"name": name, "prompt": "x", "needs": [], "config": {"max_budget_usd": 4.0}} for name in "ab"))
    run = Simulation(flow, costs({"a": 1.0, "b": 1.0}), budget_usd=6.0).run()
    assert caps(run) == {"a": [4.0], "b": [4.0]}
    assert run.state.tasks["b"].attempts[0].started_at == 1.0


def test_an_attempt_that_used_up_its_share_is_made_again_with_what_the_others_left():
    wanted = {"a[0]": 4.0, "a[1]": 0.5, "a[2]": 0.5}
    flow = workflow({**A, "foreach": [1], "retries": 0})
    run = Simulation(flow, costs(wanted, {"a[1]": 2.0, "a[2]": 2.0}), items={"a": 3}, budget_usd=9.0, slots=3).run()
    assert caps(run) == {"a[0]": [3.0, 5.0], "a[1]": [3.0], "a[2]": [3.0]}
    assert run.state.tasks["a[0]"].attempts[1].started_at == 2.0
    assert (run.state.status, run.state.cost_usd) == ("success", 8.0)


def test_an_attempt_that_used_up_its_share_is_not_made_again_with_less():
    run = Simulation(workflow({**A, "foreach": [1]}), costs({"a[0]": 3.0, "a[1]": 0.5}), items={"a": 2}, budget_usd=5.0).run()
    assert caps(run) == {"a[0]": [2.5], "a[1]": [2.5]}
    assert [task.status for task in run.state.steps["a"].tasks] == ["failed", "success"]
    assert stops(run) == ["what is left of the run's budget of $5.00 is not enough: $3.00 spent, and `a[0]` needs more than $2.50"]


@pytest.mark.parametrize("kind", ["failed", "cancelled", "lost", "timeout", "bad_output"])
def test_an_attempt_that_failed_counts_with_what_it_has_spent(kind):
    def outcome(started):
        if started.task == "a" and started.number == 1:
            return 1.0, finished(started.task, started.number, kind, cost_usd=0.75)
        return 1.0, finished(started.task, started.number, cost_usd=0.5)

    run = Simulation(workflow({**A, "retries": 1}, {**B, "join": "done"}), outcome, budget_usd=2.0).run()
    assert run.state.cost_usd == (1.25 if kind == "cancelled" else 1.75)
    assert caps(run)["b"] == [1.25 if kind == "cancelled" else 0.75]


def test_an_agent_that_does_not_say_what_it_cost_counts_with_all_that_it_was_allowed():
    def outcome(started):
        return 1.0, finished(started.task, started.number)

    flow = workflow({**A, "config": {"max_budget_usd": 2.0}}, B, C)
    run = Simulation(flow, outcome, budget_usd=5.0).run()
    assert caps(run) == {"a": [2.0], "b": [3.0]}
    assert stops(run) == ["the run's budget of $5.00 is used up: $5.00 spent, $5.00 of it for agents that did not say what they cost"]
    assert (run.state.cost_usd, run.state.cost_known) == (0.0, False)


@pytest.mark.parametrize("kind", ["lost", "timeout", "cancelled"])
def test_an_attempt_that_was_cut_short_counts_with_what_is_known_of_it(kind):
    spending = Spending(5.0)
    spending.apply(events.AttemptStarted("a", 1, agent="claude", budget_usd=2.0), 0.0)
    assert spending.held_usd == 2.0
    spending.apply(finished("a", 1, kind, cost_at_least_usd=0.25), 1.0)
    assert (spending.held_usd, spending.spent_usd, spending.complete) == (0.0, 0.25, False)


def cut_short(spending: Spending, kind: str = "lost", **seen: object) -> float:
    """What an attempt adds that was cut short and did not tell its cost."""
    before = spending.spent_usd
    spending.apply(events.AttemptStarted("a", 1, agent="claude", budget_usd=2.0), 0.0)
    spending.apply(finished("a", 1, kind, **seen), 1.0)
    return spending.spent_usd - before


@pytest.mark.parametrize("kind", ["lost", "timeout", "cancelled"])
def test_an_attempt_that_was_cut_short_and_has_no_price_counts_with_its_tokens(kind):
    spending = Spending(5.0)
    assert cut_short(spending, kind) == 0
    assert cut_short(spending, kind, input_tokens=100_000, output_tokens=10_000) == pytest.approx(0.45)
    assert cut_short(spending, kind, input_tokens=100_000, cached_tokens=100_000, output_tokens=0) == pytest.approx(0.03)
    assert cut_short(spending, kind, input_tokens=10**9, output_tokens=0) == 2.0
    assert (spending.known_usd, spending.complete) == (0, False)


def test_what_a_token_costs_is_told_by_the_attempts_that_told_their_cost():
    spending = Spending(5.0)
    spending.apply(events.AttemptStarted("b", 1, agent="claude"), 0.0)
    spending.apply(finished("b", 1, cost_usd=0.5, input_tokens=100_000, output_tokens=0), 1.0)
    spending.apply(events.AttemptStarted("c", 1, agent="codex"), 0.0)
    spending.apply(finished("c", 1, cost_usd=1.0, input_tokens=1, output_tokens=0), 1.0)
    assert cut_short(spending, input_tokens=20_000, output_tokens=0) == pytest.approx(0.1)


def test_where_the_price_is_known_or_may_be_unknown_nothing_is_guessed():
    assert cut_short(Spending(5.0), input_tokens=100_000, output_tokens=0, cost_at_least_usd=0.0) == 0
    assert cut_short(Spending(5.0, allow_unpriced=True), input_tokens=100_000, output_tokens=0) == 0


def test_agents_that_die_again_and_again_use_up_a_budget_though_they_never_tell_their_cost():
    def outcome(started):
        return 1.0, finished(started.task, started.number, "lost", input_tokens=200_000, output_tokens=0)

    steps = [{"name": f"s{n}", "prompt": "x", "retries": 2, "join": "done"} for n in range(9)]
    run = Simulation(workflow(*steps), outcome, budget_usd=2.0).run()
    assert sum(len(task.attempts) for task in run.state.tasks.values()) == 4
    assert stops(run) == ["the run's budget of $2.00 is used up: $2.00 spent, $2.00 of it for agents that did not say what they cost"]


def test_an_unknown_cost_counts_as_nothing_only_where_that_was_allowed():
    spending = Spending()
    spending.apply(events.RunCreated("r", "n", "w", "f", "/", "m", 1, "none", budget_usd=5.0, allow_unpriced=True), 0.0)
    spending.apply(events.AttemptStarted("a", 1, agent="command", budget_usd=2.0), 0.0)
    spending.apply(finished("a", 1), 1.0)
    assert (spending.limit_usd, spending.spent_usd, spending.complete) == (5.0, 0.0, False)


def test_sub_workflows_spend_from_the_same_budget():
    child = workflow(A, B)
    run = Simulation(
        workflow({"name": "sub", "workflow": "child"}, C), costs({"sub/a": 1.0, "sub/b": 1.0}), children={"child": child}, budget_usd=3.0
    ).run()
    assert caps(run) == {"sub/a": [3.0], "sub/b": [2.0], "c": [1.0]}
    assert run.state.cost_usd == 2.0


def test_a_sub_workflow_with_a_budget_of_its_own_fails_when_that_is_used_up_and_the_rest_goes_on():
    child = workflow(A, B, budget_usd=1.0)
    flow = workflow({"name": "sub", "workflow": "child", "on_failure": "continue"}, C)
    run = Simulation(flow, costs({"sub/a": 1.0, "c": 1.5}), children={"child": child}, budget_usd=3.0).run()
    assert caps(run) == {"sub/a": [1.0], "c": [2.0]}
    assert run.statuses()["sub"] == "failed"
    assert stops(run) == ["the budget of $1.00 of the sub-workflow `sub` is used up: $1.00 spent"]
    assert run.state.status == "success"


def test_agents_of_finally_fail_without_money_and_its_commands_run():
    flow = workflow(A, **{"finally": [{"name": "tell", "prompt": "x"}, {"name": "tidy", "run": "x"}]})
    run = Simulation(flow, costs({"a": 1.0}), budget_usd=1.0).run()
    assert run.statuses() == {"a": "success", "tell": "failed", "tidy": "success"}
    assert run.state.steps["tell"].reason == "budget: the run's budget of $1.00 is used up: $1.00 spent"
    assert run.state.status == "failed"


def test_a_run_out_of_budget_goes_on_with_more_where_it_was():
    run = Simulation(workflow(A, B), costs({"a": 1.0, "b": 1.0}), budget_usd=1.5).run()
    assert run.statuses() == {"a": "success", "b": "failed"}
    again = Simulation(workflow(A, B), costs({"a": 1.0, "b": 1.0}), budget_usd=2.5, journal=run.journal).run()
    assert caps(again) == {"a": [1.5], "b": [0.5, 1.0]}
    assert (again.state.status, again.state.cost_usd) == ("success", 2.5)


def test_a_resume_without_more_ends_as_before_with_nothing_started():
    run = Simulation(workflow(A, B), costs({"a": 1.0}), budget_usd=1.0).run()
    again = Simulation(workflow(A, B), costs({"a": 1.0}), journal=run.journal).run()
    assert caps(again) == {"a": [1.0]}
    assert again.state.status == "failed"


def test_the_time_of_the_run_still_ends_what_a_used_up_budget_lets_run():
    flow = workflow({"name": "slow", "run": "x", "needs": []}, {**A, "needs": []}, {**B, "needs": "a"})
    run = Simulation(flow, costs({"a": 1.0}, {"slow": 100.0}), budget_usd=1.0, timeout_seconds=10.0).run()
    assert run.statuses() == {"slow": "cancelled", "a": "success", "b": "cancelled"}
    assert run.now == 10.0


def test_a_budget_that_others_spend_from_as_well_bounds_the_run():
    day = Others((Pot("the day's budget of $10.00", 10.0, spent_usd=9.0, today=True),))
    run = Simulation(workflow(A, B), costs({"a": 0.5}), others=day).run()
    assert caps(run) == {"a": [1.0], "b": [0.5]}
    full = Others((Pot("the day's budget of $10.00", 10.0, spent_usd=10.5, today=True),))
    run = Simulation(workflow(A), costs({}), others=full).run()
    assert stops(run) == ["the day's budget of $10.00 is used up: $10.50 spent"]


def test_of_another_day_nothing_counts_against_the_day():
    pot = Pot("the day's budget of $2.00", 2.0, today=True)
    seconds = {"a": DAY_SECONDS - 1.0, "b": DAY_SECONDS * 1.0}
    run = Simulation(workflow(A, B, C), costs({"a": 1.5, "b": 0.25}, seconds), others=Others((pot,))).run()
    assert caps(run) == {"a": [2.0], "b": [0.5], "c": [1.75]}


@pytest.mark.parametrize(
    ("usd", "text"), [(0.0, "$0.00"), (0.84, "$0.84"), (12.0, "$12.00"), (0.0031, "$0.0031"), (0.01, "$0.01"), (0.00000001, "$0")]
)
def test_small_amounts_are_not_told_as_nothing(usd, text):
    assert dollars(usd) == text
