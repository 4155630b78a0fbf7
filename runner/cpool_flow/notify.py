"""Tells others what has become of a run: the commands of `notify` in `cpool.yaml`, each once for each time that a run ends or waits.

They get the result on stdin. What becomes of them is noted, and changes nothing: the run has ended, or waits, before they begin.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from cpool_flow import events
from cpool_flow.engine import Engine
from cpool_flow.errors import OperationFailed
from cpool_flow.executor.context import display
from cpool_flow.executor.logs import Log, tail
from cpool_flow.executor.outcome import seconds_text
from cpool_flow.executor.work import Work
from cpool_flow.history import Run
from cpool_flow.inputs import Inputs
from cpool_flow.journal import Recorded
from cpool_flow.pool_file import Notification
from cpool_flow.process import Command, Processes
from cpool_flow.run_folder import RunFolder
from cpool_flow.secrets import Masker
from cpool_flow.state import State

DEFAULT_SECONDS = 30.0


def due(state: State, notifications: Sequence[Notification]) -> list[events.Notified]:
    """What is to be told now. A run that waits for the same as before, after a resume, is not told of again."""
    if state.finished:
        about = f"end {state.ends}"
    elif state.status == "waiting":
        about = f"question {state.questions}: {state.reason}"
    else:
        return []
    return [
        events.Notified(number, state.status, about)
        for number, notification in enumerate(notifications)
        if state.status in notification.occasions and (number, about) not in state.notified
    ]


class Notifier:
    """Follows a run, and tells beside it. `settle` before the loop ends."""

    def __init__(self, folder: RunFolder, inputs: Inputs, environment: Mapping[str, str], masker: Masker, processes: Processes) -> None:
        """`environment`: without secrets."""
        self._folder = folder
        self._inputs = inputs
        self._environment = environment
        self._masker = masker
        self._processes = processes
        self._results: dict[events.Notified, bytes] = {}
        self._told: list[asyncio.Task[None]] = []
        self._works: list[Work] = []

    def follow(self, recorded: Iterable[Recorded], engine: Engine) -> None:
        """Begin to tell what stands in the journal; what else is due now is noted, so that it will stand there."""
        for entry in recorded:
            if isinstance(entry.event, events.Notified) and entry.event in self._results:
                telling = self._tell(entry.event, self._results.pop(entry.event), engine)
                self._told.append(asyncio.get_running_loop().create_task(telling))
        new = due(engine.state, self._inputs.pool.file.notify)
        if new:
            result = json.dumps(Run(self._folder, self._inputs, engine.state).document()).encode()
            for event in new:
                self._results[event] = result
                engine.note(event)

    async def settle(self, engine: Engine) -> None:
        """Wait until all have been told, at most as long as a command may take."""
        engine.flush()
        await asyncio.gather(*self._told)
        engine.flush()

    def stop(self, reason: str) -> None:
        """End the commands that still run; asked again, at once."""
        for work in self._works:
            work.stop(reason, at_once=work.stopped is not None)

    async def _tell(self, event: events.Notified, result: bytes, engine: Engine) -> None:
        complaint = await self._run(event, result)
        if complaint:
            engine.note(events.Noted(self._masker.mask(f"`notify`: {complaint}")))

    async def _run(self, event: events.Notified, result: bytes) -> str:
        """What went wrong; empty where all went well."""
        notification = self._inputs.pool.file.notify[event.command]
        argv, limit = notification.command, notification.timeout or DEFAULT_SECONDS
        own = {"CPOOL_RUN_ID": self._folder.run_id, "CPOOL_RUN_DIR": str(self._folder.path), "CPOOL_RUN_STATUS": event.status}
        project = self._folder.path.parents[2]
        command = Command(argv, str(project), {**self._environment, **own}, result)
        work = Work(self._processes, limit)
        self._works.append(work)
        log = self._log()
        try:
            with Log(log, self._masker) as write:
                ended = await work.run(command, write, write)
        except OperationFailed as error:
            return str(error)
        finally:
            self._drop_empty(log)
        shown = f"`{display(argv)}`"
        if ended.how == "timeout":
            return f"{shown} did not end within {seconds_text(limit)}"
        if ended.how != "ended":
            return f"{shown} was stopped: {work.stopped}"
        return "" if ended.exit.code == 0 else f"{shown} ended with {ended.text}{_told_by(log)}"

    def _log(self) -> Path:
        """A new log. No step can be called so."""
        numbers = [int(name.split(".")[1]) for name in os.listdir(self._folder.logs) if name.startswith("_notify.")]
        path = self._folder.logs / f"_notify.{max(numbers, default=0) + 1}.log"
        path.touch()
        return path

    def _drop_empty(self, log: Path) -> None:
        with suppress(OSError):
            if not log.stat().st_size:
                log.unlink()


def _told_by(log: Path) -> str:
    """The last line of what a program printed, and where the others are."""
    lines = [line for line in tail(log, 300).split("\n") if line.strip()]
    if not lines:
        return ""
    return f": {lines[-1].strip()}{f' (more in {log})' if len(lines) > 1 else ''}"
