"""`status`: one run as its journal tells it, as a table or as JSON. It never touches a living coordinator."""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import click

from cpool_flow.cli import completing
from cpool_flow.cli.colour import has_colour, with_status
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.output_text import print_output
from cpool_flow.cli.project import find_run
from cpool_flow.errors import printable

if TYPE_CHECKING:
    from cpool_flow.history import Run
    from cpool_flow.tasks import StepState

FOLLOW_SECONDS = 0.1


def living_status(run: Run) -> str:
    """The run's status; one that is running without a coordinator was interrupted."""
    from cpool_flow.journal import is_alive

    if run.state.status == "running" and not is_alive(run.folder.path):
        return "interrupted"
    return run.state.status


@click.command("status", short_help="Show one run.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option("--json", "as_json", is_flag=True, help="The result document on stdout.")
@click.option("--watch", is_flag=True, help="Follow the run until it has ended, or nobody works on it.")
@click.option("--exit-status", is_flag=True, help="Leave with the exit code of the run.")
@click.pass_obj
def status_command(project: str | None, run: str, as_json: bool, watch: bool, exit_status: bool) -> int:
    """Show one run: its steps, attempts, outputs and what to do next.

    RUN is an id, a short name, the beginning of one, or `last`.

    \b
    cpool-flow status last
    cpool-flow status last --watch --exit-status
    """
    from cpool_flow import history
    from cpool_flow.cli.outcome import exit_code

    folder = find_run(project, run)
    if watch:
        from cpool_flow.cli.watch import watch_run

        watch_run(folder)
    gc.disable()  # all that is made now is needed to the end
    found = history.read(folder)
    if as_json:
        print_json(found.document())
    else:
        _print_status(found)
    return exit_code(found.state) if exit_status else 0


def _print_status(run: Run) -> None:
    from cpool_flow.cli.summary import summary_lines
    from cpool_flow.journal import is_alive
    from cpool_flow.run_folder import short_name

    state = run.state
    paint = with_status if has_colour(sys.stdout) else str
    print(f"run {run.folder.run_id} ({short_name(run.folder.run_id)}) · {run.inputs.main.name} · {living_status(run)}")
    for line in _table(state.root.steps.values(), "  "):
        print(paint(line))
    for slot, health in sorted(state.health.items()):
        if health.until > time.time() and living_status(run) == "running":
            until = time.strftime("%H:%M:%S", time.localtime(health.until))
            print(paint(_row("  ", slot, "quarantined", f"until {until}", printable(health.reason))))
    for line in summary_lines(state, alive=not state.finished and is_alive(run.folder.path), answered=run.answered):
        print(paint(printable(line)))
    if state.outputs:
        for name, value in json.loads(run.folder.load(state.outputs)).items():
            print_output(name, value)


def _table(steps: Iterable[StepState], indent: str) -> Iterator[str]:
    """A line for each step, below it those in it: of a fan-out only of the items that have not succeeded, of a loop of its last round."""
    for step in steps:
        done = f" {step.counts['success']}/{len(step.tasks)}" if step.plan.fans_out and step.tasks else ""
        attempts = sum(len(task.attempts) for task in step.tasks)
        took = f"{step.ended_at - step.started_at:.1f}s" if step.started_at and step.ended_at else ""
        parts = [took, f"{attempts} attempts" if attempts > len(step.tasks) else "", step.reason]
        yield _row(indent, step.plan.name, f"{step.status}{done}", *parts)
        for task in step.tasks:
            if step.plan.fans_out and task.status not in ("success", "ready", "pending"):
                name = f"{step.plan.name}[{task.position}]"
                yield _row(f"{indent}  ", name, task.status, task.reason)
                yield from _table(task.frame.steps.values() if task.frame else (), f"{indent}    ")
            elif not step.plan.fans_out and (step.plan.step.steps or step.plan.step.workflow):
                yield from _table(task.frame.steps.values() if task.frame else (), f"{indent}  ")


def _row(indent: str, name: str, status: str, *details: str) -> str:
    return f"{indent}{name:<{max(0, 22 - len(indent))}} {status:<12} {' · '.join(printable(each) for each in details if each)}".rstrip()
