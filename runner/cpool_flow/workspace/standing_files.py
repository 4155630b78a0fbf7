"""The trusted files for agents that stand in a worktree in place of the branch's own: put there, and back where git has to see its own.

Knows the files and git's index; not when a place is committed or merged.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from ..errors import OperationFailed, listed
from ..git import Git
from .agent_files import Exchange, exchange_at
from .attachment import admin_directory
from .branch import RunBranch
from .checkout import hide

_OUT = "agent-files-out"


class StandingFiles:
    """`exchange`: what stands in the place now."""

    def __init__(self, branch: RunBranch, exchange: Exchange) -> None:
        self.exchange = exchange
        self._branch = branch
        self._record = branch.record

    @property
    def cut_off(self) -> bool:
        """Whether files may stand in the place that are not the trusted ones: somebody was stopped in the middle."""
        return self._out.exists()

    async def stand(self) -> None:
        """Where files are trusted in place of the branch's, let them stand here. Everything is committed, and no step runs."""
        if self._record.agent_files is None:
            return
        self._out.touch()
        tip = await self._branch.settled_tip()
        self.exchange = await exchange_at(self._branch.view.git, self._record.agent_files, tip)
        admin = admin_directory(self._record)
        if self.exchange and admin is not None:
            await asyncio.to_thread(self.exchange.make, self._record.top_level)
            git = self._branch.view.of(admin, self._record.top_level)
            tracked = await _tracked(git)
            await hide(git, [name for name in self.exchange.standing(self._record.top_level) if name in tracked])
        self._out.unlink()

    async def put_back(self, git: Git, commit: str) -> None:
        """Let the branch's own files stand here where going on to the commit changes them: git takes others for somebody's."""
        changed = await self._changed(git, await git.line("rev-parse", "--verify", "HEAD"), commit)
        paths = [path for path in self.exchange.standing(self._record.top_level) if path in changed]
        if paths:
            self._out.touch()
            tracked = await _tracked(git)
            await asyncio.to_thread(self.exchange.take_away, self._record.top_level, paths)
            own = b"".join(os.fsencode(path) + b"\0" for path in paths if path in tracked)
            await git.output("update-index", "-z", "--no-skip-worktree", "--stdin", stdin=own)
            await git.output("checkout-index", "-f", "-z", "--stdin", stdin=own)

    async def refuse_conflict(self, git: Git, onto: str) -> None:
        """Nobody can mend a merge that changes what stands here in place of the branch's. Raises OperationFailed."""
        changed = await self._changed(git, await git.line("merge-base", "HEAD", onto), onto)
        names = sorted(changed & self.exchange.wanted.keys())
        if names:
            raise OperationFailed(
                f"the conflict cannot be laid out: the other side has changed {listed(names)}, which `--trust` keeps here"
            )

    async def _changed(self, git: Git, before: str, after: str) -> set[str]:
        """The paths that differ between two commits; none where nothing stands here."""
        if not self.exchange:
            return set()
        names = await git.output("diff-tree", "-r", "-z", "--name-only", "--no-renames", before, after)
        return {os.fsdecode(name) for name in names.split(b"\0") if name}

    @property
    def _out(self) -> Path:
        return self._record.private / _OUT


async def _tracked(git: Git) -> set[str]:
    return {os.fsdecode(name) for name in (await git.output("ls-files", "-z")).split(b"\0")}
