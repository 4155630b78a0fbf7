"""What is true of a run now: the fold of its events.

`apply` is the only way to change it; what is counted of steps and tasks is kept in `bookkeeping.py`. Knows no clock and no disk, and
decides nothing: that is `policy.py`. Times are seconds since the epoch.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal

from cpool_flow import events
from cpool_flow.bookkeeping import all_ended
from cpool_flow.dataclass import dataclass
from cpool_flow.place_state import PlaceState
from cpool_flow.plan import Plan
from cpool_flow.reopening import reopen, reopen_step
from cpool_flow.slots import UNNAMED
from cpool_flow.spending import Spending
from cpool_flow.supervision import Health
from cpool_flow.tasks import (
    Attempt,
    Frame,
    StepState,
    Stopping,
    accounts,
    outcome_of,
    step_outcome,
    workflow_frame,
)

RunStatus = Literal["running", "waiting", "success", "failed", "cancelled"]
# What ends at once a run that a used-up budget lets come to its end.
OVER_BUDGET = frozenset({"cancel", "sigterm", "timeout"})
# Endings that do not show whether an agent is at its usage limit.
SAYS_NOTHING = frozenset({"rate_limited", "overloaded", "lost", "cancelled", "timeout", "invalid", "errored", "auth"})


@dataclass(slots=True)
class Limit:
    """A usage limit of an agent that has not been seen to be over. `since`: its first sign (seconds since the epoch); `unnamed`: how
    many times in a row the agent did not say when it ends; `times`: how many times it was met."""

    since: float
    unnamed: int = 0
    times: int = 0


class State(PlaceState):
    """One run: `State(plan)`, then `apply` for each event in order. `steps` and `tasks` hold those of all frames, by id."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.created: events.RunCreated | None = None
        self.taken_from = ""  # the run whose results stand first in the journal
        self.mark = ""  # of the latest coordinator's processes
        self.created_at = 0.0
        self.started_at = 0.0  # of the run, or of its latest resume
        self.ended_at: float | None = None
        self.status: RunStatus = "running"
        self.reason = ""
        self.outputs: events.Stored | None = None
        self.notes: list[str] = []
        # How often the run has ended, how much it has asked of persons, and what `notify` was told of.
        self.ends = 0
        self.questions = 0
        self.notified: set[tuple[int, str]] = set()
        # Agents at their usage limit, and until when; what is known of limits that no success has ended yet.
        self.parked: dict[str, float] = {}
        self.limits: dict[str, Limit] = {}
        # How the agents fare on the slots; and the slots that can do each other's work: all, and those that a step asks for.
        self.slot_groups: tuple[tuple[str, ...], ...] = ()
        self.health: dict[str, Health] = {}
        # What agents of a pool are told.
        self.shared: dict[str, Any] = {}
        self.waits: list[tuple[float, str]] = []
        self._order = 0

    def apply(self, event: events.Event, at: float) -> None:
        """Take in one fact that was recorded at `at`."""
        _HANDLERS[type(event)](self, event, at)

    def wake(self, now: float) -> None:
        """Make those tasks ready whose wait is over at `now`. It follows from the events, so it is no event itself."""
        while self.waits and self.waits[0][0] <= now:
            at, task_id = heapq.heappop(self.waits)
            task = self.tasks.get(task_id)
            if task and task.status == "waiting" and task.retry_at == at and not self._waits_for_word(task_id):
                self._set_status(task, "ready")
        for agent in [agent for agent, until in self.parked.items() if until <= now]:
            del self.parked[agent]

    def _waits_for_word(self, task: str) -> bool:
        """Whether something else than time must come first."""
        return any(task in waiting for waiting in (self.undecided, self.asking, self.merging, self.unmerged))

    def forget(self, name: str) -> None:
        """Let go of a step of a pool that has ended, and of all in it: nobody depends on it. It is no event: the journal still has it.
        Nothing happens where what it left has yet to be committed."""
        step = self.steps[name]
        inside = list(_everything_in(step))
        tasks = [task.id for each in inside for task in each.tasks]
        versioned = self.place is not None and self.place.branch is not None
        if not step.ended or (versioned and any(task in self.uncommitted or task in self.item_places for task in tasks)):
            return
        for task in tasks:
            self.uncommitted.pop(task, None)
            del self.tasks[task]
        for each in inside:
            del self.steps[each.id]
            self.failed.pop(each.id, None)
        del self.root.steps[name]
        self.plan.without_step(name)

    @property
    def stopping(self) -> Stopping | None:
        """Why the whole run is being stopped, where it is."""
        return self.root.stopping

    @property
    def spending(self) -> Spending:
        """The account of the run."""
        return self.root.spending

    @property
    def cost_usd(self) -> float:
        """What is known of the cost of all attempts; all of it where `cost_known`."""
        return self.spending.known_usd

    @property
    def cost_known(self) -> bool:
        return self.spending.complete

    @property
    def finished(self) -> bool:
        return self.status in ("success", "failed", "cancelled")

    def wake_at(self) -> float | None:
        """When the next wait is over."""
        times = [*(at for at, _ in self.waits[:1]), *self.parked.values()]
        return min(times, default=None)

    def outcome(self) -> Literal["success", "failed", "cancelled"]:
        """What the run has come to."""
        if self.setup and self.setup.error and not self.stopping:
            return "failed"
        return outcome_of(self.root)

    def failed_steps(self) -> list[StepState]:
        """The steps that say why, the innermost: a group has failed because of a step in it."""
        failed = [self.steps[name] for name in self.failed]
        return [step for step in failed if not any(task.frame is not None and task.frame.bad_steps() for task in step.tasks)]

    # ---- one handler per fact -------------------------------------------------------------------------------

    def _run_created(self, event: events.RunCreated, at: float) -> None:
        self.created = event
        self.spending.apply(event, at)
        self._set_slots(_slot_order(event, self.plan))
        self.slot_groups = tuple(dict.fromkeys([self.slot_order, *(step.slots for step in self.plan.everything() if step.slots)]))
        self.mark = event.mark
        self.created_at = self.started_at = at

    def _pool_opened(self, event: events.PoolOpened, at: float) -> None:
        self.root.open = True

    def _pool_closed(self, event: events.PoolClosed, at: float) -> None:
        self.root.open = False

    def _step_added(self, event: events.StepAdded, at: float) -> None:
        assert self.plan.grow is not None, "BUG: a step was added to what is no pool"
        planned = self.plan.grow(event.name, event.step, event.copies, event.literal)
        self.plan = self.root.plan = self.plan.with_step(planned)
        step = self.steps[event.name] = self.root.steps[event.name] = StepState(event.name, planned, self.root)
        self.root.open_steps["main"] += 1
        if planned.slots and planned.slots not in self.slot_groups:
            self.slot_groups = (*self.slot_groups, planned.slots)
        self._note_due(step)

    def _step_cancelled(self, event: events.StepCancelled, at: float) -> None:
        if not self.steps[event.step].ended:
            self.cancelled[event.step] = event.reason

    def _slots_changed(self, event: events.SlotsChanged, at: float) -> None:
        assert self.created is not None
        self.created = replace(self.created, slots=len(event.slot_names), slot_names=event.slot_names)
        old = self.slot_order
        self._set_slots(tuple(sorted(event.slot_names, key=lambda name: not name.startswith(UNNAMED))))
        self.slot_groups = tuple(self.slot_order if group == old else group for group in self.slot_groups)

    def _context_changed(self, event: events.ContextChanged, at: float) -> None:
        self.shared.pop(event.key, None)
        if event.content is not None:
            self.shared[event.key] = event.content

    def _step_opened(self, event: events.StepOpened, at: float) -> None:
        step = self.steps[event.step]
        self.due.pop(event.step, None)
        step.items, step.opened, step.status = event.items, True, "ready"
        self._order += 1
        step.order = (*step.frame.order, self._order)
        if step.plan.join == "any" and step.plan.step.fail_fast:
            self._give_up_needs(step)
        self._make_tasks(step, event.count)
        self._count_tasks(step)
        if not event.count:
            self._close_step(step, "success", "no items", at)
        elif all_ended(step):
            self._close_step(step, *step_outcome(step), at)

    def _give_up_needs(self, step: StepState) -> None:
        """What only this step has waited for is of no use to anybody, now that it goes on without it."""
        for need in step.frame.needs(step):
            if not need.ended and step.frame.plan.dependents[need.plan.name] == (step.plan.name,):
                self.unneeded[need.id] = None

    def _step_closed(self, event: events.StepClosed, at: float) -> None:
        step = self.steps[event.step]
        for task in step.tasks:
            if not task.ended:
                self.forget_task(task)
                task.status, task.reason = "cancelled", event.reason
        self._count_tasks(step)
        step.error = event.error
        self._close_step(step, event.status, event.reason, at)

    def _attempt_started(self, event: events.AttemptStarted, at: float) -> None:
        task = self.tasks[event.task]
        if not self.running:
            # Nothing is started in a place at rest before it was committed: what is still named here has left nothing.
            self.uncommitted.clear()
        elif self.item_places and not self.works_in(place := self.place_of(task)):
            self.uncommitted = {name: left_in for name, left_in in self.uncommitted.items() if left_in != place}
        self._begin(task, at)
        task.attempts.append(Attempt(event, at))
        task.decision = None
        self.running[task.id] = task
        for frame in accounts(task.within):
            frame.spending.apply(event, at)
        if self.status == "waiting":
            self.status, self.reason = "running", ""
        if event.slot:
            self.slots[event.slot] = task.id
            self._take_slot(event.slot)

    def _attempt_finished(self, event: events.AttemptFinished, at: float) -> None:
        task = self.tasks[event.task]
        step = self.steps[task.step]
        attempt = task.attempts[-1]
        attempt.finished, attempt.ended_at = event, at
        self._leave_slot(task, step, attempt)
        for frame in accounts(task.within):
            frame.spending.apply(event, at)
        self._count_limits(attempt, event)
        if attempt.started.agent and attempt.started.slot:
            self.health.setdefault(attempt.started.slot, Health()).take(event)
        if event.changed_files is not None or event.commit:
            task.changed_files, task.commit = event.changed_files, event.commit
        self.uncommitted[task.id] = self.place_of(task)
        # The recovery of a `run` step only mends what the command itself must then prove; that of a merge leaves no other result.
        if (event.error_kind is None and attempt.started.kind == "merge") or (
            event.error_kind is None and (attempt.started.kind == "normal" or step.plan.step.is_agent)
        ):
            self._finish_work(task, event.reason, at)
        else:
            self._set_status(task, "waiting")
            self.undecided[task.id] = task

    def _slot_quarantined(self, event: events.SlotQuarantined, at: float) -> None:
        self.health.setdefault(event.slot, Health()).rest(event)

    def _retry_scheduled(self, event: events.RetryScheduled, at: float) -> None:
        task = self.tasks[event.task]
        self.undecided.pop(task.id, None)
        self.unmerged.pop(task.id, None)
        task.next_kind, task.retry_at, task.reason = event.kind, event.not_before, event.reason
        heapq.heappush(self.waits, (event.not_before, task.id))

    def _agent_parked(self, event: events.AgentParked, at: float) -> None:
        limit = self.limits.setdefault(event.agent, Limit(at))
        limit.unnamed = 0 if event.named else limit.unnamed + 1
        limit.times += event.agent not in self.parked
        self.parked[event.agent] = max(event.until, self.parked.get(event.agent, 0.0))

    def _task_closed(self, event: events.TaskClosed, at: float) -> None:
        task = self.tasks[event.task]
        task.failure = event.error
        self._end_task(task, event.status, event.reason, at)

    def _round_started(self, event: events.RoundStarted, at: float) -> None:
        task = self.tasks[event.task]
        step = self.steps[task.step]
        self._begin(task, at)
        inner = step.plan.inner
        assert inner is not None
        name = task.id if event.number == 1 else f"{task.id}#{event.number}"
        frame = Frame(name, inner, task, event.number, (*step.order, task.position, event.number), at, event.arguments)
        frame.place = self.place_of(task)
        frame.spending.allow_unpriced = self.spending.allow_unpriced
        task.rounds.append(frame)
        self.steps.update((inside.id, inside) for inside in frame.steps.values())
        for inside in frame.steps.values():
            self._note_due(inside)
        if frame.deadline is not None:
            self.timed_frames[frame.id] = frame

    def _round_finished(self, event: events.RoundFinished, at: float) -> None:
        task = self.tasks[event.task]
        self.rounds_due.pop(task.id, None)
        self.forget_frame(task.rounds[-1])
        self.steps[task.step].running -= 1
        task.left, task.failure = event, event.error
        if event.state:
            task.seen.append(event.state)
        if event.again:
            self._set_status(task, "ready")
        elif event.status == "success":
            self._finish_work(task, event.reason, at)
        else:
            self._end_task(task, event.status, event.reason, at)

    def _approval_requested(self, event: events.ApprovalRequested, at: float) -> None:
        task = self.tasks[event.task]
        step = self.steps[task.step]
        self._set_status(task, "waiting")
        step.status = "waiting"
        if step.started_at is None:
            step.started_at = at
        self.approvals[task.id] = task
        self.questions += 1
        task.asked = event.question

    def _approval_answered(self, event: events.ApprovalAnswered, at: float) -> None:
        task = self.tasks[event.task]
        self.approvals.pop(task.id, None)
        task.left = event
        if self.status == "waiting":
            self.status, self.reason = "running", ""
        if event.approved:
            self._end_task(task, "success", event.reason, at)
        else:
            task.failure = f"rejected{f': {event.reason}' if event.reason else ''}"
            self._end_task(task, "failed", task.failure, at)

    def _end_reached(self, event: events.EndReached, at: float) -> None:
        task = self.tasks[event.task]
        step = self.steps[task.step]
        frame = workflow_frame(step.frame)
        if step.started_at is None:
            step.started_at = at
        self._end_task(task, "success", event.reason, at)
        if frame.stopping is None:
            self._stop(frame, Stopping("end", event.reason, event.status))

    def _decision_needed(self, event: events.DecisionNeeded, at: float) -> None:
        task = self.tasks[event.task]
        self.undecided.pop(task.id, None)
        self.asking[task.id] = task
        self.questions += 1

    def _decided(self, event: events.Decided, at: float) -> None:
        task = self.tasks[event.task]
        self.asking.pop(task.id, None)
        task.decision = event.choice
        if self.steps[task.step].opened:  # else it counts when its step is opened again
            self.undecided[task.id] = task

    def _results_taken(self, event: events.ResultsTaken, at: float) -> None:
        self.taken_from = event.run
        self.spending.forget()
        self.uncommitted.clear()
        self.parked.clear()
        self.limits.clear()
        self.waits.clear()
        self.failing_fast.clear()
        self.stopping_frames.clear()
        self.item_places.clear()
        self.tip = None
        for task in self.tasks.values():
            task.place = None
            for attempt in task.attempts:
                attempt.taken = True
        for name in event.steps:
            step = self.root.steps[name]
            if step.status == "success" and not step.reason:
                step.reason = f"taken over from run {event.run}"
        for name in event.partly:
            reopen_step(self, self.root.steps[name], at, frozenset(event.known))
        self.failed = {name: None for name in self.failed if self.steps[name].status == "failed"}
        self._recount()

    def _run_stopping(self, event: events.RunStopping, at: float) -> None:
        frame = self._frames()[event.frame]
        before = frame.stopping
        status: Literal["failed", "cancelled"] = "cancelled" if event.cause in ("cancel", "sigterm") else "failed"
        if before is None or before.cause == "end" or (before.cause == "budget" and event.cause in OVER_BUDGET):
            self._stop(frame, Stopping(event.cause, event.reason, status, event.at_once))
        elif event.at_once:
            self._stop(frame, Stopping(before.cause, before.reason, before.status, at_once=True))

    def _run_waiting(self, event: events.RunWaiting, at: float) -> None:
        self.status, self.reason = "waiting", event.reason

    def _turn_awaited(self, event: events.TurnAwaited, at: float) -> None:
        self.status = "waiting"
        self.reason = f"waits for its turn in group `{event.group}`: run {event.ahead[0]} is at work"

    def _turn_came(self, event: events.TurnCame, at: float) -> None:
        self.started_at = at  # the time of the run does not count while it waits
        self.status, self.reason = "running", ""

    def _run_resumed(self, event: events.RunResumed, at: float) -> None:
        self.started_at = at
        self.root.open = False  # who adds steps to a pool opens it again
        self.mark = event.mark or self.mark
        self.status, self.reason, self.ended_at = "running", "", None
        self.spending.apply(event, at)
        self.health.clear()
        if event.reopen:
            self.outputs = None
            if self.setup and self.setup.error:
                self.setup = None
            reopen(self, self.root, at)
            self.waits.clear()
            self.failed.clear()
            self.failing_fast.clear()
            self.unneeded.clear()
            self.stopping_frames.clear()
            self._recount()

    def _run_finished(self, event: events.RunFinished, at: float) -> None:
        self.status, self.reason, self.outputs, self.ended_at = event.status, event.reason, event.outputs, at
        self.ends += 1

    def _notified(self, event: events.Notified, at: float) -> None:
        self.notified.add((event.command, event.about))

    def _noted(self, event: events.Noted, at: float) -> None:
        self.notes.append(event.text)

    def _count_limits(self, attempt: Attempt, event: events.AttemptFinished) -> None:
        """An agent that answers is not at its limit any more, unless the attempt began before it came to it."""
        agent = attempt.started.agent
        if agent in self.limits and agent not in self.parked and event.error_kind not in SAYS_NOTHING:
            del self.limits[agent]


def _everything_in(step: StepState) -> Iterator[StepState]:
    yield step
    for task in step.tasks:
        for inside in task.frame.steps.values() if task.frame is not None else ():
            yield from _everything_in(inside)


def _slot_order(created: events.RunCreated, plan: Plan) -> tuple[str, ...]:
    """The slots of a run in the order in which tasks get them that may have any: those without a name of their own, those for which no
    step asks, and last those that are left to others as long as it can be."""
    asked = {step.step.slot: step.slots for step in plan.everything() if step.slots}
    wanted = {name for names in asked.values() for name in names}
    names = created.slot_names or tuple(f"slot-{number}" for number in range(1, created.slots + 1))
    return tuple(sorted(names, key=lambda name: (name in wanted, not name.startswith(UNNAMED))))


_HANDLERS: dict[type[events.Event], Callable[[State, Any, float], None]] = {
    events.RunCreated: State._run_created,
    events.PoolOpened: State._pool_opened,
    events.PoolClosed: State._pool_closed,
    events.StepAdded: State._step_added,
    events.StepCancelled: State._step_cancelled,
    events.SlotsChanged: State._slots_changed,
    events.ContextChanged: State._context_changed,
    events.PlaceOpened: State.take_place_opened,
    events.SetupFinished: State.take_setup_finished,
    events.StepOpened: State._step_opened,
    events.StepClosed: State._step_closed,
    events.AttemptStarted: State._attempt_started,
    events.AttemptFinished: State._attempt_finished,
    events.SlotQuarantined: State._slot_quarantined,
    events.AgentParked: State._agent_parked,
    events.RetryScheduled: State._retry_scheduled,
    events.TaskClosed: State._task_closed,
    events.RoundStarted: State._round_started,
    events.RoundFinished: State._round_finished,
    events.ApprovalRequested: State._approval_requested,
    events.ApprovalAnswered: State._approval_answered,
    events.EndReached: State._end_reached,
    events.DecisionNeeded: State._decision_needed,
    events.Decided: State._decided,
    events.ResultsTaken: State._results_taken,
    events.PlaceCommitted: State.take_place_committed,
    events.PlaceMerged: State.take_place_merged,
    events.PlaceClosed: State.take_place_closed,
    events.RunStopping: State._run_stopping,
    events.RunWaiting: State._run_waiting,
    events.TurnAwaited: State._turn_awaited,
    events.TurnCame: State._turn_came,
    events.RunResumed: State._run_resumed,
    events.RunFinished: State._run_finished,
    events.Notified: State._notified,
    events.Noted: State._noted,
}
