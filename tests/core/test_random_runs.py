"""Random workflows, random endings: order, slots, Graham's bound, and that every prefix of a journal resumes to the same outcome."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from simulation import Simulation, finished, workflow

from cpool_flow import events, model
from cpool_flow.state import State

KINDS = ("failed", "overloaded", "lost", "timeout", "bad_output", "auth")


@st.composite
def random_workflows(draw: st.DrawFn) -> model.Workflow:
    count = draw(st.integers(1, 8))
    steps = [draw(random_step(number)) for number in range(count)]
    cleanup = [{"name": f"f{number}", "run": "x"} for number in range(draw(st.integers(0, 2)))]
    return workflow(*steps, **{"finally": cleanup})


@st.composite
def random_step(draw: st.DrawFn, number: int, depth: int = 2) -> dict[str, Any]:
    """A step of any kind; a group holds steps of any kind, at most two levels of them."""
    step: dict[str, Any] = {"name": f"s{number}"}
    step["needs"] = draw(st.lists(st.sampled_from([f"s{n}" for n in range(number)]), unique=True, max_size=3)) if number else []
    step["join"] = draw(st.sampled_from(["success", "done", "any"]))
    step["on_failure"] = draw(st.sampled_from(["fail", "fail", "continue", "stop"]))
    if draw(st.booleans()):
        step |= {"foreach": [1], "fail_fast": draw(st.booleans())}
    kind = draw(st.sampled_from(["run", "prompt", "run", "steps", "workflow", "approve"] if depth else ["run", "prompt", "approve"]))
    if kind in ("run", "prompt"):
        step |= {kind: "x", "retries": draw(st.integers(0, 2))}
        if draw(st.integers(0, 3)) == 0:
            step["recovery_prompt"] = "mend"
    elif kind == "steps":
        step["steps"] = [draw(random_step(n, depth - 1)) for n in range(draw(st.integers(1, 3)))]
    else:
        step[kind] = "child"
    if kind != "approve" and draw(st.integers(0, 3)) == 0:
        step["repeat"] = {"until": "x", "max": 3}
    return step


CHILD = workflow({"name": "s0", "run": "x"}, {"name": "s1", "foreach": [1], "run": "x"}, **{"finally": [{"name": "f0", "run": "x"}]})


def depends_on_the_moment(steps: Sequence[model.Step]) -> bool:
    """Whether what is cancelled in it depends on what has ended by then."""
    return any(
        step.on_failure == "stop" or step.fail_fast or step.join == "any" or depends_on_the_moment(step.steps or ()) for step in steps
    )


def chance(seed: int, *parts: object) -> int:
    """A number that depends on nothing but its arguments: the same attempt always ends the same way."""
    return zlib.crc32(repr((seed, *parts)).encode())


def outcomes(seed: int):
    """How the n-th counted attempt of a task ends; attempts lost with the coordinator do not count."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        number = chance(seed, started.task, started.kind)
        seconds = 0.5 + number % 7
        kind = KINDS[number % len(KINDS)] if number % 3 == 0 else None
        return seconds, finished(started.task, started.number, kind, state=f"{started.number}")

    return outcome


def simulate(flow: model.Workflow, seed: int, journal: list[tuple[events.Event, float]] | None = None, slots: int = 2) -> Simulation:
    items = {f"s{number}": chance(seed, "items", number) % 4 for number in range(8)}
    skip = frozenset(f"s{number}" for number in range(8) if chance(seed, "skip", number) % 5 == 0)
    rounds = {f"s{number}": 1 + chance(seed, "rounds", number) % 3 for number in range(8)}
    rejects = frozenset(f"s{number}" for number in range(8) if chance(seed, "rejects", number) % 3 == 0)
    return Simulation(
        flow,
        outcomes(seed),
        slots=slots,
        items=items,
        skip=skip,
        rounds=rounds,
        rejects=rejects,
        children={"child": CHILD},
        journal=list(journal or []),
    )


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=200, deadline=None)
def test_counters_are_what_a_recount_gives_after_every_event(flow: model.Workflow, seed: int) -> None:
    run = simulate(flow, seed).run()
    state = State(run.plan)
    for event, at in run.journal:
        state.apply(event, at)
        state.check()


@given(random_workflows(), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=200, deadline=None)
def test_no_task_starts_before_its_needs_and_slots_are_never_exceeded(flow: model.Workflow, seed: int, slots: int) -> None:
    run = simulate(flow, seed, slots=slots).run()
    assert run.most_running <= slots
    for task in run.state.tasks.values():
        step = run.state.steps[task.step]
        if task.attempts and step.plan.join != "any":
            assert all(need.ended_at is not None and need.ended_at <= task.attempts[0].started_at for need in step.frame.needs(step))
    assert all(step.ended for step in run.state.steps.values())


@given(random_workflows(), st.integers(0, 1000))
@settings(max_examples=60, deadline=None)
def test_every_prefix_of_a_journal_resumes_to_the_same_outcome(flow: model.Workflow, seed: int) -> None:
    whole = simulate(flow, seed).run()
    if depends_on_the_moment(flow.steps):
        return
    for length in range(1, len(whole.journal)):
        if isinstance(whole.journal[length - 1][0], events.RunFinished):
            continue
        resumed = simulate(flow, seed, whole.journal[:length]).run()
        assert resumed.statuses() == whole.statuses(), length
        assert resumed.state.status == whole.state.status
        assert _finished_once(resumed)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=15), st.integers(0, 1000), st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_the_makespan_keeps_grahams_bound(fan_in: list[int], seed: int, slots: int) -> None:
    """W/P + CP(1 - 1/P), Graham 1969, for any list scheduler that never leaves a slot idle while a task is ready."""
    steps = []
    for number, wanted in enumerate(fan_in):
        needs = sorted({chance(seed, "need", number, n) % number for n in range(wanted)}) if number else []
        steps.append({"name": f"s{number}", "run": "x", "needs": [f"s{need}" for need in needs]})
    seconds = {f"s{number}": 1.0 + chance(seed, "time", number) % 9 for number in range(len(fan_in))}
    run = Simulation(workflow(*steps), lambda started: (seconds[started.task], finished(started.task, started.number)), slots=slots).run()
    path: dict[str, float] = {}
    for step in steps:
        path[step["name"]] = seconds[step["name"]] + max((path[need] for need in step["needs"]), default=0.0)
    assert run.now <= sum(seconds.values()) / slots + max(path.values()) * (1 - 1 / slots) + 1e-9
    assert run.now >= max(path.values()) - 1e-9


def _finished_once(run: Simulation) -> bool:
    """No task that had succeeded was started again."""
    done: set[str] = set()
    for event, _ in run.journal:
        if (
            isinstance(event, events.AttemptStarted)
            and event.task in done
            and run.state.steps[run.state.tasks[event.task].step].plan.phase != "finally"
        ):
            return False
        if isinstance(event, events.AttemptFinished) and event.error_kind is None and run.state.tasks[event.task].status == "success":
            attempt = run.state.tasks[event.task].attempts[event.number - 1]
            if attempt.started.kind == "normal":
                done.add(event.task)
    return True
