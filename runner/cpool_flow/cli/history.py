"""`runs`, `status`, `logs`, `events`: a run as its journal and its logs tell it. They never touch a living coordinator."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from cpool_flow import events as facts
from cpool_flow import history, run_folder
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.outcome import exit_code
from cpool_flow.cli.output_text import print_output
from cpool_flow.cli.project import find_run, project_of_runs
from cpool_flow.errors import FlowError, InvalidInput, did_you_mean, printable
from cpool_flow.executor.logs import spools
from cpool_flow.journal import Journal, is_alive
from cpool_flow.result import iso_time
from cpool_flow.state import State
from cpool_flow.tasks import StepState

FOLLOW_SECONDS = 0.1
CHUNK = 65536


@click.command("runs", short_help="List the runs of this project.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.option("--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest runs shown.")
@click.pass_obj
def runs_command(project: str | None, as_json: bool, limit: int) -> int:
    """List the runs of this project, newest first."""
    folders = list(run_folder.all_runs(project_of_runs(project)))[::-1][:limit]
    rows = [_run_row(folder) for folder in folders]
    if as_json:
        print_json({"runs": rows})
    elif not rows:
        print("no runs yet; start one with `cpool-flow run FILE`", file=sys.stderr)
    for row in rows if not as_json else ():
        took = "" if row["duration_seconds"] is None else f"{row['duration_seconds']:.1f}s"
        print(f"{row['run_id']}  {row['name']:<16} {_status_word(row):<11} {took:>8}  {printable(row['workflow'] or '')}")
    return 0


def _run_row(folder: run_folder.RunFolder) -> dict[str, Any]:
    row: dict[str, Any] = {"run_id": folder.run_id, "name": run_folder.short_name(folder.run_id)}
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
        "tags": list(state.created.tags) if state.created else [],
        "error": state.reason or None,
    }


def _status_word(row: dict[str, Any]) -> str:
    return "unreadable" if row["status"] is None else "interrupted" if row["status"] == "running" and not row["alive"] else row["status"]


def living_status(run: history.Run) -> str:
    """The run's status; one that is running without a coordinator was interrupted."""
    if run.state.status == "running" and not is_alive(run.folder.path):
        return "interrupted"
    return run.state.status


@click.command("status", short_help="Show one run.")
@click.argument("run", default="last")
@click.option("--json", "as_json", is_flag=True, help="The result document on stdout.")
@click.option("--watch", is_flag=True, help="Wait until the run has ended.")
@click.option("--exit-status", is_flag=True, help="Leave with the exit code of the run.")
@click.pass_obj
def status_command(project: str | None, run: str, as_json: bool, watch: bool, exit_status: bool) -> int:
    """Show one run: its steps, attempts, outputs and what to do next.

    RUN is an id, a short name, the beginning of an id, or `last`.
    """
    folder = find_run(project, run)
    found = history.read(folder)
    while watch and not found.state.finished and is_alive(folder.path):
        time.sleep(FOLLOW_SECONDS)
        found = history.read(folder)
    if as_json:
        print_json(found.document())
    else:
        _print_status(found)
    return exit_code(found.state) if exit_status else 0


def _print_status(run: history.Run) -> None:
    from cpool_flow.cli.summary import summary_lines

    state = run.state
    print(f"run {run.folder.run_id} ({run_folder.short_name(run.folder.run_id)}) · {run.inputs.main.name} · {living_status(run)}")
    for line in _table(state.root.steps.values(), "  "):
        print(line)
    for line in summary_lines(state, alive=living_status(run) == "running", answered=run.answered):
        print(printable(line))
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


@click.command("events", short_help="Print what a run's journal has recorded.")
@click.argument("run", default="last")
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document instead of JSON lines.")
@click.pass_obj
def events_command(project: str | None, run: str, follow: bool, as_json: bool) -> int:
    """Print the events of a run as JSON lines."""
    folder = find_run(project, run)
    found = (_event_json(recorded) for recorded in _follow_journal(folder, follow))
    if as_json:
        print_json({"events": list(found)})
    else:
        for event in found:
            print_json(event, flush=follow)
    return 0


def _event_json(recorded: Any) -> dict[str, Any]:
    return event_document(recorded.seq, recorded.at, recorded.event)


def event_document(seq: int, at: float, event: facts.Event) -> dict[str, Any]:
    """An event as it is shown: its number, type and time before its own fields."""
    return {"seq": seq, "type": type(event).__name__, "at": iso_time(at), **facts.to_json(event)}


def _follow_journal(folder: run_folder.RunFolder, follow: bool) -> Iterator[Any]:
    journal = Journal.open(folder.path)
    seq = 0
    try:
        while True:
            alive = is_alive(folder.path)
            for recorded in journal.read(seq):
                seq = recorded.seq
                yield recorded
            if not follow or not alive:
                return
            while not journal.changed() and is_alive(folder.path):
                time.sleep(FOLLOW_SECONDS)
    finally:
        journal.close()


@click.command("logs", short_help="Print the output of a run's steps.")
@click.argument("run", default="last")
@click.argument("step", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on until the run has ended.")
@click.pass_obj
def logs_command(project: str | None, run: str, step: str | None, follow: bool) -> int:
    """Print the logs of a run, or of one STEP of it: `review`, or `review[2]` for an item."""
    folder = find_run(project, run)
    shown: dict[str, int] = {}
    while True:
        alive = follow and is_alive(folder.path)
        for title, path in _log_files(folder, step):
            _print_log(title, path, shown)
        if not alive:
            return 0
        time.sleep(FOLLOW_SECONDS)


def _log_files(folder: run_folder.RunFolder, step: str | None) -> Iterator[tuple[str, Path]]:
    """The logs in the order in which their attempts started, with what is shown above each."""
    state = history.read(folder).state
    if step is not None and step not in state.steps and step not in state.tasks:
        raise InvalidInput(
            f"the run has no step `{step[:80]}`",
            help=did_you_mean(step, [*state.steps, *state.tasks]) or f"it has {', '.join(state.steps)}",
        )
    yield from (("setup", path) for path in sorted(folder.logs.glob("_setup.*.log")) if step is None)
    attempts = [(attempt.started_at, task, attempt) for task in _tasks(state, step) for attempt in task.attempts]
    for _, task, attempt in sorted(attempts, key=lambda entry: entry[0]):
        log = folder.logs / attempt.started.log
        title = f"{task.id} attempt {attempt.started.number}{' (recovery)' if attempt.started.kind == 'recovery' else ''}"
        # While it runs, stdout is shown as it comes; stderr follows when the attempt has ended.
        yield title, log if attempt.finished else spools(log, attempt.started.slot)[0]
        for verify in sorted(folder.logs.glob(f"{log.stem}.verify*.log")):
            yield f"{title} verify", verify


def _tasks(state: State, step: str | None) -> list[Any]:
    if step is None:
        return list(state.tasks.values())
    return state.steps[step].tasks if step in state.steps else [state.tasks[step]]


def _print_log(title: str, path: Path, shown: dict[str, int]) -> None:
    start = shown.get(title, 0)
    with suppress(FileNotFoundError), open(path, "rb") as file:
        if os.fstat(file.fileno()).st_size <= start:
            return
        file.seek(start)
        print(f"── {title}" if start == 0 else f"── {title} (continued)")
        while chunk := file.read(CHUNK):
            print_foreign(chunk)
        shown[title] = file.tell()


def print_foreign(chunk: bytes) -> None:
    """Text of others on stdout: as it is into a file or pipe, with control characters shown on a terminal."""
    if not sys.stdout.isatty():
        sys.stdout.flush()
        sys.stdout.buffer.write(chunk)
        sys.stdout.buffer.flush()
        return
    for line in chunk.decode("utf-8", "replace").splitlines():
        print(printable(line.replace("\t", "    ")))
