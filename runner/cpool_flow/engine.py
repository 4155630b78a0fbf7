"""The driver of one run: asks the policy, records what it decides, then acts, until every step has ended.

The only writer of the journal while it lives. Knows the order of things (record, then act); not the rules
(`policy.py`), nor how work is done (`executor/`), nor where (`workspace/`).
"""

from __future__ import annotations

import asyncio
import signal
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from math import inf
from typing import Protocol

from cpool_flow import events, faults, policy
from cpool_flow.after_failure import attempt_timeout_seconds
from cpool_flow.budget import Others, affordable
from cpool_flow.executor import Assignment, Executor, Tokens
from cpool_flow.journal import Journal, Recorded
from cpool_flow.model import Session
from cpool_flow.run_folder import RunFolder, log_name
from cpool_flow.shared_slots import Held
from cpool_flow.state import State
from cpool_flow.tasks import Task, seen

# How often a coordinator looks for requests of other processes, in seconds.
POLL_SECONDS = 0.25
CTRL_C_SECONDS = 0.05
AUTO_APPROVE = "--auto-approve"
Follow = Callable[[Sequence[Recorded], State], None]


class Places(Protocol):
    """Where the run works, as far as the engine needs it: its own place, and by their task those of items. `versioned`: what steps leave
    is committed."""

    versioned: bool

    async def tree(self, place: str = "") -> str | None:
        """The state of the files now, where they are under git; None of a place that was never made."""

    async def commit(self, tasks: Sequence[str], place: str = "") -> tuple[events.PlaceCommitted | None, Sequence[str]]:
        """Commit what the tasks left, if anything, and say what people should know of it. No step runs there meanwhile."""

    async def plan(self, task: str) -> events.PlaceOpened:
        """The place of an item, before anything of it exists."""


class Values(Protocol):
    """What the templates of the run come to."""

    def open_step(self, step: str) -> Sequence[events.Event]:
        """Ask `when` and the items of a step whose needs are met."""

    def begin(self, task: str) -> events.Event:
        """Begin a task that executes nothing itself."""

    def judge(self, task: str, tree: str | None) -> events.Event:
        """What a round has come to whose steps have all ended. `tree`: the files now."""

    def answer(self, task: str, said: Mapping[str, str]) -> events.Event | None:
        """What a person said of a task; None where that task asks nobody, or not for this."""

    def scope(self, task: str, number: int) -> dict[str, object]:
        """The values that the texts of an attempt see."""

    def item(self, task: str) -> object:
        """The item of a task, or of the nearest group around it; None where there is none."""


class Slots(Protocol):
    """The slots of the run, of which other runs may have taken some."""

    def take(self, task: str, preferred: int) -> Held | None:
        """A slot for a task, of this number if it is free; None where all are busy."""

    def give_back(self, task: str) -> None:
        """The task needs it no more."""


class Money(Protocol):
    """What other runs have to do with our money."""

    @property
    def are_there(self) -> bool:
        """Whether anybody else spends from a budget that is ours as well."""

    def read(self, *, fresh: bool = False) -> Others:
        """What they have spent; `fresh`: as it is now."""

    def alone(self) -> AbstractContextManager[None]:
        """While this holds, nobody else hands out shared money."""

    def settle(self, task: str, slot: str | None) -> float | None:
        """What runs have spent inside of an attempt that has ended; None where there were none."""


class Items(Protocol):
    """Merges and closes the places of items in the background."""

    async def take(self, engine: Engine) -> None:
        """Take in what has come of it, and hand over what is ready."""

    async def act(self, actions: Iterable[policy.Action], engine: Engine) -> None:
        """Begin what is wished for."""

    async def finish(self, engine: Engine) -> None:
        """Close the places that are left: every step has ended."""

    async def rest(self, engine: Engine) -> None:
        """Stop what is at work. What it has come to is found again by who goes on."""


class Engine:
    """Drives one run. `follow` is called after each commit with what was recorded."""

    def __init__(
        self,
        state: State,
        journal: Journal,
        folder: RunFolder,
        follow: Follow,
        clock: Callable[[], float],
        money: Money,
        since: float = 0.0,
        *,
        slots: Slots,
        patience_seconds: float = 0.0,
        limit_patience_seconds: float = inf,
        auto_approve: bool = False,
    ) -> None:
        """`since`: a cancel that was asked for before is not meant for us. `slots`: those that other runs may have taken. `patience_seconds`: how long to stay when only a person can
        go on, `limit_patience_seconds`: when only the end of a usage limit can. `auto_approve`: every question is answered with yes.
        `money`: knows what other runs that share ours have spent."""
        self.state = state
        self._journal = journal
        self._folder = folder
        self._follow = follow
        self._clock = clock
        self._since = since
        self._slots = slots
        self._held: dict[str, Held] = {}
        self._batch: list[tuple[events.Event, float]] = []
        self._results: list[events.AttemptFinished | Exception] = []
        self._woken = asyncio.Event()
        self._alarm: asyncio.TimerHandle | None = None
        self._next_poll = 0.0
        self._patience_seconds = patience_seconds
        self._limit_patience_seconds = limit_patience_seconds
        self.money = money
        self._auto_approve = auto_approve
        self.hurried = False  # asked to stop though every step had ended
        self._waiting_since: float | None = None
        self._taken = 0  # the number of the last request that was looked at
        self._for_persons: set[str] = set()  # questions that `--auto-approve` cannot answer
        self._said: list[tuple[str, Mapping[str, str]]] = []
        self._committed: set[str] = set()  # places in which nothing has ended since

    def note(self, event: events.Event) -> None:
        """Take a fact in. It counts from now on; `flush` makes it durable before anything is done for it."""
        now = self._clock()
        self.state.apply(event, now)
        self._batch.append((event, now))

    def tell(self, event: events.Event) -> None:
        """Take in a fact that comes from outside, and look at once what follows from it."""
        self.note(event)
        self._woken.set()

    def look(self) -> None:
        """Something has come of what was begun: look at it soon."""
        self._woken.set()

    def flush(self) -> None:
        """Make the noted facts durable. Raises OperationFailed where the disk refuses: the run can then be resumed."""
        if not self._batch:
            return
        batch, self._batch = self._batch, []
        faults.point("before-append")
        recorded = self._journal.append(batch, taken=self._taken)
        faults.point("after-append")
        self._follow(recorded, self.state)

    def stop(self, cause: events.StopCause, reason: str) -> None:
        """Ask the run to stop in order; asked a second time, at once. Nothing where nothing is left to stop."""
        if self.state.all_ended:
            self.hurried = True
            self._woken.set()
            return
        before = self.state.stopping
        self.note(events.RunStopping(cause, reason, at_once=before is not None and before.cause != "budget"))
        self._woken.set()

    def say(self, task: str, said: Mapping[str, str]) -> None:
        """Take in what a person at the terminal says of a task."""
        self._said.append((task, said))
        self._woken.set()

    async def drive(self, places: Places, values: Values, executor: Executor, items: Items | None = None) -> bool:
        """Work until every step has ended (True), or until only a person or time can go on (False). `items`: merges and closes the places
        of items, where the plan has any."""
        try:
            return await self._drive(places, values, executor, items)
        finally:
            if items is not None:
                await items.rest(self)

    async def _drive(self, places: Places, values: Values, executor: Executor, items: Items | None) -> bool:
        while not self.state.all_ended:
            self.take_requests()
            self._take_answers(values)
            await self._hear_ctrl_c()
            self._take_results()
            await self._commit(places)
            if items is not None:
                await items.take(self)
            self.state.wake(self._clock())
            decision = policy.decide(self.state, self._clock(), self.money.read())
            if await self._note_facts(decision.actions, places, values):
                continue
            leave = next((action for action in decision.actions if isinstance(action, policy.Leave)), None)
            if leave is not None:
                await executor.rest()
                if self._out_of_patience(leave):
                    self.flush()
                    if not self._said:  # who was told of a question may have answered at once
                        return False
            await self._act(decision.actions, places, values, executor)
            if items is not None:
                await items.act(decision.actions, self)
            await self._wait(decision.wake_at)
        await self._commit(places)
        self.flush()
        if items is not None:
            await items.finish(self)
        return True

    def take_requests(self) -> None:
        """Do what other processes have asked for. Cheap: it looks a few times a second, however often it is called."""
        now = self._clock()
        if now < self._next_poll:
            return
        self._next_poll = now + POLL_SECONDS
        if self._journal.changed():
            for request in self._journal.requests(self._taken):
                self._taken = request.id
                if request.type == "cancel" and request.at >= self._since:
                    self.stop("cancel", request.data.get("reason", "cancelled"))
                elif request.type == "approve":
                    self._said.append((request.data.get("task", ""), request.data))

    def _take_answers(self, values: Values) -> None:
        said, self._said = self._said, []
        if self._auto_approve:
            said += [(task, {"by": AUTO_APPROVE}) for task in self.state.approvals if task not in self._for_persons]
        for task, words in said:
            answer = values.answer(task, words)
            if answer is not None:
                self.note(answer)
            elif words.get("by") == AUTO_APPROVE:
                self._for_persons.add(task)
                self.note(events.Noted(f"`{AUTO_APPROVE}` has no answer for step `{task}`: it asks for more than a yes"))

    def _out_of_patience(self, leave: policy.Leave) -> bool:
        """Whether to leave now that only a person, or the end of a usage limit, can go on. That the run waits is recorded once: a limit
        that ends too late is not waited for at all."""
        if self.state.status != "waiting" or self.state.reason != leave.reason:
            self.note(events.RunWaiting(leave.reason))
            self._waiting_since = self._clock()
        if leave.until is not None:
            return leave.until - leave.since > self._limit_patience_seconds
        return self._clock() - (self._waiting_since or 0.0) >= self._patience_seconds

    # ---- a turn of the loop ---------------------------------------------------------------------------------

    def _take_results(self) -> None:
        results, self._results = self._results, []
        for result in results:
            if isinstance(result, Exception):
                raise result
            faults.point("before-result")
            self._committed.discard(self.state.place_of(self.state.tasks[result.task]))
            self._slots.give_back(result.task)
            self.note(self._with_nested(self._as_stopped(result)))

    async def _hear_ctrl_c(self) -> None:
        """Where Ctrl-C has ended an attempt it is on its way to us as well."""
        struck = any(isinstance(result, events.AttemptFinished) and result.signal == signal.SIGINT for result in self._results)
        if struck and self.state.stopping is None:
            await asyncio.sleep(CTRL_C_SECONDS)

    def _as_stopped(self, result: events.AttemptFinished) -> events.AttemptFinished:
        """Ctrl-C also reaches a process that has only just been started and is still of our own group: cancelled, it has not failed."""
        if self.state.stopping is None or result.error_kind != "failed" or result.signal != signal.SIGINT:
            return result
        return replace(result, error_kind="cancelled", error=self.state.stopping.reason)

    def _with_nested(self, result: events.AttemptFinished) -> events.AttemptFinished:
        """What runs have spent that were started inside of an attempt is spent by it."""
        started = self.state.tasks[result.task].attempts[-1].started
        nested_usd = self.money.settle(started.task, started.slot)
        return result if nested_usd is None else replace(result, nested_usd=nested_usd)

    async def _commit(self, places: Places) -> None:
        """What steps left is committed while nothing runs in their place, so that no half-made file gets in."""
        if not places.versioned:
            return
        for place in ("", *self.state.item_places):
            if place not in self._committed and not self.state.works_in(place):
                self._committed.add(place)
                await self._commit_in(place, places)

    async def _commit_in(self, place: str, places: Places) -> None:
        tasks = [task for task, left_in in self.state.uncommitted.items() if left_in == place]
        if not tasks:
            return
        self.flush()
        faults.point("before-commit")
        committed, sentences = await places.commit(tasks, place)
        faults.point("after-commit")
        if committed:
            self.note(committed)
        for sentence in sentences:
            self.note(events.Noted(sentence))

    async def _note_facts(self, actions: Iterable[policy.Action], places: Places, values: Values) -> bool:
        noted = False
        for action in actions:
            match action:
                case policy.Record(event):
                    self.note(event)
                case policy.Open(step):
                    for fact in values.open_step(step):
                        self.note(fact)
                case policy.Begin(task):
                    self.note(values.begin(task))
                case policy.Judge(task):
                    self.note(values.judge(task, await self._tree_of_round(task, places)))
                case _:
                    continue
            noted = True
        return noted

    async def _tree_of_round(self, task: str, places: Places) -> str | None:
        """The files that a round of a loop has left: only a loop asks whether it goes round in circles."""
        holder = self.state.tasks[task]
        loops = self.state.steps[holder.step].plan.step.repeat is not None
        return await places.tree(self.state.place_of(holder)) if loops else None

    async def _act(self, actions: Iterable[policy.Action], places: Places, values: Values, executor: Executor) -> None:
        starts = [action for action in actions if isinstance(action, policy.Start) and self._takes_slot(action)]
        tree = await places.tree() if self._wants_tree(starts, places) else None
        with self.money.alone() if any(start.budget_usd for start in starts) else nullcontext():
            afforded = self._affordable(starts)
            for start in starts:
                if start not in afforded:
                    self._slots.give_back(start.task)
            starts = afforded
            for start in starts:
                place = self.state.place_of(self.state.tasks[start.task])
                await self.open_place(place, places)
                self.note(self._started(start, None if place else tree))
            self.flush()
        for start in starts:
            executor.start(self._assignment(start, tree, values), self._deliver)
        at_once = self.state.stopping is not None and self.state.stopping.at_once
        for action in actions:
            if isinstance(action, policy.Stop):
                executor.stop(action.task, action.reason, at_once=at_once)

    def is_at_rest(self, place: str) -> bool:
        """Whether nothing runs in a place, and all that was left there is committed."""
        return not self.state.works_in(place) and (place in self._committed or place not in self.state.uncommitted.values())

    async def open_place(self, place: str, places: Places) -> None:
        """Record the place of an item before anything of it exists, and first those that it comes from."""
        if not place:
            return
        item = self.state.tasks[place]
        if item.place is None or item.place.closed is not None:
            await self.open_place(item.within.place, places)
            self.note(await places.plan(place))

    def _affordable(self, starts: list[policy.Start]) -> list[policy.Start]:
        """Those for which there is still money: another run may have been faster."""
        usd = sum(start.budget_usd or 0.0 for start in starts)
        if not usd or not self.money.are_there or affordable(self.state, usd, self.money.read(fresh=True), self._clock()):
            return starts
        return [start for start in starts if start.budget_usd is None]

    async def _wait(self, wake_at: float | None) -> None:
        """Until an attempt has ended, somebody asks for something, or it is time."""
        self.flush()
        if not self._results and not self._woken.is_set() and not self.state.all_ended:
            self._wake_in(POLL_SECONDS if wake_at is None else max(0.0, min(POLL_SECONDS, wake_at - self._clock())))
            await self._woken.wait()
        self._woken.clear()

    def _wake_in(self, seconds: float) -> None:
        """At the latest. A timer that rings earlier is left as it is: it costs a turn in which there is nothing to do."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._alarm is None or not loop.time() < self._alarm.when() <= at:
            if self._alarm is not None:
                self._alarm.cancel()
            self._alarm = loop.call_at(at, self._woken.set)

    def _deliver(self, result: events.AttemptFinished | Exception) -> None:
        self._results.append(result)
        self._woken.set()

    # ---- starting -------------------------------------------------------------------------------------------

    def _wants_tree(self, starts: Sequence[policy.Start], places: Places) -> bool:
        """The tree of the run's own place: who works in an item's asks there."""
        tasks = [(self.state.tasks[start.task], start.kind) for start in starts]
        tasks = [(task, kind) for task, kind in tasks if not self.state.place_of(task)]
        return bool(tasks) and (places.versioned or any(policy.is_exclusive(self.state, *each) for each in tasks))

    def _takes_slot(self, start: policy.Start) -> bool:
        """Whether nothing is in the way of a start. A slot that another run has taken is asked for again at the next turn."""
        self._held.pop(start.task, None)
        if start.slot is None:
            return True
        held = self._slots.take(start.task, self._slot_number(start.slot))
        if held is not None:
            self._held[start.task] = held
        return held is not None

    def _slot_number(self, name: str) -> int:
        names = self.state.created.slot_names if self.state.created is not None else ()
        if name in names:
            return names.index(name) + 1
        last = name.rpartition("-")[2]
        return int(last) if last.isdecimal() else self.state.slot_order.index(name) + 1  # one that a pool was given later

    def _started(self, start: policy.Start, tree: str | None) -> events.AttemptStarted:
        task = self.state.tasks[start.task]
        return events.AttemptStarted(
            task=task.id,
            number=start.number,
            kind=start.kind,
            slot=start.slot,
            agent=start.agent,
            log=log_name(task.id, start.number),
            tree=tree,
            session_id=self._session(task, start.kind) if start.agent is not None else None,
            budget_usd=start.budget_usd,
        )

    def _session(self, task: Task, kind: events.AttemptKind) -> str:
        """The session of an attempt: one of its own, unless the step goes on in another's. A recovery is a task of its own."""
        session = self.state.steps[task.step].plan.step.session
        earlier = self._resumed(task) if kind == "normal" else None
        return earlier if earlier is not None and isinstance(session, Session) and session.fork is None else str(uuid.uuid4())

    def _resumed(self, task: Task) -> str | None:
        """The session that the step of a task names; None where it names none, or that step left none."""
        session = self.state.steps[task.step].plan.step.session
        if not isinstance(session, Session):
            return None
        source = seen(task.within, session.continue_ or session.fork or "")
        last = source.tasks[0].last if source is not None and source.tasks else None
        return (last.finished.session_id if last and last.finished else None) or (last.started.session_id if last else None)

    def _tokens_before(self, task: Task) -> Tokens:
        """What the session in which a task goes on had come to."""
        session = self._resumed(task)
        ended = [
            finished
            for each in (self.state.tasks.values() if session is not None else ())
            for attempt in each.attempts
            if (finished := attempt.finished) is not None and finished.session_id == session and finished.input_tokens is not None
        ]
        return max((Tokens(each.input_tokens or 0, each.output_tokens or 0, each.cached_tokens or 0) for each in ended), default=Tokens())

    def _assignment(self, start: policy.Start, tree: str | None, values: Values) -> Assignment:
        task = self.state.tasks[start.task]
        plan = self.state.steps[task.step].plan
        started = task.attempts[-1].started
        place = self.state.place_of(task)
        return Assignment(
            step=plan,
            task=task.id,
            index=task.index,
            number=start.number,
            kind=start.kind,
            slot=start.slot,
            log=self._folder.logs / started.log,
            scope=values.scope(task.id, start.number),
            timeout_seconds=attempt_timeout_seconds(plan, task, self._clock()),
            session_id=started.session_id or "",
            resume=self._resumed(task) if start.kind == "normal" else None,
            item=values.item(task.id),
            tree=None if place else tree,
            place=place,
            held=self._held.get(task.id),
            agent=start.agent,
            budget_usd=start.budget_usd,
            tokens_before=self._tokens_before(task) if start.agent is not None and start.kind == "normal" else Tokens(),
        )
