"""What to do next, given what is true: what begins, in which order, what is skipped, stopped, judged, waited for.

What a failure leads to is said in `after_failure.py`. Pure: time comes in as a number. Nothing here is stored; after a restart the same
state gives the same wishes. A wish becomes a fact only when the engine has recorded it.
"""

from __future__ import annotations

from collections.abc import Container, Iterator

from cpool_flow import events, supervision, usage_limit
from cpool_flow.after_failure import after_conflict, after_failure, recovery_rounds
from cpool_flow.budget import NOBODY, Empty, Grant, Others, Purse, Wait, out_of_budget, used_share, without_money
from cpool_flow.dataclass import dataclass
from cpool_flow.free_slots import FreeSlots
from cpool_flow.halting import ANOTHER_FAILED, halted, halting
from cpool_flow.item_places import abandoned, mergeable, still_merges, waits_for_commit
from cpool_flow.model import duration_text
from cpool_flow.state import State
from cpool_flow.tasks import NOT_NEEDED, PART_NOT_NEEDED, UPSTREAM_FAILED, StepState, Task, workflow_frame


@dataclass(frozen=True, slots=True)
class Open:
    """Ask `when` and `foreach` of a step whose needs are met, and make its tasks."""

    step: str


@dataclass(frozen=True, slots=True)
class Begin:
    """Begin a task that executes nothing itself: a round of its steps, a question to a person, the end of the run."""

    task: str


@dataclass(frozen=True, slots=True)
class Judge:
    """Say what a round has come to whose steps have all ended, and whether the loop goes on."""

    task: str


@dataclass(frozen=True, slots=True)
class Start:
    """Start an attempt. `budget_usd`: what it may spend of a budget; None where there is none."""

    task: str
    number: int
    kind: events.AttemptKind
    slot: str | None
    agent: str | None = None
    budget_usd: float | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """Stop a running attempt: it then ends as cancelled."""

    task: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """A fact that follows from the rules alone."""

    event: events.Event


@dataclass(frozen=True, slots=True)
class Leave:
    """Nothing can go on before a person has done something: the coordinator ends. With `until` it is usage limits that keep the run
    from going on, `since` then and until then (seconds since the epoch): it stays as long as it is told to."""

    reason: str
    until: float | None = None
    since: float = 0.0


@dataclass(frozen=True, slots=True)
class Merge:
    """Merge what an item has done into the place that its own came from."""

    task: str


@dataclass(frozen=True, slots=True)
class ClosePlace:
    """End the place of an item that has ended."""

    task: str


Action = Open | Begin | Judge | Start | Stop | Merge | ClosePlace | Record | Leave


@dataclass(frozen=True, slots=True)
class Decision:
    """The actions of one turn, and when to ask again if nothing happens (seconds since the epoch)."""

    actions: tuple[Action, ...]
    wake_at: float | None = None


def decide(state: State, now: float, others: Others = NOBODY) -> Decision:
    """What to do at `now`. Facts first: while there are any to record, nothing is started. `others`: runs that share its money."""
    facts = tuple(_facts(state, now))
    if facts:
        return Decision(facts)
    starts = list(_starts(state, Purse(state, others, now)))
    broke = next((each for each in starts if isinstance(each, _Broke)), None)
    if broke is not None:
        return Decision(tuple(map(Record, out_of_budget(state, broke.task, broke.empty))))
    actions: list[Action] = [
        *_stops(state),
        *(each for each in starts if isinstance(each, Start)),
        *(Merge(task.id) for task in mergeable(state)),
        *(ClosePlace(task.id) for task in abandoned(state)),
    ]
    leave = None if actions else _leave(state)
    return Decision((leave,) if leave is not None else tuple(actions), _wake_at(state, now))


# ---- facts --------------------------------------------------------------------------------------------------


# Asked in this order; the first that has anything to say is recorded before the next is asked, for it may change it.
def _facts(state: State, now: float) -> Iterator[Action]:
    for rule in (_stopping, _quarantines, _failures, _conflicts, _fast_failures, _closings, _judgements, _openings, _beginnings):
        found = False
        for action in rule(state, now):
            found = True
            yield action
        if found:
            return


def _stopping(state: State, now: float) -> Iterator[Action]:
    if state.root.may_be_stopped:
        yield from _run_stopping(state, now)
    for frame in state.timed_frames.values():
        if frame.deadline is not None and now >= frame.deadline and frame.may_be_stopped:
            limit = f"{frame.plan.workflow.timeout:g}"
            yield Record(events.RunStopping("timeout", f"the sub-workflow's time of {limit} s is over", frame=frame.id))
    for name in state.failed:
        step = state.steps[name]
        frame = workflow_frame(step.frame)
        if step.plan.on_failure == "stop" and not frame.stopping and not frame.main_ended:
            yield Record(events.RunStopping("on_failure", f"step `{name}` failed", frame=frame.id))
            return


def _run_stopping(state: State, now: float) -> Iterator[Action]:
    end = deadline(state)
    if end is not None and now >= end:
        yield Record(events.RunStopping("timeout", f"the run's time of {duration_text(_timeout(state))} is over"))
    elif state.setup and state.setup.error and state.stopping is None:
        first_line, _, _ = state.setup.error.partition("\n")  # below it stands what the command printed
        yield Record(events.RunStopping("errored", f"setup failed: {first_line}"))


def _quarantines(state: State, now: float) -> Iterator[Action]:
    if any(health.suspect for health in state.health.values()):
        for event in supervision.quarantines(state.health, state.slot_groups, now):
            yield Record(event)


def _failures(state: State, now: float) -> Iterator[Action]:
    parked = dict(state.parked)
    for task in state.undecided.values():
        for event in (*usage_limit.met(state, task, now, parked), *without_money(state, task)):
            yield Record(event)
        yield Record(after_failure(state, task, now, parked))


def _conflicts(state: State, now: float) -> Iterator[Action]:
    for task in state.unmerged.values():
        yield Record(after_conflict(state, task, now))


def _fast_failures(state: State, now: float) -> Iterator[Action]:
    for name in state.failing_fast:
        yield from _not_begun(state.steps[name], ANOTHER_FAILED, state.merging)


def _not_begun(step: StepState, reason: str, done: Container[str] = ()) -> Iterator[Action]:
    """Close the tasks of a step that do not run, but for those in `done`: those that never did are skipped."""
    for task in step.tasks:
        if task.id not in done and task.status in ("ready", "waiting"):
            yield Record(events.TaskClosed(task.id, "cancelled" if task.counted or task.rounds or task.asked else "skipped", reason))


def _closings(state: State, now: float) -> Iterator[Action]:
    """Within what is being stopped, close every step in which nothing runs any more."""
    for step in halting(state):
        reason = halted(state, step) if step.running == 0 else None
        if reason is not None and still_merges(state, step):
            yield from _not_begun(step, reason, state.merging)
        elif reason is not None:
            ended = workflow_frame(step.frame).stopping
            on_purpose = reason in (NOT_NEEDED, PART_NOT_NEEDED) or (ended is not None and ended.cause == "end")
            if on_purpose and step.opened:
                yield from _not_begun(step, reason)
            else:
                yield Record(events.StepClosed(step.id, "skipped" if on_purpose else "cancelled", reason))


def _judgements(state: State, now: float) -> Iterator[Action]:
    for name in state.rounds_due:
        yield Judge(name)


def _openings(state: State, now: float) -> Iterator[Action]:
    for name in state.due:
        step = state.steps[name]
        if halted(state, step) is None:
            yield Open(name) if _may_open(step) else Record(events.StepClosed(name, "skipped", UPSTREAM_FAILED))


def _beginnings(state: State, now: float) -> Iterator[Action]:
    """What takes no slot itself. Of a fan-out of steps, only as many items are open as there are slots, unless some are free."""
    if state.place is None or state.setup is None:
        return
    slots = state.created.slots if state.created else 0
    for _, name in state.ready_holders:
        step = state.steps[name]
        if halted(state, step) is not None:
            continue
        ready = [position for position in step.ready if step.tasks[position].next_kind != "merge"] if step.plan.isolated else step.ready
        room = len(ready) if step.plan.max_parallel is None else step.plan.max_parallel - step.running
        if step.plan.inner is not None and step.plan.fans_out:
            room = min(room, max(slots - step.running, _idle_slots(state)))
        if room > 0 and ready:
            yield from (Begin(step.tasks[position].id) for position in reversed(ready[-room:]))
            return


def _idle_slots(state: State) -> int:
    """Slots for which nothing is ready. A task that needs none is counted as if it did: then one item more is opened later."""
    ready = sum(len(state.steps[name].ready) for _, name in state.ready_steps if state.steps[name].plan.executes)
    return len(state.free_slots) - ready


def _may_open(step: StepState) -> bool:
    needs = list(step.frame.needs(step))
    if step.plan.join == "done" or not needs:
        return True
    if step.plan.join == "any":
        return any(need.ended_well for need in needs)
    return all(need.ended_well for need in needs)


# ---- starts and stops ---------------------------------------------------------------------------------------


def _stops(state: State) -> Iterator[Stop]:
    if not (state.stopping_frames or state.failing_fast or state.unneeded or state.cancelled):
        return
    for task in state.running.values():
        reason = halted(state, state.steps[task.step], running=True) or (ANOTHER_FAILED if task.step in state.failing_fast else None)
        if reason is not None:
            yield Stop(task.id, reason)


@dataclass(frozen=True, slots=True)
class _Broke:
    """A task that could start, and for which there is no money."""

    task: Task
    empty: Empty


def _starts(state: State, purse: Purse) -> Iterator[Start | _Broke]:
    """Oldest ready first, within a fan-out by item; a task that must be alone in its place waits for the others, and they for it."""
    if state.place is None or state.setup is None:
        return
    closed = {state.place_of(task) for task in state.running.values() if is_exclusive(state, task, task.attempts[-1].started.kind)}
    if closed and not state.plan.has_isolated:
        return
    resting = supervision.resting(state.health, purse.now)
    free = FreeSlots(state, resting)
    busy = {state.place_of(task) for task in state.running.values()}
    for _, name in state.ready_steps:
        step = state.steps[name]
        if not free.any and not state.plan.has_slotless:
            return
        if not (step.plan.executes or step.plan.isolated) or (
            (state.stopping_frames or state.unneeded or state.cancelled) and halted(state, step) is not None
        ):
            continue
        for task, agent in _startable(state, step):
            place = state.place_of(task)
            if place in closed or waits_for_commit(state, place):
                if step.plan.isolated:
                    continue
                break
            needs_slot = step.plan.takes_slot or task.next_kind != "normal"
            slot = free.next_for(step.plan, task, agent) if needs_slot else None
            if needs_slot and slot is None:
                if free.has_for(step.plan, agent):
                    continue  # this one waits for another slot, the next may take what is free
                break
            alone = is_exclusive(state, task, task.next_kind)
            if alone and place in busy:
                closed.add(place)
                if not state.plan.has_isolated:
                    return
                break
            paid = purse.grant(task, free.count) if agent is not None else Grant(None)
            if isinstance(paid, Wait):
                if used_share(state, task):
                    continue  # it needs more than the next one
                break
            if isinstance(paid, Empty):
                yield _Broke(task, paid)
                return
            busy.add(place)
            free.take(slot)
            yield Start(task.id, len(task.attempts) + 1, task.next_kind, slot, agent, paid.budget_usd)
            if alone:
                closed.add(place)
                if not state.plan.has_isolated:
                    return


def _startable(state: State, step: StepState) -> Iterator[tuple[Task, str | None]]:
    """The ready tasks of a step in order, each with its agent, as many as `max_parallel` lets run and usage limits allow."""
    agents = [agent for agent in (step.plan.agent, *step.plan.fallback) if agent is not None and agent not in state.parked]
    if step.plan.step.is_agent and not agents:
        return
    room = len(step.ready) if step.plan.max_parallel is None else step.plan.max_parallel - step.running
    for position in reversed(step.ready[-room:] if room > 0 else ()):
        task = step.tasks[position]
        if not step.plan.executes and task.next_kind != "merge":
            continue  # its steps are begun, not it
        if not step.plan.step.is_agent and task.next_kind == "normal":
            yield task, None
        elif agents:
            yield task, agents[0]


def is_exclusive(state: State, task: Task, kind: events.AttemptKind) -> bool:
    """Whether an attempt must have the place to itself: `expect` and the no-change guard look at the files."""
    step = state.steps[task.step].plan
    return step.step.expect is not None or (step.may_write and (kind != "normal" or recovery_rounds(task) > 0))


# ---- time ---------------------------------------------------------------------------------------------------


def _timeout(state: State) -> float:
    return (state.created.timeout_seconds if state.created else None) or 0.0


def deadline(state: State) -> float | None:
    """When the time of the run is over (seconds since the epoch); a resume starts it anew."""
    return state.started_at + _timeout(state) if _timeout(state) else None


def _wake_at(state: State, now: float) -> float | None:
    times = [state.wake_at()]
    if state.ready_steps:
        times += supervision.resting(state.health, now).values()
    if state.root.may_be_stopped:
        times.append(deadline(state))
    times += [frame.deadline for frame in state.timed_frames.values() if frame.may_be_stopped]
    return min((at for at in times if at is not None), default=None)


def _leave(state: State) -> Leave | None:
    """Whether the run can only go on by a person, or when a usage limit is over."""
    if state.running:
        return None
    timed = [task for at, name in state.waits if (task := state.tasks.get(name)) and task.status == "waiting" and task.retry_at == at]
    if not timed and not any(usage_limit.is_parked(state, state.steps[name].plan) for _, name in state.ready_steps):
        return Leave(_waits_for(state)) if state.asking or state.approvals else None
    if not state.parked or not all(task.last and task.last.finished and task.last.finished.error_kind == "rate_limited" for task in timed):
        return None
    since = min((state.limits[agent].since for agent in state.parked if agent in state.limits), default=state.started_at)
    return Leave(_waits_for(state), state.wake_at(), max(since, state.started_at))


def _waits_for(state: State) -> str:
    limits = usage_limit.told(state)
    decisions = ", ".join(f"`{task}`" for task in state.asking)
    approvals = ", ".join(f"`{task}`" for task in state.approvals)
    told = [f"waits for a decision on {decisions}: its effects outside may have happened"] if decisions else []
    told += [f"waits for the approval of {approvals}"] if approvals else []
    return "; ".join([*told, *([f"waits for the usage limit of {limits}"] if limits else [])])
