"""The processes of one attempt, one after the other: started, timed, and stopped when somebody says so.

Knows time-outs and logs; not what a step or an agent is. All times are seconds.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from cpool_flow import faults
from cpool_flow.process import KILL_LADDER, TERM_LADDER, Command, Exit, Ladder, Process, Processes
from cpool_flow.streams import Sink

# An agent that has given its whole result and does not leave is ended after this long.
RESULT_GRACE_SECONDS = 5.0

How = Literal["ended", "cancelled", "timeout", "idle"]


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


class Work:
    """What an attempt does, so that it can be stopped. `deadline` is by the loop's clock and covers all of it."""

    def __init__(self, processes: Processes, timeout_seconds: float) -> None:
        self._processes = processes
        self._loop = asyncio.get_running_loop()
        self.deadline = self._loop.time() + timeout_seconds
        self.stopped: str | None = None
        self.began = False  # a process of it was started
        self._ladder: Ladder = TERM_LADDER
        self._process: Process | None = None
        self._watch: Watch | None = None

    @property
    def remaining_seconds(self) -> float:
        return self.deadline - self._loop.time()

    def stop(self, reason: str, *, at_once: bool) -> None:
        """Stop what runs, and start nothing more. May be called again, then more impatiently."""
        first = self.stopped is None
        self.stopped = self.stopped or reason
        if self._process is not None and (first or at_once):
            if first and self._watch:
                self._watch.stopping("cancelled")
            self._end(self._process, KILL_LADDER if at_once else self._ladder)

    async def run(self, command: Command, stdout: Sink, stderr: Sink, *, ladder: Ladder = TERM_LADDER, watch: Watch | None = None) -> Ended:
        """Run one process to its end. Raises ProcessNotStarted, OperationFailed."""
        if self.stopped is not None:
            return Ended(Exit(None, None), "cancelled")
        if self.remaining_seconds <= 0:
            return Ended(Exit(None, None), "timeout")
        faults.point("before-spawn")
        self._ladder, self._watch = ladder, watch
        timeout = self.remaining_seconds if watch is None else None
        process = self._process = self._processes.spawn(command, stdout=stdout, stderr=stderr, timeout_seconds=timeout, ladder=ladder)
        self.began = True
        faults.point("after-spawn")
        try:
            if watch is None:
                return self._judged(await process.wait())
            return await self._watched(process, watch, ladder)
        finally:
            self._process = None
            faults.point("after-exit")

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
