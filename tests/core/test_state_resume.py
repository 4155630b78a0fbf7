"""What a resume may run again: a person's word, effects outside, time limits and reasons outlive the coordinator that died."""

from __future__ import annotations

import pytest
from simulation import Simulation, finished, workflow

from cpool_flow import events

PUSH = workflow({"name": "push", "run": "x", "effects": "external"}, {"name": "after", "run": "x"})


def starts(run: Simulation) -> list[str]:
    return [event.task for event, _ in run.journal if isinstance(event, events.AttemptStarted)]


def crashed(flow=PUSH, at: float = 0.5, **options) -> Simulation:
    """A run whose coordinator died at this moment."""
    run = Simulation(flow, **options)
    run.run(until=at)
    return run


def resumed(run: Simulation, **options) -> Simulation:
    return Simulation(run.workflow, journal=run.journal, **options)


def test_effects_outside_are_still_asked_about_when_the_run_was_cancelled_meanwhile():
    waiting = resumed(crashed()).run()
    waiting.note(events.RunStopping("cancel", "cancelled"))
    cancelled = waiting.run()
    assert cancelled.state.status == "cancelled"
    again = resumed(cancelled).run()
    assert again.left
    assert list(again.state.asking) == ["push"]
    assert starts(again) == ["push"]


def test_effects_outside_are_asked_about_when_the_coordinator_died_while_it_stopped_them():
    run = crashed()
    run.note(events.RunStopping("cancel", "cancelled"))
    again = resumed(run).run()
    assert again.left
    assert starts(again) == ["push"]


def test_a_decision_may_come_before_the_question():
    run = crashed()
    run.note(events.RunStopping("cancel", "cancelled"))
    again = resumed(run)
    again.note(events.Decided("push", "rerun"))
    again.run()
    assert starts(again) == ["push", "push", "after"]
    assert again.state.status == "success"


def test_effects_outside_that_failed_by_decision_are_asked_about_at_the_next_resume():
    asked = resumed(crashed()).run()
    failed = resumed(asked)
    failed.note(events.Decided("push", "fail"))
    assert failed.run().state.status == "failed"
    again = resumed(failed).run()
    assert again.left
    assert starts(again) == ["push"]


def test_effects_outside_that_failed_by_themselves_run_again_at_a_resume():
    failed = Simulation(PUSH, lambda started: (1.0, finished(started.task, started.number, "failed"))).run()
    assert starts(resumed(failed).run()) == ["push", "push", "after"]


def test_an_item_that_a_person_skipped_stays_skipped_when_another_one_runs_again():
    flow = workflow({"name": "push", "run": "x", "foreach": [1], "effects": "external"})

    def second_fails(started):
        return 1.0, finished(started.task, started.number, "failed" if started.task == "push[1]" else None)

    asked = resumed(crashed(flow, items={"push": 2}, outcome=second_fails, slots=1), items={"push": 2}, outcome=second_fails, slots=1).run()
    skipped = resumed(asked, items={"push": 2}, outcome=second_fails)
    skipped.note(events.Decided("push[0]", "skip"))
    assert skipped.run().state.status == "failed"
    again = resumed(skipped, items={"push": 2}).run()
    assert starts(again) == ["push[0]", "push[1]", "push[1]"]
    assert [task.status for task in again.state.steps["push"].tasks] == ["skipped", "success"]


def test_dependents_run_when_a_person_skipped_every_item():
    flow = workflow({"name": "push", "run": "x", "foreach": [1], "effects": "external"}, {"name": "after", "run": "x"})
    asked = resumed(crashed(flow, items={"push": 2}), items={"push": 2}).run()
    skipped = resumed(asked, items={"push": 2})
    skipped.note(events.Decided("push[0]", "skip"))
    skipped.note(events.Decided("push[1]", "skip"))
    assert skipped.run().statuses() == {"push": "skipped", "after": "success"}


def test_the_time_of_all_attempts_together_begins_anew_after_a_crash():
    step = {"name": "a", "run": "x", "retries": 1, "retry": {"delay": "0s", "timeout": "10s"}}
    run = crashed(workflow(step), outcome=lambda started: (5.0, finished(started.task, started.number)))
    run.journal.append((events.Noted("a day goes by"), 86_400.0))
    again = resumed(run)
    assert again.now == 86_400.0
    again.run(until=86_400.0)
    assert again.attempt_timeout("a") == 10.0


def test_the_time_of_all_attempts_together_does_not_run_at_a_usage_limit():
    def limited(started):
        if started.number == 1:
            return 1.0, finished(started.task, started.number, "rate_limited", resets_at=5000.0)
        return 1.0, finished(started.task, started.number)

    run = Simulation(workflow({"name": "a", "prompt": "x", "retry": {"timeout": "10s"}}), limited)
    run.run(until=5000.0)
    assert run.attempt_timeout("a") == 10.0


def test_the_time_of_all_attempts_together_does_not_bound_a_recovery():
    step = {"name": "a", "run": "x", "retry": {"timeout": "1s"}, "timeout": "20s", "recovery_prompt": "mend"}
    run = Simulation(workflow(step), lambda started: (5.0, finished(started.task, started.number, "failed")))
    run.run(until=7.0)
    assert run.state.tasks["a"].attempts[-1].started.kind == "recovery"
    assert run.attempt_timeout("a") == 20.0


def test_a_wait_from_before_a_resume_wakes_nobody():
    step = {"name": "a", "run": "x", "retries": 1, "retry": {"delay": "60s", "jitter": False}}
    run = Simulation(workflow(step), lambda started: (1.0, finished(started.task, started.number, "failed")))
    run.run(until=2.0)
    run.note(events.RunStopping("cancel", "cancelled"))
    run.run()
    assert resumed(run).state.wake_at() is None


@pytest.mark.parametrize("moment", [0.5, 1.5, 2.5])
def test_a_step_that_left_nothing_is_not_named_in_the_commit_of_another(moment):
    run = crashed(workflow({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, {"name": "c", "run": "x"}), at=moment)
    assert list(resumed(run).state.uncommitted) == [["a"], ["b"], ["c"]][int(moment)]
