"""The process that does one attempt of an agent task: the slot's warm one where that will do, else one of the attempt's own.

Knows in which order the two are tried; not what an agent says, nor what becomes of its answer.
"""

from __future__ import annotations

from collections.abc import Callable

from cpool_flow.agents.protocol import Adapter, AgentRequest, Reader, private_files
from cpool_flow.agents.warm import Station
from cpool_flow.dataclass import dataclass
from cpool_flow.executor.agent_lines import AgentLines, Tell
from cpool_flow.executor.warm_process import WarmProcess
from cpool_flow.executor.warm_slots import WarmSlots
from cpool_flow.executor.warm_turn import Turned, take_turn, watch_of
from cpool_flow.executor.work import Ended, Work
from cpool_flow.process import Command

Take = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class AgentProcess:
    """How an agent's process is run for one attempt, and where what it prints goes. `tell`: who looks on while it works."""

    adapter: Adapter
    request: AgentRequest
    slot: str | None
    idle_seconds: float
    work: Work
    log: Take
    errors: Take
    tell: Tell | None = None

    async def run(self, slots: WarmSlots) -> Ran:
        """To the end of the task. Raises InvalidInput, ProcessNotStarted, OperationFailed."""
        return await self._warm(slots) or await self._cold()

    async def _cold(self) -> Ran:
        invocation = self.adapter.prepare(self.request)
        reader = self.adapter.reader(self.request)
        command = Command(invocation.argv, invocation.directory, invocation.environment, invocation.stdin)
        lines, complaints = AgentLines(self.log, reader.feed, self.tell), AgentLines(self.errors, reader.warn)
        with private_files(invocation):
            watch = watch_of(reader, self.idle_seconds)
            ended = await self.work.run(command, lines, complaints, ladder=self.adapter.ladder, watch=watch)
        lines.end()
        complaints.end()
        return Ran(ended, reader)

    async def _warm(self, slots: WarmSlots) -> Ran | None:
        station = slots.station(self.adapter.name, self.request, self.slot)
        if station is None or self.slot is None:
            return None
        held = await slots.take(self.slot, station)
        if held is not None and self.work.not_begun():
            await held.end()
        elif held is not None:
            ran = await self._turn(held)
            if held.printed or not _ended_by_itself(ran.ended, self.work):
                return ran
        # Nobody has done anything for the task yet: a process that dies without a word may be followed by another.
        return None if self.work.not_begun() else await self._fresh(slots, station)

    async def _fresh(self, slots: WarmSlots, station: Station) -> Ran | None:
        started = slots.start(station)
        ran = await self._turn(started)
        if started.printed or not _ended_by_itself(ran.ended, self.work) or ran.ended.exit.code is None:
            return ran
        slots.stays_cold(station)
        await started.end()  # its files are gone then, which have the names of those of the next
        return None

    async def _turn(self, warm: WarmProcess) -> Ran:
        turned: Turned | None = None
        self.work.began = True
        try:
            turned = await take_turn(
                warm,
                self.request,
                self.work,
                self.log,
                self.errors,
                ladder=self.adapter.ladder,
                idle_seconds=self.idle_seconds,
                tell=self.tell,
            )
        finally:
            if turned is None:
                warm.process.kill()
        return Ran(turned.ended, turned.reader, warm if turned.kept else None)


@dataclass(frozen=True, slots=True)
class Ran:
    """`warm`: the process that did it and lives on."""

    ended: Ended
    reader: Reader
    warm: WarmProcess | None = None


def _ended_by_itself(ended: Ended, work: Work) -> bool:
    return ended.how == "ended" and not ended.ended_by_us and work.stopped is None
