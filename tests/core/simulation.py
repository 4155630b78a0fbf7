"""A run without processes: virtual time, and a function that says how each attempt ends. Shared by tests of the core."""

from __future__ import annotations

import heapq
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from cpool_flow import events, model, plan, policy
from cpool_flow.after_failure import attempt_timeout_seconds
from cpool_flow.budget import NOBODY, Others
from cpool_flow.slots import slot_pool
from cpool_flow.state import State
from cpool_flow.tasks import outcome_of

Outcome = Callable[[events.AttemptStarted], tuple[float, events.AttemptFinished]]


def workflow(*steps: dict[str, Any], **top: Any) -> model.Workflow:
    return model.Workflow.model_validate({"steps": list(steps), **top})


def created(
    slots: int = 2,
    timeout_seconds: float | None = None,
    slot_names: tuple[str, ...] = (),
    budget_usd: float | None = None,
) -> events.RunCreated:
    return events.RunCreated(
        "run-1",
        "brave-otter",
        "test",
        "test.yaml",
        "/",
        "mark",
        slots,
        "none",
        timeout_seconds,
        slot_names=slot_names,
        budget_usd=budget_usd,
    )


def finished(task: str, number: int, error_kind: str | None = None, **more: Any) -> events.AttemptFinished:
    return events.AttemptFinished(task, number, error_kind, error=error_kind or "", reason=error_kind or "", **more)


@dataclass
class Simulation:
    """Drives policy and state as the engine does. `items`: how many items each `foreach` comes to; `skip`: steps whose `when` is
    false; `conflicts`: whether an item cannot be merged, asked with its id and how often its merge was mended; `rounds`: the round after which a loop is done; `rejects`: approvals that are refused, all others are given at once,
    unless `person` is false: then nobody answers. A list of slots in the workflow wins over the number of `slots`."""

    workflow: model.Workflow
    outcome: Outcome = lambda started: (1.0, finished(started.task, started.number))
    slots: int = 2
    items: dict[str, int] = field(default_factory=dict)
    skip: frozenset[str] = frozenset()
    rounds: dict[str, int] = field(default_factory=dict)
    rejects: frozenset[str] = frozenset()
    conflicts: Callable[[str, int], bool] = lambda task, mended: False
    person: bool = True
    children: dict[str, model.Workflow] = field(default_factory=dict)
    timeout_seconds: float | None = None
    budget_usd: float | None = None  # on a resume: the budget from now on
    others: Others = NOBODY
    wait_max_seconds: float = float("inf")
    now: float = 0.0
    journal: list[tuple[events.Event, float]] = field(default_factory=list)
    most_running: int = 0
    most_of: dict[str, int] = field(default_factory=dict)  # of each step, how many of its tasks ran at once
    left: policy.Leave | None = None
    watched: bool = False
    idle: list[str] = field(default_factory=list)  # tasks that were left waiting in a turn though a slot of theirs was free

    def __post_init__(self) -> None:
        pool = slot_pool(slots=self.workflow.slots if isinstance(self.workflow.slots, tuple) else self.slots)
        self.slot_names = tuple(slot.name for slot in pool.slots)
        self.slots = len(self.slot_names)
        self.plan = plan.build(self.workflow, find=lambda source, named: (named, self.children[named]), pool=pool)
        self.state = State(self.plan)
        self.ends: list[tuple[float, int, events.AttemptFinished]] = []
        self.stopped: set[str] = set()
        self.tickets = count()
        if self.journal:
            self._replay()
        else:
            self.note(created(len(self.slot_names), self.timeout_seconds, self.slot_names, self.budget_usd))
            self.note(events.PlaceOpened("/place"))
            self.note(events.SetupFinished())

    def note(self, event: events.Event) -> None:
        # Through JSON, so that the journal's form is tested with everything else.
        event = events.from_json(type(event).__name__, json.loads(json.dumps(events.to_json(event))))
        self.state.apply(event, self.now)
        self.journal.append((event, self.now))

    def _replay(self) -> None:
        past, self.journal = self.journal, []
        for event, at in past:
            self.now = at
            self.note(event)
        reopen = self.state.finished or self.state.stopping is not None
        for task in list(self.state.running.values()):
            self.note(finished(task.id, task.attempts[-1].started.number, "lost", interrupted=True))
        self.note(events.RunResumed(reopen, budget_usd=self.budget_usd))
        if self.state.place is None:
            self.note(events.PlaceOpened("/place"))
        if self.state.setup is None:
            self.note(events.SetupFinished())

    def run(self, until: float = float("inf")) -> Simulation:
        """To the end, or to the moment `until`."""
        for _ in range(100_000):
            self.state.wake(self.now)
            for task in list(self.state.approvals.values()) if self.person else ():
                self.note(events.ApprovalAnswered(task.id, self.state.steps[task.step].plan.name not in self.rejects))
            decision = policy.decide(self.state, self.now, self.others)
            if self._note_facts(decision.actions):
                continue
            self.left = next((action for action in decision.actions if isinstance(action, policy.Leave) and self._leaves(action)), None)
            if self.state.all_ended or self.left:
                break
            self._act(decision.actions)
            if self._merge_and_close(decision.actions):
                continue
            if not self._advance(decision.wake_at, until):
                return self
        else:
            raise AssertionError("the run does not end")
        if self.state.all_ended:
            self._merge_and_close([policy.ClosePlace(task) for task in self.state.item_places])
        self.state.check()
        if self.state.all_ended:
            self.note(events.RunFinished(self.state.outcome()))
        return self

    def _leaves(self, leave: policy.Leave) -> bool:
        return leave.until is None or leave.until - leave.since > self.wait_max_seconds

    def _note_facts(self, actions: Sequence[policy.Action]) -> bool:
        noted = False
        for action in actions:
            if isinstance(action, policy.Record):
                self.note(action.event)
                noted = True
            elif isinstance(action, policy.Open):
                self.note(self._opened(action.step))
                noted = True
            elif isinstance(action, policy.Begin):
                self.note(self._begun(action.task))
                noted = True
            elif isinstance(action, policy.Judge):
                self.note(self._judged(action.task))
                noted = True
        return noted

    def _opened(self, step_id: str) -> events.Event:
        step = self.state.steps[step_id]
        if step.plan.name in self.skip:
            return events.StepClosed(step_id, "skipped", "`when` is false")
        if step.tasks and any(task.status == "success" for task in step.tasks):
            return events.StepOpened(step_id, step.items, len(step.tasks))
        count = self.items.get(step.plan.name, 1) if step.plan.fans_out else 1
        return events.StepOpened(step_id, events.Stored(json.dumps(list(range(count)))), count)

    def _begun(self, task_id: str) -> events.Event:
        task = self.state.tasks[task_id]
        step = self.state.steps[task.step].plan
        if step.inner is not None:
            return events.RoundStarted(task_id, len(task.rounds) + 1)
        if step.step.approve is not None:
            return events.ApprovalRequested(task_id, events.Stored("ok?"))
        assert step.step.end is not None
        return events.EndReached(task_id, step.step.end, "the end")

    def _judged(self, task_id: str) -> events.Event:
        task = self.state.tasks[task_id]
        step = self.state.steps[task.step].plan
        frame = task.rounds[-1]
        status = outcome_of(frame)
        number = len(task.rounds) - task.counted_from
        again = status == "success" and step.step.repeat is not None and number < self.rounds.get(step.name, 1)
        return events.RoundFinished(task_id, frame.number, status, again)

    def _act(self, actions: Sequence[policy.Action]) -> None:
        for action in actions:
            if isinstance(action, policy.Start):
                assert action.slot is None or action.slot not in self.state.slots, f"two tasks on {action.slot}"
                self._open_place(self.state.place_of(self.state.tasks[action.task]))
                started = events.AttemptStarted(
                    action.task, action.number, action.kind, action.slot, agent=action.agent, budget_usd=action.budget_usd
                )
                self.note(started)
                seconds, result = self.outcome(started)
                heapq.heappush(self.ends, (self.now + seconds, next(self.tickets), result))
            elif isinstance(action, policy.Stop) and action.task not in self.stopped:
                self.stopped.add(action.task)
                number = self.state.tasks[action.task].attempts[-1].started.number
                self.ends = [entry for entry in self.ends if entry[2].task != action.task]
                heapq.heappush(self.ends, (self.now, next(self.tickets), finished(action.task, number, "cancelled")))
        self.most_running = max(self.most_running, len(self.state.slots))
        if self.watched:
            self.idle += self._idle()
        for name in {task.step for task in self.state.running.values()}:
            self.most_of[name] = max(self.most_of.get(name, 0), self.state.steps[name].running)

    def _open_place(self, place: str) -> None:
        """Nothing is begun in a busy place that has anything to commit; what is begun has a place."""
        if not place:
            return
        task = self.state.tasks[place]
        into = task.within.place
        if task.place is None or task.place.closed is not None:
            assert not (self.state.works_in(into) and into in self.state.uncommitted.values()), f"{place} begins without what {into} has"
            self._open_place(into)
            self.note(events.PlaceOpened(f"/{place}", branch=place, task=place))

    def _merge_and_close(self, actions: Sequence[policy.Action]) -> bool:
        """Merge what may be while nobody works where it goes; close what has ended. Whether anything was done."""
        noted = False
        for action in actions:
            if isinstance(action, policy.Merge) and action.task in self.state.merging:
                task = self.state.tasks[action.task]
                if self.state.works_in(task.within.place):
                    continue
                self._open_place(task.id)
                mended = sum(
                    each.started.kind == "merge" and each.finished is not None and not each.finished.error_kind for each in task.counted
                )
                failed = self.conflicts(task.id, mended)
                self.note(events.PlaceMerged(task.id, None if failed else "1", task.within.place, "conflict" if failed else ""))
                noted = True
            elif isinstance(action, policy.ClosePlace):
                task = self.state.tasks[action.task]
                assert not self.state.works_in(task.id)
                assert task.ended
                self.note(events.PlaceClosed(None if task.place is not None and task.place.merged else task.id, task=task.id))
                noted = True
        return noted

    def _idle(self) -> list[str]:
        """The ready tasks for which a slot was free all the same."""
        free = set(self.slot_names) - set(self.state.slots)
        ready = [(task, self.state.steps[task.step].plan) for task in self.state.tasks.values() if task.status == "ready"]
        return [task.id for task, step in ready if free & set(self.slot_names if step.slots is None else step.slots)]

    def _advance(self, wake_at: float | None, until: float) -> bool:
        moments = [at for at in (self.ends[0][0] if self.ends else None, wake_at) if at is not None]
        assert moments, "nothing runs and nothing will wake the run"
        if min(moments) > until:
            self.now = until
            return False
        self.now = max(self.now, min(moments))
        while self.ends and self.ends[0][0] <= self.now:
            _, _, result = heapq.heappop(self.ends)
            self.stopped.discard(result.task)
            self.note(result)
        return True

    def attempt_timeout(self, task: str) -> float:
        """The time limit of an attempt that runs now, in seconds."""
        found = self.state.tasks[task]
        return attempt_timeout_seconds(self.state.steps[found.step].plan, found, self.now)

    def statuses(self) -> dict[str, str]:
        return {name: step.status for name, step in self.state.steps.items()}
