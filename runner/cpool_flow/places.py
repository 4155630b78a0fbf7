"""The places of a run: its own, and those of items that have one; opened when the first attempt needs them, merged, closed.

Joins `workspace/` to the state, which says what is there. Knows git's side of it; not what is executed in a place (`rooms.py`), nor when
it is time for anything (`policy.py`).
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cpool_flow import events, faults
from cpool_flow.errors import InvalidInput, OperationFailed, listed
from cpool_flow.git import Git, GitFailed
from cpool_flow.run_folder import file_name
from cpool_flow.run_place import RunPlace, told
from cpool_flow.secrets import Masker
from cpool_flow.state import State
from cpool_flow.tasks import ItemPlace, Task
from cpool_flow.workspace.place import Keep

if TYPE_CHECKING:
    from cpool_flow.workspace.record import WorktreeRecord
    from cpool_flow.workspace.worktree import Worktree


class Places:
    """`run_place` is open. `remark` is told what people should know."""

    def __init__(self, run_place: RunPlace, state: State, git: Git, masker: Masker, remark: Callable[[str], object]) -> None:
        self.run_place = run_place
        self.versioned = run_place.versioned
        self._state = state
        self._git = git
        self._masker = masker
        self._remark = remark
        self._remarked: set[str] = set()
        self._open: dict[str, RunPlace] = {"": run_place}
        self._opening: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def tree(self, place: str = "") -> str | None:
        """The files now; None of a place that does not exist yet."""
        if place and self._state.tasks[place].place is None:
            return None
        return await (await self.open(place)).tree()

    async def commit(self, tasks: Sequence[str], place: str = "") -> tuple[events.PlaceCommitted | None, Sequence[str]]:
        """Commit what the tasks left, if anything, and say what people should know of it. No step runs there meanwhile."""
        if place and self._is_replaced(place):
            self._open.pop(place, None)
            return None, (f"something else stands in the stead of the place of `{place}`: what was not committed there is lost",)
        found = await self.open(place)
        if place and not found.worktree.record.top_level.is_dir():
            del self._open[place]  # who needs it next makes it again, from its branch
            return None, (f"the place of `{place}` is gone: what was not committed there is lost",)
        return await found.commit(tasks, place)

    async def plan(self, task: str) -> events.PlaceOpened:
        """The place of an item, as the fact that is recorded before anything of it exists. What an earlier one has left on its branch is
        gone on with. Raises OperationFailed."""
        from cpool_flow.workspace.joining import item_record
        from cpool_flow.workspace.record import WorktreeRecord

        item = self._state.tasks[task]
        if item.place is not None and item.place.closed is not None and item.place.closed.branch is not None:
            return item.place.opened
        run = self._state.place
        assert run is not None, "BUG: a run has a place before its items have"
        other = await self._worktree(item.within.place)
        with told():
            record = item_record(WorktreeRecord.from_json(run.place), file_name(task), await other.tip())
        return events.PlaceOpened(
            str(record.top_level / record.folder), branch=record.branch, base=record.base, place=record.to_json(), task=task
        )

    async def open(self, place: str) -> RunPlace:
        """The place, made where it is not there yet. Raises OperationFailed."""
        async with self._opening[place]:
            found = self._open.get(place)
            if found is None:
                faults.point("before-item-place")
                found = self._open[place] = await self._made(self._item_place(place))
                faults.point("after-item-place")
                for note in found.notes:
                    if note not in self._remarked:
                        self._remarked.add(note)
                        self._remark(note)
            return found

    async def lay_out(self, task: str) -> None:
        """Let the conflict stand in the files of the item, for who is to mend it. Raises OperationFailed."""
        unmerged = self._item_place(task).unmerged
        if unmerged is not None and unmerged.conflicts:
            with told():
                await (await self._worktree(task)).lay_out(unmerged.onto, task, self._is_in(unmerged))

    async def join(self, task: Task) -> events.PlaceMerged | None:
        """Let the item's branch hold all that the place has from which it came; why it cannot, where it cannot. Raises OperationFailed."""
        from cpool_flow.workspace.joining import join

        place = self._item_place(task.id)
        item, other = await self._worktree(task.id), await self._worktree(place.into)
        before = place.unmerged
        with told():
            if before is not None and await item.commit(task.id) is not None:
                self._remark(f"what was changed in the place of `{task.id}` before it was merged was committed")
            if before is not None and before.conflicts:
                open_files = await item.undecided(before.onto, self._is_in(before))
                if open_files:
                    reason = f"nobody has decided on the conflict in {listed(open_files)}"
                    return self._unmerged(task, place, reason, open_files, before.onto)
            try:
                found = await join(item, other, f"Merge item {task.id}")
            except (InvalidInput, GitFailed) as error:
                if await self._commit_foreign(item):
                    return None  # it is not handed over as it is: it will be asked for again
                return self._unmerged(task, place, str(error), (), "")
        if found is None:
            return None
        reason = f"conflict: it and the branch that it came from have both changed {listed(found.files)}"
        return self._unmerged(task, place, reason, found.files, found.onto)

    async def keep_up(self, task: Task) -> None:
        """Commit what `verify` has left after a merge, as what it leaves after the work is. Raises OperationFailed."""
        item = (await self._worktree(task.id)) if not self._is_replaced(task.id) else None
        if item is not None and item.record.top_level.is_dir():
            with told():
                await item.commit(task.id)

    async def has_moved(self, task: Task) -> bool:
        """Whether others were merged since the item's own work began: what was verified then is to be verified again."""
        place = self._item_place(task.id)
        with told():
            return await (await self._worktree(place.into)).tip() != place.opened.base

    async def hand_over(self, task: Task) -> events.PlaceMerged | None:
        """Let the place from which an item came go on to what it has done. None where that has gone on elsewhere since `join`. No step
        runs in either. Raises OperationFailed."""
        from cpool_flow.workspace.joining import hand_over

        place = self._item_place(task.id)
        item, other = await self._worktree(task.id), await self._worktree(place.into)
        with told():
            try:
                commit = await hand_over(item, other)
            except (InvalidInput, GitFailed) as error:
                if await self._commit_foreign(other):
                    return None
                return self._unmerged(task, place, str(error), (), "")
        return None if commit is None else events.PlaceMerged(task.id, commit, place.into)

    async def close_item(self, task: Task, keep: Keep) -> events.PlaceClosed:
        """The end of an item's place: everything is on its branch then, and the branch goes where it is merged. Raises OperationFailed."""
        try:
            place = await self.open(task.id)
        except OperationFailed as error:
            return await self._left(task, error)
        merged = self._item_place(task.id).merged is not None
        closed = await place.close("none" if merged else keep)
        self._open.pop(task.id, None)
        return replace(closed, task=task.id, note="" if merged and closed.branch is None else closed.note)

    async def _commit_foreign(self, other: Worktree) -> bool:
        """Commit what somebody has written into a place where no step runs, and which is in the way of a merge. Whether anything was."""
        commit = await other.commit("what was written there by somebody else")
        if commit is None or not commit.changed_files:
            return False
        files = listed(list(map(self._masker.mask, commit.changed_files)))
        self._remark(
            f"somebody has written into {other.record.top_level}, where no step ran, or a merge there was cut off; it was committed ({commit.sha[:10]}): {files}"
        )
        return True

    async def _left(self, task: Task, error: OperationFailed) -> events.PlaceClosed:
        """The end of a place in whose stead something else stands. What that is stays; raises the error where nothing does."""
        if not self._is_replaced(task.id):
            raise error
        record = self._record(task.id)
        tip = await self.run_place.worktree.view.git.find("rev-parse", "-q", "--verify", f"{record.reference}^{{commit}}")
        return events.PlaceClosed(record.branch if tip else None, None, tip, self._masker.mask(str(error)), task.id)

    def _is_replaced(self, task: str) -> bool:
        """Whether something else stands where the place of an item was: what runs in a place may do that."""
        top_level = self._record(task).top_level
        return os.path.lexists(top_level) and (top_level.is_symlink() or not top_level.is_dir())

    def _record(self, task: str) -> WorktreeRecord:
        from cpool_flow.workspace.record import WorktreeRecord

        return WorktreeRecord.from_json(self._item_place(task).opened.place or {})

    async def _made(self, place: ItemPlace) -> RunPlace:
        from cpool_flow.workspace.opening import reattach_worktree

        run = self.run_place.worktree
        last = place.closed.commit if place.closed is not None else None
        with told():
            return RunPlace(await reattach_worktree(self._git, self._record(place.opened.task), last, run.filters), self._masker)

    async def _worktree(self, place: str) -> Worktree:
        return (await self.open(place)).worktree

    def _item_place(self, task: str) -> ItemPlace:
        place = self._state.tasks[task].place
        assert place is not None, f"BUG: the item {task} has no place"
        return place

    def _is_in(self, unmerged: events.PlaceMerged) -> Callable[[str], bool]:
        """Whether a file is one of a conflict: the fact has names in which secrets are masked."""
        return lambda name: self._masker.mask(name) in unmerged.conflicts

    def _unmerged(self, task: Task, place: ItemPlace, reason: str, files: Sequence[str], onto: str) -> events.PlaceMerged:
        mask = self._masker.mask
        return events.PlaceMerged(
            task.id, into=place.into, reason=mask(reason), error=mask(reason), conflicts=tuple(map(mask, files)), onto=onto
        )
