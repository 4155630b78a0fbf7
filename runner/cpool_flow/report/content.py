"""What a report is made from, and its JSON form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.plan import Plan
from cpool_flow.result import iso_time

JsonObject = dict[str, Any]


@dataclass(frozen=True)
class Report:
    """All that a report says. `run`: the result document, with the ends of logs. `alive`: a coordinator works on the run now; one that
    is `running` without it was interrupted. `commands`: what a person may do next, and the command for it. `made_at`: seconds since
    the epoch."""

    run: JsonObject
    plan: Plan
    alive: bool
    made_at: float
    version: str
    notes: Sequence[str] = ()
    commands: Sequence[tuple[str, str]] = ()
    setup_logs: Sequence[Mapping[str, Any]] = ()

    @property
    def status(self) -> str:
        """The status of the run in one word."""
        return "interrupted" if self.run["status"] == "running" and not self.alive else str(self.run["status"])


def document(report: Report) -> JsonObject:
    """The report as JSON: the result document, and what a report has beside it."""
    return {
        **report.run,
        "alive": report.alive,
        "notes": list(report.notes),
        "next": [{"what": what, "command": command} for what, command in report.commands],
        "setup_logs": list(report.setup_logs),
        "made_at": iso_time(report.made_at),
        "made_by": f"cpool-flow {report.version}",
    }
