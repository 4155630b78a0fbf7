"""Steps within steps: groups, loops, sub-workflows, approvals, an early end. No process, no clock."""

from __future__ import annotations

from typing import Any

from simulation import Outcome, Simulation, finished, workflow

from cpool_flow import events, model


def started(run: Simulation) -> list[str]:
    return [event.task for event, _ in run.journal if isinstance(event, events.AttemptStarted)]


def fails(*tasks: str) -> Outcome:
    return lambda event: (1.0, finished(event.task, event.number, "failed" if event.task in tasks else None))


def group(**more: Any) -> dict[str, Any]:
    return {"name": "g", "steps": [{"name": "a", "run": "x"}, {"name": "b", "run": "x"}], **more}


def test_a_group_is_a_chain_inside_and_one_step_outside() -> None:
    run = Simulation(workflow(group(), {"name": "after", "run": "x"})).run()
    assert started(run) == ["g/a", "g/b", "after"]
    assert run.statuses() == {"g": "success", "after": "success", "g/a": "success", "g/b": "success"}


def test_a_group_with_items_finishes_an_item_before_it_opens_the_next() -> None:
    run = Simulation(workflow(group(foreach=[1])), slots=1, items={"g": 3}).run()
    assert started(run) == ["g[0]/a", "g[0]/b", "g[1]/a", "g[1]/b", "g[2]/a", "g[2]/b"]


def test_a_fan_out_of_chains_opens_only_as_many_items_as_there_are_slots() -> None:
    run = Simulation(workflow(group(foreach=[1])), slots=2, items={"g": 100}).run(until=0.5)
    assert len(run.state.running) == 2
    assert sum(task.status == "running" for task in run.state.steps["g"].tasks) == 2


def test_items_that_wait_for_a_person_do_not_keep_the_slots_from_others() -> None:
    steps = [{"name": "ask", "approve": "ok?"}, {"name": "work", "run": "x"}]
    run = Simulation(workflow({"name": "g", "foreach": [1], "steps": steps}), slots=2, items={"g": 5}, person=False).run()
    assert run.left
    assert len(run.state.approvals) == 5


def test_max_parallel_of_a_group_counts_its_items() -> None:
    run = Simulation(workflow(group(foreach=[1], max_parallel=1)), slots=4, items={"g": 3}).run()
    assert started(run) == ["g[0]/a", "g[0]/b", "g[1]/a", "g[1]/b", "g[2]/a", "g[2]/b"]
    assert run.most_running == 1


def test_a_failure_inside_fails_the_item_and_what_follows_it_inside_is_skipped() -> None:
    run = Simulation(workflow(group(foreach=[1]), {"name": "after", "run": "x"}), fails("g[1]/a"), items={"g": 3}).run()
    assert run.statuses()["g[1]/b"] == "skipped"
    assert [task.status for task in run.state.steps["g"].tasks] == ["success", "failed", "success"]
    assert run.state.steps["g"].reason == "1 of 3 items failed"
    assert run.statuses()["after"] == "skipped"


def test_fail_fast_of_a_group_cancels_what_runs_in_other_items_and_skips_what_has_not_begun() -> None:
    def outcome(event: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        return (1.0, finished(event.task, event.number, "failed")) if event.task == "g[0]/a" else (9.0, finished(event.task, event.number))

    run = Simulation(workflow(group(foreach=[1], fail_fast=True)), outcome, slots=2, items={"g": 4}).run()
    assert [task.status for task in run.state.steps["g"].tasks] == ["failed", "cancelled", "skipped", "skipped"]
    assert run.statuses()["g[1]/a"] == "cancelled"
    assert run.state.status == "failed"


def test_an_inner_failure_that_is_let_pass_leaves_the_group_well() -> None:
    steps = [{"name": "a", "run": "x", "on_failure": "continue"}, {"name": "b", "run": "x"}]
    run = Simulation(workflow({"name": "g", "steps": steps}), fails("g/a")).run()
    assert run.state.status == "success"


def test_groups_stand_within_groups() -> None:
    inner = {"name": "h", "foreach": [1], "steps": [{"name": "x", "run": "x"}]}
    run = Simulation(workflow({"name": "g", "foreach": [1], "steps": [inner]}), slots=1, items={"g": 2, "h": 2}).run()
    assert started(run) == ["g[0]/h[0]/x", "g[0]/h[1]/x", "g[1]/h[0]/x", "g[1]/h[1]/x"]


def test_a_loop_begins_another_round_until_it_is_done() -> None:
    run = Simulation(workflow(group(repeat={"until": "x", "max": 5})), rounds={"g": 3}).run()
    assert started(run) == ["g/a", "g/b", "g#2/a", "g#2/b", "g#3/a", "g#3/b"]


def test_a_loop_over_one_step_makes_a_round_of_it() -> None:
    run = Simulation(workflow({"name": "poll", "run": "x", "repeat": {"until": "x", "max": 5}}), rounds={"poll": 2}).run()
    assert started(run) == ["poll/poll", "poll#2/poll"]


def test_a_rejected_approval_fails_its_step() -> None:
    flow = workflow({"name": "ask", "approve": "ok?"}, {"name": "then", "run": "x"})
    run = Simulation(flow, rejects=frozenset({"ask"})).run()
    assert run.statuses() == {"ask": "failed", "then": "skipped"}


def test_the_end_skips_what_has_not_begun_and_cancels_what_runs() -> None:
    flow = workflow(
        {"name": "long", "run": "x", "needs": []},
        {"name": "short", "run": "x", "needs": []},
        {"name": "stop", "end": "success", "needs": "short"},
        {"name": "never", "run": "x", "needs": "stop"},
        **{"finally": [{"name": "tidy", "run": "x"}]},
    )
    run = Simulation(flow, lambda event: (9.0 if event.task == "long" else 1.0, finished(event.task, event.number))).run()
    assert run.statuses() == {"long": "cancelled", "short": "success", "stop": "success", "never": "skipped", "tidy": "success"}
    assert run.state.status == "success"


def test_an_end_that_failed_fails_the_run() -> None:
    run = Simulation(workflow({"name": "stop", "end": "failed"}, {"name": "never", "run": "x"})).run()
    assert run.state.status == "failed"
    assert run.statuses()["never"] == "skipped"


def child(**top: Any) -> model.Workflow:
    return workflow({"name": "one", "run": "x"}, {"name": "two", "run": "x"}, **top)


def with_child(inner: model.Workflow, *after: dict[str, Any], outcome: Outcome | None = None, **more: Any) -> Simulation:
    flow = workflow({"name": "sub", "workflow": "child.yaml", **more}, *after)
    return Simulation(flow, *([outcome] if outcome else []), children={"child.yaml": inner})


def test_a_sub_workflow_runs_in_the_same_slots_and_its_finally_after_it() -> None:
    run = with_child(child(**{"finally": [{"name": "tidy", "run": "x"}]}), {"name": "after", "run": "x"}).run()
    assert started(run) == ["sub/one", "sub/two", "sub/tidy", "after"]


def test_an_end_in_a_sub_workflow_ends_only_that() -> None:
    inner = workflow({"name": "stop", "end": "success"}, {"name": "never", "run": "x"})
    run = with_child(inner, {"name": "after", "run": "x"}).run()
    assert run.statuses() == {"sub": "success", "after": "success", "sub/stop": "success", "sub/never": "skipped"}


def test_the_time_of_a_sub_workflow_stops_it_and_its_finally_still_runs() -> None:
    inner = child(timeout="3s", **{"finally": [{"name": "tidy", "run": "x"}]})
    run = with_child(inner, outcome=lambda event: (2.0, finished(event.task, event.number))).run()
    assert run.statuses() == {"sub": "failed", "sub/one": "success", "sub/two": "cancelled", "sub/tidy": "success"}


def test_a_cancel_of_the_run_still_runs_finally_of_a_sub_workflow() -> None:
    run = with_child(child(**{"finally": [{"name": "tidy", "run": "x"}]})).run(until=0.5)
    run.note(events.RunStopping("cancel", "cancelled"))
    run.run()
    assert run.statuses() == {"sub": "cancelled", "sub/one": "cancelled", "sub/two": "cancelled", "sub/tidy": "success"}
    assert run.state.status == "cancelled"


def test_a_resume_after_a_failure_goes_on_inside_the_item_that_failed() -> None:
    flow = workflow(group(foreach=[1]), {"name": "after", "run": "x"})
    first = Simulation(flow, fails("g[1]/b"), items={"g": 3}).run()
    again = Simulation(flow, items={"g": 3}, journal=list(first.journal)).run()
    assert started(again)[len(started(first)) :] == ["g[1]/b", "after"]
    assert again.state.status == "success"


# ---- the first need that ends well ----


def racing(*needs: str, **more: Any) -> dict[str, Any]:
    return {"name": "first", "needs": list(needs), "join": "any", "run": "x", **more}


def takes(**seconds: float) -> Outcome:
    return lambda event: (seconds.get(event.task, 1.0), finished(event.task, event.number))


def test_the_first_need_that_ends_well_lets_the_others_run_on() -> None:
    steps = [{"name": name, "needs": [], "run": "x"} for name in ("quick", "slow")]
    run = Simulation(workflow(*steps, racing("quick", "slow")), takes(slow=9)).run()
    assert run.statuses() == {"quick": "success", "slow": "success", "first": "success"}


def test_with_fail_fast_the_first_need_that_ends_well_cancels_the_others() -> None:
    steps = [{"name": name, "needs": [], "run": "x"} for name in ("quick", "slow", "late")]
    run = Simulation(workflow(*steps, racing("quick", "slow", "late", fail_fast=True)), takes(slow=9), slots=2).run()
    assert run.statuses() == {"quick": "success", "slow": "cancelled", "late": "skipped", "first": "success"}
    assert run.state.status == "success"
    assert {run.state.steps[name].reason for name in ("slow", "late")} == {"not needed any more"}
    assert run.now == 2.0


def test_what_others_wait_for_as_well_is_not_given_up() -> None:
    steps = [{"name": name, "needs": [], "run": "x"} for name in ("quick", "slow")]
    other = {"name": "other", "needs": ["slow"], "run": "x"}
    run = Simulation(workflow(*steps, racing("quick", "slow", fail_fast=True), other), takes(slow=9)).run()
    assert run.statuses() == {"quick": "success", "slow": "success", "first": "success", "other": "success"}


def test_groups_and_fan_outs_are_given_up_with_all_that_is_in_them() -> None:
    steps = [
        {"name": "quick", "needs": [], "run": "x"},
        group(needs=[], foreach=[1, 2, 3]),
        {"name": "each", "needs": [], "foreach": [1, 2, 3], "run": "x"},
    ]
    slow = takes(**{"each[1]": 9, "each[2]": 9, "g[0]/a": 9, "g[1]/a": 9, "g[2]/a": 9})
    run = Simulation(workflow(*steps, racing("quick", "g", "each", fail_fast=True)), slow, slots=4, items={"g": 3, "each": 3}).run()
    assert (run.statuses()["g"], run.statuses()["each"], run.state.status) == ("cancelled", "skipped", "success")
    assert run.now < 9.0
    again = Simulation(workflow(*steps, racing("quick", "g", "each", fail_fast=True)), slow, slots=4, journal=list(run.journal)).run()
    assert len(started(again)) == len(started(run))


def test_an_end_skips_the_items_of_a_group_that_have_not_begun() -> None:
    steps = [{"name": "wait", "run": "x"}, {"name": "stop", "end": "success"}, group(needs=[], foreach=[1, 2, 3])]
    run = Simulation(workflow(*steps), takes(**{"g[0]/a": 5}), slots=2, items={"g": 3}).run()
    assert [task.status for task in run.state.steps["g"].tasks] == ["cancelled", "cancelled", "skipped"]
