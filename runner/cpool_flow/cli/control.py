"""`cancel`: asks the living coordinator to stop, or marks a run that nobody works on as cancelled."""

from __future__ import annotations

import os
import sys
import time

import click

from cpool_flow import events, history
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput
from cpool_flow.journal import Journal, Lock, is_alive


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
    state = history.read(folder).state
    if state.finished:
        print(f"run {folder.run_id} has ended already: {state.status}", file=sys.stderr)
        return 0
    journal = Journal.open(folder.path)
    try:
        if is_alive(folder.path):
            journal.request("cancel", {"reason": "cancelled by `cpool-flow cancel`"}, time.time())
            print(f"asked run {folder.run_id} to stop", file=sys.stderr)
        else:
            with Lock(folder.path):
                now = time.time()
                facts: list[events.Event] = [
                    events.RunStopping("cancel", "cancelled by `cpool-flow cancel`"),
                    events.RunFinished("cancelled", "cancelled by `cpool-flow cancel`"),
                ]
                journal.append([(fact, now) for fact in facts])
            print(f"run {folder.run_id} is cancelled; `cpool-flow resume {folder.run_id}` goes on", file=sys.stderr)
    finally:
        journal.close()
    return 0
