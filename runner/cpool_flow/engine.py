"""The driver of one run: asks the policy, records what it decides, then acts, until every step has ended.

The only writer of the journal while it lives. Knows the order of things (record, then act); not the rules
(`policy.py`), nor how work is done (`executor/`), nor where (`workspace/`).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from cpool_flow import events, faults, policy
from cpool_flow.executor import Assignment, Executor
from cpool_flow.journal import Journal, Recorded
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State

# How often a coordinator looks for requests of other processes, in seconds.
POLL_SECONDS = 0.25
Follow = Callable[[Sequence[Recorded], State], None]


class Place(Protocol):
    """Where the run works, as far as the engine needs it. `versioned`: what steps leave is committed here."""

    versioned: bool

    async def tree(self) -> str | None:
        """The state of the files now, where they are under git."""

    async def commit(self, tasks: Sequence[str]) -> tuple[events.PlaceCommitted | None, Sequence[str]]:
        """Commit what the tasks left, if anything, and say what people should know of it. No step runs meanwhile."""


class Values(Protocol):
    """What the templates of the run come to."""

    def open_step(self, step: str) -> events.StepOpened | events.StepClosed:
        """Ask `when` and `foreach` of a step whose needs are met."""

    def scope(self, task: str, number: int) -> dict[str, object]:
        """The values that the texts of an attempt see."""


class Engine:
    """Drives one run. `follow` is called after each commit with what was recorded."""

    def __init__(
        self,
        state: State,
        journal: Journal,
        folder: RunFolder,
        follow: Follow,
        clock: Callable[[], float],
        since: float = 0.0,
    ) -> None:
        """`since`: requests of other processes that are older are not meant for us."""
        self.state = state
        self._journal = journal
        self._folder = folder
        self._follow = follow
        self._clock = clock
        self._since = since
        self._batch: list[tuple[events.Event, float]] = []
        self._results: list[events.AttemptFinished | Exception] = []
        self._woken = asyncio.Event()
        self._next_poll = 0.0
        self._committed = False

    def note(self, event: events.Event) -> None:
        """Take a fact in. It counts from now on; `flush` makes it durable before anything is done for it."""
        now = self._clock()
        self.state.apply(event, now)
        self._batch.append((event, now))

    def flush(self) -> None:
        """Make the noted facts durable. Raises OperationFailed where the disk refuses: the run can then be resumed."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        faults.point("before-append")
        recorded = self._journal.append(batch)
        faults.point("after-append")
        self._follow(recorded, self.state)

    def stop(self, cause: events.StopCause, reason: str) -> None:
        """Ask the run to stop in order; asked a second time, at once. Nothing where nothing is left to stop."""
        if self.state.all_ended:
            return
        self.note(events.RunStopping(cause, reason, at_once=self.state.stopping is not None))
        self._woken.set()

    async def drive(self, place: Place, values: Values, executor: Executor) -> bool:
        """Work until every step has ended (True), or until only a person or time can go on (False)."""
        while not self.state.all_ended:
            self.take_requests()
            self._take_results()
            await self._commit(place)
            self.state.wake(self._clock())
            decision = policy.decide(self.state, self._clock())
            if self._note_facts(decision.actions, values):
                continue
            if any(isinstance(action, policy.Leave) for action in decision.actions):
                self.flush()
                return False
            await self._act(decision.actions, place, values, executor)
            await self._wait(decision.wake_at)
        await self._commit(place)
        self.flush()
        return True

    def take_requests(self) -> None:
        """Do what other processes have asked for. Cheap: it looks a few times a second, however often it is called."""
        now = self._clock()
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_SECONDS
        if self._journal.changed():
            for request in self._journal.take_requests(self._since):
                if request.type == "cancel":
                    self.stop("cancel", request.data.get("reason", "cancelled"))

    # ---- a turn of the loop ---------------------------------------------------------------------------------

    def _take_results(self) -> None:
        results, self._results = self._results, []
        for result in results:
            if isinstance(result, Exception):
                raise result
            faults.point("before-result")
            self._committed = False
            self.note(result)

    async def _commit(self, place: Place) -> None:
        """What steps left is committed while nothing runs in their place, so that no half-made file gets in."""
        if self._committed or not (place.versioned and self.state.uncommitted) or self.state.running:
            return
        self.flush()
        faults.point("before-commit")
        committed, sentences = await place.commit(list(self.state.uncommitted))
        faults.point("after-commit")
        self._committed = True
        if committed:
            self.note(committed)
        for sentence in sentences:
            self.note(events.Noted(sentence))

    def _note_facts(self, actions: Iterable[policy.Action], values: Values) -> bool:
        noted = False
        for action in actions:
            match action:
                case policy.Record(event):
                    self.note(event)
                case policy.Open(step):
                    self.note(values.open_step(step))
                case policy.Leave(reason):
                    self.note(events.RunWaiting(reason))
                    continue
                case _:
                    continue
            noted = True
        return noted

    async def _act(self, actions: Iterable[policy.Action], place: Place, values: Values, executor: Executor) -> None:
        starts = [action for action in actions if isinstance(action, policy.Start)]
        tree = await place.tree() if self._wants_tree(starts, place) else None
        for start in starts:
            self.note(self._started(start, tree))
        self.flush()
        for start in starts:
            executor.start(self._assignment(start, tree, values), self._deliver)
        at_once = self.state.stopping is not None and self.state.stopping.at_once
        for action in actions:
            if isinstance(action, policy.Stop):
                executor.stop(action.task, action.reason, at_once=at_once)

    async def _wait(self, wake_at: float | None) -> None:
        """Until an attempt has ended, somebody asks for something, or it is time."""
        self.flush()
        if not self._results and not self._woken.is_set() and not self.state.all_ended:
            delay = POLL_SECONDS if wake_at is None else max(0.0, min(POLL_SECONDS, wake_at - self._clock()))
            timer = asyncio.get_running_loop().call_later(delay, self._woken.set)
            await self._woken.wait()
            timer.cancel()
        self._woken.clear()

    def _deliver(self, result: events.AttemptFinished | Exception) -> None:
        self._results.append(result)
        self._woken.set()

    # ---- starting -------------------------------------------------------------------------------------------

    def _wants_tree(self, starts: Sequence[policy.Start], place: Place) -> bool:
        if not starts:
            return False
        return place.versioned or any(policy.is_exclusive(self.state, self.state.tasks[start.task], start.kind) for start in starts)

    def _started(self, start: policy.Start, tree: str | None) -> events.AttemptStarted:
        task = self.state.tasks[start.task]
        plan = self.state.steps[task.step].plan
        is_agent = plan.step.is_agent or start.kind == "recovery"
        return events.AttemptStarted(
            task=task.id,
            number=start.number,
            kind=start.kind,
            slot=start.slot,
            agent=plan.agent if is_agent else None,
            log=self._folder.log(task.step, task.index, start.number).name,
            tree=tree,
            session_id=str(uuid.uuid4()) if is_agent else None,
        )

    def _assignment(self, start: policy.Start, tree: str | None, values: Values) -> Assignment:
        task = self.state.tasks[start.task]
        plan = self.state.steps[task.step].plan
        started = task.attempts[-1].started
        return Assignment(
            step=plan,
            task=task.id,
            index=task.index,
            number=start.number,
            kind=start.kind,
            slot=start.slot,
            log=self._folder.logs / started.log,
            scope=values.scope(task.id, start.number),
            timeout_seconds=policy.attempt_timeout_seconds(plan, task, self._clock()),
            session_id=started.session_id or "",
            tree=tree,
        )
