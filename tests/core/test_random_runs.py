"""Random workflows, random endings: order, slots, money, Graham's bound, and that every prefix of a journal resumes to the same outcome."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st
from simulation import Simulation, finished, workflow

from cpool_flow import events, model
from cpool_flow.spending import CUT_SHORT
from cpool_flow.state import State
from cpool_flow.tasks import SKIPPED_BY_WHEN, Attempt, StepState, Task, accounts

# In each of them something answers to `a`, `b` and `x`.
POOLS = (
    [{"name": "a", "role": "b", "labels": ["x"]}],
    [{"name": "a"}, {"name": "b", "labels": ["x"]}],
    [{"labels": ["x"], "count": 2}, {"name": "a", "count": 2}, {"role": "b", "name": "c"}, {}],
)
KINDS = ("failed", "overloaded", "lost", "timeout", "bad_output", "auth", "permission_denied", "errored")
MOST_STEPS = 5

Journal = list[tuple[events.Event, float]]


@st.composite
def random_workflows(draw: st.DrawFn) -> model.Workflow:
    count = draw(st.integers(1, MOST_STEPS))
    pool = draw(st.sampled_from([None, *POOLS]))
    steps = [draw(random_step(number, named_slots=pool is not None)) for number in range(count)]
    cleanup = [{"name": f"f{number}", "run": "x", "retries": number} for number in range(draw(st.integers(0, 2)))]
    return workflow(*steps, **{"finally": cleanup}, **({"slots": pool} if pool is not None else {}))


@st.composite
def random_step(draw: st.DrawFn, number: int, depth: int = 1, *, named_slots: bool = False) -> dict[str, Any]:
    """A step of any kind; a group holds one or two steps, which may be fan-outs and loops themselves."""
    step: dict[str, Any] = {"name": f"s{number}"}
    step["needs"] = draw(st.lists(st.sampled_from([f"s{n}" for n in range(number)]), unique=True, max_size=3)) if number else []
    step["join"] = draw(st.sampled_from(["success", "done", "any"]))
    step["on_failure"] = draw(st.sampled_from(["fail", "fail", "continue", "stop"]))
    if draw(st.booleans()):
        # With `join: any` it cancels needs as well, and what is cut by that depends on the moment: see the races below.
        step |= {"foreach": [1], "fail_fast": step["join"] != "any" and draw(st.booleans())}
        if draw(st.booleans()):
            step["max_parallel"] = draw(st.integers(1, 2))
    kind = draw(st.sampled_from(["run", "prompt", "run", "steps", "workflow", "approve"] if depth else ["run", "prompt", "approve"]))
    if kind in ("run", "prompt"):
        step |= {kind: "x", "retries": draw(st.integers(0, 2))}
        step["effects"] = draw(st.sampled_from(["none", "workspace", "workspace", "external"]))
        if draw(st.integers(0, 3)) == 0:
            step |= {"recovery_prompt": "mend", "recoveries": draw(st.integers(1, 3))}
        if draw(st.integers(0, 2)) == 0:
            asked = draw(st.sampled_from([*(["a", "b", "x"] if named_slots else []), *(["none"] if kind == "run" else [])] or [None]))
            step |= {"slot": asked} if asked else {}
        if draw(st.integers(0, 2)) == 0:
            step["config"] = {"max_budget_usd": draw(st.sampled_from([0.5, 1.0, 2.5]))}
    elif kind == "steps":
        step["steps"] = [draw(random_step(n, depth - 1, named_slots=named_slots)) for n in range(draw(st.integers(1, 2)))]
    else:
        step[kind] = "child"
    if kind != "approve" and draw(st.integers(0, 3)) == 0:
        step["repeat"] = {"until": "x", "max": 3}
    if kind != "approve" and draw(st.integers(0, 2)) == 0:
        step |= {"isolation": "worktree", "merge": draw(st.sampled_from(["auto", "auto", "none"]))}
        if step["merge"] == "auto" and draw(st.booleans()):
            step |= {"recovery_prompt": "mend", "recoveries": draw(st.integers(1, 2))}
    return step


DEAR_CHILD = workflow(
    {"name": "s0", "prompt": "x"}, {"name": "s1", "foreach": [1], "prompt": "x"}, budget_usd=2.0, **{"finally": [{"prompt": "x"}]}
)
CHILD = workflow({"name": "s0", "run": "x"}, {"name": "s1", "foreach": [1], "run": "x"}, **{"finally": [{"name": "f0", "run": "x"}]})


def chance(seed: int, *parts: object) -> int:
    """A number that depends on nothing but its arguments: the same attempt always ends the same way."""
    return zlib.crc32(repr((seed, *parts)).encode())


def outcomes(seed: int, run: Simulation) -> Callable[[events.AttemptStarted], tuple[float, events.AttemptFinished]]:
    """How the n-th attempt of a task ends; those lost with the coordinator, or cancelled, do not count."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        counted = [
            attempt for attempt in run.state.tasks[started.task].counted if (attempt.started.kind == "merge") == (started.kind == "merge")
        ]
        ended = [attempt.finished for attempt in counted if attempt.finished]
        number = sum(not each.interrupted and each.error_kind != "cancelled" for each in ended)
        found = chance(seed, started.task, started.kind, number)
        kind = KINDS[found % len(KINDS)] if found % 3 == 0 else None
        fault = "died" if kind == "lost" and started.agent else ""
        return 0.5 + found % 7, finished(started.task, started.number, kind, state=f"state {found % 5}" if kind else "", fault=fault)

    return outcome


def simulate(
    flow: model.Workflow,
    seed: int,
    journal: Journal | None = None,
    slots: int = 2,
    child: model.Workflow | None = None,
    budget_usd: float | None = None,
) -> Simulation:
    names = [f"s{number}" for number in range(MOST_STEPS)]
    run = Simulation(
        flow,
        slots=slots,
        items={name: chance(seed, "items", name) % 3 for name in names},
        skip=frozenset(name for name in names if chance(seed, "skip", name) % 5 == 0),
        rounds={name: 1 + chance(seed, "rounds", name) % 2 for name in names},
        rejects=frozenset(name for name in names if chance(seed, "rejects", name) % 3 == 0),
        conflicts=lambda task, mended: chance(seed, "merge", task, mended) % 3 == 0,
        children={"child": child or CHILD},
        journal=list(journal or []),
        budget_usd=budget_usd,
    )
    run.outcome = outcomes(seed, run)
    return run


def spends(flow: model.Workflow, seed: int, journal: Journal, budget_usd: float | None = None) -> Simulation:
    """The same with money: what an attempt would cost is by chance, and where it may spend no more it ends, perhaps a bit late."""
    run = simulate(flow, seed, journal, 1 + seed % 3, DEAR_CHILD, budget_usd)
    endings = run.outcome

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        seconds, ended = endings(started)
        if started.agent is None:
            return seconds, ended
        found = chance(seed, "price", started.task, started.kind)
        price, cap = (found % 30) / 10, started.budget_usd
        if cap is not None and price > cap:
            return seconds, finished(started.task, started.number, "budget", cost_usd=cap * (1 + found % 2 / 10))
        return seconds, replace(ended, cost_usd=None if found % 11 == 0 else price)

    run.outcome = outcome
    return run


def settled(run: Simulation) -> dict[str, str]:
    """What became of the steps, but for those inside of a fan-out that fails fast: what is cancelled there depends on the moment."""
    return {name: step.status for name, step in run.state.steps.items() if not _may_be_cut(run.state, step)}


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
    assert run.most_running <= run.slots
    for task in run.state.tasks.values():
        for started in (attempt.started for attempt in task.attempts):
            assert _is_its_slot(run.state.steps[task.step], started)
    for name, most in run.most_of.items():
        assert most <= (run.state.steps[name].plan.max_parallel or most)
    for task in run.state.tasks.values():
        if task.attempts:
            step = run.state.steps[task.step]
            assert _needs_were_met(step, task.attempts[0].started_at)
            assert step.plan.phase == "main" or _main_ended_before(step, task.attempts[0].started_at)
    assert all(step.ended for step in run.state.steps.values())


@given(random_workflows(), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_items_are_merged_in_their_order_and_no_place_is_left_open(flow: model.Workflow, seed: int, slots: int) -> None:
    run = simulate(flow, seed, slots=slots).run()
    if run.left:
        return
    assert run.state.item_places == {}
    merged = [event.task for event, _ in run.journal if isinstance(event, events.PlaceMerged) and event.commit]
    assert len(merged) == len(set(merged))
    for step in run.state.steps.values():
        own = [task.id for task in step.tasks if task.id in merged]
        assert own == [task for task in merged if task in own]
        for task in step.tasks:
            if task.place is not None and step.plan.step.merge != "none":
                assert (task.status == "success") == (task.id in merged)


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_every_prefix_of_a_journal_resumes_to_the_same_outcome(flow: model.Workflow, seed: int) -> None:
    whole = simulate(flow, seed).run()
    for length in range(1, len(whole.journal)):
        resumed = to_the_end(flow, seed, whole.journal[:length])
        assert resumed.state.status == whole.state.status, length
        assert _repeats(resumed) == []
        if not _stops(whole, resumed):  # what is cancelled depends on the moment
            assert settled(resumed) == settled(whole), length


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
        assert settled(resumed) == settled(whole)


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
    resumed.rejects = frozenset()
    resumed.conflicts = lambda task, mended: False
    resumed.run()
    assert resumed.state.status == "success"
    assert all(step.status == "success" or step.reason == SKIPPED_BY_WHEN for step in resumed.state.root.steps.values())


@given(random_workflows(), st.integers(0, 1000), st.sampled_from([0.5, 2.0, 5.0, 20.0]), st.lists(st.integers(0, 10_000), max_size=4))
@settings(max_examples=150, deadline=None)
def test_spend_never_exceeds_the_budget_by_more_than_what_running_attempts_may_spend(
    flow: model.Workflow, seed: int, budget_usd: float, cuts: list[int]
) -> None:
    run = spends(flow, seed, [], budget_usd).run()
    for cut in cuts:
        run = spends(flow, seed, run.journal[: 3 + cut % (len(run.journal) - 2)]).run()
    _check_spend(run)


@given(random_workflows(), st.integers(0, 1000), st.sampled_from([0.5, 2.0, 5.0]))
@settings(max_examples=25, deadline=None)
def test_from_every_prefix_of_a_journal_the_budget_holds_and_more_of_it_is_used(flow: model.Workflow, seed: int, budget_usd: float) -> None:
    whole = spends(flow, seed, [], budget_usd).run()
    for length in range(3, len(whole.journal)):
        _check_spend(spends(flow, seed, whole.journal[:length]).run())
        _check_spend(spends(flow, seed, whole.journal[:length], budget_usd + 3).run())


@given(st.lists(st.sampled_from([None, "a", "b", "x"]), min_size=1, max_size=12), st.sampled_from(POOLS), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_no_slot_is_idle_while_a_task_that_may_have_it_waits(asked: list[str | None], pool: list[dict[str, Any]], seed: int) -> None:
    steps: list[dict[str, Any]] = []
    for number, slot in enumerate(asked):
        needs = [f"s{chance(seed, 'need', number) % number}"] if number and chance(seed, "needs", number) % 2 else []
        steps.append({"name": f"s{number}", "run": "x", "needs": needs, **({"slot": slot} if slot else {})})
        steps[-1] |= {"foreach": [1]} if chance(seed, "fans out", number) % 3 == 0 else {}
    run = Simulation(
        workflow(*steps, slots=pool),
        lambda started: (1.0 + chance(seed, "time", started.task) % 9, finished(started.task, started.number)),
        items={step["name"]: 1 + chance(seed, "items", step["name"]) % 4 for step in steps},
        watched=True,
    ).run()
    assert run.idle == []
    assert run.state.status == "success"


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


def _check_spend(run: Simulation) -> None:
    """At each start all that was spent and all that running attempts may spend is within every budget. So what is spent in the end is
    more only by what agents spent beyond their caps, and by what attempts that were cut short have spent without saying so."""
    state = State(run.plan)
    beyond = 0.0
    for event, at in run.journal:
        state.apply(event, at)
        if isinstance(event, events.AttemptStarted) and event.budget_usd is not None:
            for frame in accounts(state.tasks[event.task].within):
                account = frame.spending
                assert account.limit_usd is None or account.spent_usd + account.held_usd <= account.limit_usd + 1e-6
        elif isinstance(event, events.AttemptFinished):
            allowed = state.tasks[event.task].attempts[-1].started.budget_usd or 0.0
            known = event.cost_usd
            beyond += allowed if known is None and event.error_kind in CUT_SHORT else max(0.0, (known or 0.0) - allowed)
    limit = state.spending.limit_usd
    assert limit is not None
    spent = [_worst(attempt) for task in state.tasks.values() for attempt in task.attempts]
    assert sum(spent) <= limit + beyond + 1e-6


def _worst(attempt: Attempt) -> float:
    """What an attempt may have spent: what it says, else all that it was allowed to."""
    known = attempt.finished.cost_usd if attempt.finished else None
    return known if known is not None else attempt.started.budget_usd or 0.0


def _is_its_slot(step: StepState, started: events.AttemptStarted) -> bool:
    """Whether an attempt has the slot that its step asks for: by name, role or label; any; or none."""
    asked = step.plan.step.slot
    if asked == "none" and started.kind == "normal":
        return started.slot is None
    return started.slot is not None and (asked in (None, "none") or started.slot in (step.plan.slots or ()))


def _needs_were_met(step: StepState, at: float) -> bool:
    needs = list(step.frame.needs(step))
    ended = [need for need in needs if need.ended_at is not None and need.ended_at <= at]
    if step.plan.join == "any" and needs:
        return any(need.status == "success" for need in ended) or (ended == needs and any(need.ended_well for need in needs))
    return ended == needs and (step.plan.join == "done" or all(need.ended_well for need in needs))


def _main_ended_before(step: StepState, at: float) -> bool:
    main = [other for other in step.frame.steps.values() if other.plan.phase == "main"]
    return all(other.ended_at is not None and other.ended_at <= at for other in main)


def _may_be_cut(state: State, step: StepState) -> bool:
    owner = step.frame.owner
    return owner is not None and (bool(state.steps[owner.step].plan.step.fail_fast) or _may_be_cut(state, state.steps[owner.step]))


def _is_last(state: State, task_id: str) -> bool:
    """Whether a task belongs to `finally`, or to something that does."""
    task: Task | None = state.tasks[task_id]
    while task is not None:
        if state.steps[task.step].plan.phase == "finally":
            return True
        task = task.within.owner
    return False


def _stops(*runs: Simulation, cause: str | None = None) -> bool:
    """Whether one of them was cut short, so that it depends on the moment what was cancelled."""
    stops = [event for run in runs for event, _ in run.journal if isinstance(event, events.RunStopping)]
    return any(cause in (None, event.cause) for event in stops)


def _repeats(run: Simulation) -> list[str]:
    """Tasks that were started again though their work had succeeded, which may have yet to be merged; those of `finally` may, once the run was open again."""
    done: set[str] = set()
    repeated = []
    for event, _ in run.journal:
        if isinstance(event, events.RunResumed) and event.reopen:
            done -= {task for task in done if _is_last(run.state, task)}
        elif isinstance(event, events.AttemptStarted) and event.task in done and event.kind != "merge":
            repeated.append(event.task)
        elif isinstance(event, events.AttemptFinished) and event.error_kind is None:
            started = run.state.tasks[event.task].attempts[event.number - 1].started
            if started.kind == "normal" or run.state.steps[run.state.tasks[event.task].step].plan.step.is_agent:
                done.add(event.task)
    return repeated


@given(random_workflows(), st.integers(0, 1000), st.integers(0, 60))
@settings(max_examples=60, deadline=None)
def test_runs_in_which_the_first_need_wins_come_to_an_end_wherever_they_are_cut(flow: model.Workflow, seed: int, cut: int) -> None:
    steps = [step.model_copy(update={"fail_fast": True}) if step.join == "any" else step for step in flow.steps]
    races = flow.model_copy(update={"steps": tuple(steps)})
    whole = simulate(races, seed).run()
    assert whole.most_running <= len(whole.slot_names)
    again = to_the_end(races, seed, whole.journal[: max(3, len(whole.journal) - cut)])
    assert again.state.finished
    assert _repeats(again) == []
