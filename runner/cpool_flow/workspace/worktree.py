"""A git worktree of a run's own, or a clone: commits what steps left onto the run's branch, and goes when everything is there.

Knows what steps leave in a worktree (locks, no `.git` file, repositories of their own) and loses nothing to it.
Does not know steps, attempts, or how the worktree came to be.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from ..errors import InvalidInput, OperationFailed, listed
from ..git import Git, complaint, is_object_id
from .agent_files import Exchange
from .attachment import (
    admin_directory,
    damage,
    foreign_lock,
    forget,
    hand_out,
    has_own_repository,
    keep_others,
    repair,
    steps_git,
    take_in,
    worktrees_inside,
)
from .branch import RunBranch
from .checkout import Checkout, Snapshot
from .inside import folder_inside, unmatched_patterns
from .place import Closed, Commit, Keep
from .record import WorktreeRecord
from .registration import read_small_file, unlock
from .removal import remove_directory
from .standing_files import StandingFiles
from .undecided import Undecided
from .view import View


class Worktree:
    """A place of isolation `worktree` or `clone`. `fresh` says that `setup` has not run here; `notes` what had to be repaired."""

    versioned = True

    def __init__(
        self, record: WorktreeRecord, view: View, *, fresh: bool, notes: Sequence[str] = (), exchange: Exchange | None = None
    ) -> None:
        self.record, self.fresh, self.notes = record, fresh, tuple(notes)
        self._view = view
        self._run_branch = RunBranch(record, view)
        self.agent_files = StandingFiles(self._run_branch, exchange or Exchange({}))
        self._alone = asyncio.Lock()

    @property
    def view(self) -> View:
        """The repository, as our own git sees it."""
        return self._view

    @property
    def here(self) -> Git:
        """git in the worktree itself, where it finds the attributes of the files: a merge asks for them."""
        admin = admin_directory(self.record)
        return self._view.of(admin, self.record.top_level).at(self.record.top_level) if admin is not None else self._view.git

    @property
    def filters(self) -> str:
        """The filters that may be started here: those that were defined when the run began."""
        return self._view.filters

    @property
    def directory(self) -> Path:
        return self.record.top_level / self.record.folder

    @property
    def branch(self) -> str:
        return self.record.branch

    @property
    def base(self) -> str:
        return self.record.base

    def folder(self, relative: str) -> Path:
        return folder_inside(self.directory, relative)

    def unmatched(self, patterns: Sequence[str]) -> tuple[str, ...]:
        return unmatched_patterns(self.directory, patterns)

    async def tree(self) -> str:
        async with self._alone:
            return (await self._checkout().snapshot()).tree

    async def head(self) -> str | None:
        async with self._alone:
            await take_in(self._run_branch)
            return await self._run_branch.tip()

    async def tip(self) -> str:
        """The commit of the branch; one that a step deleted is put back."""
        async with self._alone:
            await take_in(self._run_branch)
            return await self._run_branch.settled_tip()

    async def advance(self, commit: str) -> None:
        """Go on to a commit that has grown from the branch, with files, index and branch in this order: whoever is interrupted has lost
        nothing. Everything is committed, and no step runs here. Raises `InvalidInput` where a file that git ignores is in the way."""
        async with self._alone:
            git = (await self._repair())[0]
            await git.output("symbolic-ref", "HEAD", self.record.reference)
            await self._go_on(git, commit)

    async def _go_on(self, git: Git, commit: str) -> None:
        await self.agent_files.put_back(git, commit)
        ended = await git.ask("merge", "--ff-only", "--no-overwrite-ignore", "--no-stat", "--quiet", commit)
        await git.output("symbolic-ref", "HEAD", self.record.reference)
        if ended.code == 0:
            await take_in(self._run_branch)  # in a clone it was the clone's branch that went on
            await hand_out(self._run_branch, commit)
            self._run_branch.leave_at(commit)
        await self.agent_files.stand()
        if ended.code != 0:
            raise InvalidInput(_in_the_way(complaint(ended), self.record.top_level))

    async def catch_up(self) -> None:
        """Let the files follow a branch that somebody has moved on from elsewhere: the next commit would take back what is new there.
        Everything is committed, and no step runs here. Raises `OperationFailed`, `InvalidInput`."""
        left, tip = self._run_branch.left_at, await self._run_branch.settled_tip()
        git = self._view.git
        if left is None or left == tip or not await git.holds("merge-base", "--is-ancestor", left, tip):
            return
        if await self.tree() == await git.line("rev-parse", "--verify", f"{left}^{{tree}}"):
            async with self._alone:
                here = (await self._repair())[0]
                await here.output("update-ref", "--no-deref", "HEAD", left)  # the branch itself stays where it is
                await self._go_on(here, tip)

    async def lay_out(self, onto: str, message: str, is_of_conflict: Callable[[str], bool]) -> None:
        """Let the conflict with the commit `onto` stand in the files, as git leaves it: who works here next decides. One that was committed
        before anybody had decided is open again. `is_of_conflict`: whether a file was in it. No step runs here. Raises `OperationFailed`."""
        async with self._alone:
            git, _ = await self._repair()
            tip = await self._run_branch.settled_tip()
            undecided = Undecided(self.record, git)
            if onto in self._merge_heads():
                return
            if await git.holds("merge-base", "--is-ancestor", onto, tip):
                names = await undecided.after_commit(tip, onto, is_of_conflict)
                _, ours = await undecided.merge(tip, onto)
                if names and ours:
                    await undecided.begin_again(names, ours, onto)
                return
            await self._commit(message, None)  # what an interrupted attempt has left
            await self.agent_files.refuse_conflict(git, onto)
            ended = await git.ask("merge", "--no-commit", "--no-ff", "--no-stat", "--quiet", onto)
            if ended.code != 0 and onto not in self._merge_heads():
                raise OperationFailed(f"the conflict cannot be laid out: {complaint(ended)}")
            await undecided.begin()

    async def undecided(self, onto: str, is_of_conflict: Callable[[str], bool]) -> list[str]:
        """The files of the conflict with the commit `onto` on which nobody has decided. Everything is committed, and no step runs here.
        Raises `OperationFailed`."""
        async with self._alone:
            git, _ = await self._repair()
            return await Undecided(self.record, git).after_commit(await self._run_branch.settled_tip(), onto, is_of_conflict)

    async def changed_files(self, since: str) -> tuple[str, ...]:
        return await self._checkout().changed_files(since, await self.tree())

    async def patch(self, since: str) -> bytes:
        return await self._checkout().patch(since, await self.tree())

    async def messages(self, since: str) -> tuple[str, ...]:
        return await self._checkout().messages(since, await self.tip())

    def damage(self) -> str | None:
        return damage(self.record) if self.record.top_level.is_dir() else f"the run's {self.record.kind} is gone"

    async def repair(self) -> str | None:
        async with self._alone:
            notes = (await self._repair())[1]
            return notes[0] if notes else None

    async def commit(self, message: str, since: str | None = None) -> Commit | None:
        """Everything left in the place as one commit on top of the run's branch, which HEAD then names again.

        `since` is the commit or tree to compare with (default: where we left the branch). No hook, editor or
        signature has a say. Raises `OperationFailed`; nothing is lost then, and it may be called again.
        """
        async with self._alone:
            return (await self._commit(message, since))[0]

    async def close(self, keep: Keep, message: str = "what the steps left") -> Closed:
        """What cannot be committed or may be somebody's work keeps the directory, and the notes say so."""
        async with self._alone:
            notes = _strangers(self.record)
            if os.path.lexists(self.record.top_level):
                try:
                    commit, snapshot = await self._commit(message, None)
                except OperationFailed as error:
                    return await self._stay([*notes, f"the directory stays: {error}"])
                notes += commit.notes if commit else ()
                repositories = await self._checkout().repositories(snapshot)
                reasons = [f"the directory stays: {reason}" for reason in reasons_to_stay(self.record, snapshot, repositories)]
                if keep == "worktree" or reasons:
                    return await self._stay(notes + reasons)
                notes += await self._ignored_files()
                try:
                    notes += await keep_others(self._run_branch)
                except OperationFailed as error:
                    return await self._stay([*notes, f"the directory stays: {error}"])
                try:
                    self._set_aside()
                except OSError as error:
                    return await self._stay([*notes, f"the directory stays: {error.strerror or error}"])
            return await self._remove(keep, notes)

    def _checkout(self) -> Checkout:
        index = (admin_directory(self.record) or self.record.private) / "index"
        tip = self._run_branch.tip
        return Checkout(
            self._view,
            self.record.top_level,
            index,
            self.record.private,
            tip,
            nested="own files",
            hidden=True,
            exchange=self.agent_files.exchange,
            borrowing=self.record.is_clone,
        )

    async def _repair(self) -> tuple[Git, list[str]]:
        """git for the place, and sentences: what a step had damaged there, what of it is kept elsewhere."""
        if not self.record.top_level.is_dir() or self.record.top_level.is_symlink():
            raise OperationFailed(f"the run's {self.record.kind} is gone: {self.record.top_level}")
        await self._run_branch.settled_tip()
        admin, notes = await repair(self._run_branch)
        return self._view.of(admin, self.record.top_level), notes

    async def _commit(self, message: str, since: str | None) -> tuple[Commit | None, Snapshot]:
        before = self._run_branch.left_at or self.base
        git, notes = await self._repair()
        notes += await self._run_branch.follow(self._steps_git())
        open_files = await Undecided(self.record, git).settle()
        checkout = self._checkout()
        snapshot = await checkout.snapshot()
        notes += [f"not committed: {reason}" for reason in snapshot.left_out]
        merging = self._merge_heads()
        tip = await self._run_branch.commit(f"{message}\n{open_files}" if open_files else message, snapshot.tree, merging)
        await git.output("symbolic-ref", "HEAD", self.record.reference)
        _install(checkout.index, checkout.real_index)
        await hand_out(self._run_branch, tip)
        self._run_branch.leave_at(tip)
        self._end_merge()
        await self.agent_files.stand()
        changed = await checkout.changed_files(since or (merging[0] if merging else before), tip)
        if not changed and tip in (since, before) and not notes:
            return None, snapshot
        return Commit(tip, changed, tuple(notes)), snapshot

    def _steps_git(self) -> Git:
        admin = admin_directory(self.record)
        assert admin is not None, "BUG: the place was repaired just now"
        return steps_git(self._view, self.record, admin)

    def _merge_heads(self) -> tuple[str, ...]:
        """The commits that a step, or a conflict that we laid out, is in the middle of merging."""
        admin = admin_directory(self.record)
        lines = (read_small_file(admin / "MERGE_HEAD") or "").split("\n") if admin is not None else []
        return tuple(line for line in lines if is_object_id(line))

    def _end_merge(self) -> None:
        admin = admin_directory(self.record)
        if admin is not None:
            for name in ("MERGE_HEAD", "MERGE_MSG", "MERGE_MODE", "AUTO_MERGE"):
                (admin / name).unlink(missing_ok=True)

    async def _stay(self, notes: list[str]) -> Closed:
        admin = admin_directory(self.record)
        if admin is not None:
            unlock(self.record, admin)
        return Closed(self.branch, self.directory, await self._run_branch.tip(), tuple(notes))

    async def _ignored_files(self) -> list[str]:
        listing = await self._checkout().own.output("ls-files", "-z", "-o", "-i", "--exclude-standard", "--directory")
        count = listing.count(b"\0")
        return [f"{count} path{'s' if count > 1 else ''} that git ignores went with the directory"] if count else []

    def _remove_folders(self) -> str | None:
        return remove_directory(removed_directory(self.record)) or remove_directory(self.record.private)

    def _set_aside(self) -> None:
        # One rename, so that a directory half removed is never taken for one whose files a step deleted.
        remove_directory(removed_directory(self.record))
        self.record.top_level.rename(removed_directory(self.record))

    async def _remove(self, keep: Keep, notes: list[str]) -> Closed:
        admin = admin_directory(self.record)
        if admin is not None:
            notes += await self._run_branch.follow(self._view.of(admin, self.record.private))
        forget(self.record)
        tip = await self._run_branch.tip()
        gone, note = await self._run_branch.drop(keep)
        leftover = await asyncio.to_thread(self._remove_folders)
        notes += [sentence for sentence in (note, leftover) if sentence]
        return Closed(None if gone else self.branch, None, tip, tuple(notes))


def reasons_to_stay(record: WorktreeRecord, snapshot: Snapshot, repositories: Iterable[Path]) -> list[str]:
    """What is in the worktree that would be on no branch if its directory went. `repositories`: those inside of it."""
    reasons = ["some files could not be committed"] if snapshot.left_out else []
    holding = {path for path in repositories if _holds_commits(path)} | set(worktrees_inside(record))
    reasons += [f"{path.relative_to(record.top_level)} is a git repository with commits of its own" for path in sorted(holding)]
    if has_own_repository(record):
        reasons.append("a step put a git repository of its own in the place of the worktree's")
    admin = admin_directory(record)
    lock = foreign_lock(record, admin) if admin else None
    return [*reasons, *([f"it is locked: {lock}"] if lock is not None else [])]


def _in_the_way(said: str, top_level: Path) -> str:
    """Why git refuses to go on in a worktree, in one line."""
    lines = said.splitlines()
    files = [line.strip() for line in lines if line.startswith("\t")]
    if not files:
        first = next((line for line in lines if line.strip()), "").removeprefix("error: ").removeprefix("fatal: ")
        return f"git refuses to go on in {top_level}: {first}"
    what = "that git ignores " if "untracked" in said else "that is not committed "
    return f"a file {what}is in the way in {top_level}: {listed(files)}"


def removed_directory(record: WorktreeRecord) -> Path:
    """Where the worktree goes in one rename before it is removed."""
    return record.private / "removed"


def _strangers(record: WorktreeRecord) -> list[str]:
    """What some step wrote beside its place: it stays, and we say so."""
    beside = record.top_level.parent
    names = [name for name in sorted(os.listdir(beside)) if not name.startswith(".") and not (beside / f".{name}").exists()]
    return [f"a step wrote outside of its place, which stays: {beside / name}" for name in names if name != record.top_level.name]


def _holds_commits(repository: Path) -> bool:
    """Whether work may be in the repository's own folder, or in a linked one that goes with it."""
    folder = repository / ".git"
    return not folder.is_dir() or any(files for _, _, files in os.walk(folder / "objects"))


def _install(index: Path, real_index: Path) -> None:
    """What we committed is what the next step's git compares with."""
    unfinished = real_index.with_name("index.cpool-flow")
    unfinished.unlink(missing_ok=True)
    shutil.copy2(index, unfinished)
    unfinished.replace(real_index)
