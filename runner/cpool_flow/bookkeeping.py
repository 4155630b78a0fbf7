"""The steps and tasks of a run, and what is counted of them: unmet needs, what is ready, running, failed, which slots are free.

All is kept as facts come, so that a turn of the loop costs what changed and not what exists; `check` recomputes it from scratch. Knows
no event: which one changes what is said in `state.py`. Times are seconds since the epoch.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator

from cpool_flow.plan import Plan
from cpool_flow.tasks import ENDED, NOT_NEEDED, Attempt, Counts, Frame, Order, Status, StepState, Stopping, Task, step_outcome


class Bookkeeping:
    """The steps and tasks of all frames of a run, by id, and what is kept of them so that nobody has to look at all."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.root = Frame("", plan)
        self.steps = {step.id: step for step in self.root.steps.values()}
        self.tasks: dict[str, Task] = {}
        self.running: dict[str, Task] = {}
        self.slots: dict[str, str] = {}
        # All slots, in the order in which they are given to tasks that may have any; and those of them that are free.
        self.slot_order: tuple[str, ...] = ()
        self.free_slots: list[int] = []
        # Tasks whose last attempt failed, and nothing is recorded yet of what follows.
        self.undecided: dict[str, Task] = {}
        # Tasks that wait for a person: to decide after a crash, or to approve.
        self.asking: dict[str, Task] = {}
        self.approvals: dict[str, Task] = {}
        # Items with a place of their own: whose work is done and not merged yet, those that could not be, and nothing is recorded yet of
        # what follows; and all whose place is open.
        self.merging: dict[str, Task] = {}
        self.unmerged: dict[str, Task] = {}
        self.item_places: dict[str, Task] = {}
        # Tasks that ended since their place was last committed, and which place that is.
        self.uncommitted: dict[str, str] = {}
        # Tasks whose round has come to its end, which nobody has judged yet.
        self.rounds_due: dict[str, Task] = {}
        # Steps whose needs are met and which are not opened, and those where an item failed under `fail_fast`.
        self.due: dict[str, None] = {}
        self.failing_fast: dict[str, None] = {}
        # Steps of which nobody wants any more, and why.
        self.cancelled: dict[str, str] = {}
        # Needs that a step with `join: any` and `fail_fast` has given up.
        self.unneeded: dict[str, None] = {}
        self.failed: dict[str, None] = {}
        # Frames that are being stopped, and those of sub-workflows with a time limit.
        self.stopping_frames: dict[str, Frame] = {}
        self.timed_frames: dict[str, Frame] = {}
        # Steps with tasks that could go on, in order; and those of them that execute nothing themselves. Most come last and go first.
        self.ready_steps: deque[tuple[Order, str]] = deque()
        self.ready_holders: deque[tuple[Order, str]] = deque()
        self._slot_ranks: dict[str, int] = {}
        for step in self.root.steps.values():
            self._note_due(step)

    @property
    def main_ended(self) -> bool:
        return self.root.main_ended

    @property
    def all_ended(self) -> bool:
        return self.root.all_ended

    def inside(self, frame: Frame) -> Iterator[StepState]:
        """The steps of a frame that have not ended, and those inside of them, the innermost first."""
        for step in frame.steps.values():
            if not step.ended:
                for task in step.tasks:
                    if task.frame is not None and not task.ended:
                        yield from self.inside(task.frame)
                yield step

    def place_of(self, task: Task) -> str:
        """Where a task works: the id of the item whose own place that is, empty for the run's."""
        return task.id if self.steps[task.step].plan.isolated else task.within.place

    def works_in(self, place: str) -> bool:
        """Whether anything runs in a place."""
        return any(self.place_of(task) == place for task in self.running.values())

    def check(self) -> None:
        """Recompute every counter from scratch. Raises AssertionError where a kept one differs."""
        kept = self._counters()
        self._recount()
        assert kept == self._counters(), f"BUG: kept {kept}, recomputed {self._counters()}"

    # ---- slots -------------------------------------------------------------------------------------------------

    def _set_slots(self, names: tuple[str, ...]) -> None:
        self.slot_order = names
        self._slot_ranks = {name: rank for rank, name in enumerate(names)}
        self.free_slots = [rank for rank, name in enumerate(names) if name not in self.slots]

    def _take_slot(self, name: str) -> None:
        rank = self._slot_ranks.get(name, -1)
        at = bisect_left(self.free_slots, rank)
        if self.free_slots[at : at + 1] == [rank]:
            del self.free_slots[at]

    def _leave_slot(self, task: Task, step: StepState, attempt: Attempt) -> None:
        step.running -= 1
        del self.running[task.id]
        if attempt.started.slot:
            del self.slots[attempt.started.slot]
            if attempt.started.slot in self._slot_ranks:
                insort(self.free_slots, self._slot_ranks[attempt.started.slot])

    # ---- tasks -------------------------------------------------------------------------------------------------

    def _make_tasks(self, step: StepState, count: int) -> None:
        """Tasks for `count` items; after a reopening, those that are settled stay as they are."""
        for task in step.tasks[count:]:
            del self.tasks[task.id]
        del step.tasks[count:]
        for position in range(len(step.tasks), count):
            task = (
                Task(f"{step.id}[{position}]", step.id, step.frame, position)
                if step.plan.fans_out
                else Task(step.id, step.id, step.frame, None)
            )
            step.tasks.append(task)
            self.tasks[task.id] = task
        for task in step.tasks:
            if task.settled:
                continue
            if task.place is not None and task.place.done:
                task.status = "waiting"  # its work is done
                self.merging[task.id] = task
            elif _may_have_happened(step, task):
                task.status = "waiting"
                self.undecided[task.id] = task
            else:
                task.status = "ready"

    def _begin(self, task: Task, at: float) -> None:
        step = self.steps[task.step]
        self._set_status(task, "running")
        step.running += 1
        if step.started_at is None:
            step.started_at = at

    def _set_status(self, task: Task, status: Status) -> None:
        step = self.steps[task.step]
        _move(step.counts, task.status, status)
        if task.status == "ready":
            self._take_from_ready(step, task.position)
        task.status = status
        step.status = _of_open_step(step)
        if status == "ready":
            insort(step.ready, task.position, key=lambda position: -position)
            if len(step.ready) == 1:
                self._enter_ready(step)

    def _enter_ready(self, step: StepState) -> None:
        _insert(self.ready_steps, (step.order, step.id))
        if not step.plan.executes:
            _insert(self.ready_holders, (step.order, step.id))

    def _leave_ready(self, step: StepState) -> None:
        self.ready_steps.remove((step.order, step.id))
        if not step.plan.executes:
            self.ready_holders.remove((step.order, step.id))

    def _take_from_ready(self, step: StepState, position: int) -> None:
        if step.ready[-1] == position:
            step.ready.pop()
        else:
            step.ready.remove(position)
        if not step.ready:
            self._leave_ready(step)

    def _finish_work(self, task: Task, reason: str, at: float) -> None:
        """The work of a task is done. An item with a place of its own has succeeded when that is merged."""
        plan = self.steps[task.step].plan
        if task.place is not None and plan.step.merge != "none":
            task.place.done = True
            self._set_status(task, "waiting")
            task.reason = reason
            self.merging[task.id] = task
        else:
            self._end_task(task, "success", reason, at)

    def forget_task(self, task: Task) -> None:
        self.merging.pop(task.id, None)
        self.unmerged.pop(task.id, None)
        self.undecided.pop(task.id, None)
        self.asking.pop(task.id, None)
        self.approvals.pop(task.id, None)

    def _end_task(self, task: Task, status: Status, reason: str, at: float) -> None:
        self.forget_task(task)
        self._set_status(task, status)
        task.reason = reason
        step = self.steps[task.step]
        if status == "failed" and step.plan.step.fail_fast:
            self.failing_fast[step.id] = None
        if all_ended(step):
            self._close_step(step, *step_outcome(step), at)

    # ---- steps and frames --------------------------------------------------------------------------------------

    def _close_step(self, step: StepState, status: Status, reason: str, at: float) -> None:
        frame = step.frame
        self.due.pop(step.id, None)
        self.failing_fast.pop(step.id, None)
        self.cancelled.pop(step.id, None)
        if step.id in self.unneeded:
            del self.unneeded[step.id]
            reason = NOT_NEEDED if status in ("cancelled", "skipped") else reason
        step.status, step.reason, step.ended_at = status, reason, at
        if status == "failed":
            self.failed[step.id] = None
        frame.open_steps[step.plan.phase] -= 1
        for name in frame.plan.dependents.get(step.plan.name, ()):
            dependent = frame.steps[name]
            dependent.unmet -= 1
            if dependent.unmet == 0 or _settles(dependent, step):
                self._note_due(dependent)
        if step.plan.phase == "main" and frame.main_ended:
            for last in frame.steps.values():
                self._note_due(last)
        if frame.all_ended and frame.owner is not None:
            self.rounds_due[frame.owner.id] = frame.owner

    def _note_due(self, step: StepState) -> None:
        if not step.opened and not step.ended and self._needs_met(step):
            self.due[step.id] = None

    def _needs_met(self, step: StepState) -> bool:
        """Whether it can be said by now that the step runs, or that it never will."""
        if step.plan.phase == "finally" and not step.frame.main_ended:
            return False
        return step.unmet == 0 or any(need.ended and _settles(step, need) for need in step.frame.needs(step))

    def _stop(self, frame: Frame, stopping: Stopping) -> None:
        frame.stopping = stopping
        self.stopping_frames[frame.id] = frame

    def forget_frame(self, frame: Frame) -> None:
        self.stopping_frames.pop(frame.id, None)
        self.timed_frames.pop(frame.id, None)

    # ---- counters ----------------------------------------------------------------------------------------------

    def _frames(self) -> dict[str, Frame]:
        found = {"": self.root}
        for task in self.tasks.values():
            if task.frame is not None:
                found[task.frame.id] = task.frame
        return found

    def _recount(self) -> None:
        """All counters from the steps and tasks themselves."""
        self.ready_steps.clear()
        self.ready_holders.clear()
        self.due.clear()
        frames = self._frames()
        for frame in frames.values():
            frame.recount()
        for step in self.steps.values():
            step.running = sum(task.status == "running" for task in step.tasks)
            self._count_tasks(step)
        live = {id(frame) for frame in frames.values() if frame.owner is None or frame.owner.status == "running"}
        for step in self.steps.values():
            if id(step.frame) in live:
                self._note_due(step)
        self.running = {task.id: task for task in self.tasks.values() if task.status == "running" and _is_at_work(task)}
        self.slots = {slot: task.id for task in self.running.values() if (slot := task.attempts[-1].started.slot)}
        self.free_slots = [rank for rank, name in enumerate(self.slot_order) if name not in self.slots]
        self.rounds_due = {
            frame.owner.id: frame.owner
            for frame in frames.values()
            if frame.owner is not None and frame.owner.status == "running" and frame.all_ended and not _is_at_work(frame.owner)
        }

    def _count_tasks(self, step: StepState) -> None:
        if step.ready and (step.order, step.id) in self.ready_steps:
            self._leave_ready(step)
        counts = step.counts = Counts()
        for task in step.tasks:
            counts[task.status] = counts.get(task.status, 0) + 1
        step.ready = [task.position for task in reversed(step.tasks) if task.status == "ready"]
        if step.ready:
            self._enter_ready(step)

    def _counters(self) -> tuple[object, ...]:
        per_step = {name: (step.unmet, step.running, dict(step.counts), tuple(step.ready)) for name, step in self.steps.items()}
        per_frame = {name: dict(frame.open_steps) for name, frame in self._frames().items()}
        return (
            per_step,
            per_frame,
            list(self.ready_steps),
            list(self.ready_holders),
            set(self.due),
            set(self.running),
            dict(self.slots),
            list(self.free_slots),
            set(self.rounds_due),
        )


def _insert(entries: deque[tuple[Order, str]], new: tuple[Order, str]) -> None:
    """At its place in the order."""
    if not entries or entries[-1] < new:
        entries.append(new)
    else:
        insort(entries, new)


def all_ended(step: StepState) -> bool:
    return step.counts.keys() <= ENDED


def _is_at_work(task: Task) -> bool:
    """Whether an attempt of the task itself has not ended."""
    return bool(task.attempts) and task.attempts[-1].finished is None


def _of_open_step(step: StepState) -> Status:
    """What a step is whose tasks have not all ended: running with any of them; waiting if nothing of it could start now."""
    counts = step.counts
    if "running" in counts:
        return "running"
    if "ready" in counts:
        return "running" if step.started_at is not None else "ready"
    return "waiting" if "waiting" in counts else "running"


def _move(counts: Counts, before: str, after: str) -> None:
    """A status that no task has is not among them."""
    left = counts[before] - 1
    if left:
        counts[before] = left
    else:
        del counts[before]
    counts[after] = counts.get(after, 0) + 1


def _settles(step: StepState, need: StepState) -> bool:
    """Whether the end of `need` alone says what becomes of `step`. For `any` a skipped need is no news."""
    return (step.plan.join == "any" and need.status == "success") or (step.plan.join == "success" and not need.ended_well)


def _may_have_happened(step: StepState, task: Task) -> bool:
    """Whether effects outside may be there already: the coordinator died while the task ran, and nobody has looked."""
    last = task.last
    return step.plan.effects == "external" and last is not None and last.finished is not None and last.finished.interrupted
