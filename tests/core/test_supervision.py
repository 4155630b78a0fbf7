"""Slots whose agent does not work: in virtual time, without a process."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from simulation import Outcome, Simulation, finished, workflow

from cpool_flow import events
from cpool_flow.supervision import choose

PROMPTS = {"name": "a", "prompt": "x", "foreach": "args.n"}


def dies_on(*slots: str, until: float = float("inf")) -> Callable[[Simulation], Outcome]:
    """On these slots the agent's process dies after a second, up to that moment; elsewhere it does its work in ten."""

    def within(run: Simulation) -> Outcome:
        def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
            if started.agent and started.slot in slots and run.now < until:
                return 1.0, finished(started.task, started.number, "lost", fault="died")
            return 10.0, finished(started.task, started.number)

        return outcome

    return within


def simulate(outcome: Callable[[Simulation], Outcome], count: int, slots: int, **step: object) -> Simulation:
    run = Simulation(workflow({**PROMPTS, **step}), items={"a": count}, slots=slots)
    run.outcome = outcome(run)
    return run


def quarantines(run: Simulation) -> list[tuple[str, float, float]]:
    """Slot, when, and for how long."""
    return [(event.slot, at, event.until - at) for event, at in run.journal if isinstance(event, events.SlotQuarantined) and not event.last]


def starts_on(run: Simulation, slot: str) -> list[float]:
    return [at for event, at in run.journal if isinstance(event, events.AttemptStarted) and event.slot == slot]


def test_a_slot_on_which_the_agent_dies_again_and_again_rests_and_its_work_goes_to_the_others():
    run = simulate(dies_on("slot-1"), count=20, slots=3).run()
    assert run.statuses() == {"a": "success"}
    assert quarantines(run)[0] == ("slot-1", 3.0, 30.0)
    assert [at for at in starts_on(run, "slot-1") if at < 33.0] == [0.0, 1.0, 2.0]
    reason = next(event.reason for event, _ in run.journal if isinstance(event, events.SlotQuarantined))
    assert reason == "the agent's process died 3 times in a row: lost"


def test_it_is_tried_again_once_and_rests_longer_each_time_up_to_ten_minutes():
    run = simulate(dies_on("slot-1"), count=1000, slots=2).run()
    assert [seconds for _, _, seconds in quarantines(run)][:7] == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]
    first, second = quarantines(run)[:2]
    assert second[1] == pytest.approx(first[1] + 30.0 + 1.0)  # one attempt


def test_a_slot_that_works_again_is_a_slot_like_any_other():
    run = simulate(dies_on("slot-1", until=20.0), count=100, slots=2).run()
    assert len(quarantines(run)) == 1
    assert run.state.health["slot-1"].rests == 0
    assert len([at for at in starts_on(run, "slot-1") if at >= 33.0]) > 20


@pytest.mark.parametrize("fault", ["died", "hung", "not started"])
def test_whatever_the_process_does_wrong_counts(fault: events.Fault):
    kinds = {"died": "lost", "hung": "timeout", "not started": "errored"}

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        bad = started.slot == "slot-1"
        return 1.0, finished(started.task, started.number, kinds[fault] if bad else None, fault=fault if bad else "")

    assert quarantines(simulate(lambda run: outcome, count=9, slots=2).run())[0][0] == "slot-1"


@pytest.mark.parametrize("kind", ["failed", "rate_limited", "overloaded", "bad_output", "max_turns"])
def test_a_failure_of_the_work_says_that_the_slot_works(kind: str):
    ends = iter(["lost", "lost", kind, "lost", "lost", kind] * 50)

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        if started.slot != "slot-1":
            return 1.0, finished(started.task, started.number)
        end = next(ends)
        return 1.0, finished(started.task, started.number, end, fault="died" if end == "lost" else "")

    assert quarantines(simulate(lambda run: outcome, count=9, slots=2, retry={"delay": "1s", "jitter": False}).run()) == []


def test_one_task_that_kills_its_agent_wherever_it_runs_puts_no_slot_to_rest():
    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        bad = started.task == "a[0]"
        return 1.0, finished(started.task, started.number, "lost" if bad else None, fault="died" if bad else "")

    run = simulate(lambda run: outcome, count=2, slots=2, retries=9, retry={"delay": "1s", "factor": 1, "jitter": False}).run()
    assert quarantines(run) == []
    assert len(run.state.tasks["a[0]"].attempts) == 10


def test_the_next_attempt_of_a_task_goes_to_a_slot_on_which_it_has_not_died():
    run = simulate(dies_on("slot-1"), count=1, slots=3, retry={"delay": "1s", "jitter": False}).run()
    assert [attempt.started.slot for attempt in run.state.tasks["a[0]"].attempts] == ["slot-1", "slot-2"]


def test_where_no_slot_works_one_goes_on_the_run_says_so_and_every_step_fails_for_what_its_agent_does():
    run = simulate(dies_on("slot-1", "slot-2", "slot-3"), count=12, slots=3, retry={"delay": "1s", "jitter": False}).run()
    assert run.statuses() == {"a": "failed"}
    assert all(len(task.attempts) == 3 and task.reason == "lost" for task in run.state.tasks.values())
    last = [event for event, _ in run.journal if isinstance(event, events.SlotQuarantined) and event.last]
    assert last
    assert {event.slot for event in last} - {slot for slot, _, _ in quarantines(run)[:2]} == {"slot-3"}
    for _, at, _ in quarantines(run):
        assert sum(begin <= at < begin + seconds for _, begin, seconds in quarantines(run)) < 3


def test_a_run_with_one_slot_waits_for_nothing():
    run = simulate(dies_on("slot-1"), count=3, slots=1, retries=0).run()
    assert quarantines(run) == []
    assert run.now == 3.0


def test_the_only_slot_that_a_step_may_take_goes_on():
    flow = workflow({**PROMPTS, "slot": "gpu"}, slots=[{"name": "gpu"}, {"count": 3}])
    run = Simulation(flow, items={"a": 3})
    run.outcome = dies_on("gpu")(run)
    run.run()
    assert quarantines(run) == []
    assert [len(task.attempts) for task in run.state.tasks.values()] == [3, 3, 3]


def test_shell_steps_take_a_slot_on_which_agents_do_not_work():
    flow = workflow({**PROMPTS, "needs": []}, {"name": "b", "run": "x", "foreach": [1], "needs": []})
    run = Simulation(flow, items={"a": 8, "b": 30}, slots=2)
    run.outcome = dies_on("slot-1")(run)
    run.run()
    assert run.statuses() == {"a": "success", "b": "success"}
    resting = next(at for slot, at, _ in quarantines(run))
    shell = [at for event, at in run.journal if isinstance(event, events.AttemptStarted) and event.task.startswith("b") and event.slot == "slot-1"]  # fmt: skip
    assert any(resting <= at < resting + 30.0 for at in shell)


def test_a_shell_step_says_nothing_of_a_slot():
    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        return 1.0, finished(started.task, started.number, "failed")

    run = Simulation(workflow({"name": "b", "run": "x", "foreach": [1]}), outcome, items={"b": 9}, slots=2).run()
    assert run.state.health == {}


def test_a_coordinator_that_goes_on_begins_with_all_slots():
    first = simulate(dies_on("slot-1"), count=20, slots=2).run(until=10.0)
    assert first.state.health["slot-1"].rests == 1
    second = Simulation(first.workflow, items={"a": 20}, slots=2, journal=first.journal)
    assert second.state.health == {}
    assert second.run().statuses() == {"a": "success"}


def test_no_task_uses_up_its_attempts_on_a_slot_that_does_not_work_while_others_are_busy():
    run = simulate(dies_on("slot-1"), count=2, slots=2, retry={"delay": "1ms", "jitter": False}).run()
    assert run.statuses() == {"a": "success"}
    assert [attempt.started.slot for attempt in run.state.tasks["a[0]"].attempts] == ["slot-1", "slot-1", "slot-2"]


@pytest.mark.parametrize(
    ("free", "resting", "faults", "slot"),
    [
        (["s1", "s2"], [], {}, "s1"),
        (["s1", "s2"], ["s1"], {}, "s2"),
        (["s1", "s2"], [], {"s1": 1}, "s2"),
        (["s1"], [], {"s1": 1}, "s1"),  # it may have been chance
        (["s1"], [], {"s1": 2}, None),  # s2 is busy, and worth the wait
        (["s1"], ["s2"], {"s1": 2}, "s1"),  # s2 rests
        (["s1", "s2"], [], {"s1": 3, "s2": 2}, "s2"),
        (["s1"], ["s1"], {}, None),
        ([], [], {}, None),
    ],
)
def test_which_slot_an_attempt_takes(free: list[str], resting: list[str], faults: dict[str, int], slot: str | None):
    assert choose(["s1", "s2"], free, resting, faults) == slot
