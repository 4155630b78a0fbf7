"""Usage limits of agents: who waits, how long, and who takes over. Virtual time; times in seconds."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest
from simulation import Outcome, Simulation, finished, workflow

from cpool_flow import events

Limits = Mapping[tuple[str, int], float | None]


def limited(limits: Limits, seconds: Mapping[str, float] | None = None) -> Outcome:
    """These attempts, by task and number, meet a limit that ends then (None: it does not say); all others succeed."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        takes = (seconds or {}).get(started.task, 1.0)
        key = (started.task, started.number)
        if key in limits:
            return takes, finished(started.task, started.number, "rate_limited", resets_at=limits[key])
        return takes, finished(started.task, started.number)

    return outcome


def parked(run: Simulation) -> list[tuple[str, float, bool]]:
    return [(event.agent, event.until, event.named) for event, _ in run.journal if isinstance(event, events.AgentParked)]


def began(run: Simulation, task: str) -> list[float]:
    return [attempt.started_at for attempt in run.state.tasks[task].attempts]


def agents(run: Simulation, task: str) -> list[str | None]:
    return [attempt.started.agent for attempt in run.state.tasks[task].attempts]


A, B = ({"name": name, "prompt": "x", "needs": [], "retries": 0} for name in "ab")


def test_a_parked_agent_waits_for_the_time_that_it_named_and_no_retry_is_spent():
    run = Simulation(workflow(A, {**B, "needs": "a"}), limited({("a", 1): 500.0, ("a", 2): 900.0})).run()
    assert parked(run) == [("claude", 500.0, True), ("claude", 900.0, True)]
    assert began(run, "a") == [0.0, 500.0, 900.0]
    assert run.state.status == "success"


def test_of_several_attempts_that_meet_the_limit_the_latest_end_counts():
    run = Simulation(workflow(A, B), limited({("a", 1): 500.0, ("b", 1): 900.0})).run()
    assert began(run, "a") == [0.0, 900.0]
    assert began(run, "b") == [0.0, 900.0]


def test_without_a_named_end_the_agent_is_asked_again_at_growing_intervals():
    run = Simulation(workflow(A), limited({("a", number): None for number in range(1, 8)})).run()
    assert [later - earlier for earlier, later in zip(began(run, "a"), began(run, "a")[1:], strict=False)] == [
        61.0,
        121.0,
        301.0,
        601.0,
        1801.0,
        1801.0,
        1801.0,
    ]


def test_an_agent_that_names_an_end_that_is_none_again_and_again_is_asked_less_and_less_often():
    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        if started.number > 10:
            return 1.0, finished(started.task, started.number)
        return 1.0, finished(started.task, started.number, "rate_limited", resets_at=run.now + 1.5)

    run = Simulation(workflow(A), outcome)
    run.run()
    begun = began(run, "a")
    assert [later - earlier for earlier, later in itertools.pairwise(begun)] == [1.5, 1.5, 1.5, 3, 5, 9, 17, 33, 61, 61]


def test_several_attempts_that_meet_an_unnamed_limit_at_once_are_one_step_of_the_back_off():
    run = Simulation(workflow({**A, "foreach": [1]}), limited({(f"a[{n}]", 1): None for n in range(3)}), items={"a": 3}, slots=3).run()
    assert parked(run) == [("claude", 61.0, False)]
    assert began(run, "a[2]") == [0.0, 61.0]


def test_an_answer_ends_the_back_off():
    run = Simulation(workflow(A, {**B, "needs": "a"}), limited({("a", 1): None, ("a", 2): None, ("b", 1): None})).run()
    assert [until for _, until, _ in parked(run)] == [61.0, 61.0 + 1 + 120, 182.0 + 1 + 1 + 60]


def test_an_attempt_from_before_the_limit_does_not_end_it():
    run = Simulation(workflow(A, B), limited({("a", 1): 500.0}, {"b": 2.0})).run()
    assert began(run, "a") == [0.0, 500.0]
    assert "claude" not in run.state.limits


def test_a_time_that_is_over_is_no_time():
    assert parked(Simulation(workflow(A), limited({("a", 1): 0.5})).run()) == [("claude", 61.0, False)]


def test_commands_and_other_agents_go_on():
    flow = workflow(A, {"name": "shell", "run": "x", "needs": []}, {**B, "config": {"agent": "codex"}})
    run = Simulation(flow, limited({("a", 1): 500.0}), slots=1).run()
    assert began(run, "shell") == [1.0]
    assert began(run, "b") == [2.0]


def test_a_recovery_waits_while_commands_of_the_same_step_go_on():
    def outcome(started):
        if started.kind == "recovery" and started.number == 2:
            return 1.0, finished(started.task, started.number, "rate_limited", resets_at=500.0)
        failed = started.kind == "normal" and started.task == "a[0]" and started.number == 1
        return 1.0, finished(started.task, started.number, "failed" if failed else None)

    flow = workflow({"name": "a", "run": "x", "foreach": [1], "recovery_prompt": "mend", "effects": "none"})
    run = Simulation(flow, outcome, items={"a": 3}, slots=1).run()
    assert began(run, "a[1]")[0] < 500
    assert began(run, "a[2]")[0] < 500
    assert run.state.status == "success"


def test_a_fallback_takes_over_at_once_and_gives_back_when_the_limit_is_over():
    flow = workflow({**A, "foreach": [1]}, {**B, "needs": "a"}, config={"fallback": ["codex"]})
    run = Simulation(flow, limited({("a[0]", 1): 3.0}), items={"a": 3}, slots=1).run()
    assert agents(run, "a[0]") == ["claude", "codex"]
    assert began(run, "a[0]") == [0.0, 1.0]
    assert agents(run, "a[1]") == ["codex"]
    assert agents(run, "b") == ["claude"]


def test_when_the_fallback_is_at_its_limit_too_the_first_that_is_over_goes_on():
    flow = workflow(A, config={"fallback": ["codex", "gemini"]})
    run = Simulation(flow, limited({("a", 1): 500.0, ("a", 2): 200.0, ("a", 3): 900.0})).run()
    assert agents(run, "a") == ["claude", "codex", "gemini", "codex"]
    assert began(run, "a") == [0.0, 1.0, 2.0, 200.0]


def test_past_the_longest_wait_the_run_is_left_and_a_resume_waits_on():
    run = Simulation(workflow(A), limited({("a", 1): 5000.0}), wait_max_seconds=600).run()
    assert run.left is not None
    assert run.now == 1.0
    assert run.left.reason == "waits for the usage limit of `claude` until 1970-01-01 01:23:20 UTC"
    again = Simulation(workflow(A), limited({}), journal=run.journal).run()
    assert began(again, "a") == [0.0, 5000.0]
    assert again.state.status == "success"


def test_the_longest_wait_is_that_of_all_limits_in_a_row():
    run = Simulation(workflow(A), limited({("a", number): None for number in range(1, 9)}), wait_max_seconds=600).run()
    assert run.left is not None
    assert began(run, "a") == [0.0, 61.0, 182.0, 483.0]


def test_a_resume_gives_the_whole_wait_again():
    run = Simulation(workflow(A), limited({("a", 1): 900.0}), wait_max_seconds=600).run()
    later = Simulation(workflow(A), limited({}), wait_max_seconds=600, journal=[*run.journal, (events.Noted("later"), 800.0)]).run()
    assert began(later, "a") == [0.0, 900.0]


def test_while_something_else_goes_on_the_run_is_not_left():
    flow = workflow(A, {"name": "shell", "run": "x", "needs": []}, {"name": "more", "run": "x", "needs": "shell"})
    run = Simulation(flow, limited({("a", 1): 5000.0}, {"shell": 100.0}), wait_max_seconds=600).run()
    assert run.left is not None
    assert run.now == 101.0
    assert run.statuses() == {"a": "waiting", "shell": "success", "more": "success"}


def test_a_person_is_not_waited_for_because_an_agent_that_nobody_needs_is_parked():
    flow = workflow(A, {"name": "ask", "approve": "ok?", "needs": []}, config={"fallback": ["codex"]})
    run = Simulation(flow, limited({("a", 1): 5000.0}), person=False).run()
    assert run.left is not None
    assert run.left.until is None


@pytest.mark.parametrize("cause", ["cancel", "timeout"])
def test_what_waits_for_a_limit_can_be_stopped(cause):
    run = Simulation(workflow(A), limited({("a", 1): 5000.0}), timeout_seconds=600 if cause == "timeout" else None).run(until=100)
    if cause == "cancel":
        run.note(events.RunStopping("cancel", "cancelled"))
    run.run()
    assert run.statuses() == {"a": "cancelled"}
    assert run.now == (100 if cause == "cancel" else 600)
