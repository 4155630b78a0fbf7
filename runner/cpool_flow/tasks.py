"""What a run is made of while it goes on: frames, steps, tasks, attempts.

A frame is one walk through the steps of a plan: the run itself, an item of a group or of a sub-workflow, a round of a
loop. Records only: `state.py` changes them. Times are seconds since the epoch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field
from typing import Literal

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.plan import Phase, Plan, PlannedStep
from cpool_flow.spending import Spending

Status = Literal["pending", "ready", "running", "waiting", "success", "failed", "skipped", "cancelled"]
ENDED = frozenset({"success", "failed", "skipped", "cancelled"})
_ALL_WELL = frozenset({"success"})
# Where a task is in the order of work, the smallest first: of its step, its item, its round, and so on inwards.
Order = tuple[int, ...]
# What left an output: an attempt, a round, the answer of a person.
Product = events.AttemptFinished | events.RoundFinished | events.ApprovalAnswered

SKIPPED_BY_WHEN = "`when` is false"
SKIPPED_BY_PERSON = "skipped by decision"
UPSTREAM_FAILED = "upstream failed"
# Of a need that `join: any` with `fail_fast` gives up, because another has ended well.
NOT_NEEDED = "not needed any more"
PART_NOT_NEEDED = "what this is part of is not needed any more"
# Of all steps but the one that `run --only` names.
NOT_CHOSEN = "not chosen by `--only`"
_ON_PURPOSE = frozenset({NOT_CHOSEN, SKIPPED_BY_WHEN, SKIPPED_BY_PERSON, NOT_NEEDED})


@dataclass(slots=True)
class Attempt:
    """One try at a task. `finished` is None while it runs. `taken`: another run has made it."""

    started: events.AttemptStarted
    started_at: float
    finished: events.AttemptFinished | None = None
    ended_at: float | None = None
    taken: bool = False


@dataclass(slots=True)
class ItemPlace:
    """The place of one item: as it was `opened`, what its `setup` came to, why it could not be merged, how it was `closed`. `into`: the
    place that it came from. `done`: the item's own work is, and what is left is to merge it. `mended`: why it could not be merged at first."""

    opened: events.PlaceOpened
    into: str
    done: bool = False
    set_up: events.SetupFinished | None = None
    unmerged: events.PlaceMerged | None = None
    merged: events.PlaceMerged | None = None
    closed: events.PlaceClosed | None = None
    mended: events.PlaceMerged | None = None


@dataclass(slots=True, eq=False)
class Task:
    """A step's work for one item (`index` is None where the step does not fan out).

    A task that executes something has `attempts`; one that holds steps has `rounds`, of which the last is open.
    """

    id: str
    step: str
    within: Frame
    index: int | None
    status: Status = "pending"
    reason: str = ""
    failure: str = ""
    attempts: list[Attempt] = field(default_factory=list)
    rounds: list[Frame] = field(default_factory=list)
    # What a person is asked, while the answer is awaited and after.
    asked: events.Stored | None = None
    # What a round or a person has left.
    left: events.RoundFinished | events.ApprovalAnswered | None = None
    # States of earlier rounds, for the guard against going round in circles.
    seen: list[str] = field(default_factory=list)
    # Attempts and rounds before these belong to an earlier life of the run: they no longer count.
    counted_from: int = 0
    next_kind: events.AttemptKind = "normal"
    retry_at: float = 0.0
    decision: events.Choice | None = None
    changed_files: tuple[str, ...] | None = None
    commit: str | None = None
    # Where its step has a place for each of its tasks.
    place: ItemPlace | None = None

    @property
    def position(self) -> int:
        return self.index or 0

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def settled(self) -> bool:
        """Whether a resume leaves it as it is: it succeeded, or a person has skipped it."""
        return self.status == "success" or (self.status == "skipped" and self.reason == SKIPPED_BY_PERSON)

    @property
    def last(self) -> Attempt | None:
        return self.attempts[-1] if self.attempts else None

    @property
    def counted(self) -> list[Attempt]:
        return self.attempts[self.counted_from :]

    @property
    def frame(self) -> Frame | None:
        """The latest round of a task that holds steps."""
        return self.rounds[-1] if self.rounds else None

    @property
    def product(self) -> Product | None:
        """The last thing that left an output, whether it was good or not. Who mends a merge leaves none."""
        if self.left is not None:
            return self.left
        for attempt in reversed(self.attempts):
            if attempt.started.kind != "merge":
                return attempt.finished
        return None

    @property
    def result(self) -> Product | None:
        """What made the task succeed."""
        return self.product if self.status == "success" else None

    @property
    def error_before(self) -> str | None:
        """Why what the last attempt is to mend, or does again, has failed; None where nothing has. A recovery in between that went well has
        no error of its own."""
        place, last = self.place, self.last
        if place is not None and place.unmerged is not None:
            return place.unmerged.error
        if place is not None and place.mended is not None and last is not None and last.started.kind == "merge":
            return place.mended.error
        ended = [attempt.finished for attempt in reversed(self.attempts[:-1]) if attempt.finished is not None]
        return next((finished.error for finished in ended if finished.error_kind), None)

    @property
    def error(self) -> str:
        """Why the task, or its last attempt, failed, for people; empty where it did not."""
        last = self.last
        return self.failure or (last.finished.error if last and last.finished else "")

    def all_attempts(self) -> Iterable[Attempt]:
        """Its own attempts and those of all steps within, in all rounds."""
        return self._with_those_within() if self.rounds else self.attempts

    def _with_those_within(self) -> Iterator[Attempt]:
        yield from self.attempts
        for frame in self.rounds:
            for step in frame.steps.values():
                for task in step.tasks:
                    yield from task.all_attempts()


class Counts(dict[str, int]):
    """How many tasks have which status. One that none has is not among them, and 0. It is made in a tenth of the time of a `Counter`."""

    def __missing__(self, status: str) -> int:
        return 0


@dataclass(slots=True, eq=False)
class StepState:
    """A step of one frame and its tasks. `opened`: its needs are met, its `when` held, its tasks exist."""

    id: str
    plan: PlannedStep
    frame: Frame
    status: Status = "pending"
    reason: str = ""
    error: str = ""
    opened: bool = False
    items: events.Stored | None = None
    tasks: list[Task] = field(default_factory=list)
    started_at: float | None = None
    ended_at: float | None = None
    # Counters.
    order: Order = ()
    unmet: int = 0
    running: int = 0
    counts: Counts = field(default_factory=Counts)
    # Positions of ready tasks, the next one last.
    ready: list[int] = field(default_factory=list)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def ended_well(self) -> bool:
        """Whether dependents may run: success, left out on purpose, or a failure that is let pass."""
        if self.status == "failed":
            return self.plan.on_failure == "continue"
        if self.status == "cancelled":
            return self.reason == NOT_NEEDED
        return self.status == "success" or (self.status == "skipped" and self.reason in _ON_PURPOSE)

    @property
    def went_wrong(self) -> bool:
        """Whether a resume has to do it again."""
        return self.status == "failed" or (self.status in ("cancelled", "skipped") and not self.ended_well)


@dataclass(frozen=True, slots=True)
class Stopping:
    """Why a frame is being stopped, and what it comes to by that. `at_once`: its steps of `finally` are stopped too."""

    cause: events.StopCause | Literal["end"]
    reason: str
    status: Literal["success", "failed", "cancelled"]
    at_once: bool = False


@dataclass(slots=True, eq=False)
class Frame:
    """One walk through the steps of a plan. `id` is empty for the run itself; `number` counts the rounds of a loop from 1.
    `spending` is that of a whole file: of the run, or of a sub-workflow. `open`: it is that of a pool, and more steps may come. `place`
    is where its steps work: the id of the item whose own place that is, empty for the run's."""

    id: str
    plan: Plan
    owner: Task | None = None
    number: int = 1
    order: Order = ()
    started_at: float = 0.0
    arguments: events.Stored | None = None
    steps: dict[str, StepState] = field(default_factory=dict)
    open_steps: dict[Phase, int] = field(default_factory=dict)
    stopping: Stopping | None = None
    open: bool = False
    spending: Spending = field(default_factory=Spending)
    place: str = ""

    def __post_init__(self) -> None:
        if self.owner is not None and self.plan.is_workflow:
            self.spending.limit_usd = self.plan.workflow.budget_usd
        prefix = f"{self.id}/" if self.id else ""
        self.steps = {plan.name: StepState(prefix + plan.name, plan, self) for plan in self.plan}
        self.recount()

    @property
    def main_ended(self) -> bool:
        return self.open_steps["main"] == 0 and not self.open

    @property
    def may_be_stopped(self) -> bool:
        """Whether its time may still run out: what a used-up budget lets come to its end may be cut short all the same."""
        return not self.main_ended and (self.stopping is None or self.stopping.cause == "budget")

    @property
    def all_ended(self) -> bool:
        return self.main_ended and self.open_steps["finally"] == 0

    @property
    def deadline(self) -> float | None:
        """When the time of a sub-workflow is over."""
        limit = self.plan.workflow.timeout if self.owner is not None and self.plan.is_workflow else None
        return self.started_at + limit if limit else None

    def needs(self, step: StepState) -> Iterator[StepState]:
        return (self.steps[need] for need in step.plan.needs)

    def recount(self) -> None:
        """Count from the steps themselves."""
        self.open_steps = {"main": 0, "finally": 0}
        for step in self.steps.values():
            step.unmet = sum(not need.ended for need in self.needs(step))
            self.open_steps[step.plan.phase] += not step.ended

    def bad_steps(self) -> list[StepState]:
        """The steps that ended badly, and whose failure is not let pass."""
        return [step for step in self.steps.values() if step.status in ("failed", "cancelled") and not step.ended_well]


def accounts(frame: Frame) -> Iterator[Frame]:
    """The walks through whole files around a frame, the innermost first: each has an account."""
    around: Frame | None = frame
    while around is not None:
        around = workflow_frame(around)
        yield around
        around = around.owner.within if around.owner is not None else None


def task_names(task: str, step: str) -> tuple[str, ...]:
    """What a task may be called, the most exact first: its id (`part[0]/line`), the path of its step (`part/line`), the name of that."""
    return (task, re.sub(r"\[\d+\]|#\d+", "", task), step)


def workflow_frame(frame: Frame) -> Frame:
    """The walk through the whole file that a frame belongs to: the run's, or a sub-workflow's."""
    while frame.owner is not None and not frame.plan.is_workflow:
        frame = frame.owner.within
    return frame


def outcome_of(frame: Frame) -> Literal["success", "failed", "cancelled"]:
    """What all steps of a frame together have come to, by one rule: stopped by a person is cancelled; a failure that counts is
    failed; what its own early end has cut off does not count, what something outside has cut off does."""
    stopping = frame.stopping
    if stopping is not None and stopping.cause != "end":
        return stopping.status
    bad = {step.status for step in frame.bad_steps()}
    if stopping is not None:
        return "failed" if "failed" in bad else stopping.status
    cut = any(step.status == "skipped" and not step.ended_well for step in frame.steps.values())
    return "failed" if "failed" in bad else "cancelled" if bad or cut else "success"


def step_outcome(step: StepState) -> tuple[Status, str]:
    """What a step whose tasks have all ended has come to, and why."""
    counts = step.counts
    alone = step.tasks[0].reason if len(step.tasks) == 1 else ""
    if counts.keys() == _ALL_WELL:  # as nearly always
        return "success", alone
    if counts["failed"]:
        return "failed", alone or f"{counts['failed']} of {len(step.tasks)} items failed"
    cut = {task.reason for task in step.tasks if task.status in ("cancelled", "skipped") and task.reason != SKIPPED_BY_PERSON}
    why = cut.pop() if len(cut) == 1 else ""
    if counts["cancelled"] or (counts["success"] and why):
        return "cancelled", why
    return ("success", alone) if counts["success"] else ("skipped", why or alone or SKIPPED_BY_PERSON)


def seen(frame: Frame, name: str) -> StepState | None:
    """The step that a name means in a frame: of its own, else of those around it as far as the file goes. In a loop a step that has
    not ended in this round is what the round before left."""
    step = frame.steps.get(name)
    if step is not None:
        return step if step.ended else _before(frame, name) or step
    return None if frame.owner is None or frame.plan.is_workflow else seen(frame.owner.within, name)


def _before(frame: Frame, name: str) -> StepState | None:
    """The step in the last round of a loop that counts, where it came to its end in one."""
    owner = frame.owner
    for earlier in reversed(owner.rounds[owner.counted_from : frame.number - 1]) if owner is not None else ():
        if earlier.steps[name].ended:
            return earlier.steps[name]
    return None
