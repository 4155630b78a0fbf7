"""Random workflows, random endings: order, slots, Graham's bound, and that every prefix of a journal resumes to the same outcome."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulation import Simulation, finished, workflow

from cpool_flow import events, model
from cpool_flow.state import SKIPPED_BY_WHEN, State

KINDS = ("failed", "overloaded", "lost", "timeout", "bad_output", "auth", "permission_denied", "errored")
MOST_STEPS = 8

Journal = list[tuple[events.Event, float]]


@st.composite
def random_workflows(draw: st.DrawFn) -> model.Workflow:
    count = draw(st.integers(1, MOST_STEPS))
    steps = [draw(random_step(number)) for number in range(count)]
    cleanup = [{"name": f"f{number}", "run": "x", "retries": number} for number in range(draw(st.integers(0, 2)))]
    return workflow(*steps, **{"finally": cleanup})


@st.composite
def random_step(draw: st.DrawFn, number: int) -> dict[str, Any]:
    step: dict[str, Any] = {"name": f"s{number}", draw(st.sampled_from(["run", "prompt"])): "x"}
    step["needs"] = draw(st.lists(st.sampled_from([f"s{n}" for n in range(number)]), unique=True, max_size=3)) if number else []
    step["join"] = draw(st.sampled_from(["success", "done", "any"]))
    step["on_failure"] = draw(st.sampled_from(["fail", "fail", "continue", "stop"]))
    step["effects"] = draw(st.sampled_from(["none", "workspace", "workspace", "external"]))
    step["retries"] = draw(st.integers(0, 2))
    if draw(st.booleans()):
        step |= {"foreach": [1], "fail_fast": draw(st.booleans())}
        if draw(st.booleans()):
            step["max_parallel"] = draw(st.integers(1, 2))
    if draw(st.integers(0, 3)) == 0:
        step |= {"recovery_prompt": "mend", "recoveries": draw(st.integers(1, 3))}
    if "run" in step and draw(st.integers(0, 5)) == 0:
        step["slot"] = "none"
    return step


def chance(seed: int, *parts: object) -> int:
    """A number that depends on nothing but its arguments: the same attempt always ends the same way."""
    return zlib.crc32(repr((seed, *parts)).encode())


def outcomes(seed: int, run: Simulation) -> Callable[[events.AttemptStarted], tuple[float, events.AttemptFinished]]:
    """How the n-th attempt of a task ends; those lost with the coordinator, or cancelled, do not count."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        ended = [attempt.finished for attempt in run.state.tasks[started.task].counted if attempt.finished]
        number = sum(not each.interrupted and each.error_kind != "cancelled" for each in ended)
        found = chance(seed, started.task, started.kind, number)
        kind = KINDS[found % len(KINDS)] if found % 3 == 0 else None
        return 0.5 + found % 7, finished(started.task, started.number, kind, state=f"state {found % 5}" if kind else "")

    return outcome


def simulate(flow: model.Workflow, seed: int, journal: Journal | None = None, slots: int = 2) -> Simulation:
    items = {f"s{number}": chance(seed, "items", number) % 4 for number in range(MOST_STEPS)}
    skip = frozenset(f"s{number}" for number in range(MOST_STEPS) if chance(seed, "skip", number) % 5 == 0)
    run = Simulation(flow, slots=slots, items=items, skip=skip, journal=list(journal or []))
    run.outcome = outcomes(seed, run)
    return run


def to_the_end(flow: model.Workflow, seed: int, journal: Journal) -> Simulation:
    """Resume; where the run waits for a person, the person says `rerun`, in as many resumes as it takes."""
    run = simulate(flow, seed, journal).run()
    for _ in range(20):
        if not run.left:
            return run
        asked = list(run.state.asking)
        run = simulate(flow, seed, run.journal)
        for task in asked:
            run.note(events.Decided(task, "rerun"))
        run.run()
    raise AssertionError("the run asks again and again")


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=150, deadline=None)
def test_counters_are_what_a_recount_gives_after_every_event(flow: model.Workflow, seed: int) -> None:
    run = simulate(flow, seed).run()
    resumed = simulate(flow, seed, run.journal if run.state.status != "success" else run.journal[:-1]).run()
    state = State(resumed.plan)
    for event, at in resumed.journal:
        state.apply(event, at)
        state.check()


@given(random_workflows(), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_no_task_starts_before_its_needs_and_slots_are_never_exceeded(flow: model.Workflow, seed: int, slots: int) -> None:
    run = simulate(flow, seed, slots=slots).run()
    assert run.most_running <= slots
    for name, most in run.most_of.items():
        assert most <= (run.plan[name].max_parallel or most)
    for task in run.state.tasks.values():
        if task.attempts:
            assert _needs_were_met(run, task.step, task.attempts[0].started_at)
    main_ended = max((step.ended_at or 0.0 for step in run.state.steps.values() if step.plan.phase == "main"), default=0.0)
    last = [task for task in run.state.tasks.values() if run.plan[task.step].phase == "finally"]
    assert all(task.attempts[0].started_at >= main_ended for task in last)
    assert all(step.ended for step in run.state.steps.values())


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_prefix_of_a_journal_resumes_to_the_same_outcome(flow: model.Workflow, seed: int) -> None:
    whole = simulate(flow, seed).run()
    for length in range(1, len(whole.journal)):
        resumed = to_the_end(flow, seed, whole.journal[:length])
        assert resumed.state.status == whole.state.status, length
        assert _repeats(resumed) == []
        if not _stops(whole, resumed):  # what is cancelled depends on the moment
            assert resumed.statuses() == whole.statuses(), length


@given(random_workflows(), st.integers(0, 1000), st.lists(st.integers(0, 10_000), min_size=2, max_size=5))
@settings(max_examples=100, deadline=None)
def test_a_run_that_dies_again_and_again_comes_to_the_same_outcome(flow: model.Workflow, seed: int, cuts: list[int]) -> None:
    whole = simulate(flow, seed).run()
    journal = whole.journal[:-1]
    for cut in cuts:
        journal = simulate(flow, seed, journal[: 1 + cut % len(journal)]).run().journal
    resumed = to_the_end(flow, seed, journal[:-1])
    assert resumed.state.status == whole.state.status
    assert _repeats(resumed) == []
    if not _stops(whole, resumed):
        assert resumed.statuses() == whole.statuses()


@given(random_workflows(), st.integers(0, 1000), st.floats(0, 30), st.booleans())
@settings(max_examples=100, deadline=None)
def test_a_run_that_was_cancelled_ends_and_goes_on_where_it_was(flow: model.Workflow, seed: int, moment: float, at_once: bool) -> None:
    whole = simulate(flow, seed).run()
    cancelled = simulate(flow, seed).run(until=moment)
    if cancelled.state.finished or cancelled.state.stopping:
        return
    cancelled.note(events.RunStopping("cancel", "cancelled", at_once=at_once))
    cancelled.run()
    assert cancelled.state.status == "cancelled"
    assert not cancelled.state.running
    again = to_the_end(flow, seed, cancelled.journal)
    assert _repeats(again) == []
    if not _stops(whole, again, cause="on_failure"):
        main = [step.name for step in whole.plan.phase("main")]
        assert [again.statuses()[name] for name in main] == [whole.statuses()[name] for name in main]


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_a_resume_in_which_all_goes_well_leaves_nothing_undone(flow: model.Workflow, seed: int) -> None:
    failed = simulate(flow, seed).run()
    if failed.state.status == "success":
        return
    resumed = simulate(flow, seed, failed.journal)
    resumed.outcome = lambda started: (1.0, finished(started.task, started.number))
    resumed.run()
    assert resumed.state.status == "success"
    assert all(step.status == "success" or step.reason == SKIPPED_BY_WHEN for step in resumed.state.steps.values())


@given(st.lists(st.integers(0, 3), min_size=1, max_size=15), st.integers(0, 1000), st.integers(1, 4))
@example(fan_in=[0, 1], seed=0, slots=1)
@settings(max_examples=100, deadline=None)
def test_the_makespan_keeps_grahams_bound(fan_in: list[int], seed: int, slots: int) -> None:
    """W/P + CP(1 - 1/P), Graham 1969, for any list scheduler that never leaves a slot idle while a task is ready."""
    steps: list[dict[str, Any]] = []
    items: dict[str, int] = {}
    for number, wanted in enumerate(fan_in):
        needs = sorted({chance(seed, "need", number, n) % number for n in range(wanted)}) if number else []
        steps.append({"name": f"s{number}", "run": "x", "needs": [f"s{need}" for need in needs]})
        if chance(seed, "fans out", number) % 3 == 0:
            steps[-1]["foreach"] = [1]
            items[f"s{number}"] = 1 + chance(seed, "items", number) % 4

    def seconds(task: str) -> float:
        return 1.0 + chance(seed, "time", task) % 9

    run = Simulation(
        workflow(*steps), lambda started: (seconds(started.task), finished(started.task, started.number)), slots=slots, items=items
    ).run()
    path: dict[str, float] = {}
    for step in steps:
        longest = max(seconds(task.id) for task in run.state.steps[step["name"]].tasks)
        path[step["name"]] = longest + max((path[need] for need in step["needs"]), default=0.0)
    work = sum(seconds(task) for task in run.state.tasks)
    assert run.now <= work / slots + max(path.values()) * (1 - 1 / slots) + 1e-9
    assert run.now >= max(max(path.values()), work / slots) - 1e-9


def _needs_were_met(run: Simulation, name: str, at: float) -> bool:
    plan = run.plan[name]
    needs = [run.state.steps[need] for need in plan.needs]
    ended = [need for need in needs if need.ended_at is not None and need.ended_at <= at]
    if plan.join == "any" and needs:
        return any(need.status == "success" for need in ended) or (ended == needs and any(need.ended_well for need in needs))
    return ended == needs and (plan.join == "done" or all(need.ended_well for need in needs))


def _stops(*runs: Simulation, cause: str | None = None) -> bool:
    """Whether one of them was cut short, so that it depends on the moment what was cancelled."""
    stops = [event for run in runs for event, _ in run.journal if isinstance(event, events.RunStopping)]
    return any(cause in (None, event.cause) for event in stops)


def _repeats(run: Simulation) -> list[str]:
    """Tasks that were started again though they had succeeded; those of `finally` may, once the run was open again."""
    done: set[str] = set()
    repeated = []
    for event, _ in run.journal:
        if isinstance(event, events.RunResumed) and event.reopen:
            done -= {task for task in done if run.plan[run.state.tasks[task].step].phase == "finally"}
        elif isinstance(event, events.AttemptStarted) and event.task in done:
            repeated.append(event.task)
        elif isinstance(event, events.AttemptFinished) and event.error_kind is None:
            started = run.state.tasks[event.task].attempts[event.number - 1].started
            if started.kind == "normal" or run.plan[run.state.tasks[event.task].step].step.is_agent:
                done.add(event.task)
    return repeated
