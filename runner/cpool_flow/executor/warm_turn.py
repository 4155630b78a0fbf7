"""One task in a warm process: from its message to the end of its turn, or to the end of the process.

Knows time limits and how such a process is stopped: it is asked to break off first, so that it says what was spent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from cpool_flow.agents.protocol import AgentRequest, Ladder, Reader
from cpool_flow.dataclass import dataclass
from cpool_flow.executor.agent_lines import AgentLines, Tell
from cpool_flow.executor.warm_process import LADDER, WarmProcess
from cpool_flow.executor.work import Ended, How, Watch, Work
from cpool_flow.process import Exit

BREAK_OFF_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Turned:
    """What came of a turn. `kept`: the process lives, and may do more."""

    ended: Ended
    reader: Reader
    kept: bool = False


async def take_turn(
    warm: WarmProcess, request: AgentRequest, work: Work, log: Callable[[bytes], object], errors: Callable[[bytes], object], *,
    ladder: Ladder, idle_seconds: float, tell: Tell | None = None,
) -> Turned:  # fmt: skip
    """Give the task to the process. Raises InvalidInput, OperationFailed."""
    message, reader = warm.ask(request)
    lines, complaints = AgentLines(log, reader.feed, tell), AgentLines(errors, reader.warn)
    turn = _Turn(warm, reader, work, idle_seconds)

    def took(data: bytes) -> None:
        lines(data)
        if turn.done:
            turn.wake()

    with warm.taken(took, complaints):
        with work.halted_by(turn.halt):
            warm.process.write(message)
            ended = await turn.run()
            kept = ended is None and await warm.keeps() and warm.process.running and reader.turn_over
        if kept:
            # A process of its own would have ended so.
            return Turned(Ended(Exit(0, None), ended_by_us=True), reader, kept=True)
        if ended is None:
            ended = await turn.leave(ladder)
        lines.end()
        complaints.end()
        return Turned(ended, reader)


def watch_of(reader: Reader, idle_seconds: float) -> Watch:
    """What to look at while the process of an agent runs to its end."""
    return Watch(idle_seconds, lambda: reader.tool_running, lambda: reader.turn_over, reader.stopping, lambda: reader.futile)


class _Turn:
    def __init__(self, warm: WarmProcess, reader: Reader, work: Work, idle_seconds: float) -> None:
        self._process = warm.process
        self._warm = warm
        self._reader = reader
        self._work = work
        self._idle_seconds = idle_seconds
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] = self._loop.create_future()

    @property
    def done(self) -> bool:
        """Whether nothing more is to come that the process needs us for. With background tasks it ends like one that gets no more input."""
        return self._reader.turn_over or (self._warm.only_tasks_left and self._work.stopped is None)

    def wake(self) -> None:
        if not self._woken.done():
            self._woken.set_result(None)

    def halt(self, *, first: bool, at_once: bool) -> None:
        if first:
            self._reader.stopping("cancelled")
        if at_once:
            self._process.kill()
        self.wake()

    async def run(self) -> Ended | None:
        """Until the turn is done (None), or the process has ended."""
        waiting = asyncio.ensure_future(self._process.wait())
        try:
            how = await self._until_something(waiting)
            if self.done and not waiting.done():
                return None
            if not waiting.done():
                await self._break_off(waiting, how)
            exit = await waiting
            cancelled = self._work.stopped is not None and how == "ended"
            return Ended(exit, "cancelled" if cancelled else how, ended_by_us=self._reader.futile and not cancelled)
        finally:
            waiting.cancel()

    async def _until_something(self, waiting: asyncio.Future[Exit]) -> How:
        pause = max(0.01, min(0.25, self._idle_seconds / 4))
        quiet_since = self._loop.time()
        while True:
            await self._either(waiting, max(0.0, min(pause, self._work.remaining_seconds)))
            now = self._loop.time()
            quiet_since = now if self._reader.tool_running else max(quiet_since, self._process.last_output)
            if waiting.done() or self._woken.done() or self._reader.futile:
                return "ended"
            if now >= self._work.deadline:
                return "timeout"
            if now - quiet_since >= self._idle_seconds:
                return "idle"

    async def leave(self, ladder: Ladder) -> Ended:
        """The turn is done, and the process is not kept: it ends as one does that gets no more input."""
        self._process.close_stdin()
        if self._work.stopped is not None:
            return Ended(await self._process.stop(ladder), "cancelled")
        return await self._work.follow(self._process, watch_of(self._reader, self._idle_seconds), ladder)

    async def _break_off(self, waiting: asyncio.Future[Exit], how: How) -> None:
        """Ask it to break off its turn, then end it: its session is half a task."""
        if how != "ended":
            self._reader.stopping("timeout")
        self._woken = self._loop.create_future()
        self._warm.interrupt()
        await self._either(waiting, BREAK_OFF_SECONDS)
        if self._woken.done():
            await self._warm.end()
        elif not waiting.done():
            await self._process.stop(LADDER)

    async def _either(self, waiting: asyncio.Future[Exit], seconds: float) -> None:
        """Until the process has ended, or something else has happened, or it is time."""
        both: tuple[asyncio.Future[Any], ...] = (waiting, self._woken)
        await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
