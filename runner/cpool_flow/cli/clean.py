"""`clean`: deletes runs with all that they have left, unless something would be lost."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from cpool_flow.cli import completing
from cpool_flow.cli.inside import refuse_from_inside
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run, open_project, project_of_runs
from cpool_flow.cli.run import Duration
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import FlowError, InvalidInput, printable

if TYPE_CHECKING:
    from cpool_flow import run_folder

UNITS = ("B", "kB", "MB", "GB", "TB")


@dataclass(frozen=True)
class Outcome:
    """What became of a run. `reason`: why it went, or stays."""

    candidate: Any
    deleted: bool
    reason: str


@click.command("clean", short_help="Delete runs that have nothing left to take over.")
@click.argument("run", required=False, shell_complete=completing.runs)
@click.option("--older", type=Duration(), metavar="T", help="Only runs that ended longer ago, such as 30d; also failed ones.")
@click.option("--force", is_flag=True, help="Also what is not merged, not committed, or has not ended.")
@click.option("--dry-run", is_flag=True, help="Say what would be deleted.")
@click.option("--self", "from_inside", is_flag=True, help="Also from inside the same run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def clean_command(
    project: str | None, run: str | None, older: float | None, force: bool, dry_run: bool, from_inside: bool, as_json: bool
) -> int:
    """Delete a RUN, or all that have nothing left to take over: their folders, worktrees and branches.

    Without RUN and --older these are the runs that succeeded or were merged. A run that is not merged, has files that are not
    committed, or has not ended is kept, unless --force says otherwise; one that goes on is always kept.

    \b
    cpool-flow clean
    cpool-flow clean last
    cpool-flow clean --older 30d
    """
    if run is not None:
        return _clean_one(project, run, older, force, dry_run, from_inside, as_json)
    import asyncio

    from cpool_flow import run_folder

    directory = open_project(project)
    outcomes: list[Outcome] = []
    for folder in run_folder.all_runs(directory):
        # A branch that holds the work of another run saves that one only as long as it is not deleted itself.
        gone = frozenset().union(*(outcome.candidate.references for outcome in outcomes if outcome.deleted))
        outcome = asyncio.run(_clean(folder, older, force, dry_run, gone, named=False))
        outcomes += [outcome] if outcome is not None else []
    _finish(directory, outcomes, dry_run, as_json)
    return 0


def _clean_one(project: str | None, run: str, older: float | None, force: bool, dry_run: bool, from_inside: bool, as_json: bool) -> int:
    import asyncio

    if older is not None:
        raise InvalidInput("`--older` chooses among all runs, and one is named", help="leave one of the two out")
    folder = find_run(project, run)
    refuse_from_inside(folder, "clean", "it is still at work", allowed=from_inside)
    outcome = asyncio.run(_clean(folder, None, force, dry_run, frozenset(), named=True))
    if outcome is None:
        raise InvalidInput(f"run `{folder.run_id}` is gone: somebody else has deleted it")
    if not outcome.deleted and not dry_run:
        candidate = outcome.candidate
        raise InvalidInput(f"run `{folder.run_id}` is kept ({_size(candidate.bytes)}): {outcome.reason}", help=_way_out(candidate))
    _finish(project_of_runs(project), [outcome], dry_run, as_json)
    return 0


def _way_out(candidate: Any) -> str:
    from cpool_flow.journal import is_alive

    run_id = candidate.folder.run_id
    if is_alive(candidate.folder.path):
        return f"stop it: cpool-flow cancel {run_id}"
    if candidate.blocks:
        return "switch that checkout to another branch first"
    merge = f"take it over: cpool-flow merge {run_id}; or " if candidate.has_work else ""
    return f"{merge}delete it for good: cpool-flow clean {run_id} --force"


async def _clean(
    folder: run_folder.RunFolder, older: float | None, force: bool, dry_run: bool, gone: frozenset[str], *, named: bool
) -> Outcome | None:
    """Delete a run where that is meant. None where it is not even looked at: too young, or gone by now. `gone`: the references of those
    that went before it."""
    from cpool_flow import cleaning

    candidate = await cleaning.consider(folder, os.environ, gone)
    if candidate is None:
        return None
    if older is not None and time.time() - candidate.ended_at < older:
        return None
    stays = list(candidate.blocks) or ([] if force and (named or older is not None) else _kept(candidate, older, force, named))
    if stays:
        return Outcome(candidate, False, "; ".join(stays))
    reason = "; ".join(candidate.obstacles) or candidate.reason
    if not dry_run:
        try:
            stays = await cleaning.delete(candidate, os.environ, force=force)
        except FlowError as error:  # of one run: others may go
            stays = [str(error)]
    return Outcome(candidate, not stays, "; ".join(stays) or reason)


def _kept(candidate: Any, older: float | None, force: bool, named: bool) -> list[str]:
    """Why a run stays that nothing forbids to delete."""
    if candidate.obstacles:
        unfinished = candidate.run is None or not candidate.run.state.finished
        return list(candidate.obstacles) if unfinished or not force else []
    wanted = named or older is not None or force or candidate.status == "success" or candidate.has_work
    return [] if wanted else [f"it {'was ' if candidate.status == 'cancelled' else ''}{candidate.status}, and can be resumed"]


def _finish(project: Any, outcomes: list[Outcome], dry_run: bool, as_json: bool) -> None:
    from cpool_flow import cleaning

    if not dry_run:
        cleaning.empty_bin(project)
    freed = sum(outcome.candidate.bytes for outcome in outcomes if outcome.deleted)
    kept = sum(outcome.candidate.bytes for outcome in outcomes if not outcome.deleted)
    if as_json:
        print_json({"runs": [_document(outcome) for outcome in outcomes], "freed_bytes": freed, "kept_bytes": kept, "dry_run": dry_run})
        return
    word = "would go" if dry_run else "deleted"
    for outcome in outcomes:
        parts = [outcome.candidate.folder.run_id, _size(outcome.candidate.bytes), _was(outcome) + outcome.reason]
        print(f"{word if outcome.deleted else 'kept':<8} {' · '.join(map(printable, parts))}")
    print(
        f"{'would free' if dry_run else 'freed'} {_size(freed)}{f', kept {_size(kept)}' if kept else ''}"
        if outcomes
        else "nothing to clean"
    )


def _was(outcome: Outcome) -> str:
    """The branch that went, and where it was: it can be had again as long as git keeps the commit."""
    candidate = outcome.candidate
    return f"branch {candidate.branch}, was {candidate.commit[:10]}: " if outcome.deleted and candidate.branch else ""


def _document(outcome: Outcome) -> dict[str, Any]:
    from cpool_flow.result import iso_time

    candidate = outcome.candidate
    return {
        "run_id": candidate.folder.run_id,
        "deleted": outcome.deleted,
        "reason": outcome.reason,
        "status": candidate.status,
        "ended_at": iso_time(candidate.ended_at),
        "branch": candidate.branch,
        "commit": candidate.commit,
        "bytes": candidate.bytes,
    }


def _size(count: int) -> str:
    """Bytes as people read them."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 10 else f"{size:.1f} {UNITS[unit]}"
