"""The processes of one attempt, one after the other: started, timed, and stopped when somebody says so.

Knows time-outs and logs; not what a step or an agent is. All times are seconds.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from cpool_flow import faults
from cpool_flow.dataclass import dataclass
from cpool_flow.process import KILL_LADDER, TERM_LADDER, Command, Exit, Ladder, Process, Processes
from cpool_flow.streams import Sink

# An agent that has given its whole result and does not leave is ended after this long.
RESULT_GRACE_SECONDS = 5.0
# What prepares a place for work has this long, whatever the time of the work itself.
LONGEST_SETUP_SECONDS = 3600.0

How = Literal["ended", "cancelled", "timeout", "idle"]


class Halt(Protocol):
    """Begins to stop what runs: for the `first` time, or again `at_once`."""

    def __call__(self, *, first: bool, at_once: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended, and why: by itself, or stopped by us. `ended_by_us`: its turn was over and it had stayed."""

    exit: Exit
    how: How = "ended"
    ended_by_us: bool = False

    @property
    def text(self) -> str:
        if self.exit.signal is not None:
            return f"signal {signal.Signals(self.exit.signal).name if self.exit.signal in signal.valid_signals() else self.exit.signal}"
        return f"exit code {self.exit.code}"


@dataclass(frozen=True, slots=True)
class Watch:
    """What to look at while a process runs. `busy`: silence is normal now; `over`: nothing more is to come of it; `futile`: nothing
    good is, it shall end now."""

    idle_seconds: float | None = None
    busy: Callable[[], bool] = lambda: False
    over: Callable[[], bool] = lambda: False
    stopping: Callable[[Literal["cancelled", "timeout"]], None] = lambda reason: None
    futile: Callable[[], bool] = lambda: False


def within(ladder: Ladder, seconds: float) -> Ladder:
    """The same signals in at most so much time together, each with its share."""
    total = sum(each for _, each in ladder)
    return ladder if total <= seconds else tuple((number, each * seconds / total) for number, each in ladder)


class Work:
    """What an attempt does, so that it can be stopped. `deadline` is by the loop's clock and covers all of it; `grace_seconds` is how
    long what is stopped has to end by itself."""

    def __init__(self, processes: Processes, timeout_seconds: float, grace_seconds: float = 10.0) -> None:
        self._processes = processes
        self.grace_seconds = grace_seconds
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + timeout_seconds
        self.stopped: str | None = None
        self._halt: Halt | None = None  # stops what runs now
        self.began = False  # a process has begun with it

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - self._loop.time()

    def stop(self, reason: str, *, at_once: bool) -> None:
        """Stop what runs, and start nothing more. May be called again, then more impatiently."""
        first = self.stopped is None
        self.stopped = self.stopped or reason
        if self._halt is not None and (first or at_once):
            self._halt(first=first, at_once=at_once)

    @contextmanager
    def halted_by(self, halt: Halt) -> Iterator[None]:
        """While this holds, `stop` calls `halt`."""
        self._halt = halt
        try:
            yield
        finally:
            self._halt = None

    def not_begun(self) -> Ended | None:
        """How what has not begun yet has ended already, if so."""
        if self.stopped is not None:
            return Ended(Exit(None, None), "cancelled")
        return Ended(Exit(None, None), "timeout") if self.remaining_seconds <= 0 else None

    async def run(self, command: Command, stdout: Sink, stderr: Sink, *, ladder: Ladder = TERM_LADDER, watch: Watch | None = None) -> Ended:
        """Run one process to its end. Raises ProcessNotStarted, OperationFailed."""
        ended = self.not_begun()
        if ended is not None:
            return ended
        faults.point("before-spawn")
        timeout = self.remaining_seconds if watch is None else None
        process = self._processes.spawn(command, stdout=stdout, stderr=stderr, timeout_seconds=timeout, ladder=ladder)
        self.began = True
        faults.point("after-spawn")

        try:
            return await self.follow(process, watch, ladder)
        finally:
            faults.point("after-exit")

    async def follow(self, process: Process, watch: Watch | None, ladder: Ladder) -> Ended:
        """Wait for the end of a process that was started, or bring it about when it is time."""

        def halt(*, first: bool, at_once: bool) -> None:
            if first and watch:
                watch.stopping("cancelled")
            self._end(process, KILL_LADDER if at_once else within(ladder, self.grace_seconds))

        with self.halted_by(halt):
            return self._judged(await process.wait()) if watch is None else await self._watched(process, watch, ladder)

    def _judged(self, exit: Exit) -> Ended:
        return Ended(exit, "cancelled" if self.stopped is not None else "timeout" if exit.timed_out else "ended")

    async def _watched(self, process: Process, watch: Watch, ladder: Ladder) -> Ended:
        how: How = "ended"
        by_us = False
        waiting = asyncio.ensure_future(process.wait())
        over_since: float | None = None
        quiet_since = self._loop.time()
        pause = max(0.01, min(0.25, (watch.idle_seconds or 1.0) / 4))
        while not waiting.done():
            await asyncio.wait([waiting], timeout=max(0.0, min(pause, self.remaining_seconds)))
            now = self._loop.time()
            quiet_since = now if watch.busy() else max(quiet_since, process.last_output)
            over_since = (over_since or now) if watch.over() else None
            if waiting.done() or how != "ended" or by_us or self.stopped is not None:
                pause = 0.25
            elif over_since is not None:
                if now - over_since >= RESULT_GRACE_SECONDS:
                    by_us = True
                    self._end(process, ladder)
            elif watch.futile():
                by_us = True
                self._end(process, ladder)
            elif now >= self.deadline:
                how = "timeout"
            elif watch.idle_seconds is not None and now - quiet_since >= watch.idle_seconds:
                how = "idle"
            if how != "ended" and not by_us and self.stopped is None:
                by_us = True
                watch.stopping("timeout")
                self._end(process, ladder)
        exit = await waiting
        if self.stopped is not None and how == "ended" and not by_us:
            how = "cancelled"
        return Ended(exit, how, ended_by_us=by_us and how == "ended")

    def _end(self, process: Process, ladder: Ladder) -> None:
        self._stopping = self._loop.create_task(process.stop(ladder))
