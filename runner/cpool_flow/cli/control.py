"""`cancel` and `approve`: what is asked of a run from another process. A living coordinator takes it up. A run that nobody works on
is taken over to be cancelled; an answer waits for `resume`."""

from __future__ import annotations

import getpass
import os
import sys
import time
from typing import TYPE_CHECKING

import click

from cpool_flow.cli import completing
from cpool_flow.cli.inside import is_inside, refuse_from_inside
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput, Problem, did_you_mean

if TYPE_CHECKING:
    from cpool_flow.history import Run
    from cpool_flow.run_folder import RunFolder
    from cpool_flow.tasks import Task

REASON = "cancelled by `cpool-flow cancel`"


@click.command("cancel", short_help="Stop a run in order, from any terminal.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option("--self", "from_inside", is_flag=True, help="Also from inside the same run.")
@click.pass_obj
def cancel_command(project: str | None, run: str, from_inside: bool) -> int:
    """Stop a run in order: what runs is ended, `finally` runs, and `cpool-flow resume` can go on.

    \b
    cpool-flow cancel last
    """
    from cpool_flow import history
    from cpool_flow.journal import is_alive

    folder = find_run(project, run)
    refuse_from_inside(folder, "cancel", "it would stop itself", allowed=from_inside)
    found = history.read(folder)
    if found.state.finished:
        print(f"run {folder.run_id} has ended already: {found.state.status}", file=sys.stderr)
    elif is_alive(folder.path):
        _ask(folder)
    else:
        _end(found)
    return 0


def _ask(folder: RunFolder) -> None:
    from cpool_flow.journal import Journal

    journal = Journal.open(folder.path)
    try:
        journal.request("cancel", {"reason": REASON}, time.time())
    finally:
        journal.close()
    print(f"asked run {folder.run_id} to stop", file=sys.stderr)


def _end(run: Run) -> None:
    from cpool_flow import coordinator
    from cpool_flow.cli.progress import PlainProgress

    progress = PlainProgress()
    wishes = coordinator.Wishes(cancel=REASON, began=progress.head, heartbeat=progress.heartbeat)
    progress.summary(coordinator.coordinate(run.folder, run.inputs, os.environ, progress.follow, wishes))


@click.command("approve", short_help="Answer a step that waits for a person.")
@click.argument("run", shell_complete=completing.runs)
@click.argument("step", shell_complete=completing.questions)
@click.option("--answer", metavar="TEXT", default="", help="The answer: it becomes the output of the step.")
@click.option("--reject", is_flag=True, help="Say no: the step fails.")
@click.option("--reason", metavar="TEXT", default="", help="Why; kept with the run.")
@click.pass_obj
def approve_command(project: str | None, run: str, step: str, answer: str, reject: bool, reason: str) -> int:
    """Answer STEP of a RUN that waits for a person. It is only recorded: the run goes on where it is worked on, else by `resume`.

    \b
    cpool-flow approve last release
    cpool-flow approve last release --answer 1.4.0
    cpool-flow approve last release --reject --reason "tests are red"
    """
    from cpool_flow import history
    from cpool_flow.journal import is_alive

    folder = find_run(project, run)
    if is_inside(folder):
        raise InvalidInput("this is called from inside the same run: an approval is for a person to give")
    if reject and answer:
        raise InvalidInput("`--reject` takes no `--answer`", help="say why with `--reason`")
    found = history.read(folder)
    task = _asking(found, step)
    if not reject:
        _check_answer(answer, found, task)
    _request(folder, {"task": task.id, "answer": answer, "reject": "yes" if reject else "", "reason": reason, "by": _person()})
    goes_on = "" if is_alive(folder.path) else f"; `cpool-flow resume {folder.run_id}` goes on"
    print(f"{'rejected' if reject else 'approved'} `{task.id}`{goes_on}", file=sys.stderr)
    return 0


def _asking(run: Run, step: str) -> Task:
    """The task that waits for an answer. Raises InvalidInput."""
    state = run.state
    task = state.approvals.get(step)
    if task is not None and not state.finished:
        from cpool_flow.journal import Journal

        journal = Journal.open(run.folder.path)
        try:
            answered = any(request.type == "approve" and request.data.get("task") == step for request in journal.requests())
        finally:
            journal.close()
        if answered:
            raise InvalidInput(f"step `{step}` has been answered already", help=f"cpool-flow resume {run.folder.run_id}")
        return task
    known = [*state.steps, *state.tasks]
    waiting = ", ".join(f"`{name}`" for name in state.approvals)
    help = f"waiting for an answer: {waiting}" if waiting and not state.finished else "no step of this run waits for an answer"
    if step not in known:
        raise InvalidInput(Problem(f"run `{run.folder.run_id}` has no step `{step[:80]}`", hint=did_you_mean(step, known), help=help))
    raise InvalidInput(f"step `{step}` waits for no answer", help=help)


def _check_answer(answer: str, run: Run, task: Task) -> None:
    from cpool_flow import approval
    from cpool_flow.outputs import BadOutput

    try:
        step = run.state.steps[task.step].plan
        approval.read_answer(answer, step.step, run.inputs.copies[step.source])
    except BadOutput as error:
        raise InvalidInput(f"the answer is not what step `{task.id}` asks for: {error}", help="give it with --answer TEXT") from None


def _request(folder: RunFolder, data: dict[str, str]) -> None:
    from cpool_flow.journal import Journal

    journal = Journal.open(folder.path)
    try:
        journal.request("approve", data, time.time())
    finally:
        journal.close()


def _person() -> str:
    """Who answers, as the system knows them."""
    try:
        return os.environ.get("USER") or getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
