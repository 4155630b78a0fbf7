"""One agent process that does task after task for a slot, each in a clean session.

Knows how such a process is started, made ready for the next task, and ended; what is said to it is the adapter's (`agents/warm.py`), and what
becomes of one task is `warm_turn.py`'s. It is ready only if it can be shown that nothing of a task is left in it or below it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from cpool_flow import faults
from cpool_flow.agents.protocol import AgentRequest, Reader, private_files
from cpool_flow.agents.warm import Station
from cpool_flow.dataclass import dataclass
from cpool_flow.executor.agent_lines import AgentLines
from cpool_flow.process import Command, Exit, Ladder, Process, Processes

SETTLE_SECONDS = 0.5  # for the last child of a task to be gone
LEAVE_SECONDS = 2.0  # for the exit of a process that gets no more input
LADDER: Ladder = ((signal.SIGTERM, 2.0),)

Take = Callable[[bytes], object]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a process is not kept: it has had no task for so long, it holds more memory, it does not get to a clean session in time.

    Claude Code holds 0.2 to 0.3 GB, however many small tasks it has done, and clears its session in 0.02 to 0.15 s.
    """

    idle_seconds: float = 300.0
    most_bytes: int = 768 * 1024 * 1024
    clear_seconds: float = 5.0


LIMITS = Limits()


class WarmProcess:
    """Runs from when it is made. One task at a time has it; between two of them `tidy`."""

    def __init__(self, station: Station, processes: Processes, limits: Limits) -> None:
        """Raises ProcessNotStarted."""
        invocation = station.invocation
        self.key = station.key
        self.printed = False  # anything since it has the task that it has
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._talk = station.begin()
        self._out: Take = self._unasked
        self._err: Take = _nothing
        self._ready = False
        self._idle_since = 0.0
        self._folder = invocation.directory
        with ExitStack() as files:
            files.enter_context(private_files(invocation))
            faults.point("before-spawn")
            command = Command(invocation.argv, invocation.directory, invocation.environment, keep_stdin=True)
            self.process: Process = processes.spawn(command, stdout=self._took, stderr=self._took_error)
            faults.point("after-spawn")
            self._files = files.pop_all()
        self._place = _identity(self._folder)
        self._ending = self._loop.create_task(self._until_ended())

    @property
    def directory(self) -> str:
        """Where it works."""
        return self._folder

    @property
    def ready(self) -> bool:
        """Whether it waits for a task in a clean session, with nothing left of an earlier one. Cheap: `alone` is for the last moment."""
        return self._ready and self.process.running and not self.process.left_over() and _identity(self._folder) == self._place

    @property
    def idle_too_long(self) -> bool:
        return self._loop.time() - self._idle_since >= self._limits.idle_seconds

    def alone(self) -> bool:
        """Whether nothing runs that it has started."""
        return not self.process.started()

    @contextmanager
    def taken(self, out: Take, err: Take) -> Iterator[None]:
        """A task has it: what it prints is that task's."""
        self._ready, self.process.idle, self.printed = False, False, False
        self._out, self._err = out, err
        try:
            yield
        finally:
            self._out, self._err = self._unasked, _nothing

    def ask(self, request: AgentRequest) -> tuple[bytes, Reader]:
        """What gives it the task, and the reader of what it then prints. Raises InvalidInput."""
        return self._talk.ask(request)

    @property
    def only_tasks_left(self) -> bool:
        """Whether the turn waits for nothing but background tasks."""
        return self._talk.only_tasks_left

    def interrupt(self) -> None:
        """Ask it to break off its turn."""
        self.process.write(self._talk.interrupt)

    async def keeps(self) -> bool:
        """Whether the task that it has just done has left nothing in the process, and soon nothing below it."""
        if not self._talk.keeps():
            return False
        deadline, pause = self._loop.time() + SETTLE_SECONDS, 0.005
        while not self.alone():
            if self._loop.time() > deadline:
                return False
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.1)
        return True

    async def tidy(self) -> None:
        """Make it ready for the next task. What cannot be made ready is ended."""
        if await self._cleared() and self.process.resident_bytes <= self._limits.most_bytes:
            self._ready, self.process.idle, self._idle_since = True, True, self._loop.time()
        else:
            await self.end()

    async def end(self) -> Exit:
        """End it in order, with all that it has started. Safe to call twice."""
        self._ready = False
        self.process.close_stdin()
        await asyncio.wait([self._ending], timeout=LEAVE_SECONDS)
        exit = await self.process.stop(LADDER)
        await asyncio.wait([self._ending])
        return exit

    async def _cleared(self) -> bool:
        message, answer = self._talk.clear()
        lines, over = AgentLines(_nothing, answer.feed), self._loop.create_future()

        def took(data: bytes) -> None:
            lines(data)
            if answer.over and not over.done():
                over.set_result(None)

        with self.taken(took, _nothing):
            self.process.write(message)
            await asyncio.wait([over, self._ending], timeout=self._limits.clear_seconds, return_when=asyncio.FIRST_COMPLETED)
        over.cancel()
        return answer.clean and self.process.running

    def _took(self, data: bytes) -> None:
        self.printed = True
        self._out(data)

    def _took_error(self, data: bytes) -> None:
        self._err(data)

    def _unasked(self, data: bytes) -> None:
        """Nobody has asked it for anything: whatever it does now, it is not fit for a task."""
        self._ready = False

    async def _until_ended(self) -> None:
        try:
            with suppress(Exception):  # what a reader raised is told to those who have the process
                await self.process.wait()
        finally:
            self._files.close()


def _nothing(data: bytes) -> None:
    return None


def _identity(folder: str) -> tuple[int, int] | None:
    """The folder itself, whatever stands at its path later."""
    try:
        state = os.stat(folder)
    except OSError:
        return None
    return state.st_dev, state.st_ino
