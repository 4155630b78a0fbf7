"""When the place of an item may begin, when what was done there is merged, and when it is left.

Pure. A place begins with what is committed in the one that it comes from, and goes back there in the order of the items.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpool_flow.halting import halted
from cpool_flow.state import State
from cpool_flow.tasks import StepState, Task


def waits_for_commit(state: State, place: str) -> bool:
    """Whether a place that is yet to be made has to wait: it begins with what is committed in the one that it comes from, and there
    somebody works who has left something uncommitted."""
    while place:
        item = state.tasks[place]
        if item.place is not None and item.place.closed is None:
            return False
        place = item.within.place
        if place in state.uncommitted.values() and state.works_in(place):
            return True
    return False


def mergeable(state: State) -> Iterator[Task]:
    """What may be merged now: one item at a time into each place, those of a step in their order."""
    begun = set()
    for task in state.merging.values():
        step, into = state.steps[task.step], task.within.place
        earlier = step.tasks[: task.position] if step.plan.fans_out else ()
        if into not in begun and halted(state, step, running=True) is None and all(each.ended for each in earlier):
            begun.add(into)
            yield task


def still_merges(state: State, step: StepState) -> bool:
    """Whether work that is done is yet to be merged: that goes on where a budget is used up."""
    return bool(state.merging) and halted(state, step, running=True) is None and any(task.id in state.merging for task in step.tasks)


def abandoned(state: State) -> Iterator[Task]:
    """The items that have ended, and whose places are still there."""
    return (task for task in state.item_places.values() if task.ended)
