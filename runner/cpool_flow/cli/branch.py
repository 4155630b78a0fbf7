"""`diff` and `merge`: the branch of a run, looked at and taken over."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpool_flow.cli import completing
from cpool_flow.cli.inside import refuse_from_inside
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.patch import print_patch
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput, printable

if TYPE_CHECKING:
    from cpool_flow import history


@click.command("diff", short_help="Show what a run has changed, as a patch.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option("--stat", is_flag=True, help="A line for each file instead.")
@click.option("--json", "as_json", is_flag=True, help="The files with their counts of lines as one JSON document.")
@click.pass_obj
def diff_command(project: str | None, run: str, stat: bool, as_json: bool) -> int:
    """Show what a run's branch has changed since the commit that the run began with.

    \b
    cpool-flow diff last
    cpool-flow diff last --stat
    cpool-flow diff last | git apply
    """
    if stat and as_json:
        raise InvalidInput("`--stat` and `--json` both want stdout", help="choose one")
    import asyncio

    from cpool_flow import history

    found = history.read(find_run(project, run))
    return asyncio.run(_diff(found, stat, as_json))


async def _diff(run: history.Run, stat: bool, as_json: bool) -> int:
    from cpool_flow.workspace import changes

    async with _remains(run) as left:
        base, tip = left.record.base, left.tip or left.record.base
        if as_json:
            files = [_file(file) for file in await changes.changed(left.view, base, tip)]
            name = left.branch.name if left.branch else None
            print_json({"run_id": run.folder.run_id, "branch": name, "base": base, "commit": left.tip, "files": files})
            return 0
        _say_what_is_missing(run, left)
        if stat:
            print_patch(await changes.table(left.view, base, tip, shutil.get_terminal_size().columns), is_patch=False)
        else:
            print_patch(await changes.patch(left.view, base, tip), is_patch=True)
    return 0


def _say_what_is_missing(run: history.Run, left: Any) -> None:
    state = run.state
    if not left.changed:
        print(f"run {run.folder.run_id} has changed nothing{' so far' if not state.finished else ''}", file=sys.stderr)
    elif left.branch is None:
        print(f"note: the branch {left.record.branch} is gone; this was its last commit", file=sys.stderr)
    elif not state.finished:
        print(f"note: run {run.folder.run_id} has not ended; this is what it has committed so far", file=sys.stderr)


def _file(file: Any) -> dict[str, Any]:
    return {"path": file.path, "added": file.added, "removed": file.removed, "before": file.before}


@click.command("merge", short_help="Take a run's branch over into the branch that it came from.")
@click.argument("run", default="last", shell_complete=completing.runs)
@click.option("--into", metavar="BRANCH", help="Into this branch.")
@click.option("--self", "from_inside", is_flag=True, help="Also from inside the same run.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def merge_command(project: str | None, run: str, into: str | None, from_inside: bool, as_json: bool) -> int:
    """Take a run's branch over into the branch that the run came from.

    That is the branch which was checked out when the run began, or the `base` of the workflow. Where it is checked out, its files
    are updated; where that would overwrite a change of yours, or the two cannot be merged by themselves, nothing is done.

    \b
    cpool-flow merge last
    cpool-flow merge last --into develop
    """
    import asyncio

    from cpool_flow import history
    from cpool_flow.journal import is_alive

    folder = find_run(project, run)
    refuse_from_inside(folder, "merge", "its branch is not finished", allowed=from_inside)
    found = history.read(folder)
    if not found.state.finished and not from_inside:
        raise _unfinished(folder.run_id, is_alive(folder.path))
    return asyncio.run(_merge(found, into, as_json))


def _unfinished(run_id: str, alive: bool) -> InvalidInput:
    if alive:
        return InvalidInput(f"run `{run_id}` is still at work", help=f"wait for it: cpool-flow status {run_id} --watch")
    return InvalidInput(
        f"run `{run_id}` has not ended", help=f"go on with `cpool-flow resume {run_id}`, or end it: cpool-flow cancel {run_id}"
    )


async def _merge(run: history.Run, into: str | None, as_json: bool) -> int:
    from cpool_flow.run_place import known_filters, our_git
    from cpool_flow.workspace.checkouts import branch_of
    from cpool_flow.workspace.merging import merge

    run_id = run.folder.run_id
    async with _remains(run, commits=True) as left:
        if not left.changed or left.tip is None:
            return _told(f"nothing to merge: run {run_id} has changed nothing", as_json, run_id, "nothing", None, None)
        target = into if into is not None else left.record.target or branch_of(left.record)
        name = left.branch.name if left.branch else left.tip
        if target is None:
            raise InvalidInput(f"run `{run_id}` came from no branch, and none is checked out", help="name one with --into BRANCH")
        if target == left.record.branch:
            raise InvalidInput(f"`{target}` is the run's own branch", help="name another with --into BRANCH")
        merged = await merge(our_git(os.environ, run.inputs.secrets), left, left.tip, target, known_filters(run.folder.path / "place"))
        if merged.already:
            return _told(f"already merged: {name} is in {target}", as_json, run_id, "already merged", target, merged.commit)
        where = f", whose files in {merged.checkout} are updated" if merged.checkout not in (None, *_around()) else ""
        words = f"merged {name} into {target} ({merged.commit[:10]}){where}"
        code = _told(words, as_json, run_id, "merged", target, merged.commit)
        print(f"tidy: cpool-flow clean {run_id}", file=sys.stderr)
        return code


def _around() -> tuple[Path, ...]:
    here = Path.cwd()
    return (here, *here.parents)


def _told(words: str, as_json: bool, run_id: str, status: str, into: str | None, commit: str | None) -> int:
    if as_json:
        print_json({"run_id": run_id, "status": status, "into": into, "commit": commit})
    else:
        print(printable(words), flush=True)
    return 0


@asynccontextmanager
async def _remains(run: history.Run, *, commits: bool = False) -> AsyncIterator[Any]:
    """What the run has left. Raises InvalidInput where it had no branch."""
    from cpool_flow.run_place import known_filters, our_git, worktree_of
    from cpool_flow.workspace.remains import remains

    record = worktree_of(run.state)
    if record is None:
        where = run.state.place.directory if run.state.place is not None else run.inputs.directory
        raise InvalidInput(
            f"run `{run.folder.run_id}` has no branch: it worked in {where} itself (`isolation: none`)",
            help="with `isolation: worktree` a run works on a branch of its own",
        )
    filters = known_filters(run.folder.path / "place")
    git = our_git(os.environ, run.inputs.secrets)
    async with remains(git, record, run.state.tip, commits=commits, filters=filters) as left:
        yield left
