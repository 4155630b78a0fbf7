"""How a place of a run hangs on the user's repository, whatever its kind: as a worktree of it, or as a clone of its own.

Chooses between `registration.py` and `clone.py` with `cloning.py`, and takes over what steps have made in a clone. Does not know files or steps.
"""

from __future__ import annotations

from pathlib import Path

from .. import faults
from ..errors import listed
from ..git import Git
from . import clone, cloning, registration
from .branch import RunBranch
from .merged import names_that_hold
from .record import WorktreeRecord
from .view import View


def admin_directory(record: WorktreeRecord) -> Path | None:
    """The folder with the place's HEAD and index; None where there is none."""
    return clone.git_directory(record) if record.is_clone else registration.admin_directory(record)


def worktrees_inside(record: WorktreeRecord) -> list[Path]:
    """Other worktrees inside of the place: of the user's repository, or of the clone."""
    own = registration.registered_worktrees(record.top_level / ".git") if record.is_clone else ()
    inside = [path for _, path in own if path.is_relative_to(record.top_level) and path.exists()]
    return [*registration.worktrees_inside(record), *inside]


async def attach(view: View, record: WorktreeRecord) -> Path:
    """Make `record.top_level`, which does not exist yet, on the run's branch; no file of the branch is written. Returns the admin
    directory. Raises `OperationFailed`."""
    if not record.is_clone:
        return await registration.add_worktree(view, record)
    registration.refuse_checked_out(record)
    return await cloning.make(view, record)


async def repair(branch: RunBranch) -> tuple[Path, list[str]]:
    """Put back what a step took from its place, and take in what it has made. No step may run there.

    Returns the admin directory and sentences: damage first. Raises `OperationFailed`.
    """
    record, view = branch.record, branch.view
    if not record.is_clone:
        admin, problem = await registration.repair_registration(view, record)
        return admin, [problem] if problem else []
    admin, problem = await cloning.mend(view, record)
    notes = await take_in(branch)
    await clone.fetch(view, record, await clone.heads(view, record))
    return admin, [*([problem] if problem else []), *notes]


async def take_in(branch: RunBranch) -> list[str]:
    """Let the run's branch stand where steps have moved it in their clone. Steps may run there. Returns sentences for people.
    Raises `OperationFailed`."""
    record, view = branch.record, branch.view
    if not record.is_clone:
        return []
    theirs, ours, left = await clone.branch_in_clone(view, record), await branch.tip(), branch.left_at
    if theirs is None or theirs in (ours, left):
        return []  # where it is as we left it, we were interrupted before it could follow
    await clone.fetch(view, record, [theirs])
    if ours is None or ours == left or await branch.is_ancestor(ours, theirs):
        await branch.move(theirs)
        faults.point("after-take-in")
        return []
    return await branch.keep(theirs, f"commits on the branch {record.branch} of the clone, which was moved here meanwhile,")


async def hand_out(branch: RunBranch, commit: str) -> None:
    """The run's branch stands at the commit now: let steps see it there."""
    if branch.record.is_clone:
        faults.point("before-hand-out")
        await clone.follow_branch(branch.view, branch.record, commit)


async def keep_others(branch: RunBranch) -> list[str]:
    """Before a clone goes: branches for commits in it that would go with it. Returns sentences about them. Raises `OperationFailed`."""
    record, view = branch.record, branch.view
    if not record.is_clone:
        return []
    notes, found = [], await clone.others(view, record)
    await clone.fetch(view, record, [commit for commit, _ in found])
    for commit, what in found:
        notes += await branch.keep(commit, what)
    faults.point("before-clone-goes")
    tags = await clone.new_tags(view, record)
    return [*notes, *([f"new tags of the clone went with it: {listed(tags)}"] if tags else [])]


async def unsaved_commits(view: View, record: WorktreeRecord, scratch: Path, gone: frozenset[str]) -> list[str]:
    """What would go with a clone: as a sentence. Changes nothing. `gone`: references to be taken as deleted."""
    if admin_directory(record) is None or clone.damage(record):
        return []
    made = {commit for commit, _ in await clone.others(view, record, scratch)} | set(await clone.heads(view, record, scratch))
    for commit in made:
        if not await view.git.holds("cat-file", "-e", commit) or not {*await names_that_hold(view, commit)} - gone:
            return [f"commits in {record.top_level} are on no branch of the repository"]
    return []


def steps_git(view: View, record: WorktreeRecord, admin: Path) -> Git:
    """git that knows the branches that HEAD may name."""
    return clone.seen_in_clone(view, record, admin) if record.is_clone else view.of(admin, record.top_level)


def damage(record: WorktreeRecord) -> str | None:
    """What a step took from its place, as a sentence. Only looks, and a step may run there."""
    return clone.damage(record) if record.is_clone else registration.damage(record)


def forget(record: WorktreeRecord) -> None:
    """Remove what the user's repository knows of the place. Safe to call again."""
    if not record.is_clone:
        registration.forget(record)


def lock(record: WorktreeRecord, admin: Path) -> None:
    """Keep git's own tidying away while the run lives."""
    if not record.is_clone:
        registration.lock(record, admin)


def has_own_repository(record: WorktreeRecord) -> bool:
    """Whether a step put a repository of its own where a worktree's `.git` file belongs."""
    return not record.is_clone and registration.has_own_repository(record)


def foreign_lock(record: WorktreeRecord, admin: Path) -> str | None:
    """The reason of a lock that somebody else put on a worktree."""
    return None if record.is_clone else registration.foreign_lock(record, admin)
