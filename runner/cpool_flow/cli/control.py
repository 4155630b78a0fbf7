"""`cancel`: asks the living coordinator to stop; a run that nobody works on is taken over and ended in the same order."""

from __future__ import annotations

import os
import sys
import time

import click

from cpool_flow import history
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput
from cpool_flow.journal import Journal, is_alive
from cpool_flow.run_folder import RunFolder

REASON = "cancelled by `cpool-flow cancel`"


@click.command("cancel", short_help="Stop a run in order, from any terminal.")
@click.argument("run", default="last")
@click.option("--self", "from_inside", is_flag=True, help="Also from inside the same run.")
@click.pass_obj
def cancel_command(project: str | None, run: str, from_inside: bool) -> int:
    """Stop a run in order: what runs is ended, `finally` runs, and `cpool-flow resume` can go on."""
    folder = find_run(project, run)
    if os.environ.get("CPOOL_RUN_ID") == folder.run_id and not from_inside:
        raise InvalidInput(
            "this is called from inside the same run: it would stop itself", help=f"cpool-flow cancel {folder.run_id} --self"
        )
    found = history.read(folder)
    if found.state.finished:
        print(f"run {folder.run_id} has ended already: {found.state.status}", file=sys.stderr)
    elif is_alive(folder.path):
        _ask(folder)
    else:
        _end(found)
    return 0


def _ask(folder: RunFolder) -> None:
    journal = Journal.open(folder.path)
    try:
        journal.request("cancel", {"reason": REASON}, time.time())
    finally:
        journal.close()
    print(f"asked run {folder.run_id} to stop", file=sys.stderr)


def _end(run: history.Run) -> None:
    from cpool_flow import coordinator
    from cpool_flow.cli.progress import PlainProgress

    progress = PlainProgress()
    wishes = coordinator.Wishes(cancel=REASON, began=progress.head, heartbeat=progress.heartbeat)
    progress.summary(coordinator.coordinate(run.folder, run.inputs, os.environ, progress.follow, wishes))
