"""Makes a run's worktree: planned without a trace, made so that kill -9 at any point can be mended, found again on resume.

Does not know what steps do in it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

from ..errors import InvalidInput, OperationFailed
from ..git import Git
from .agent_files import Exchange, exchange_at
from .attachment import admin_directory, attach, forget, hand_out, lock, repair
from .branch import RunBranch
from .checkout import Checkout
from .include import check_include_file, include_files
from .record import RECORD, WorktreeRecord
from .registration import one_at_a_time
from .removal import remove_directory
from .repository import QUIET, Repository, refuse_other_references, refuse_submodules, resolve_base
from .view import View, freeze
from .worktree import Worktree, removed_directory


async def plan_worktree(
    git: Git,
    repository: Repository,
    *,
    run_id: str,
    workflow: str,
    root: Path,
    root_setting: str = "XDG_STATE_HOME",
    base: str = "HEAD",
    include_changes: bool = False,
    trusted: str = "",
    include_text: bytes | None = None,
    kind: str = "worktree",
) -> WorktreeRecord:
    """What the run's worktree, or clone (`kind`), will be; `base` is fixed here. Writes nothing.

    `root` is where they live, `root_setting` what says so. `trusted`: the folder that will hold trusted files, `include_text` its
    `.worktreeinclude`. Raises `InvalidInput` where the repository cannot give one.
    """
    commit = await resolve_base(git, repository, base)
    await refuse_submodules(git, repository, commit, kind)
    if kind == "clone":
        await refuse_other_references(git, repository)
    if include_changes and commit != repository.head:
        raise InvalidInput("`include_changes: true` needs `base` to be the checkout's HEAD", help="leave `base` out")
    check_include_file(repository.top_level, include_text)
    record = WorktreeRecord(
        run_id=run_id,
        branch=f"cpool/{workflow}/{run_id}",
        base=commit,
        top_level=_checked_root(repository, root, root_setting) / run_id,
        folder=repository.folder,
        source=repository.top_level,
        source_git_directory=repository.git_directory,
        common_directory=repository.common_directory,
        include_changes=include_changes,
        target=await _target(git, repository, base),
        trusted=trusted,
        kind=kind,
    )
    await _refuse_taken_names(git, record)
    return record


async def _target(git: Git, repository: Repository, base: str) -> str:
    """The branch that the run comes from: `base` where that is a branch, else the one that is checked out, where it is there."""
    if base == "HEAD":
        return repository.branch or ""
    here = git.at(repository.directory)
    return base if await here.holds(*QUIET, "show-ref", "--verify", "--quiet", f"refs/heads/{base}") else ""


async def open_worktree(git: Git, record: WorktreeRecord) -> Worktree:
    """Make the planned worktree. Raises `InvalidInput` where its name is taken, `OperationFailed`; leaves nothing behind then."""
    await _refuse_taken_names(git, record)
    record.private.mkdir(mode=0o700, parents=True)
    _begin(record)
    try:
        return await _make(await _view(git, record), record, None)
    except BaseException:
        await _abandon(git, record)
        raise


async def reattach_worktree(git: Git, record: WorktreeRecord, last_commit: str | None = None, filters: str | None = None) -> Worktree:
    """The run's worktree again, after an interruption at any point; made again from its branch where it is gone.

    `last_commit` is the newest commit of the run that the caller knows, for a branch that is gone as well; `filters` are those that
    the worktree had when the run began (`Worktree.filters`).
    `Worktree.notes` says what was mended. Raises `OperationFailed`.
    """
    if not record.common_directory.is_dir():
        raise OperationFailed(f"the repository of the run is gone: {record.common_directory}")
    record.private.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(record)
    view = await _view(git, record, filters)
    remove_directory(removed_directory(record))
    if being_made(record).exists() and record.top_level.is_dir():
        record.top_level.rename(removed_directory(record))  # nobody has worked in it yet
        remove_directory(removed_directory(record))
    if not os.path.lexists(record.top_level):
        return await _make_again(view, record, last_commit)
    if record.top_level.is_symlink() or not record.top_level.is_dir():
        raise OperationFailed(f"something else stands where the run's {record.kind} was: {record.top_level}")
    branch = RunBranch(record, view)
    if branch.left_at is None:
        branch.leave_at(await branch.tip() or last_commit or record.base)
    admin, notes = await repair(branch)
    lock(record, admin)
    notes += await branch.settle()
    await hand_out(branch, await branch.settled_tip())
    worktree = Worktree(record, view, fresh=False, notes=notes, exchange=await _exchange(view, record, branch))
    if worktree.agent_files.cut_off:  # no step has run since
        await worktree.agent_files.stand()
    return worktree


async def _make_again(view: View, record: WorktreeRecord, last_commit: str | None) -> Worktree:
    admin = admin_directory(record)
    branch = RunBranch(record, view)
    was_there = not being_made(record).exists() and (branch.left_at or await branch.tip())
    _begin(record)
    notes = []
    if admin is not None:
        notes += await branch.follow(view.of(admin, record.private))
    forget(record)
    if was_there:
        notes.append(f"the {record.kind} was made again from the branch {record.branch}; what was not committed there is not in it")
    return await _make(view, record, last_commit, notes)


async def _make(view: View, record: WorktreeRecord, last_commit: str | None, notes: list[str] | None = None) -> Worktree:
    branch = RunBranch(record, view)
    if await branch.tip() is None:
        await branch.create(branch.left_at or last_commit or await _start(view, record))
    async with one_at_a_time(record.common_directory):
        admin = await attach(view, record)
    await view.of(admin, record.top_level).output("read-tree", "--reset", "-u", record.reference)
    if record.is_clone:
        shutil.copy2(admin / "index", record.private / "index")
    skipped = await include_files(view, _source(view, record), record.top_level, record.include_file)
    _make_folder(record)
    branch.leave_at(await branch.settled_tip())
    worktree = Worktree(record, view, fresh=True, notes=[*(notes or ()), *skipped])
    await worktree.agent_files.stand()
    being_made(record).unlink()
    return worktree


async def _exchange(view: View, record: WorktreeRecord, branch: RunBranch) -> Exchange:
    """The agent files that are trusted in place of those on the branch."""
    if record.agent_files is None:
        return Exchange({})
    return await exchange_at(view.git, record.agent_files, await branch.settled_tip())


async def _start(view: View, record: WorktreeRecord) -> str:
    """The commit that the run's branch starts from: `base`, or the uncommitted changes of the checkout on top of it; of a run that
    takes over what another has done, where that one was."""
    if record.start:
        return await _taken_over(view, record)
    if not record.include_changes:
        return record.base
    snapshot = await _source(view, record).snapshot()
    if snapshot.left_out:
        raise OperationFailed(f"cannot take along the changes of the checkout: {snapshot.left_out[0]}")
    if snapshot.tree == await view.git.line("rev-parse", "--verify", f"{record.base}^{{tree}}"):
        return record.base
    message = b"Uncommitted changes of the checkout\n"
    return await view.git.line("commit-tree", snapshot.tree, "-p", record.base, "-F", "-", stdin=message)


async def _taken_over(view: View, record: WorktreeRecord) -> str:
    if not record.tree or record.tree == await view.git.line("rev-parse", "--verify", f"{record.start}^{{tree}}"):
        return record.start
    message = b"What the run before had done by then\n"
    return await view.git.line("commit-tree", record.tree, "-p", record.start, "-F", "-", stdin=message)


def _source(view: View, record: WorktreeRecord) -> Checkout:
    async def base() -> str:
        return record.base

    return Checkout(view, record.source, record.source_git_directory / "index", record.private, base)


async def _view(git: Git, record: WorktreeRecord, filters: str | None = None) -> View:
    source = record.source if record.source.is_dir() else record.common_directory  # a checkout that went
    places = (source, record.source_git_directory, record.common_directory, record.private / "view")
    return await freeze(git, *places, commits=True, filters=filters)


async def _abandon(git: Git, record: WorktreeRecord) -> None:
    """Remove what an opening that failed has left. Nobody has worked in it."""
    remove_directory(record.top_level)
    forget(record)
    await git.at(record.common_directory, GIT_DIR=record.common_directory).ask(*QUIET, "update-ref", "--no-deref", "-d", record.reference)
    remove_directory(record.private)


def _make_folder(record: WorktreeRecord) -> None:
    folder = record.top_level / record.folder
    try:
        if not folder.resolve().is_relative_to(record.top_level):
            raise NotADirectoryError
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInput(f"the run was started in `{record.folder}`, which is no folder of the commit {record.base[:12]}") from error


def _checked_root(repository: Repository, root: Path, setting: str) -> Path:
    root = root.resolve()
    common = repository.common_directory
    for tree in {repository.top_level.resolve(), common, common.parent if common.name == ".git" else common}:
        if root.is_relative_to(tree):
            raise InvalidInput(
                f"worktrees would be inside the repository: {root}",
                help=f"set {setting} to a folder outside of it",
            )
    _check_writable(root, setting)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", repository.top_level.name).strip(".-") or "repository"
    return root / f"{name[:40]}-{hashlib.sha256(os.fsencode(common)).hexdigest()[:10]}"


def _check_writable(root: Path, setting: str) -> None:
    above = next(folder for folder in (root, *root.parents) if os.path.lexists(folder))
    if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
        raise InvalidInput(
            f"worktrees cannot be kept in {root}: {above} {'cannot be written' if above.is_dir() else 'is no folder'}",
            help=f"set {setting} to a folder that can be written",
        )


async def _refuse_taken_names(git: Git, record: WorktreeRecord) -> None:
    here = git.at(record.common_directory, GIT_DIR=record.common_directory)
    if not await here.holds("check-ref-format", record.reference):
        raise InvalidInput(f"`{record.branch}` is no name for a git branch")
    folders = {"refs/heads/cpool", record.reference.rpartition("/")[0]}
    taken = (await here.output("for-each-ref", "--format=%(refname)", "refs/heads/cpool")).decode("utf-8", "replace").splitlines()
    for name in taken:
        if name in folders or name == record.reference or name.startswith(f"{record.reference}/"):
            branch = name.removeprefix("refs/heads/")
            raise InvalidInput(
                f"the branch `{branch}` stands in the way of the run's branch `{record.branch}`", help=f"git branch -m {branch} …"
            )
    for path in (record.top_level, record.private):
        if os.path.lexists(path):
            raise InvalidInput(f"there is a {record.kind} of the run `{record.run_id}` already: {path}")


def _begin(record: WorktreeRecord) -> None:
    being_made(record).touch()
    _record_file(record).write_text(json.dumps(record.to_json(), indent=1), encoding="utf-8", errors="surrogateescape")


def _check_owner(record: WorktreeRecord) -> None:
    try:
        found = WorktreeRecord.from_json(json.loads(_record_file(record).read_text(encoding="utf-8", errors="surrogateescape")))
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return
    if found != record:
        raise OperationFailed(f"{record.top_level} belongs to another run")


def being_made(record: WorktreeRecord) -> Path:
    """There until the worktree is whole: nobody has worked in it before."""
    return record.private / "being-made"


def _record_file(record: WorktreeRecord) -> Path:
    return record.private / RECORD
