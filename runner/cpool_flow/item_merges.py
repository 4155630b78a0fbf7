"""Merges what items have done, one at a time into each place, and closes their places; in the background, so that the engine goes on.

A merge is worked out in the item's own place, with `verify` again where others were merged meanwhile. The place that it goes to is only
touched in the engine's turn, when nobody works there. Nothing is kept here that a restart would miss: whatever was begun is begun again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable

from cpool_flow import events, faults, policy
from cpool_flow.engine import POLL_SECONDS, Engine
from cpool_flow.errors import InvalidInput
from cpool_flow.executor import Executor
from cpool_flow.executor.work import Work
from cpool_flow.places import Places
from cpool_flow.rooms import Rooms
from cpool_flow.tasks import Task
from cpool_flow.values import RenderError
from cpool_flow.workspace.place import Keep


class ItemMerges:
    """`keep`: what becomes of a place whose work was not merged."""

    def __init__(self, places: Places, rooms: Rooms, executor: Executor, keep: Keep) -> None:
        self._places = places
        self._rooms = rooms
        self._executor = executor
        self._keep = keep
        self._jobs: dict[str, asyncio.Task[events.Event | None]] = {}
        self._works: dict[str, Work] = {}  # of those that merge
        self._hurried: set[str] = set()  # of those that were stopped, at once
        self._joined: dict[str, Task] = {}  # ready to be handed over

    async def take(self, engine: Engine) -> None:
        state = engine.state
        self._stop_works(engine)
        for name in [name for name, job in self._jobs.items() if job.done()]:
            self._end(name, self._jobs.pop(name).result(), engine)
        for name, task in list(self._joined.items()):
            into = task.within.place
            if name not in state.merging:
                del self._joined[name]
            elif engine.is_at_rest(into):
                del self._joined[name]
                engine.flush()
                faults.point("before-item-merge")
                fact = await self._places.hand_over(task)
                faults.point("after-item-merge")
                if fact is not None:
                    engine.note(fact)

    async def act(self, actions: Iterable[policy.Action], engine: Engine) -> None:
        tasks = engine.state.tasks
        for action in actions:
            match action:
                case policy.Merge(name) if name not in self._joined and not self._merges_into(tasks[name].within.place, engine):
                    await engine.open_place(name, self._places)
                    engine.flush()
                    work = self._works[name] = self._rooms.new_work(tasks[name])
                    self._begin(name, self._merge(tasks[name], work, engine), engine)
                case policy.ClosePlace(name) if name not in self._jobs:
                    self._begin(name, self._close(tasks[name]), engine)

    async def finish(self, engine: Engine) -> None:
        while engine.state.item_places:
            await self.take(engine)
            await self.act(map(policy.ClosePlace, list(engine.state.item_places)), engine)
            if self._jobs:
                engine.take_requests()
                await asyncio.wait(self._jobs.values(), timeout=POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            await self.take(engine)
        engine.flush()

    async def rest(self, engine: Engine) -> None:
        for work in self._works.values():
            work.stop("the coordinator leaves", at_once=True)
        await asyncio.gather(*self._jobs.values(), return_exceptions=True)

    def _stop_works(self, engine: Engine) -> None:
        """Stop the merges of items that were stopped; asked a second time, at once."""
        stopping = engine.state.stopping
        at_once = engine.hurried or (stopping is not None and stopping.at_once)
        for name, work in self._works.items():
            if name not in engine.state.merging and (work.stopped is None or (at_once and name not in self._hurried)):
                self._hurried |= {name} if at_once else set()
                work.stop("the item was stopped", at_once=at_once)

    def _merges_into(self, place: str, engine: Engine) -> bool:
        return any(engine.state.tasks[name].within.place == place for name in (*self._works, *self._joined))

    def _begin(self, name: str, doing: Coroutine[object, object, events.Event | None], engine: Engine) -> None:
        job = self._jobs[name] = asyncio.get_running_loop().create_task(doing)
        job.add_done_callback(lambda _: engine.look())

    def _end(self, name: str, fact: events.Event | None, engine: Engine) -> None:
        merged = self._works.pop(name, None) is not None
        self._hurried.discard(name)
        task = engine.state.tasks.get(name)
        if merged and name not in engine.state.merging:
            return  # stopped meanwhile: its branch has what was done
        if fact is not None:
            engine.note(fact)
        elif merged and task is not None:
            self._joined[name] = task

    async def _merge(self, task: Task, work: Work, engine: Engine) -> events.PlaceMerged | None:
        fact = await self._places.join(task)
        executes = engine.state.steps[task.step].plan.executes  # what holds steps has verified nothing yet
        if fact is not None or (executes and not await self._places.has_moved(task)):
            return fact
        place = task.place
        assert place is not None, "BUG: an item that has no place is merged"
        try:
            reason, error = await self._rooms.verify(task, work)
        except (RenderError, InvalidInput) as wrong:
            reason = error = str(wrong)
        if reason:
            return events.PlaceMerged(task.id, into=place.into, reason=reason, error=error)
        await self._places.keep_up(task)
        return None

    async def _close(self, task: Task) -> events.PlaceClosed:
        place = task.place
        assert place is not None, "BUG: an item that has no place is left"
        await self._executor.leave(place.opened.directory)
        faults.point("before-item-close")
        closed = await self._places.close_item(task, self._keep)
        faults.point("after-item-close")
        return closed
