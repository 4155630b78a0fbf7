"""Reads what a report is made from: the fold of the journal, the ends of logs, and what the page is dressed with.

The run itself is not needed, and not touched: a report can be made after a crash, and while the run goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cpool_flow import __version__, library
from cpool_flow.attempt_logs import AttemptLogs
from cpool_flow.executor.logs import from_line, read_end
from cpool_flow.history import Run
from cpool_flow.report.content import Report
from cpool_flow.report.page import Assets
from cpool_flow.result import Result
from cpool_flow.tasks import Attempt

# Of so many attempts the ends of their logs are in a report, those that did not succeed first.
MOST_LOGS = 300
LOG_END_BYTES = 16 * 1024

JsonObject = dict[str, Any]


def report_of(run: Run, *, alive: bool, now: float, commands: Sequence[tuple[str, str]] = ()) -> Report:
    """The report of a run. `commands`: what a person may do next."""
    logs = _Logs(run)
    document = Result(run.state, run.folder.load, run.inputs.args, run.folder.finder(), logs.ends, all_rounds=True).document()
    return Report(document, run.state.plan, alive, now, __version__, tuple(run.state.notes), tuple(commands), logs.of_setup())


def assets() -> Assets:
    """The styles and scripts of the page, with the licence of the one that is not ours."""
    folder = library.bundled("assets")
    licence = library.read_text(folder / "dagre" / "LICENSE").strip()
    dagre = library.read_text(folder / "dagre" / "dagre.min.js")
    ours = library.read_text(folder / "report.js")
    return Assets(library.read_text(folder / "report.css"), (f"/*! @dagrejs/dagre\n{licence}\n*/\n{dagre}", ours))


class _Logs:
    """The ends of the logs of a run, of so many attempts as are shown."""

    def __init__(self, run: Run) -> None:
        self._logs = AttemptLogs(run.folder.logs)
        self._chosen = {id(attempt) for attempt in _first(MOST_LOGS, _attempts(run))}

    def ends(self, attempt: Attempt) -> list[JsonObject]:
        """The ends of what an attempt and its `verify` have printed."""
        if id(attempt) not in self._chosen:
            return []
        own = [(path, False) for path in self._logs.own(attempt)]
        verified = [(path, True) for _, path in self._logs.verified(attempt)]
        return [end for path, is_verify in (*own, *verified) for end in _end(path, is_verify=is_verify)]

    def of_setup(self) -> list[JsonObject]:
        """The ends of the logs of `setup`."""
        return [end for _, path in self._logs.of_setup() for end in _end(path, is_verify=False)]


def _attempts(run: Run) -> Iterator[Attempt]:
    for step in run.state.root.steps.values():
        for task in step.tasks:
            yield from task.all_attempts()


def _first(most: int, attempts: Iterable[Attempt]) -> list[Attempt]:
    """As many as are shown: those that did not succeed, then the others in their order."""
    return sorted(attempts, key=lambda attempt: attempt.finished is not None and attempt.finished.error_kind is None)[:most]


def _end(path: str, *, is_verify: bool) -> Iterator[JsonObject]:
    """The end of a log, from the beginning of a line where one is near; nothing of an empty one."""
    data, size = read_end(path, LOG_END_BYTES) or (b"", 0)
    if not data:
        return
    cut = size > LOG_END_BYTES
    text = (from_line(data) if cut else data).decode("utf-8", "replace")
    yield {"file": path, "text": text, "bytes": size, "cut": cut, "is_verify": is_verify}
