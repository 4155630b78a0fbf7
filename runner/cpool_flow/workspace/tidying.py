"""Removes what a run has left in its repository, as far as nothing in it could be lost; by force, all of it.

First looks (`look`), then acts (`tidy`): what it finds in the way is a sentence for people. Does not know run folders.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from cpool_flow.dataclass import dataclass

from .. import faults
from ..git import Git, GitFailed
from .agent_files import Exchange, exchange_at
from .attachment import admin_directory, forget, unsaved_commits
from .checkout import Checkout
from .checkouts import branch_of, holder
from .merged import is_ancestor, is_in, names_that_hold
from .opening import being_made, reattach_worktree
from .record import WorktreeRecord
from .registration import one_at_a_time, read_small_file
from .remains import Branch, Remains, item_records, remains
from .removal import remove_directory
from .worktree import reasons_to_stay, removed_directory


@dataclass(frozen=True)
class Looked:
    """`merged`: why nothing is lost with it, empty where something would be. `obstacles`: what would be lost, `blocks`: what forbids it
    even by force."""

    merged: str
    obstacles: tuple[str, ...]
    blocks: tuple[str, ...]


async def look(left: Remains, gone: frozenset[str] = frozenset()) -> Looked:
    """What would be lost with what the run has left. Changes nothing. `gone`: references to be taken as deleted."""
    record = left.record
    obstacles = await _unsaved(left, gone)
    for item in item_records(record):
        branch = next((each for each in left.items if each.name == item.branch), None)
        obstacles += await _unsaved(replace(left, record=item, branch=branch, tip=branch.tip if branch is not None else None), gone)
    merged = []
    for branch in left.branches:
        where = await _where_merged(left, branch, gone)
        if where is None:
            count = await left.view.git.line("rev-list", "--count", branch.tip, f"^{record.base}")
            obstacles.append(f"the branch {branch.name} is not merged ({count} commit{'' if count == '1' else 's'})")
        else:
            merged.append(where)
    blocks = [f"the branch {branch.name} is checked out in {held}" for branch in left.branches if (held := _held(record, branch))]
    return Looked(" and ".join(dict.fromkeys(merged)) or "no branch is left", tuple(obstacles), tuple(blocks))


async def tidy(
    git: Git, record: WorktreeRecord, last_commit: str | None, filters: str | None, *, force: bool, others: Sequence[str] = ()
) -> list[str]:
    """Remove the worktree, then the branches; none of `others`, which are those of other runs. Returns what stays, and why; nothing where
    all of it went. Safe to call again."""
    faults.point("before-tidy")
    for each, commit in (*((item, None) for item in item_records(record)), (record, last_commit)):
        stays = await _tidy_place(git, each, commit, filters, force=force)
        if stays:
            return stays
    faults.point("after-place-tidied")
    async with one_at_a_time(record.common_directory), remains(git, record, last_commit, others=others) as left:
        stays = [reason for branch in left.branches if (reason := await _drop(left, branch, force=force))]
    faults.point("after-branch-tidied")
    return stays


async def _tidy_place(git: Git, record: WorktreeRecord, last_commit: str | None, filters: str | None, *, force: bool) -> list[str]:
    """Remove one worktree. Returns why it stays, where it does."""
    if force or not os.path.lexists(record.top_level) or being_made(record).exists():
        _remove(record)
        return []
    closed = await (await reattach_worktree(git, record, last_commit, filters)).close("none")
    return list(closed.notes) if closed.directory is not None else []


async def _unsaved(left: Remains, gone: frozenset[str]) -> list[str]:
    """What is in the worktree that is on no branch."""
    record = left.record
    admin = admin_directory(record)
    head = read_small_file(admin / "HEAD") if admin is not None else None
    found = []
    if record.is_clone:
        found += await unsaved_commits(left.view, record, left.scratch, gone)
    elif head and not head.startswith("ref:") and not {*await names_that_hold(left.view, head)} - gone:
        found.append(f"commits in {record.top_level} are on no branch")
    if not record.top_level.is_dir() or record.top_level.is_symlink() or being_made(record).exists():
        return found
    start = left.tip or record.base

    async def tip() -> str:
        return start

    index = (admin or left.scratch) / "index"
    exchange = await _exchange(left, start)
    checkout = Checkout(
        left.view,
        record.top_level,
        index,
        left.scratch,
        tip,
        nested="own files",
        hidden=True,
        exchange=exchange,
        borrowing=record.is_clone,
    )
    snapshot = await checkout.snapshot()
    changed = await checkout.changed_files(start, snapshot.tree)
    if changed:
        count = len(changed)
        found.append(f"{count} file{'s' if count > 1 else ''} in {record.top_level} {'are' if count > 1 else 'is'} not committed")
    reasons = reasons_to_stay(record, snapshot, await checkout.repositories(snapshot))
    return [*found, *(f"{record.top_level}: {reason}" for reason in reasons)]


async def _exchange(left: Remains, tip: str) -> Exchange:
    """The files that stand in the worktree in place of those on the branch."""
    trusted = left.record.agent_files
    if trusted is None or not trusted.is_dir():
        return Exchange({})
    return await exchange_at(left.view.git, trusted, tip)


async def _where_merged(left: Remains, branch: Branch, gone: frozenset[str] = frozenset()) -> str | None:
    """Where the work of a branch is beside on it; None where it is nowhere else."""
    record, view = left.record, left.view
    if await is_ancestor(view, branch.tip, record.base):
        return "changed nothing"
    holding = [name for name in await names_that_hold(view, branch.tip) if name not in gone and not name.startswith(record.reference)]
    targets = [name for name in await _targets(left) if name not in gone]
    if holding:
        return f"merged into {_short(next((name for name in targets if name in holding), holding[0]))}"
    for name in targets:
        if await is_in(view, record.base, branch.tip, name):
            return f"merged into {_short(name)}"
    return None


async def _targets(left: Remains) -> Sequence[str]:
    """Where a squashed merge is looked for: the branch that the run came from, here and as others have it."""
    wanted = {name for name in (left.record.target, branch_of(left.record) or "") if name}
    listing = await left.view.git.output("for-each-ref", "--format=%(refname)", "refs/heads", "refs/remotes")
    return [name for name in listing.decode("utf-8", "surrogateescape").splitlines() if _of_branch(name) in wanted]


def _of_branch(reference: str) -> str:
    """`main` for `refs/heads/main` and for `refs/remotes/origin/main`."""
    if reference.startswith("refs/heads/"):
        return reference.removeprefix("refs/heads/")
    return reference.removeprefix("refs/remotes/").partition("/")[2]


def _short(name: str) -> str:
    return name.removeprefix("refs/heads/").removeprefix("refs/remotes/").removeprefix("refs/tags/")


def _held(record: WorktreeRecord, branch: Branch) -> Path | None:
    """Another checkout than the run's own that has the branch."""
    held = holder(record, branch.name)
    return held.top_level if held is not None and held.top_level != record.top_level else None


async def _drop(left: Remains, branch: Branch, *, force: bool) -> str | None:
    """Delete a branch as it was looked at. Why it stays, where it does."""
    held = _held(left.record, branch)
    if held is not None:
        return f"the branch {branch.name} is checked out in {held}"
    if not force and await _where_merged(left, branch) is None:
        return f"the branch {branch.name} is not merged"
    try:
        await left.view.git.output("update-ref", "--no-deref", "-d", f"refs/heads/{branch.name}", branch.tip)
    except GitFailed as error:
        return f"the branch {branch.name} cannot be deleted: {error.complaint}"
    return None


def _remove(record: WorktreeRecord) -> None:
    """The worktree with all that is in it."""
    if os.path.lexists(record.top_level) and not record.top_level.is_symlink():
        record.private.mkdir(mode=0o700, parents=True, exist_ok=True)
        remove_directory(removed_directory(record))
        record.top_level.rename(removed_directory(record))
    forget(record)
    remove_directory(removed_directory(record))
    remove_directory(record.private)
