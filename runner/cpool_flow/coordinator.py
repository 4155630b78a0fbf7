"""One coordinator's life: take the run's lock, fold its journal, open its place, drive it to its end, close the place.

A start and a resume are the same here: a run that has just been created is one whose journal is short.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import field, replace
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

from cpool_flow import events, faults, project_pool, traces
from cpool_flow.dataclass import dataclass
from cpool_flow.engine import Engine, Follow
from cpool_flow.errors import InvalidInput
from cpool_flow.executor.context import RunContext, declared_values, find_shell
from cpool_flow.executor.local import LocalSlots
from cpool_flow.guardian import sweep
from cpool_flow.history import fold
from cpool_flow.inputs import Inputs, hidden_values
from cpool_flow.journal import Journal, Lock, Recorded
from cpool_flow.lost import note_lost
from cpool_flow.notify import Notifier, due
from cpool_flow.other_runs import OtherRuns
from cpool_flow.places import Places
from cpool_flow.process import Processes
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import RunPlace, open_place, our_git
from cpool_flow.run_values import RunValues, fixed_values
from cpool_flow.secrets import Masker, check_secrets
from cpool_flow.setup import set_up
from cpool_flow.shared_slots import shared_slots
from cpool_flow.state import State
from cpool_flow.turn import Turn
from cpool_flow.waiting_room import turn_of, wait
from cpool_flow.workspace.plain import PlainPlace

if TYPE_CHECKING:
    from cpool_flow.executor.recorder import Recorder
    from cpool_flow.item_merges import ItemMerges
    from cpool_flow.rooms import Rooms

# What a person says of a task, by its id.
Say = Callable[[str, Mapping[str, str]], None]


@dataclass(frozen=True)
class Wishes:
    """What a coordinator is told. `starting`: nobody has worked on the run yet. `decisions`: what a person has decided,
    by task. `cancel`: the run shall end, for this reason. `began` is called when the run is ours, before anything is done;
    `heartbeat` every `heartbeat_seconds` while it goes on. `patience_seconds`: how long it stays when only a person can go on,
    `limit_patience_seconds`: when only the end of a usage limit can; `budget_usd`: of the whole run, from now on, where it is another;
    `auto_approve`: it says yes itself; `listen` is given the way to hand on what a person at the terminal says. `grace_seconds`: how long
    what is stopped has to end by itself; `notify`: the commands of `cpool.yaml` are told when the run has ended or waits."""

    starting: bool = False
    decisions: Mapping[str, events.Choice] = field(default_factory=dict)
    cancel: str = ""
    began: Callable[[State], None] = lambda state: None
    heartbeat: Callable[[State], None] = lambda state: None
    heartbeat_seconds: float = 5.0
    patience_seconds: float = 0.0
    limit_patience_seconds: float = inf
    auto_approve: bool = False
    budget_usd: float | None = None
    listen: Callable[[Say], AbstractContextManager[None]] = lambda say: nullcontext()
    grace_seconds: float = 10.0
    notify: bool = True


def coordinate(folder: RunFolder, inputs: Inputs, environment: Mapping[str, str], follow: Follow, wishes: Wishes) -> State:
    """Work on a run until it has ended or waits for a person; the state in which it is left. Raises FlowError."""
    secret_values = check_secrets(inputs.secrets, environment)
    since = time.time()
    with Lock(folder.path):
        return asyncio.run(_Coordinator(folder, inputs, environment, secret_values, follow, wishes, since).work())


class _Coordinator:
    def __init__(
        self,
        folder: RunFolder,
        inputs: Inputs,
        environment: Mapping[str, str],
        secret_values: Mapping[str, str],
        follow: Follow,
        wishes: Wishes,
        since: float,
    ) -> None:
        self._folder = folder
        self._inputs = inputs
        self._environment = environment
        self._secrets = secret_values
        self._follow = follow
        self._wishes = wishes
        self._since = since
        self._masker = Masker(hidden_values(inputs, secret_values, environment))
        self._git = our_git(environment, secret_values)

    async def work(self) -> State:
        journal = Journal.open(self._folder.path)
        try:
            state = fold(self._inputs.plan, journal)
            if state.status != "success":
                self._wishes.began(state)
                await self._work(state, journal)
            elif self._wishes.notify and due(state, self._inputs.pool.file.notify):
                await self._work(state, journal)  # who was to be told was not, when its coordinator died
            return state
        finally:
            journal.close()

    async def _work(self, state: State, journal: Journal) -> None:
        mark = state.mark
        if not self._wishes.starting:
            sweep(state.mark)
            mark = f"{self._folder.run_id}-{os.urandom(4).hex()}"
        count = state.created.slots if state.created is not None else 1
        slots = shared_slots(self._folder, count, self._environment)
        with closing(slots), Processes(mark, str(self._folder.path)) as processes:
            public = {name: value for name, value in self._environment.items() if name not in {*self._secrets, "CPOOL_FAULT"}}
            notifier = Notifier(self._folder, self._inputs, public, self._masker, processes)

            def follow(recorded: Sequence[Recorded], state: State) -> None:
                self._follow(recorded, state)
                if self._wishes.notify:
                    notifier.follow(recorded, engine)

            engine = Engine(
                state,
                journal,
                self._folder,
                follow,
                time.time,
                self._money(state),
                self._since,
                slots=slots,
                patience_seconds=self._wishes.patience_seconds,
                limit_patience_seconds=self._wishes.limit_patience_seconds,
                auto_approve=self._wishes.auto_approve,
            )
            with _signals(engine, notifier), self._wishes.listen(engine.say):
                if not self._wishes.starting:
                    follow((), state)
                if state.status != "success":
                    await self._drive(engine, processes, mark)
                await notifier.settle(engine)
                await self._trace(engine, journal)

    async def _drive(self, engine: Engine, processes: Processes, mark: str) -> None:
        if not self._wishes.starting:
            self._take_over(engine, mark)
        with turn_of(self._folder, engine.state) as turn:
            if turn is not None and not await self._comes(turn, engine):
                self._give_up(engine)
            await self._drive_in_turn(engine, processes)

    async def _comes(self, turn: Turn, engine: Engine) -> bool:
        """Wait for the run's turn. False where the run is to end before that."""
        concurrency = self._inputs.workflow.concurrency
        heart = asyncio.get_running_loop().create_task(self._beat(engine.state))
        try:
            return await wait(turn, engine, self._folder, cancels=concurrency is not None and concurrency.cancel)
        finally:
            heart.cancel()

    def _give_up(self, engine: Engine) -> None:
        """It is to end while others are ahead: at once, for also `finally` would run in the turn of another."""
        stopping = engine.state.stopping
        if stopping is None or stopping.cause == "end":
            raise AssertionError("BUG: nobody has asked a waiting run to end")
        if not stopping.at_once:
            engine.stop(stopping.cause, stopping.reason)
        if self._wishes.starting and engine.state.place is not None:  # its place was never made
            directory = engine.state.place.directory if engine.state.place.place is None else None
            engine.note(events.PlaceClosed(directory=directory))
        engine.flush()

    async def _drive_in_turn(self, engine: Engine, processes: Processes) -> None:
        left_open = engine.state.place_closed is None
        place = await self._place(engine) if left_open else RunPlace(PlainPlace(Path(self._inputs.directory)), self._masker)
        context = self._context(place, processes, engine)
        values = RunValues(engine.state, context)
        places = Places(place, engine.state, self._git, self._masker, context.remark)
        rooms = self._rooms(places, context, values, engine)
        executor = LocalSlots(context, rooms)
        heart = asyncio.get_running_loop().create_task(self._beat(engine.state))
        try:
            if left_open and (engine.state.setup is None or place.fresh):
                engine.note(events.SetupFinished(await set_up(engine, context)))
                engine.flush()
                faults.point("after-setup")
            ended = await engine.drive(places, values, executor, self._items(places, rooms, executor))
            await executor.close()  # before the place goes: an agent's process may wait there for its next task
            if ended:
                await self._finish(engine, place, values)
        finally:
            heart.cancel()
            await executor.close()

    def _rooms(self, places: Places, context: RunContext, values: RunValues, engine: Engine) -> Rooms | None:
        if not self._inputs.plan.has_isolated:
            return None
        from cpool_flow.rooms import Rooms

        return Rooms(places, context, values, engine.state, engine.tell)

    def _items(self, places: Places, rooms: Rooms | None, executor: LocalSlots) -> ItemMerges | None:
        if rooms is None:
            return None
        from cpool_flow.item_merges import ItemMerges

        return ItemMerges(places, rooms, executor, self._inputs.workflow.keep)

    def _take_over(self, engine: Engine, mark: str) -> None:
        """What another coordinator has left: its running attempts are lost, what had failed is open again."""
        state = engine.state
        note_lost(engine, self._folder, self._inputs.pool.file)
        reopen = not self._wishes.cancel and (state.status in ("failed", "cancelled") or state.stopping is not None)
        engine.note(events.RunResumed(reopen, mark, self._wishes.budget_usd))
        for task_id, choice in self._wishes.decisions.items():
            engine.note(events.Decided(task_id, choice))
        if self._wishes.cancel:
            engine.stop("cancel", self._wishes.cancel)
        if state.place is not None and state.place_closed is not None and not state.all_ended:
            # Its place went when the run ended: it is made again, and set up anew.
            engine.note(state.place)
        engine.flush()

    def _money(self, state: State) -> OtherRuns:
        """The day's budget is the one that `cpool.yaml` names now: who raises it need not begin anew."""
        try:
            pool = project_pool.read_pool(self._folder.path.parents[2]).pool
        except InvalidInput:
            pool = self._inputs.pool.file
        return OtherRuns(self._folder, pool.budgets.day, state.created.parent if state.created else "")

    async def _place(self, engine: Engine) -> RunPlace:
        state = engine.state
        if state.place is None:
            raise AssertionError("BUG: a run is created together with its place")
        faults.point("before-place")
        private = self._folder.path / "place"
        place = await open_place(self._git, state.place, private, state.tip, first=self._wishes.starting, masker=self._masker)
        faults.point("after-place")
        for sentence in place.notes:
            engine.note(events.Noted(sentence))
        return place

    def _context(self, place: RunPlace, processes: Processes, engine: Engine) -> RunContext:
        bare = RunContext(
            folder=self._folder,
            inputs=self._inputs,
            workflow=self._inputs.workflow,
            place=place.place,
            processes=processes,
            masker=self._masker,
            environment=self._environment,
            secrets=self._secrets,
            default_shell=find_shell(self._environment),
            shared=engine.state.shared,
            remark=lambda text: engine.tell(events.Noted(text)),
            grace_seconds=self._wishes.grace_seconds,
            recorder=self._recorder(place),
        )
        env, declared = declared_values(bare.workflow, fixed_values(bare, engine.state), bare)
        return replace(bare, env=env, context=declared)

    def _recorder(self, place: RunPlace) -> Recorder | None:
        if not self._inputs.record:
            return None
        from cpool_flow.executor.recorder import Recorder

        return Recorder(Path(self._inputs.record), place.place, self._masker)

    async def _finish(self, engine: Engine, place: RunPlace, values: RunValues) -> None:
        """Outputs, then the place, then the end of the run: the last event says that nothing is left to do."""
        status = engine.state.outcome()
        outputs, complaint = values.outputs()
        if engine.state.created is not None and engine.state.created.only:
            complaint = ""  # what other steps would have left is not there
        if complaint and status == "success":
            status = "failed"
        if engine.state.place_closed is None:
            faults.point("before-close")
            closed = await place.close(self._inputs.workflow.keep)
            faults.point("after-close")
            engine.note(closed)
            engine.flush()
        faults.point("before-finish")
        stored = self._folder.keep(json.dumps(outputs, ensure_ascii=False), "outputs.json")
        engine.note(events.RunFinished(status, _reason(engine.state, status, complaint), stored))
        engine.flush()
        faults.point("after-finish")

    async def _trace(self, engine: Engine, journal: Journal) -> None:
        """Send the spans of what was done, where somebody collects them."""
        if self._wishes.notify and traces.wanted(self._environment):
            complaint = await asyncio.to_thread(traces.send, traces.unsent(journal, engine.state), self._environment)
            if complaint:
                engine.note(events.Noted(complaint))
                engine.flush()

    async def _beat(self, state: State) -> None:
        while True:
            await asyncio.sleep(self._wishes.heartbeat_seconds)
            self._wishes.heartbeat(state)


_LOST = "the coordinator died while it ran"


def _reason(state: State, status: str, complaint: str) -> str:
    """Why the run has ended so. An early end with success is no reason for a failure."""
    if state.stopping and state.stopping.status == status:
        return state.stopping.reason
    names = [f"`{step.plan.name}`" for step in state.root.steps.values() if step.status == "failed" and not step.ended_well]
    if names:
        return f"step{'s' if len(names) > 1 else ''} {', '.join(names)} failed"
    return complaint


@contextmanager
def _signals(engine: Engine, notifier: Notifier) -> Iterator[None]:
    """Ctrl-C and TERM stop the run in order, a second one at once; when it has ended, who is still being told of it."""
    loop = asyncio.get_running_loop()
    wishes: dict[int, tuple[events.StopCause, str]] = {
        signal.SIGINT: ("cancel", "cancelled by Ctrl-C"),
        signal.SIGTERM: ("sigterm", "stopped by SIGTERM"),
        signal.SIGHUP: ("sigterm", "stopped by SIGHUP"),
    }
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:  # started by nohup
        del wishes[signal.SIGHUP]

    def stop(cause: events.StopCause, reason: str) -> None:
        if engine.state.finished:
            notifier.stop(reason)
        engine.stop(cause, reason)

    for number, wish in wishes.items():
        loop.add_signal_handler(number, stop, *wish)
    try:
        yield
    finally:
        for number in wishes:
            loop.remove_signal_handler(number)
