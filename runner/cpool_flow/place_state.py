"""What is true of the places of a run: its own, and those of items that have one. A part of its state.

Knows their branches, what is committed, merged and closed there; not when it is time for any of it (`item_places.py`).
"""

from __future__ import annotations

from cpool_flow import events
from cpool_flow.bookkeeping import Bookkeeping
from cpool_flow.plan import Plan
from cpool_flow.tasks import ItemPlace, Task


class PlaceState(Bookkeeping):
    """`place`: the run's own, `setup` what that came to there, `place_closed` what is left of it. `tip`: the newest commit on the run's
    branch that the journal knows."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.place: events.PlaceOpened | None = None
        self.place_closed: events.PlaceClosed | None = None
        self.tip: str | None = None
        self.setup: events.SetupFinished | None = None

    def branch_at(self, place: str = "") -> str | None:
        """The branch that has what is done in a place: of an item until it is merged, then that of the place that it came from; None where
        there is none, or none any more."""
        item = self.tasks[place].place if place else None
        if item is not None and item.merged is None:
            return item.opened.branch if item.closed is None else item.closed.branch
        if item is not None:
            return self.branch_at(item.into)
        if self.place_closed is not None:
            return self.place_closed.branch
        return self.place.branch if self.place else None

    def take_place_opened(self, event: events.PlaceOpened, at: float) -> None:
        if event.task:
            task = self.tasks[event.task]
            task.place = _opened(event, task)
            self.item_places[task.id] = task
            return
        kept = self.place_closed is not None and self.place_closed.directory is not None
        done = kept and self.setup is not None and not self.setup.error  # once in each place
        self.place, self.place_closed, self.setup = event, None, self.setup if done else None

    def take_setup_finished(self, event: events.SetupFinished, at: float) -> None:
        if event.task:
            self._item_place(event.task).set_up = event
        else:
            self.setup = event

    def take_place_committed(self, event: events.PlaceCommitted, at: float) -> None:
        for task_id in event.tasks:
            self.uncommitted.pop(task_id, None)
            task = self.tasks[task_id]
            task.changed_files = _all_changed(task, event.changed_files)
            task.commit = event.commit
        if not event.task:
            self.tip = event.commit

    def take_place_merged(self, event: events.PlaceMerged, at: float) -> None:
        task, place = self.tasks[event.task], self._item_place(event.task)
        self.merging.pop(task.id, None)
        if event.commit is not None:
            place.merged, place.mended, place.unmerged, task.failure = event, place.unmerged or place.mended, None, ""
            self.tip = self.tip if event.into else event.commit
            self._end_task(task, "success", task.reason, at)
        else:
            place.unmerged, task.failure = event, event.error or event.reason
            self.unmerged[task.id] = task

    def take_place_closed(self, event: events.PlaceClosed, at: float) -> None:
        if event.task:
            self._item_place(event.task).closed = event
            del self.item_places[event.task]
            self.uncommitted = {task: place for task, place in self.uncommitted.items() if place != event.task}
        else:
            self.place_closed = event
            self.tip = event.commit or self.tip

    def _item_place(self, task: str) -> ItemPlace:
        place = self.tasks[task].place
        assert place is not None, "BUG: an item has no place before it was opened"
        return place


def _opened(event: events.PlaceOpened, task: Task) -> ItemPlace:
    """The place of an item; one that it had before is gone on with."""
    before, into = task.place, task.within.place
    if before is None:
        return ItemPlace(event, into)
    kept = before.closed is not None and before.closed.directory is not None  # it is set up once in each
    return ItemPlace(event, into, before.done, before.set_up if kept else None, before.unmerged)


def _all_changed(task: Task, files: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The files that all attempts of a task have changed; None where one of them was not alone in the place."""
    unknown = files is None or (task.commit is not None and task.changed_files is None)
    return None if unknown else tuple(sorted({*(task.changed_files or ()), *(files or ())}))
