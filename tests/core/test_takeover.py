"""What a rerun takes over: facts of steps that had ended before, never of what comes after; the files that the step saw."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Simulation, created, finished, workflow
from test_random_runs import MOST_STEPS, random_workflows, simulate

from cpool_flow import events, model, takeover
from cpool_flow.errors import InvalidInput
from cpool_flow.takeover import Takeover

CHAIN = workflow({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, {"name": "c", "run": "x"})


def ended(flow: model.Workflow, *failing: str, **options: Any) -> Simulation:
    """A run whose attempts of these tasks fail."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        kind = "failed" if started.task in failing else None
        return 1.0, finished(started.task, started.number, kind, cost_usd=0.5)

    return Simulation(flow, outcome=outcome, **options).run()


def rerun(old: Simulation, found: Takeover, **options: Any) -> Simulation:
    """The new run, to its end: every attempt of it succeeds."""
    new = Simulation(old.workflow, items=old.items, skip=old.skip, rounds=old.rounds, children=old.children, **options)
    for event, at in found.facts:
        new.now = at
        new.note(event)
        new.state.check()
    new.note(events.ResultsTaken("old", found.steps, found.partly, found.known))
    new.state.check()
    return new


def from_step(old: Simulation, name: str) -> Takeover:
    return takeover.up_to(old.plan, old.journal, name, "old")


def without_failed(old: Simulation) -> Takeover:
    return takeover.without_failed(old.plan, old.journal, "old")


def started(run: Simulation) -> list[str]:
    """The tasks that this run itself has executed."""
    seen = next(index for index, (event, _) in enumerate(run.journal) if isinstance(event, events.ResultsTaken))
    return [event.task for event, _ in run.journal[seen:] if isinstance(event, events.AttemptStarted)]


def test_a_rerun_from_a_step_does_that_step_and_what_comes_after():
    old = ended(CHAIN)
    found = from_step(old, "b")
    assert found.steps == ("a",)
    new = rerun(old, found).run()
    assert started(new) == ["b", "c"]
    assert new.statuses() == {"a": "success", "b": "success", "c": "success"}
    assert new.state.steps["a"].reason == "taken over from run old"


def test_what_is_taken_over_costs_the_new_run_nothing():
    new = rerun(ended(CHAIN), from_step(ended(CHAIN), "c"))
    assert new.state.cost_usd == 0.0
    assert [attempt.taken for task in new.state.tasks.values() for attempt in task.attempts] == [True, True]


def test_a_rerun_of_the_first_step_takes_nothing_over():
    old = ended(CHAIN)
    assert from_step(old, "a").steps == ()
    assert started(rerun(old, from_step(old, "a")).run()) == ["a", "b", "c"]


def test_what_had_not_ended_when_the_step_began_is_done_again():
    flow = workflow(
        {"name": "a", "run": "x", "needs": []},
        {"name": "slow", "run": "x", "needs": []},
        {"name": "b", "run": "x", "needs": ["a"]},
        {"name": "c", "run": "x", "needs": ["b", "slow"]},
    )
    old = Simulation(flow, outcome=lambda started: (9.0 if started.task == "slow" else 1.0, finished(started.task, started.number))).run()
    found = from_step(old, "b")
    assert found.steps == ("a",)
    assert sorted(started(rerun(old, found).run())) == ["b", "c", "slow"]


def test_a_failure_is_taken_over_where_the_step_was_to_know_of_it_and_else_done_again():
    flow = workflow(
        {"name": "watched", "run": "x", "needs": []},
        {"name": "alone", "run": "x", "needs": []},
        {"name": "told", "run": "x", "needs": ["watched"], "join": "done"},
    )
    old = ended(flow, "watched", "alone")
    found = from_step(old, "told")
    assert found.steps == ("watched",)
    new = rerun(old, found).run()
    assert sorted(started(new)) == ["alone", "told"]
    assert new.state.status == "failed"


def test_an_early_end_is_decided_anew():
    flow = workflow({"name": "a", "run": "x"}, {"name": "enough", "end": "success"}, {"name": "late", "run": "x"})
    old = ended(flow)
    with pytest.raises(InvalidInput, match="run `old` has not come to step `late` \\(skipped: the end\\)"):
        from_step(old, "late")
    found = from_step(old, "enough")
    assert found.steps == ("a",)
    assert rerun(old, found).run().statuses() == {"a": "success", "enough": "success", "late": "skipped"}


def test_finally_runs_again_in_every_rerun():
    flow = workflow({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, **{"finally": [{"name": "tidy", "run": "x"}]})
    old = ended(flow)
    assert started(rerun(old, from_step(old, "b")).run()) == ["b", "tidy"]
    with pytest.raises(InvalidInput, match="step `tidy` is in `finally`: it runs at the end of every run"):
        from_step(old, "tidy")


def test_a_step_that_was_done_in_a_second_life_of_the_run_counts_from_its_first_attempt():
    old = ended(CHAIN, "b")
    resumed = Simulation(CHAIN, journal=old.journal).run()
    assert resumed.state.status == "success"
    assert from_step(resumed, "b").steps == ("a",)
    found = from_step(resumed, "c")
    assert found.steps == ("a", "b")
    new = rerun(resumed, found).run()
    assert started(new) == ["c"]
    assert new.state.mark == "mark"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d", "run `old` has no step `d`"),
        ("gruop", "run `old` has no step `gruop`"),
        ("group/iner", "run `old` has no step `group/iner`"),
        ("items[7]", "run `old` has no step `items[7]`"),
        ("tidy", "step `tidy` is in `finally`: it runs at the end of every run"),
    ],
)
def test_only_what_is_in_the_run_can_be_begun_with(name: str, message: str):
    flow = workflow(
        {"name": "items", "foreach": [1], "run": "x"},
        {"name": "group", "steps": [{"name": "inner", "run": "x"}]},
        **{"finally": [{"name": "tidy", "run": "x"}]},
    )
    with pytest.raises(InvalidInput) as caught:
        from_step(ended(flow, items={"items": 2}), name)
    assert str(caught.value) == message


CHAIN_OF_GROUP = [{"name": "one", "run": "x"}, {"name": "two", "run": "x"}, {"name": "three", "run": "x"}]


def test_a_rerun_can_begin_within_a_group():
    flow = workflow({"name": "a", "run": "x"}, {"name": "group", "steps": CHAIN_OF_GROUP}, {"name": "z", "run": "x"})
    old = ended(flow)
    found = from_step(old, "group/two")
    assert (found.steps, found.partly) == (("a",), ("group",))
    assert started(rerun(old, found).run()) == ["group/two", "group/three", "z"]
    first = from_step(old, "group/one")
    assert started(rerun(old, first).run()) == ["group/one", "group/two", "group/three", "z"]


def test_a_rerun_from_an_item_does_what_had_not_ended_when_it_began():
    flow = workflow({"name": "many", "foreach": [1], "run": "x"}, {"name": "z", "run": "x"})
    old = ended(flow, items={"many": 4}, slots=1)
    found = from_step(old, "many[2]")
    assert (found.steps, found.partly) == ((), ("many",))
    assert started(rerun(old, found).run()) == ["many[2]", "many[3]", "z"]


def test_a_rerun_can_begin_with_a_step_of_one_item():
    flow = workflow({"name": "each", "foreach": [1], "steps": CHAIN_OF_GROUP})
    old = ended(flow, items={"each": 2}, slots=1)
    assert started(rerun(old, from_step(old, "each[1]/three")).run()) == ["each[1]/three"]
    assert started(rerun(old, from_step(old, "each[1]")).run()) == ["each[1]/one", "each[1]/two", "each[1]/three"]


def test_what_ran_beside_the_item_is_made_anew_as_if_it_had_not_begun():
    flow = workflow({"name": "each", "foreach": [1], "steps": CHAIN_OF_GROUP})
    old = ended(flow, items={"each": 2}, slots=2)
    found = from_step(old, "each[1]/three")
    new = rerun(old, found).run()
    assert started(new) == ["each[0]/three", "each[1]/three"]
    assert [len(task.attempts) for task in new.state.tasks.values() if task.attempts] == [1, 1, 1, 1, 1, 1]


def test_within_a_group_too_a_failure_is_taken_over_where_the_step_was_to_know_of_it_and_else_done_again():
    inside = [
        {"name": "watched", "run": "x", "needs": []},
        {"name": "alone", "run": "x", "needs": []},
        {"name": "between", "run": "x", "needs": ["watched"]},
        {"name": "told", "run": "x", "needs": ["between"], "join": "done"},
    ]
    flow = workflow({"name": "each", "foreach": [1], "steps": inside}, {"name": "z", "run": "x", "join": "done"})
    old = ended(flow, "each[0]/watched", "each[1]/watched", "each[1]/alone", items={"each": 2}, slots=1)
    new = rerun(old, from_step(old, "each[1]/told")).run()
    assert started(new) == ["each[0]/watched", "each[1]/alone", "each[0]/between", "each[1]/told", "z"]
    assert new.state.steps["each[1]/watched"].status == "failed"
    assert new.state.steps["each[1]/between"].reason == "upstream failed"
    assert new.state.status == "failed"


def test_a_failure_before_the_group_within_which_a_step_stands_is_known_to_it_as_well():
    inner = {"name": "inner", "steps": CHAIN_OF_GROUP, "join": "done"}
    flow = workflow({"name": "outer", "steps": [{"name": "before", "run": "x"}, inner]})
    old = ended(flow, "outer/before")
    assert started(rerun(old, from_step(old, "outer/inner/two")).run()) == ["outer/inner/two", "outer/inner/three"]


def test_a_session_of_a_group_is_not_gone_on_with_in_another_run_either():
    flow = workflow(
        {"name": "g", "steps": [{"name": "plan", "prompt": "x"}, {"name": "go", "prompt": "x", "session": {"continue": "plan"}}]}
    )
    with pytest.raises(InvalidInput, match="step `g/go` goes on in the session of `g/plan`, which belongs to run `old`"):
        from_step(ended(flow), "g/go")


def test_a_step_that_was_not_reached_saw_nothing():
    with pytest.raises(
        InvalidInput, match="run `old` has not come to step `c` \\(skipped: upstream failed\\): there is nothing that it saw"
    ):
        from_step(ended(CHAIN, "b"), "c")


def test_a_session_is_not_gone_on_with_in_another_run():
    flow = workflow(
        {"name": "plan", "prompt": "x"}, {"name": "go", "prompt": "x", "session": {"continue": "plan"}}, {"name": "end", "run": "x"}
    )
    old = ended(flow)
    with pytest.raises(InvalidInput, match="step `go` goes on in the session of `plan`, which belongs to run `old`"):
        from_step(old, "go")
    assert from_step(old, "end").steps == ("plan", "go")


# ---- failed -------------------------------------------------------------------------------------------------


def test_failed_steps_are_done_again_with_what_depends_on_them():
    flow = workflow(
        {"name": "a", "run": "x", "needs": []},
        {"name": "bad", "run": "x", "needs": ["a"], "on_failure": "continue"},
        {"name": "after", "run": "x", "needs": ["bad"]},
        {"name": "other", "run": "x", "needs": ["a"]},
    )
    old = ended(flow, "bad")
    found = without_failed(old)
    assert found.steps == ("a", "other")
    assert started(rerun(old, found).run()) == ["bad", "after"]


def test_of_a_fan_out_only_the_items_that_failed_are_done_again():
    flow = workflow({"name": "many", "foreach": [1], "run": "x"}, {"name": "last", "run": "x"})
    old = ended(flow, "many[1]", items={"many": 3})
    found = without_failed(old)
    assert (found.steps, found.partly) == ((), ("many",))
    new = rerun(old, found).run()
    assert started(new) == ["many[1]", "last"]
    assert new.state.cost_usd == 0.0
    assert new.state.status == "success"


def test_in_a_group_what_has_succeeded_is_kept():
    group = [{"name": "one", "run": "x"}, {"name": "two", "run": "x"}]
    old = ended(workflow({"name": "each", "foreach": [1], "steps": group}), "each[0]/two", items={"each": 2})
    found = without_failed(old)
    assert found.partly == ("each",)
    assert started(rerun(old, found).run()) == ["each[0]/two"]


def test_a_failure_in_finally_is_a_failure_too():
    old = ended(workflow({"name": "a", "run": "x"}, **{"finally": [{"name": "tidy", "run": "x"}]}), "tidy")
    found = without_failed(old)
    assert found.steps == ("a",)
    assert started(rerun(old, found).run()) == ["tidy"]


def test_where_nothing_failed_there_is_nothing_to_do_again():
    with pytest.raises(InvalidInput, match="no step of run `old` has failed"):
        without_failed(ended(CHAIN))


def test_what_was_interrupted_is_done_again():
    old = Simulation(CHAIN)
    old.run(until=1.5)
    found = without_failed(old)
    assert found.steps == ("a",)
    assert started(rerun(old, found).run()) == ["b", "c"]


# ---- files --------------------------------------------------------------------------------------------------


def facts(*happened: events.Event) -> list[tuple[events.Event, float]]:
    first = [created(), events.PlaceOpened("/place"), events.SetupFinished()]
    return [(event, float(number)) for number, event in enumerate([*first, *happened])]


def step(name: str, tree: str, error: str | None = None) -> list[events.Event]:
    opened = [events.StepOpened(name), events.AttemptStarted(name, 1, tree=tree), finished(name, 1, error)]
    return [*opened, *([events.TaskClosed(name, "failed", error)] if error else [])]


def test_the_new_run_begins_with_the_files_that_the_step_saw():
    old = Simulation(CHAIN)
    journal = facts(
        *step("a", "tree 0"), events.PlaceCommitted("commit a", ("a",)), *step("b", "tree a"), events.PlaceCommitted("commit b", ("b",)),
        *step("c", "tree b"),
    )  # fmt: skip
    assert takeover.up_to(old.plan, journal, "a", "old").commit is None
    assert takeover.up_to(old.plan, journal, "a", "old").tree == "tree 0"
    found = takeover.up_to(old.plan, journal, "c", "old")
    assert (found.commit, found.tree) == ("commit b", "tree b")


def test_a_commit_of_two_steps_is_that_of_the_one_that_is_taken_over():
    flow = workflow({"name": "a", "run": "x", "needs": []}, {"name": "b", "run": "x", "needs": []}, {"name": "c", "run": "x", "needs": "a"})
    both = events.PlaceCommitted("both", ("a", "b"))
    journal = facts(*step("a", "tree 0"), *step("b", "tree 0", "failed"), both, *step("c", "tree ab"))
    found = takeover.up_to(Simulation(flow).plan, journal, "c", "old")
    assert [event.tasks for event, _ in found.facts if isinstance(event, events.PlaceCommitted)] == [("a",)]


def test_after_a_failure_the_new_run_begins_with_what_the_failed_step_saw():
    journal = facts(
        *step("a", "tree 0"), events.PlaceCommitted("commit a", ("a",)), *step("b", "tree a", "failed"),
        events.PlaceCommitted("commit b", ("b",)), events.StepClosed("c", "skipped", "upstream failed"), events.PlaceClosed(commit="commit b"),
    )  # fmt: skip
    found = takeover.without_failed(Simulation(CHAIN).plan, journal, "old")
    assert (found.steps, found.commit, found.tree) == (("a",), "commit a", "tree a")


def test_what_was_done_beside_a_failed_step_is_not_lost():
    flow = workflow({"name": "a", "run": "x", "needs": []}, {"name": "b", "run": "x", "needs": []})
    journal = facts(*step("b", "tree 0", "failed"), *step("a", "tree 1"), events.PlaceCommitted("commit", ("a",)))
    found = takeover.without_failed(Simulation(flow).plan, journal, "old")
    assert (found.steps, found.commit, found.tree) == (("a",), "commit", None)


# ---- any run ------------------------------------------------------------------------------------------------


@given(random_workflows(), st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_any_rerun_from_within_a_step_does_that_and_nothing_again_that_it_has_taken_over(
    flow: model.Workflow, seed: int, number: int
) -> None:
    old = simulate(flow, seed).run()
    inside = sorted({name for name in (*old.state.steps, *old.state.tasks) if any(mark in name for mark in "[/#")})
    if not inside:
        return
    name = inside[number % len(inside)]
    try:
        found = from_step(old, name)
    except InvalidInput:
        return
    new = rerun(old, found, rejects=old.rejects).run()
    again = started(new)
    assert not {name.partition("/")[0].partition("[")[0].partition("#")[0] for name in again} & set(found.steps)
    began = any(task == name or task.startswith((f"{name}/", f"{name}[", f"{name}#")) for task in again)
    executed = any(isinstance(event, events.AttemptStarted) and event.task == name for event, _ in old.journal)
    assert began or not executed or new.left or new.state.stopping is not None


@given(random_workflows(), st.integers(0, 1000), st.integers(0, MOST_STEPS - 1), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_rerun_does_nothing_again_that_it_has_taken_over_and_comes_to_an_end(
    flow: model.Workflow, seed: int, number: int, failed: bool
) -> None:
    old = simulate(flow, seed).run()
    try:
        found = without_failed(old) if failed else from_step(old, f"s{number}")
    except InvalidInput:
        return
    new = rerun(old, found, rejects=old.rejects).run()
    assert not {name.partition("/")[0].partition("[")[0] for name in started(new)} & set(found.steps)
    if not new.left:
        settled = [new.state.root.steps[name] for name in found.steps]
        assert all(step.ended for step in settled)
        if not failed and flow.steps[number].approve is None and new.state.stopping is None:
            assert new.state.root.steps[f"s{number}"].ended
