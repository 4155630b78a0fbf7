"""`logs`: what the steps of a run have printed, also while they go on printing."""

from __future__ import annotations

import gc

import click

from cpool_flow.cli import completing
from cpool_flow.cli.pause import pause
from cpool_flow.cli.project import find_run

PAUSE_SECONDS = 0.1


@click.command("logs", short_help="Print the output of a run's steps.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.argument("step", required=False, shell_complete=completing.steps)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.pass_obj
def logs_command(project: str | None, run: str, step: str | None, follow: bool) -> int:
    """Print the logs of a run, or of one STEP of it: `review`, or `review[2]` for an item.

    \b
    cpool-flow logs last
    cpool-flow logs last review --follow
    """
    from cpool_flow.cli.log_pages import Logs, check_step
    from cpool_flow.history import Watched
    from cpool_flow.journal import is_alive

    gc.disable()  # all that is made of what was recorded so far is needed to the end
    watched = Watched(find_run(project, run))
    try:
        logs = Logs(watched, step)
        alive = follow and is_alive(watched.folder.path)
        recorded = watched.read_on()
        check_step(watched.state, step)
        logs.print_new(recorded, last=not alive)
        gc.freeze()
        gc.enable()
        while alive:
            pause(PAUSE_SECONDS)
            alive = is_alive(watched.folder.path)
            logs.print_new(watched.read_on(), last=not alive)
    finally:
        watched.close()
    return 0
