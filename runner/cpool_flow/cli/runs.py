"""`runs`: the runs of a project, newest first, or those of them that are asked for."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import click

from cpool_flow.cli.colour import has_colour, status_word
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import open_project
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import FlowError, did_you_mean, printable

if TYPE_CHECKING:
    from cpool_flow.run_folder import RunFolder

STATUSES = ("running", "waiting", "success", "failed", "cancelled", "interrupted", "unreadable")


class Since(click.ParamType[float]):
    """A moment, in seconds since the epoch: so long ago, or a date, with or without a time, here."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return time.time() - parse_seconds(value)
        except ValueError:
            pass
        try:
            return datetime.fromisoformat(value).timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"`{printable(str(value)[:40])}` is no time: `90m` or `7d` ago, or a date such as `2026-11-27` or `2026-11-27T08:00`",
                param,
                ctx,
            )


def parse_seconds(value: str) -> float:
    """A duration. Raises ValueError."""
    from cpool_flow.model import parse_duration

    seconds = parse_duration(value)
    if not isinstance(seconds, (int, float)):
        raise ValueError
    return seconds


@dataclass(frozen=True)
class Wanted:
    """Which runs are asked for. Nothing said: all."""

    statuses: tuple[str, ...] = ()
    workflow: str | None = None
    tags: tuple[str, ...] = ()
    since: float | None = None

    def holds(self, row: dict[str, Any]) -> bool:
        started = row["started_at"]
        return (
            (not self.statuses or _status(row) in self.statuses)
            and (self.workflow is None or row["workflow"] == self.workflow)
            and set(self.tags) <= set(row["tags"])
            and (self.since is None or (started is not None and datetime.fromisoformat(started).timestamp() >= self.since))
        )


@click.command("runs", short_help="List the runs of this project.")
@click.option("--status", "statuses", type=click.Choice(STATUSES), multiple=True, help="Only runs that are so; may be given again.")
@click.option("--workflow", metavar="NAME", help="Only runs of this workflow.")
@click.option("--tag", "tags", multiple=True, metavar="T", help="Only runs with this tag; may be given again.")
@click.option("--since", type=Since(), metavar="TIME", help="Only runs started since then: `90m` or `7d` ago, or a date.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest runs shown.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def runs_command(
    project: str | None,
    statuses: tuple[str, ...],
    workflow: str | None,
    tags: tuple[str, ...],
    since: float | None,
    limit: int,
    as_json: bool,
) -> int:
    """List the runs of this project, newest first.

    \b
    cpool-flow runs --status failed --since 7d
    cpool-flow runs --workflow review --json
    """
    wanted = Wanted(statuses, _name(workflow), tags, since)
    rows: list[dict[str, Any]] = []
    seen: list[dict[str, Any]] = []
    for row in _rows(project):
        seen.append(row)
        rows += [row] if wanted.holds(row) else []
        if len(rows) == limit:
            break
    if as_json:
        print_json({"runs": rows})
        return 0
    if not rows:
        print(_nothing(wanted, seen), file=sys.stderr)
    for line in _lines(rows):
        print(line)
    return 0


def _name(workflow: str | None) -> str | None:
    """A workflow as runs are named for it: `flows/review.yaml` is `review`."""
    return PurePath(workflow).stem if workflow and workflow.endswith((".yaml", ".yml")) else workflow


def _rows(project: str | None) -> Iterator[dict[str, Any]]:
    from cpool_flow import run_folder

    for folder in list(run_folder.all_runs(open_project(project)))[::-1]:
        yield _row(folder)


def _nothing(wanted: Wanted, seen: Sequence[dict[str, Any]]) -> str:
    if not seen:
        return "no runs yet; start one with `cpool-flow run FILE`"
    workflows = {row["workflow"] for row in seen if row["workflow"]}
    if wanted.workflow is not None and wanted.workflow not in workflows:
        near = did_you_mean(wanted.workflow, workflows)
        return f"no run of a workflow `{printable(wanted.workflow[:80])}`{f', {printable(near)}' if near else ''}"
    return f"none of {len(seen)} run{'' if len(seen) == 1 else 's'} is like that; see `cpool-flow runs`"


def _lines(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    paint = status_word if has_colour(sys.stdout) else str
    widest = max((len(row["run_id"]) for row in rows), default=0)
    for row in rows:
        took = "" if row["duration_seconds"] is None else f"{row['duration_seconds']:.1f}s"
        status = paint(f"{_status(row):<11}")
        yield f"{row['run_id']:<{widest}}  {row['name']:<16} {status} {took:>8}  {printable(row['workflow'] or '')}{_cost(row)}"


def _cost(row: dict[str, Any]) -> str:
    """What a run has spent, where that is anything."""
    from cpool_flow.spending import dollars

    known = row["cost_at_least_usd"]
    return f" · {'at least ' if row['cost_usd'] is None else ''}{dollars(known)}" if known else ""


def _row(folder: RunFolder) -> dict[str, Any]:
    from cpool_flow import history
    from cpool_flow.journal import is_alive
    from cpool_flow.result import iso_time
    from cpool_flow.run_folder import short_name

    row: dict[str, Any] = {"run_id": folder.run_id, "name": short_name(folder.run_id)}
    try:
        run = history.read(folder)
    except FlowError as error:
        return {
            **row,
            "workflow": None,
            "status": None,
            "alive": False,
            "started_at": None,
            "duration_seconds": None,
            "cost_usd": None,
            "cost_at_least_usd": None,
            "tags": [],
            "error": str(error),
        }
    state = run.state
    return {
        **row,
        "workflow": run.inputs.main.name,
        "status": run.state.status,
        "alive": is_alive(folder.path),
        "started_at": iso_time(state.created_at),
        "duration_seconds": None if state.ended_at is None else round(state.ended_at - state.created_at, 3),
        "cost_usd": state.cost_usd if state.cost_known else None,
        "cost_at_least_usd": state.cost_usd,
        "tags": list(state.created.tags) if state.created else [],
        "error": state.reason or None,
    }


def _status(row: dict[str, Any]) -> str:
    return "unreadable" if row["status"] is None else "interrupted" if row["status"] == "running" and not row["alive"] else row["status"]
