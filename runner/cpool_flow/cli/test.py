"""`test`: the cases beside a workflow, run without a key and without a network; and the first case, from a run that has happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from cpool_flow import library
from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run, places, project_directory, searched
from cpool_flow.errors import InvalidInput, did_you_mean, listed, printable

SUFFIX = ".test.yaml"


@click.command("test", short_help="Run the cases beside a workflow, without a key.")
@click.argument("files", nargs=-1, metavar="FILE…", shell_complete=completing.workflows)
@click.option(
    "--init", "run", metavar="RUN", shell_complete=completing.runs, help="Write the cases of a run that has happened, beside its workflow."
)
@click.option("--case", "only", metavar="NAME", help="Only the case of this name.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def test_command(project: str | None, files: tuple[str, ...], run: str | None, only: str | None, as_json: bool) -> int:
    """Run the cases of workflow FILEs: `review.yaml` has them in `review.test.yaml`.

    A case gives arguments, the answers of agents (and of commands that should not run), approvals, and what must come of it.
    An agent step that is reached without an answer fails. Exit code 0: all as expected; 1: not; 2: a file is wrong.

    \b
    cpool-flow test review.yaml
    cpool-flow test --init last
    """
    if run is not None:
        if files:
            raise InvalidInput("`--init` takes a run, and no files")
        return _write_cases(project, run)
    if not files:
        raise InvalidInput("nothing to test", help="cpool-flow test FILE, or cpool-flow test --init RUN")
    return _try_all(project, files, only, as_json)


def _try_all(project: str | None, files: tuple[str, ...], only: str | None, as_json: bool) -> int:
    from cpool_flow.cases import Case, read_cases
    from cpool_flow.trial import Trial, try_case

    directory = project_directory(project)
    known: list[tuple[Path, Case]] = []
    for file in files:
        workflow = library.find_workflow(file, Path.cwd(), searched("workflow", directory)).path
        beside = workflow.with_name(f"{workflow.stem}{SUFFIX}")
        if not beside.is_file():
            raise InvalidInput(f"`{file}` has no cases: there is no `{beside.name}` beside it", help="cpool-flow test --init RUN")
        known += [(workflow, case) for case in read_cases(library.read_bytes(beside), str(beside))]
    chosen = [(workflow, case) for workflow, case in known if only in (None, case.name)]
    if not chosen:
        names = [case.name for _, case in known]
        near = f", {found}" if (found := did_you_mean(only or "", names)) else ""
        raise InvalidInput(f"no case `{only}`{near}", help=f"there is {listed(names)}")
    trials: list[tuple[Path, Trial]] = []
    for workflow, case in chosen:
        trials.append((workflow, try_case(case, workflow, directory, places(directory), os.environ)))
        if not as_json:
            _print_trial(*trials[-1])
    failed = sum(bool(trial.differences) for _, trial in trials)
    if as_json:
        print_json({"cases": [_document(workflow, trial) for workflow, trial in trials]})
    else:
        print(f"{len(trials) - failed} passed, {failed} failed", file=sys.stderr)
    return 1 if failed else 0


def _print_trial(workflow: Path, trial: Any) -> None:
    print(printable(f"{'FAILED' if trial.differences else 'ok':<6} {workflow.name}: {trial.case.name}"))
    for line in trial.differences:
        print(printable(f"       {line}"))


def _document(workflow: Path, trial: Any) -> dict[str, Any]:
    passed = not trial.differences
    return {
        "workflow": str(workflow),
        "name": trial.case.name,
        "passed": passed,
        "status": trial.status,
        "differences": list(trial.differences),
    }


def _write_cases(project: str | None, reference: str) -> int:
    """The cases go beside the workflow that the run was started with, and replace none."""
    from cpool_flow import history
    from cpool_flow.document import dump
    from cpool_flow.recorded_case import recorded_case, together, unseen
    from cpool_flow.recorded_changes import changes
    from cpool_flow.rerun import check_has_file

    run = history.read(find_run(project, reference))
    check_has_file(run)
    if not run.state.finished and run.state.status != "waiting":
        raise InvalidInput(f"run `{run.folder.run_id}` has not ended", help="write its cases when it has")
    workflow = Path(run.inputs.main.file)
    target = workflow.with_name(f"{workflow.stem}{SUFFIX}")
    if library.bundled("workflows") in workflow.parents:
        target = Path(target.name)
    head = "# What the steps of a run answered, and what came of it. Change it as you like.\n"
    found = changes(history.recorded(run.folder))
    shared = ", ".join(together(run, found))
    if shared:
        head += f"# What {shared} changed was committed together: each has all of it here. Leave it its own `edits:`.\n"
    changed = ", ".join(unseen(run))
    if changed:
        head += f"# What files {changed} changed is not known, for the run had no branch: give each its own `edits:`.\n"
    text = head + dump(recorded_case(run, found, _reader(run)))
    try:
        with open(target, "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InvalidInput(f"there is already a file `{target}`", help="add the case to it by hand, or move it away") from None
    except OSError as error:
        raise InvalidInput(f"cannot write `{target}`: {(error.strerror or '').lower()}") from None
    print(target)
    print(f"run it: cpool-flow test {workflow.name}", file=sys.stderr)
    return 0


def _reader(run: Any) -> Callable[[Any], dict[str, Any]]:
    """Reads what a commit of the run changed, as long as git has it: a patch, or where several steps did, the files as they were then,
    which each can leave so."""

    def read(changed: Any) -> dict[str, Any]:
        between = ("--no-ext-diff", "--no-textconv", f"{changed.commit}^", changed.commit)
        if changed.alone:
            patch = _git(run, "diff", "--binary", *between)
            return {"patch": patch} if patch else {}
        names = (_git(run, "diff", "--name-only", "--no-renames", "-z", *between) or "").split("\0")
        files = {name: _git(run, "show", f"{changed.commit}:{name}") for name in names if name}
        edits = {name: content for name, content in files.items() if content is not None}
        delete = [name for name, content in files.items() if content is None]
        return {**({"edits": edits} if edits else {}), **({"delete": delete} if delete else {})}

    return read


def _git(run: Any, *arguments: str) -> str | None:
    import asyncio

    from cpool_flow.run_place import our_git

    ended = asyncio.run(our_git(os.environ, run.inputs.secrets).at(Path(run.inputs.directory)).ask(*arguments))
    return ended.stdout.decode("utf-8", "replace") if ended.code == 0 else None
