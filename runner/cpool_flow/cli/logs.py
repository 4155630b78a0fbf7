"""`logs`: what the attempts of a run have printed, in the order in which they began."""

from __future__ import annotations

import codecs
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from cpool_flow import events, history
from cpool_flow.attempt_logs import AttemptLogs
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput, did_you_mean, listed, printable_lines
from cpool_flow.journal import Recorded, is_alive
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State
from cpool_flow.tasks import Attempt, Task

FOLLOW_SECONDS = 0.1
CHUNK = 65536


@click.command("logs", short_help="Print the output of a run's steps.")
@click.argument("run", default="last")
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.pass_obj
def logs_command(project: str | None, run: str, step: str | None, follow: bool) -> int:
    """Print the logs of a run, or of one STEP of it: `review`, or `review[2]` for an item."""
    folder = find_run(project, run)
    with history.following(folder) as followed:
        _check_step(followed.state, step)
        printer = _Printer()
        attempts = [entry for entry in _attempts(followed.state.tasks.values()) if _is_of(entry[0], step)]
        if step is None:
            printer.print(_setup_logs(folder))
        while True:
            alive = follow and is_alive(folder.path)  # asked first: what it records last is still read
            attempts += [entry for entry in _begun(followed.state, followed.update()) if _is_of(entry[0], step)]
            printer.print(_logs(folder, attempts))
            if not alive:
                return 0
            sys.stdout.flush()
            attempts = [entry for entry in attempts if entry[1].finished is None]
            time.sleep(FOLLOW_SECONDS)


def _check_step(state: State, step: str | None) -> None:
    if step is not None and step not in state.steps and step not in state.tasks:
        help = did_you_mean(step, [*state.steps, *state.tasks]) or f"it has {listed(state.steps)}"
        raise InvalidInput(f"the run has no step `{step[:80]}`", help=help)


def _is_of(task: Task, step: str | None) -> bool:
    return step is None or step in (task.step, task.id)


def _attempts(tasks: Iterable[Task]) -> list[tuple[Task, Attempt]]:
    """All attempts, in the order in which they began."""
    return sorted(((task, attempt) for task in tasks for attempt in task.attempts), key=lambda entry: entry[1].started_at)


def _begun(state: State, new: Iterable[Recorded]) -> Iterator[tuple[Task, Attempt]]:
    """The attempts that have begun by what is new."""
    for recorded in new:
        if isinstance(recorded.event, events.AttemptStarted):
            task = state.tasks[recorded.event.task]
            yield from ((task, attempt) for attempt in task.attempts if attempt.started is recorded.event)


@dataclass(frozen=True, slots=True)
class _Log:
    """What is shown above a log; the file; where the rest of it will be when the attempt has ended."""

    title: str
    path: str
    becomes: str | None = None


def _setup_logs(folder: RunFolder) -> Iterator[_Log]:
    for number, path in AttemptLogs(folder.logs).of_setup():
        yield _Log(_numbered("setup", number), path)


def _logs(folder: RunFolder, attempts: list[tuple[Task, Attempt]]) -> Iterator[_Log]:
    if not attempts:
        return
    logs = AttemptLogs(folder.logs)
    for task, attempt in attempts:
        started = attempt.started
        title = f"{task.id} attempt {started.number}{' (recovery)' if started.kind == 'recovery' else ''}"
        # While it runs, stdout is shown as it comes; stderr follows when the attempt has ended.
        for path in logs.own(attempt)[:1]:
            yield _Log(title, path, None if attempt.finished else str(folder.logs / started.log))
        for number, path in logs.verified(attempt):
            yield _Log(_numbered(f"{title} verify", number), path)


def _numbered(title: str, number: int) -> str:
    return title if number == 1 else f"{title} {number}"


class _Printer:
    """Prints what is new of logs. Into a file or pipe as it is; on a terminal it is only text."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}  # bytes, by title
        self._title = ""
        self._at_line_start = True
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if sys.stdout.isatty() else None

    def print(self, logs: Iterable[_Log]) -> None:
        for log in logs:
            descriptor = _opened(log)
            if descriptor is not None:
                try:
                    self._print(log.title, descriptor)
                finally:
                    os.close(descriptor)

    def _print(self, title: str, descriptor: int) -> None:
        start = self._shown.get(title, 0)
        if start:
            os.lseek(descriptor, start, os.SEEK_SET)
        while chunk := os.read(descriptor, CHUNK):
            if title != self._title:
                self._head(title, continued=start > 0)
            self._write(chunk)
            self._shown[title] = self._shown.get(title, 0) + len(chunk)

    def _head(self, title: str, *, continued: bool) -> None:
        line = f"{'' if self._at_line_start else chr(10)}── {title}{' (continued)' if continued else ''}\n"
        self._write(line.encode(), final=True)
        self._title = title

    def _write(self, data: bytes, *, final: bool = False) -> None:
        self._at_line_start = data.endswith(b"\n")
        if self._decoder is None:
            sys.stdout.buffer.write(data)
        else:
            sys.stdout.write(printable_lines(self._decoder.decode(data, final)))


def _opened(log: _Log) -> int | None:
    """The file, open; None where there is none. A slot's next attempt writes into a file of the same name: what has been opened is
    of this one as long as its log has not been made."""
    descriptor = _open(log.path)
    if log.becomes is not None and os.path.exists(log.becomes):
        if descriptor is not None:
            os.close(descriptor)
        return _open(log.becomes)
    return descriptor


def _open(path: str) -> int | None:
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
