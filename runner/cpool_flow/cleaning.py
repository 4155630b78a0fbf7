"""A run as something that can be deleted: what that would lose, how much disk it frees, and the deletion itself.

Nothing that is unmerged, not committed, or not ended goes unless it is forced. A run that somebody works on never goes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from cpool_flow import faults, history
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import FlowError, InvalidInput
from cpool_flow.guardian import sweep
from cpool_flow.journal import FILE, Lock, is_alive
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import known_filters, our_git, worktree_of
from cpool_flow.workspace.record import WorktreeRecord
from cpool_flow.workspace.remains import item_records, may_be_of, remains
from cpool_flow.workspace.removal import remove_directory
from cpool_flow.workspace.tidying import look, tidy

REMOVED = "removed"
BLOCK_BYTES = 512


@dataclass(frozen=True)
class Candidate:
    """A run that might go. `reason`: why it may; `obstacles`: why it is kept unless forced; `blocks`: why it is kept in any case.
    `ended_at`: seconds since the epoch, of one that has not ended its last sign of life. `has_work`: it has made commits.
    `references`: of its branches, which go with it."""

    folder: RunFolder
    run: history.Run | None
    ended_at: float
    bytes: int
    reason: str = ""
    obstacles: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()
    branch: str | None = None
    commit: str | None = None
    has_work: bool = False
    references: frozenset[str] = frozenset()

    @property
    def status(self) -> str | None:
        return self.run.state.status if self.run is not None else None


async def consider(folder: RunFolder, environment: Mapping[str, str], gone: frozenset[str] = frozenset()) -> Candidate | None:
    """Look at a run. Changes nothing. None where it is gone by now: somebody else cleans as well. `gone`: references of git that are to
    be taken as deleted."""
    signs = list(_last_signs(folder))
    if not signs:
        return None
    last_sign = max(signs)
    try:
        run = history.read(folder)
    except FlowError as error:
        return Candidate(folder, None, last_sign, _size(folder.path), obstacles=(f"it cannot be read: {error}",))
    record = worktree_of(run.state)
    worktrees = (record, *item_records(record)) if record is not None else ()
    paths = (folder.path, *(path for each in worktrees for path in (each.top_level, each.private)))
    seen = Candidate(folder, run, run.state.ended_at or last_sign, _size(*paths))
    unfinished = () if run.state.finished else ("it has not ended",)
    if is_alive(folder.path):
        return replace(seen, blocks=("it is still at work",))
    if record is None:
        return replace(seen, reason="it has no branch", obstacles=unfinished)
    if not record.common_directory.is_dir():
        return replace(seen, obstacles=(*unfinished, f"its repository is gone: {record.common_directory}"))
    filters = known_filters(folder.path / "place")
    async with remains(
        our_git(environment, run.inputs.secrets), record, run.state.tip, filters=filters, others=_others(folder, record)
    ) as left:
        looked = await look(left, gone)
    seen = replace(seen, reason=looked.merged, obstacles=(*unfinished, *looked.obstacles), blocks=looked.blocks, has_work=left.changed)
    seen = replace(seen, references=frozenset(f"refs/heads/{each.name}" for each in left.branches))
    return replace(seen, branch=left.branch.name, commit=left.branch.tip) if left.branch is not None else seen


async def delete(candidate: Candidate, environment: Mapping[str, str], *, force: bool) -> list[str]:
    """Delete a run with its worktree and branches. Returns what stays of it, and why; nothing where all of it went.

    Raises InvalidInput where somebody has begun to work on it. Safe to call again after an interruption.
    """
    folder, run = candidate.folder, candidate.run
    with Lock(folder.path):
        record = worktree_of(run.state) if run is not None else None
        if run is not None and not run.state.finished:
            sweep(run.state.mark)
        if run is not None and record is not None and record.common_directory.is_dir():
            filters = known_filters(folder.path / "place")
            git, others = our_git(environment, run.inputs.secrets), _others(folder, record)
            stays = await tidy(git, record, run.state.tip, filters, force=force, others=others)
            if stays:
                return stays
        _discard(folder)
    return []


def _others(folder: RunFolder, record: WorktreeRecord) -> list[str]:
    """The branches that runs of the project have whose ids begin as the names of what belongs to this one do."""
    siblings = (path.name for path in folder.path.parent.iterdir())
    return [record.branch.removesuffix(folder.run_id) + name for name in siblings if may_be_of(name, folder.run_id)]


def empty_bin(project: Path) -> None:
    """Remove what an interrupted deletion has left."""
    folder = project / ".cpool" / REMOVED
    with suppress(OSError):
        for path in list(folder.iterdir()):
            remove_directory(path)
        folder.rmdir()


def _discard(folder: RunFolder) -> None:
    """The folder goes by one rename, so that a run is there whole or not at all."""
    bin = folder.path.parents[1] / REMOVED
    aside = bin / f"{folder.run_id}.{secrets.token_hex(4)}"
    try:
        _set_aside(folder.path, aside)
    except OSError as error:
        raise InvalidInput(f"cannot delete `{folder.path}`: {error.strerror}") from error
    faults.point("after-folder-set-aside")
    remove_directory(aside)
    with suppress(OSError):
        bin.rmdir()


def _set_aside(path: Path, aside: Path) -> None:
    while True:
        aside.parent.mkdir(exist_ok=True)
        try:
            path.rename(aside)
            return
        except FileNotFoundError:  # another process has just removed the empty folder that it would go to
            if not path.exists():
                raise


def _last_signs(folder: RunFolder) -> Iterator[float]:
    """When the journal was last written (seconds since the epoch)."""
    for name in (FILE, f"{FILE}-wal"):
        with suppress(OSError):
            yield os.stat(folder.path / name).st_mtime


def _size(*paths: Path) -> int:
    """Bytes on disk."""
    total = 0
    for path in paths:
        for directory, _, files in os.walk(path):
            for name in (".", *files):
                try:
                    total += os.lstat(os.path.join(directory, name)).st_blocks * BLOCK_BYTES
                except OSError:
                    continue
    return total
