"""The output of a run's steps on stdout, under titles, also while it goes on."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from cpool_flow import events, history
from cpool_flow.attempt_logs import AttemptLogs
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, did_you_mean, printable
from cpool_flow.executor.logs import spools
from cpool_flow.journal import Recorded
from cpool_flow.state import State
from cpool_flow.tasks import Attempt

CHUNK = 65536
# What begins to print.
_PRINTS = (events.AttemptStarted, events.SetupFinished, events.PlaceMerged)
# On a terminal a longer line is shown in parts.
LONGEST_LINE = 1024 * 1024


def check_step(state: State, step: str | None) -> None:
    """Raises InvalidInput where the run has no such step."""
    if step is not None and step not in state.steps and step not in state.tasks:
        raise InvalidInput(
            f"the run has no step `{step[:80]}`",
            help=did_you_mean(step, [*state.steps, *state.tasks]) or f"it has {', '.join(state.steps)}",
        )


@dataclass(slots=True, eq=False)
class _Log:
    """A file of output, what is shown above it, and how much of it was shown already. `attempt`: of whose commands; None: nothing
    more comes."""

    title: str
    path: str
    attempt: Attempt | None = None
    shown: int = 0


class Logs:
    """Prints the output of each attempt once, and what has come since. `step`: only of that step, and what is within."""

    def __init__(self, run: history.Watched, step: str | None) -> None:
        self._run = run
        self._step = step
        self._logs = str(run.folder.logs)
        self._open: list[_Log] = []
        self._setup: dict[str, _Log] = {}
        self._page = Page()

    def print_new(self, recorded: Sequence[Recorded], *, last: bool) -> None:
        """Print what has come, now that this was recorded. `last`: nobody asks again."""
        self._take_in(recorded)
        logs, self._open = self._open, []
        for log in logs:
            if not self._is_done(log, last):
                self._open.append(log)
        sys.stdout.flush()

    def _take_in(self, recorded: Sequence[Recorded]) -> None:
        self._open += [log for entry in recorded if isinstance(entry.event, _PRINTS) for log in self._begun(entry.event)]

    def _begun(self, event: events.Event) -> Iterator[_Log]:
        if isinstance(event, events.AttemptStarted) and self._is_meant(event.task):
            how = " (recovery)" if event.kind != "normal" else ""
            attempts = self._run.state.tasks[event.task].attempts
            yield _Log(f"{event.task} attempt {event.number}{how}", f"{self._logs}/{event.log}", attempts[event.number - 1])
        elif isinstance(event, events.SetupFinished) and (self._is_meant(event.task) if event.task else self._step is None):
            for number, path in AttemptLogs(self._run.folder.logs).of_setup(event.task):
                yield self._setup.setdefault(path, _Log(_numbered(f"{event.task} setup".lstrip(), number), path))
        elif isinstance(event, events.PlaceMerged) and self._is_meant(event.task):
            for number, path in AttemptLogs(self._run.folder.logs).of_merge(event.task):
                yield self._setup.setdefault(path, _Log(_numbered(f"{event.task} verify after the merge", number), path))

    def _is_meant(self, task: str) -> bool:
        step = self._step
        return step is None or task == step or task.startswith((f"{step}[", f"{step}/", f"{step}#"))

    def _is_done(self, log: _Log, last: bool) -> bool:
        """Print what has come of one log; whether that is all. While its attempt runs, stdout is shown as it comes; stderr follows when
        it has ended."""
        attempt = log.attempt
        runs = attempt is not None and attempt.finished is None
        path = spools(log.path, attempt.started.slot)[0] if attempt is not None and runs else log.path
        try:
            file = os.open(path, os.O_RDONLY)  # a file object takes as long again to open as the file, and there may be ten thousand
            try:
                if runs and not self._runs_still(attempt):
                    return False  # what was opened may be the next one's: a slot's attempts use one file in turn
                chunks = _chunks(file, log.shown)
                log.shown += self._page.print(log.title, chunks, goes_on=log.shown > 0, whole=last or not runs)
            finally:
                os.close(file)
        except FileNotFoundError:
            pass
        if not runs:
            for verify in self._verify_logs(log):
                self._print_whole(verify)
        return not runs

    def _runs_still(self, attempt: Attempt | None) -> bool:
        if self._run.has_more:
            self._take_in(self._run.read_on())
        return attempt is not None and attempt.finished is None

    def _verify_logs(self, log: _Log) -> Iterator[_Log]:
        if log.attempt is None:
            return
        state = self._run.state
        verify = state.steps[state.tasks[log.attempt.started.task].step].plan.step.verify or ()
        for number in range(1, 1 + (1 if isinstance(verify, str) else len(verify))):
            yield _Log(
                _numbered(f"{log.title} verify", number), f"{log.path.removesuffix('.log')}.verify{'' if number == 1 else f'-{number}'}.log"
            )

    def _print_whole(self, log: _Log) -> None:
        try:
            file = os.open(log.path, os.O_RDONLY)
            try:
                self._page.print(log.title, _chunks(file, 0), goes_on=False, whole=True)
            finally:
                os.close(file)
        except FileNotFoundError:
            pass


def _numbered(title: str, number: int) -> str:
    return title if number == 1 else f"{title} {number}"


class Page:
    """Stdout, with output under titles. A title stands where other output begins or goes on. On a terminal the output is data: control
    characters are shown, and a line is shown when it is whole."""

    def __init__(self) -> None:
        self._title: str | None = None
        self._is_terminal = sys.stdout.isatty()
        self._at_line_start = True

    def print(self, title: str, chunks: Iterable[bytes], *, goes_on: bool, whole: bool) -> int:
        """Print the next output under a title; how many bytes of it. `whole`: nothing more comes of it."""
        printed, rest = 0, b""
        for chunk in chain(chunks, [None]):
            rest += chunk or b""
            at_end = chunk is None and whole
            data = rest if at_end or not self._is_terminal or len(rest) > LONGEST_LINE else rest[: rest.rfind(b"\n") + 1]
            if data:
                self._begin(title, goes_on=goes_on)
                self._print(data)
            printed, rest = printed + len(data), rest[len(data) :]
        return printed

    def _begin(self, title: str, *, goes_on: bool) -> None:
        if title == self._title:
            return
        self._title = title
        start = "" if self._at_line_start else "\n"
        self._print(f"{start}── {title}{' (continued)' if goes_on else ''}\n".encode())

    def _print(self, data: bytes) -> None:
        if self._is_terminal:
            for line in data.decode("utf-8", "replace").splitlines():
                print(printable(line.replace("\t", "    ")))
            return
        sys.stdout.buffer.write(data)
        self._at_line_start = data.endswith(b"\n")


def _chunks(file: int, start: int) -> Iterator[bytes]:
    """What stands in a file from byte `start` on."""
    if start:
        os.lseek(file, start, os.SEEK_SET)
    while chunk := os.read(file, CHUNK):
        yield chunk
        if len(chunk) < CHUNK:  # that was all when it was read
            return
