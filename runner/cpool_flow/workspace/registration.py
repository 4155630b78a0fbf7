"""How a worktree hangs on its repository: the `.git` file in it, the folder of its own below `worktrees/`, the lock.

Makes, finds, repairs and removes that for one run's worktree, and looks at no other. Does not know commits.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from ..errors import OperationFailed
from .record import WorktreeRecord
from .view import View

_SMALL = 65_536


def admin_directory(record: WorktreeRecord) -> Path | None:
    """The folder in which the repository keeps the worktree's HEAD and index; None where it is not registered."""
    return next((admin for admin, path in _worktrees(record) if path == record.top_level), None)


def worktrees_inside(record: WorktreeRecord) -> list[Path]:
    """Other worktrees of the same repository that stand inside this one."""
    return [path for _, path in _worktrees(record) if path != record.top_level and path.is_relative_to(record.top_level) and path.exists()]


def checkout_of_branch(record: WorktreeRecord) -> Path | None:
    """Another checkout that has the run's branch checked out: there it must not be moved or deleted."""
    others = [(admin, path) for admin, path in _worktrees(record) if path != record.top_level]
    checkouts = [(record.common_directory, record.common_directory.parent), *others]
    return next((path for folder, path in checkouts if read_small_file(folder / "HEAD") == f"ref: {record.reference}"), None)


async def add_worktree(view: View, record: WorktreeRecord) -> Path:
    """Register `record.top_level`, which does not exist yet, on the run's branch; no file of the branch is written.

    Returns the admin directory. Raises `OperationFailed`.
    """
    return await _register(view, record, record.top_level)


async def repair_registration(view: View, record: WorktreeRecord) -> tuple[Path, str | None]:
    """Put back what a step took from its worktree, and remove locks that it left. No step may run there.

    Returns the admin directory and, if there was damage, a sentence about it.
    """
    problem = None
    admin = admin_directory(record)
    if admin is None or not await _is_sound(view, record, admin):
        problem = "the worktree was no longer registered in its repository"
        forget(record)
        admin = await _register_again(view, record)
    link_problem = _repair_link(record, admin)
    for lock in (admin / "index.lock", admin / "HEAD.lock", record.common_directory / f"{record.reference}.lock"):
        lock.unlink(missing_ok=True)
    return admin, problem or link_problem


def damage(record: WorktreeRecord) -> str | None:
    """What a step took from its worktree, as a sentence. Only looks, and a step may run there."""
    admin = admin_directory(record)
    return "the worktree is no longer registered in its repository" if admin is None else _link_damage(record, admin)


def forget(record: WorktreeRecord) -> None:
    """Remove the registration, what says whose it is at the very end. Safe to call again."""
    admin = admin_directory(record)
    if admin is not None:
        _remove_registration(admin)
    with suppress(OSError):  # one that an interruption left empty
        (record.common_directory / "worktrees" / record.top_level.name).rmdir()


def has_own_repository(record: WorktreeRecord) -> bool:
    """Whether a step put a repository of its own where the worktree's `.git` file belongs."""
    return _is(record.top_level / ".git", stat.S_ISDIR)


def lock(record: WorktreeRecord, admin: Path) -> None:
    """Keep `git worktree prune` and `remove` away while the run lives."""
    if foreign_lock(record, admin) is None:
        _write(admin / "locked", _reason(record))


def unlock(record: WorktreeRecord, admin: Path) -> None:
    """Take our lock off. Another one stays."""
    if foreign_lock(record, admin) is None:
        (admin / "locked").unlink(missing_ok=True)


def foreign_lock(record: WorktreeRecord, admin: Path) -> str | None:
    """The reason of a lock that somebody else put on the worktree."""
    reason = read_small_file(admin / "locked")
    return None if reason in (None, _reason(record)) else reason


@asynccontextmanager
async def one_at_a_time(common_directory: Path) -> AsyncIterator[None]:
    """Adds are serialised per repository, also between processes; the kernel lets go when one dies."""
    path = common_directory / "cpool-flow.lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
    except OSError as error:
        raise OperationFailed(f"cannot write {path}: {error.strerror}") from error
    try:
        while not _locked(descriptor):
            await asyncio.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def registered_worktrees(common_directory: Path) -> Iterator[tuple[Path, Path]]:
    """Each registered worktree: its admin directory and where it stands."""
    folder = common_directory / "worktrees"
    for admin in sorted(folder.iterdir()) if folder.is_dir() else ():
        text = read_small_file(admin / "gitdir")
        if text:
            yield admin, Path(os.path.normpath(admin / text)).parent


def read_small_file(path: Path) -> str | None:
    """The text of a small file without its last line break; None for anything else."""
    if not _is(path, stat.S_ISREG):
        return None
    with path.open("rb") as file:
        return os.fsdecode(file.read(_SMALL)).strip("\n")


def _worktrees(record: WorktreeRecord) -> Iterator[tuple[Path, Path]]:
    return registered_worktrees(record.common_directory)


async def _register(view: View, record: WorktreeRecord, at: Path) -> Path:
    elsewhere = checkout_of_branch(record)
    if elsewhere is not None:
        raise OperationFailed(f"the branch {record.branch} is checked out at {elsewhere}: switch that checkout to another branch first")
    await view.git.output("worktree", "add", "--quiet", "--no-checkout", "--lock", str(at), record.branch)
    # git names the folder by the way that we showed it; others must find it without us.
    admin = Path((read_small_file(at / ".git") or "").removeprefix("gitdir: ")).resolve()
    _write(at / ".git", _link_text(admin))
    _write(admin / "locked", _reason(record))
    return admin


async def _register_again(view: View, record: WorktreeRecord) -> Path:
    """git only adds worktrees that are not there yet: one is added beside, and the files' own directory put in its stead."""
    beside = record.private / record.top_level.name
    shutil.rmtree(beside, ignore_errors=True)
    for unfinished in [admin for admin, path in _worktrees(record) if path == beside]:
        _remove_registration(unfinished)
    admin = await _register(view, record, beside)
    _write(admin / "gitdir", f"{record.top_level / '.git'}\n")
    shutil.rmtree(beside)
    return admin


def _remove_registration(admin: Path) -> None:
    for name in os.listdir(admin):
        if _is(admin / name, stat.S_ISDIR):
            shutil.rmtree(admin / name)
        elif name != "gitdir":
            (admin / name).unlink()
    (admin / "gitdir").unlink()
    admin.rmdir()


async def _is_sound(view: View, record: WorktreeRecord, admin: Path) -> bool:
    common = read_small_file(admin / "commondir")
    points_home = common is not None and Path(os.path.normpath(admin / common)) == record.common_directory
    return points_home and await view.of(admin, record.top_level).holds("rev-parse", "--git-dir")


def _repair_link(record: WorktreeRecord, admin: Path) -> str | None:
    problem = _link_damage(record, admin)
    if problem and not has_own_repository(record):
        _write(record.top_level / ".git", _link_text(admin))
    return problem


def _link_damage(record: WorktreeRecord, admin: Path) -> str | None:
    link = record.top_level / ".git"
    if has_own_repository(record):
        return "a repository of its own stands where the worktree's `.git` file belongs"
    if read_small_file(link) == _link_text(admin).strip() and not link.is_symlink():
        return None
    return "the worktree's `.git` file was changed" if os.path.lexists(link) else "the worktree's `.git` file was removed"


def _link_text(admin: Path) -> str:
    return f"gitdir: {admin}\n"


def _reason(record: WorktreeRecord) -> str:
    return f"cpool-flow run {record.run_id}"


def _write(path: Path, text: str) -> None:
    """Replaces the file, or the link that stands there."""
    unfinished = path.with_name(f"{path.name}.cpool-flow")
    unfinished.unlink(missing_ok=True)
    with unfinished.open("xb") as file:
        file.write(os.fsencode(text))
    unfinished.replace(path)


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.lstat().st_mode)
    except OSError:
        return False
