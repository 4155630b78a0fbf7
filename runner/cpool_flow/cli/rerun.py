"""`rerun`: a new run that repeats another, or takes over what it had done up to a step."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from cpool_flow.cli import completing
from cpool_flow.cli.project import find_run, project_of_runs
from cpool_flow.cli.run import Dollars, check_taken_up, manner_of, meet_the_runner, output_options, work_on
from cpool_flow.errors import InvalidInput


@click.command("rerun", short_help="Do a run again, or a part of it, as a new run.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option(
    "--from", "step", metavar="STEP", shell_complete=completing.steps, help="Begin with this step: what had ended before it is taken over."
)
@click.option("--failed", is_flag=True, help="Only the steps that failed, and those that depend on them.")
@click.option("--budget", type=Dollars(), metavar="USD", help="Another budget than the old run was started with.")
@click.option("--run-id", metavar="ID", help="An id of your own.")
@output_options
@click.pass_obj
def rerun_command(
    project: str | None, /, run: str, step: str | None, failed: bool, budget: float | None, run_id: str | None, **options: Any
) -> int:
    """Do a RUN again as a new run, with the copies and arguments that the old one was started with.

    Alone: everything, from the commit that the old run began with. With --from, results of before STEP are taken over and not done
    again, and the new run begins with the files that STEP saw; so it does with --failed.

    \b
    cpool-flow rerun last
    cpool-flow rerun last --from review
    cpool-flow rerun last --failed
    """
    from cpool_flow import history, rerun

    manner = manner_of(options)
    meet_the_runner(manner)
    if step is not None and failed:
        raise InvalidInput("`--from` and `--failed` both say where to begin", help="choose one")
    directory = project_of_runs(project)
    old = find_run(project, run)
    check_taken_up(old)
    repeated = rerun.prepare(history.read(old), directory, os.environ, step=step, failed=failed, run_id=run_id, budget_usd=budget)
    folder = rerun.create(repeated, directory, os.environ)

    def warn() -> None:
        steps = [*(f"`{name}`" for name in repeated.found.steps), *(f"`{name}` in part" for name in repeated.found.partly)]
        if steps and not manner.quiet:
            print(f"takes over {', '.join(steps)}", file=sys.stderr)

    return work_on(folder, manner, starting=True, warn=warn)
