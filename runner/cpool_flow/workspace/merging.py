"""Takes a run's branch over into another branch: worked out first without touching anything, then handed over in one go.

What cannot be merged by itself, or would overwrite somebody's file, is refused with everything as it was. No hook runs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from cpool_flow.dataclass import dataclass

from .. import faults
from ..errors import InvalidInput, did_you_mean, listed
from ..git import Git, GitFailed
from .checkouts import HeldBy, holder
from .merged import Conflict, is_ancestor, is_in, merged_tree
from .record import WorktreeRecord
from .registration import one_at_a_time
from .remains import Remains, view_of
from .view import View


@dataclass(frozen=True)
class Merged:
    """`commit`: where the target stands now. `already`: all of it was there before. `checkout`: where its files were updated."""

    into: str
    commit: str
    already: bool = False
    checkout: Path | None = None


async def merge(git: Git, left: Remains, tip: str, into: str, filters: str | None) -> Merged:
    """Merge the commit `tip` of the run into the branch `into`. Raises `InvalidInput` with nothing changed."""
    record = left.record
    async with one_at_a_time(record.common_directory):
        there = await _tip_of(left.view, into)
        if await is_in(left.view, record.base, tip, there):
            return Merged(into, there, already=True)
        held = holder(record, into)
        if held is not None and held.busy:
            raise InvalidInput(f"`{into}` is in the middle of a rebase in {held.top_level}", help="finish or abort that first")
        commit = tip if await is_ancestor(left.view, there, tip) else await _merge_commit(left, there, tip, into, held)
        faults.point("before-hand-over")
        if held is None:
            await _move(left.view, into, commit, there)
        else:
            await _update(git, record, held, commit, into, filters)
        faults.point("after-hand-over")
    return Merged(into, commit, checkout=held.top_level if held else None)


async def _tip_of(view: View, branch: str) -> str:
    reference = f"refs/heads/{branch}"
    # By its very name: what git reads as an expression (`main~1`) is none of a branch.
    is_one = branch and await view.git.holds("show-ref", "--verify", "--quiet", "--", reference)
    tip = await view.git.find("rev-parse", "-q", "--verify", "--end-of-options", f"{reference}^{{commit}}") if is_one else None
    if tip is None:
        listing = await view.git.output("for-each-ref", "--format=%(refname:short)", "refs/heads")
        known = [name for name in listing.decode("utf-8", "replace").splitlines() if not name.startswith("cpool/")]
        near = did_you_mean(branch, known)
        raise InvalidInput(f"there is no branch `{branch}`{f', {near}' if near else ''}", help="name one with --into BRANCH")
    return tip


async def _merge_commit(left: Remains, ours: str, theirs: str, into: str, held: HeldBy | None) -> str:
    record, git = left.record, left.view.git
    here = git if held is None else left.view.of(held.git_directory, held.top_level).at(held.top_level)
    tree = await merged_tree(here, ours, theirs)
    if isinstance(tree, Conflict):
        where = f"cd {held.top_level} && " if held is not None else f"git switch {into} && "
        name = left.branch.name if left.branch is not None else theirs
        raise InvalidInput(
            f"`{name}` cannot be merged into `{into}` by itself: both have changed {listed(tree.files)}; nothing was done",
            help=f"{where}git merge {name}",
        )
    message = f"Merge branch '{record.branch}'\n".encode("utf-8", "surrogateescape")
    return await git.line("commit-tree", tree, "-p", ours, "-p", theirs, "-F", "-", stdin=message)


async def _move(view: View, branch: str, new: str, old: str) -> None:
    """The branch is checked out nowhere: nothing but its name moves."""
    try:
        await view.git.output("update-ref", "-m", "cpool-flow: merge", f"refs/heads/{branch}", new, old)
    except GitFailed as error:
        raise InvalidInput(f"`{branch}` cannot be moved: {error.complaint}", help="run it again") from None


async def _update(git: Git, record: WorktreeRecord, held: HeldBy, commit: str, into: str, filters: str | None) -> None:
    """Files, index and branch of a checkout go on to the commit together; git refuses where a file of somebody's would go."""
    with tempfile.TemporaryDirectory(prefix="cpool-flow-") as folder:
        view = await view_of(git, record, held.top_level, held.git_directory, Path(folder), commits=True, filters=filters)
        here = view.of(held.git_directory, held.top_level)
        ended = await here.ask("merge", "--ff-only", "--no-overwrite-ignore", "--no-stat", "--quiet", commit)
    if ended.code != 0:
        raise _refused(ended.stderr.decode("utf-8", "backslashreplace"), into, held.top_level)


def _refused(said: str, into: str, top_level: Path) -> InvalidInput:
    files = [line.strip() for line in said.splitlines() if line.startswith("\t")]
    where = f"`{into}` is checked out in {top_level}"
    if files:
        message = f"{where}, and its own changes to {listed(files)} would be overwritten; nothing was done"
        return InvalidInput(message, help="commit or stash them there, then merge again")
    first = next((line for line in said.splitlines() if line.strip()), "").removeprefix("error: ").removeprefix("fatal: ")
    return InvalidInput(f"{where}, and git refuses to go on there: {first}; nothing was done", help="put that right, then merge again")
