"""The warm processes of a run: at most one a slot, which does the slot's tasks as long as they need the same process.

Knows when a process is kept, replaced and ended; not what it is told. Used from the loop of the coordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping

from cpool_flow import agents
from cpool_flow.agents.protocol import AgentRequest
from cpool_flow.agents.warm import Station
from cpool_flow.executor.warm_process import LIMITS, Limits, WarmProcess
from cpool_flow.process import Processes

SWITCH = "CPOOL_WARM"  # `off`: each task has a process of its own; `on`: whatever is called `claude` is taken for Claude Code
LOOK_SECONDS = 1.0


class WarmSlots:
    """`environment` is the caller's."""

    def __init__(self, processes: Processes, environment: Mapping[str, str], limits: Limits = LIMITS) -> None:
        self._processes = processes
        self._limits = limits
        self._switch = environment.get(SWITCH, "").lower()
        self._held: dict[str, WarmProcess] = {}
        self._tidying: dict[str, asyncio.Task[object]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._cold: set[str] = set()

    def station(self, agent: str, request: AgentRequest, slot: str | None) -> Station | None:
        """The process that the task could share with others, None where it needs one of its own. Raises InvalidInput."""
        find = agents.find_station(agent)
        if find is None or slot is None or self._switch == "off" or not self._processes.sees_descendants:
            return None
        station = find(request, self._switch == "on")
        return None if station is None or station.key in self._cold else station

    def stays_cold(self, station: Station) -> None:
        """Such a process does not come up: no more of them in this run."""
        self._cold.add(station.key)

    async def take(self, slot: str, station: Station) -> WarmProcess | None:
        """The slot's process, if it is ready for such a task; any other that the slot had has ended then."""
        await self._tidied(slot)
        held = self._held.pop(slot, None)
        if held is None or (held.key == station.key and held.ready and held.alone()):
            return held
        await held.end()
        return None

    def start(self, station: Station) -> WarmProcess:
        """A new process. Raises ProcessNotStarted."""
        return WarmProcess(station, self._processes, self._limits)

    async def give_back(self, slot: str, warm: WarmProcess, well: bool) -> None:
        """A task is done with it. Where all went `well` it is made ready for the next one meanwhile."""
        if not well:
            await warm.end()
            return
        self._held[slot] = warm
        self._begin(slot, warm.tidy())
        if self._looking is None or self._looking.done():
            self._looking = asyncio.get_running_loop().create_task(self._look())

    async def rest(self) -> None:
        """End those that have no task: for some time there will be none."""
        for slot in list(self._held):
            tidying = self._tidying.get(slot)
            if tidying is not None:
                tidying.cancel()
                await asyncio.wait([tidying])
            self._retire(slot)
        if self._tidying:
            await asyncio.wait(list(self._tidying.values()))

    async def leave(self, folder: str) -> None:
        """End those that work in a folder, or below it: it goes."""
        for slot, warm in list(self._held.items()):
            directory = warm.directory
            if directory == folder or directory.startswith(f"{folder}/"):
                tidying = self._tidying.get(slot)
                if tidying is not None:
                    tidying.cancel()
                    await asyncio.wait([tidying])
                await warm.end()
                if self._held.get(slot) is warm:
                    del self._held[slot]

    async def close(self) -> None:
        """End all of them."""
        if self._looking is not None:
            self._looking.cancel()
        await self.rest()

    async def _look(self) -> None:
        while self._held:
            await asyncio.sleep(LOOK_SECONDS)
            for slot, warm in list(self._held.items()):
                if slot not in self._tidying and (not warm.ready or warm.idle_too_long):
                    self._retire(slot)

    def _retire(self, slot: str) -> None:
        held = self._held.pop(slot, None)
        if held is not None:
            self._begin(slot, held.end())

    def _begin(self, slot: str, doing: Coroutine[object, object, object]) -> None:
        self._tidying[slot] = tidying = asyncio.get_running_loop().create_task(doing)

        def done(task: asyncio.Task[object]) -> None:
            if self._tidying.get(slot) is task:
                del self._tidying[slot]
            task.cancelled() or task.exception()  # nobody waits for what it came to

        tidying.add_done_callback(done)

    async def _tidied(self, slot: str) -> None:
        tidying = self._tidying.get(slot)
        if tidying is not None:
            await asyncio.wait([tidying])
