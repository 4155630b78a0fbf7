"""What happens next: order, retries, recovery, skipping, stopping. No process, no clock, no sleep."""

from __future__ import annotations

from itertools import pairwise

import pytest
from simulation import Outcome, Simulation, finished, workflow

from cpool_flow import events


def fails(*tasks: str, kind: str = "failed", times: int = 1000) -> Outcome:
    """These tasks fail `times` times, all others succeed; each attempt takes a second."""
    left = dict.fromkeys(tasks, times)

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        if left.get(started.task, 0) > 0 and started.kind == "normal":
            left[started.task] -= 1
            return 1.0, finished(started.task, started.number, kind)
        return 1.0, finished(started.task, started.number)

    return outcome


def starts(run: Simulation) -> list[str]:
    return [event.task for event, _ in run.journal if isinstance(event, events.AttemptStarted)]


def test_a_file_without_needs_is_a_chain():
    run = Simulation(workflow({"run": "a"}, {"run": "b"}, {"run": "c"})).run()
    assert starts(run) == ["step_1", "step_2", "step_3"]
    assert run.state.status == "success"
    assert run.now == 3.0


def test_needs_of_nothing_starts_at_once_and_slots_are_never_exceeded():
    run = Simulation(workflow(*({"name": f"s{n}", "run": "x", "needs": []} for n in range(5))), slots=2).run()
    assert run.most_running == 2
    assert run.now == 3.0


def test_a_fan_out_starts_in_item_order_and_an_empty_one_succeeds():
    flow = workflow({"name": "a", "run": "x", "foreach": [0, 1, 2]}, {"name": "b", "run": "x", "foreach": "args.none"})
    run = Simulation(flow, items={"a": 3, "b": 0}).run()
    assert starts(run) == ["a[0]", "a[1]", "a[2]"]
    assert run.statuses() == {"a": "success", "b": "success"}


def test_max_parallel_bounds_one_step_only():
    flow = workflow({"name": "a", "run": "x", "foreach": [1], "max_parallel": 1, "needs": []}, {"name": "b", "run": "x", "needs": []})
    run = Simulation(flow, items={"a": 3}, slots=4).run()
    assert run.most_running == 2
    assert starts(run)[:2] == ["a[0]", "b"]


def test_dependents_of_a_failure_are_skipped_and_independent_branches_go_on():
    flow = workflow({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, {"name": "c", "run": "x", "needs": []})
    run = Simulation(flow, fails("a")).run()
    assert run.statuses() == {"a": "failed", "b": "skipped", "c": "success"}
    assert run.state.steps["b"].reason == "upstream failed"
    assert run.state.status == "failed"


def test_on_failure_continue_lets_dependents_run_and_the_run_succeed():
    run = Simulation(workflow({"name": "a", "run": "x", "on_failure": "continue"}, {"name": "b", "run": "x"}), fails("a")).run()
    assert run.statuses() == {"a": "failed", "b": "success"}
    assert run.state.status == "success"


def test_on_failure_stop_cancels_what_has_not_started_and_what_runs():
    slow = fails("a")
    flow = workflow(
        {"name": "a", "run": "x", "needs": [], "on_failure": "stop"},
        {"name": "b", "run": "x", "needs": []},
        {"name": "c", "run": "x", "needs": "b"},
        **{"finally": [{"name": "tidy", "run": "x"}]},
    )
    run = Simulation(flow, lambda started: slow(started) if started.task == "a" else (9.0, finished(started.task, started.number))).run()
    assert run.statuses() == {"a": "failed", "b": "cancelled", "c": "cancelled", "tidy": "success"}
    assert run.state.status == "failed"


def test_dependents_of_a_step_skipped_by_its_when_run():
    run = Simulation(workflow({"name": "a", "run": "x", "when": "false"}, {"name": "b", "run": "x"}), skip=frozenset({"a"})).run()
    assert run.statuses() == {"a": "skipped", "b": "success"}


@pytest.mark.parametrize(("join", "status"), [("success", "skipped"), ("done", "success"), ("any", "success")])
def test_join_says_when_needs_are_met(join, status):
    flow = workflow(
        {"name": "good", "run": "x", "needs": []},
        {"name": "bad", "run": "x", "needs": []},
        {"name": "last", "run": "x", "needs": ["good", "bad"], "join": join},
    )
    assert Simulation(flow, fails("bad")).run().statuses()["last"] == status


def test_join_any_starts_with_the_first_that_ended_well():
    flow = workflow(
        {"name": "quick", "run": "x", "needs": []},
        {"name": "slow", "run": "x", "needs": []},
        {"name": "last", "run": "x", "needs": ["quick", "slow"], "join": "any"},
    )
    run = Simulation(flow, lambda started: (9.0 if started.task == "slow" else 1.0, finished(started.task, started.number)), slots=3).run()
    last = run.state.tasks["last"].attempts[0]
    assert last.started_at == 1.0
    assert run.now == 9.0


def test_join_any_waits_for_one_that_did_something_and_runs_when_all_were_skipped():
    steps = (
        {"name": "skipped", "run": "x", "needs": [], "when": "false"},
        {"name": "passed", "run": "x", "needs": [], "on_failure": "continue"},
        {"name": "slow", "run": "x", "needs": []},
        {"name": "last", "run": "x", "needs": ["skipped", "passed", "slow"], "join": "any"},
    )

    def outcome(started):
        return (9.0 if started.task == "slow" else 1.0), finished(
            started.task, started.number, "failed" if started.task == "passed" else None
        )

    run = Simulation(workflow(*steps), outcome, slots=3, skip=frozenset({"skipped"})).run()
    assert run.state.tasks["last"].attempts[0].started_at == 9.0
    flow = workflow(steps[0], {**steps[3], "needs": ["skipped"]})
    assert Simulation(flow, skip=frozenset({"skipped"})).run().statuses() == {"skipped": "skipped", "last": "success"}


def test_join_any_is_skipped_when_none_ended_well():
    flow = workflow(
        {"name": "a", "run": "x", "needs": []},
        {"name": "b", "run": "x", "needs": []},
        {"name": "last", "run": "x", "needs": ["a", "b"], "join": "any"},
    )
    run = Simulation(flow, fails("a", "b")).run()
    assert run.statuses()["last"] == "skipped"
    assert run.state.steps["last"].reason == "upstream failed"


def test_a_shell_step_is_tried_again_only_when_asked():
    assert starts(Simulation(workflow({"run": "x"}), fails("step_1")).run()) == ["step_1"]
    run = Simulation(workflow({"run": "x", "retries": 2}), fails("step_1", times=2)).run()
    assert len(starts(run)) == 3
    assert run.state.status == "success"


def test_waits_grow_by_the_factor_up_to_the_longest_and_hold_no_slot():
    step = {"run": "x", "retries": 4, "retry": {"delay": "1s", "max_delay": "5s", "jitter": False}}
    run = Simulation(workflow(step), fails("step_1")).run()
    begun = [attempt.started_at for attempt in run.state.tasks["step_1"].attempts]
    assert [after - before - 1.0 for before, after in pairwise(begun)] == [1.0, 2.0, 4.0, 5.0]


def test_retries_end_when_all_attempts_together_have_had_their_time():
    step = {"run": "x", "retries": 100, "retry": {"delay": "1s", "factor": 1, "jitter": False, "timeout": "6s"}}
    assert len(starts(Simulation(workflow(step), fails("step_1")).run())) == 3


@pytest.mark.parametrize("kind", ["auth", "permission_denied", "budget", "invalid"])
def test_what_no_retry_can_mend_is_tried_once(kind):
    assert len(starts(Simulation(workflow({"prompt": "x", "retries": 3}), fails("step_1", kind=kind)).run())) == 1


@pytest.mark.parametrize("kind", ["overloaded", "lost"])
def test_agents_are_tried_again_by_default_when_overloaded_or_lost(kind):
    assert len(starts(Simulation(workflow({"prompt": "x"}), fails("step_1", kind=kind)).run())) == 3
    assert len(starts(Simulation(workflow({"prompt": "x", "retries": 0}), fails("step_1", kind=kind)).run())) == 1
    assert len(starts(Simulation(workflow({"prompt": "x"}), fails("step_1", kind="failed")).run())) == 1


def test_only_the_named_kinds_and_exit_codes_are_tried_again():
    def exits(code):
        return lambda started: (1.0, finished(started.task, started.number, "failed", exit_code=code))

    step = {"run": "x", "retries": 2, "retry": {"exit_codes": [75]}}
    assert len(starts(Simulation(workflow(step), exits(75)).run())) == 3
    assert len(starts(Simulation(workflow(step), exits(1)).run())) == 1
    step = {"run": "x", "retries": 2, "retry": {"on": ["timeout"]}}
    assert len(starts(Simulation(workflow(step), fails("step_1", kind="timeout")).run())) == 3
    assert len(starts(Simulation(workflow(step), fails("step_1")).run())) == 1


def test_a_usage_limit_costs_no_retry_and_pauses_the_agent():
    def outcome(started):
        if started.number == 1 and started.task == "a":
            return 1.0, finished(started.task, started.number, "rate_limited", resets_at=100.0)
        return 1.0, finished(started.task, started.number)

    flow = workflow(
        {"name": "a", "prompt": "x", "retries": 0}, {"name": "b", "prompt": "x", "needs": []}, {"name": "c", "run": "x", "needs": []}
    )
    run = Simulation(flow, outcome, slots=1).run()
    assert run.state.status == "success"
    assert run.state.tasks["b"].attempts[0].started_at >= 100.0
    assert run.state.tasks["c"].attempts[0].started_at < 3.0


def test_recovery_runs_once_after_the_last_retry_and_its_answer_is_the_step():
    run = Simulation(workflow({"prompt": "x", "retries": 1, "recovery_prompt": "mend"}), fails("step_1")).run()
    kinds = [attempt.started.kind for attempt in run.state.tasks["step_1"].attempts]
    assert kinds == ["normal", "normal", "recovery"]
    assert run.state.status == "success"


def test_a_run_step_is_run_again_after_each_recovery():
    def outcome(started):
        if started.kind == "recovery" or started.number == 5:
            return 1.0, finished(started.task, started.number)
        return 1.0, finished(started.task, started.number, "failed", state=f"state {started.number}")

    run = Simulation(workflow({"run": "x", "recovery_prompt": "mend", "recoveries": 3}), outcome).run()
    assert [attempt.started.kind for attempt in run.state.tasks["step_1"].attempts] == [
        "normal",
        "recovery",
        "normal",
        "recovery",
        "normal",
    ]
    assert run.state.status == "success"


def test_a_round_that_comes_back_to_a_state_seen_before_ends_the_recovery():
    def outcome(started):
        if started.kind == "recovery":
            return 1.0, finished(started.task, started.number)
        return 1.0, finished(started.task, started.number, "failed", state="a" if started.number in (1, 5) else "b")

    run = Simulation(workflow({"run": "x", "recovery_prompt": "mend", "recoveries": 9}), outcome).run()
    assert len(starts(run)) == 5
    assert "seen before" in run.state.steps["step_1"].reason


def test_fail_fast_cancels_the_items_that_run_and_skips_the_others():
    def outcome(started):
        return (
            (1.0, finished(started.task, started.number, "failed"))
            if started.task == "a[0]"
            else (9.0, finished(started.task, started.number))
        )

    run = Simulation(workflow({"name": "a", "run": "x", "foreach": [1], "fail_fast": True}), outcome, items={"a": 4}).run()
    assert [task.status for task in run.state.steps["a"].tasks] == ["failed", "cancelled", "skipped", "skipped"]
    assert run.state.steps["a"].reason == "1 of 4 items failed"


def test_under_fail_fast_two_that_fail_at_once_have_both_failed():
    run = Simulation(workflow({"name": "a", "run": "x", "foreach": [1], "fail_fast": True}), fails("a[0]", "a[1]"), items={"a": 4}).run()
    assert [task.status for task in run.state.steps["a"].tasks] == ["failed", "failed", "skipped", "skipped"]


def test_fail_fast_cancels_an_item_that_waits_for_its_retry():
    def outcome(started):
        if started.task == "a[0]":
            return 2.0, finished(started.task, started.number, "auth")
        return 1.0, finished(started.task, started.number, "failed")

    step = {"name": "a", "prompt": "x", "foreach": [1], "fail_fast": True, "retries": 1, "retry": {"delay": "60s"}}
    run = Simulation(workflow(step), outcome, items={"a": 2}).run()
    assert [task.status for task in run.state.steps["a"].tasks] == ["failed", "cancelled"]
    assert run.now == 2.0


def test_without_fail_fast_all_items_are_collected():
    run = Simulation(workflow({"name": "a", "run": "x", "foreach": [1]}), fails("a[1]"), items={"a": 4}).run()
    assert [task.status for task in run.state.steps["a"].tasks] == ["success", "failed", "success", "success"]


def test_finally_runs_after_success_failure_cancel_and_time_out():
    flow = workflow({"name": "a", "run": "x"}, **{"finally": [{"name": "f1", "run": "x"}, {"name": "f2", "run": "x"}]})
    assert starts(Simulation(flow).run()) == ["a", "f1", "f2"]
    assert starts(Simulation(flow, fails("a", "f1")).run()) == ["a", "f1", "f2"]
    late = Simulation(
        flow, lambda started: (99.0 if started.task == "a" else 1.0, finished(started.task, started.number)), timeout_seconds=5.0
    ).run()
    assert late.statuses() == {"a": "cancelled", "f1": "success", "f2": "success"}
    assert (late.state.status, late.state.stopping.cause, late.now) == ("failed", "timeout", 7.0)
    cancelled = Simulation(flow)
    cancelled.run(until=0.5)
    cancelled.note(events.RunStopping("cancel", "cancelled"))
    assert cancelled.run().statuses() == {"a": "cancelled", "f1": "success", "f2": "success"}
    assert cancelled.state.status == "cancelled"


def test_a_second_stop_ends_finally_too():
    run = Simulation(workflow({"name": "a", "run": "x"}, **{"finally": [{"name": "f", "run": "x"}]}))
    run.run(until=1.5)
    run.note(events.RunStopping("cancel", "cancelled"))
    run.note(events.RunStopping("cancel", "cancelled", at_once=True))
    assert run.run().statuses() == {"a": "success", "f": "cancelled"}


def test_an_attempt_lost_with_the_coordinator_costs_no_retry():
    first = Simulation(workflow({"run": "x"}))
    first.run(until=0.5)
    second = Simulation(first.workflow, journal=first.journal).run()
    assert [attempt.finished.error_kind for attempt in second.state.tasks["step_1"].attempts] == ["lost", None]
    assert second.state.status == "success"


@pytest.mark.parametrize(
    ("choice", "statuses"), [("rerun", ("success", "success")), ("skip", ("skipped", "success")), ("fail", ("failed", "skipped"))]
)
def test_external_effects_that_may_have_happened_wait_for_a_person(choice, statuses):
    first = Simulation(workflow({"name": "push", "run": "x", "effects": "external"}, {"name": "b", "run": "x"}))
    first.run(until=0.5)
    second = Simulation(first.workflow, journal=first.journal).run()
    assert second.left
    assert starts(second) == ["push"]
    third = Simulation(first.workflow, journal=second.journal)
    third.note(events.Decided("push", choice))
    third.run()
    assert tuple(third.statuses().values()) == statuses


def test_resume_after_a_failure_runs_what_had_failed_and_what_was_skipped_for_it():
    flow = workflow(
        {"name": "a", "run": "x"},
        {"name": "b", "run": "x", "foreach": [1]},
        {"name": "c", "run": "x"},
        {"name": "celebrate", "run": "x", "when": "true", "join": "done"},
        **{"finally": [{"name": "tidy", "run": "x"}]},
    )
    first = Simulation(flow, fails("b[1]"), items={"b": 3}, skip=frozenset({"celebrate"})).run()
    assert first.state.status == "failed"
    second = Simulation(flow, items={"b": 3}, journal=first.journal).run()
    assert starts(second)[len(starts(first)) :] == ["b[1]", "c", "celebrate", "tidy"]
    assert second.state.status == "success"


# ---- slots that are asked for -------------------------------------------------------------------------------

POOL = [{"name": "reviewer"}, {"name": "writer", "count": 2}, {}]


def taken(run: Simulation) -> dict[str, str | None]:
    return {event.task: event.slot for event, _ in run.journal if isinstance(event, events.AttemptStarted)}


def test_a_step_that_asks_for_a_slot_waits_for_one_that_answers_and_takes_no_other():
    steps = [{"name": f"r{n}", "run": "x", "needs": [], "slot": "reviewer"} for n in range(3)]
    run = Simulation(workflow(*steps, slots=POOL)).run()
    assert taken(run) == {"r0": "reviewer", "r1": "reviewer", "r2": "reviewer"}
    assert (run.now, run.most_running) == (3.0, 1)


def test_a_step_that_waits_for_its_slot_holds_up_no_other():
    steps = [{"name": f"r{n}", "run": "x", "needs": [], "slot": "reviewer"} for n in range(2)] + [{"name": "any", "run": "x", "needs": []}]
    run = Simulation(workflow(*steps, slots=POOL)).run(until=0.5)
    assert taken(run) == {"r0": "reviewer", "any": "slot-1"}


def test_a_step_that_asks_for_none_leaves_the_slots_that_are_asked_for_as_long_as_it_can():
    steps = [{"name": f"s{n}", "run": "x", "needs": []} for n in range(4)] + [{"name": "r", "run": "x", "needs": "s0", "slot": "reviewer"}]
    run = Simulation(workflow(*steps, slots=POOL)).run()
    assert taken(run) == {"s0": "slot-1", "s1": "writer-1", "s2": "writer-2", "s3": "reviewer", "r": "reviewer"}


def test_the_oldest_that_waits_for_a_slot_gets_it_before_a_younger_that_would_take_any():
    steps = [
        {"name": "first", "run": "x", "needs": [], "slot": "a"},
        {"name": "second", "run": "x", "needs": [], "slot": "a"},
        {"name": "other", "run": "x", "needs": []},
    ]
    run = Simulation(workflow(*steps, slots=[{"name": "a"}])).run()
    assert list(taken(run)) == ["first", "second", "other"]


def test_of_several_slots_that_answer_a_task_gets_the_first_that_is_free():
    steps = [{"name": "s", "run": "x", "foreach": [1], "slot": "python"}]
    pool = [{"name": "a", "labels": ["python"]}, {"name": "b"}, {"name": "c", "role": "python"}]
    run = Simulation(workflow(*steps, slots=pool), items={"s": 3}).run()
    assert taken(run) == {"s[0]": "a", "s[1]": "c", "s[2]": "a"}


def test_a_recovery_works_in_the_slot_that_its_step_asks_for():
    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        return 1.0, finished(started.task, started.number, "failed" if started.number == 1 else None)

    flow = workflow({"name": "fix", "run": "x", "slot": "b", "recovery_prompt": "mend"}, slots=[{"name": "a"}, {"name": "b"}])
    run = Simulation(flow, outcome).run()
    assert [(attempt.started.kind, attempt.started.slot) for attempt in run.state.tasks["fix"].attempts] == [
        ("normal", "b"),
        ("recovery", "b"),
        ("normal", "b"),
    ]
