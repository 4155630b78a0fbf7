"""The steps of a run as rows of a tree, and which of them are shown where the screen is too small for all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from cpool_flow.dataclass import dataclass
from cpool_flow.state import State
from cpool_flow.tasks import StepState, Task

# Items in these states say nothing that the count of their step does not say.
_COUNTED = frozenset({"success", "ready", "pending"})


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One step, or one item of a fan-out (`task`; also that of a step without items). `parent`: the number of the row above it in
    the tree."""

    name: str
    depth: int
    parent: int | None
    status: str
    step: StepState
    task: Task | None


@dataclass(frozen=True, slots=True)
class Fitting:
    """The rows that are shown, and of the others how many there are in which state."""

    rows: tuple[Row, ...]
    hidden: Counter[str]


def rows(state: State) -> list[Row]:
    """All rows in the order of the tree: of a fan-out the items that are neither done nor waiting for their turn."""
    found: list[Row] = []
    _add(found, state.root.steps.values(), 0, None)
    return found


def fitting(found: Sequence[Row], room: int) -> Fitting:
    """The most important rows, each below those it belongs to, in at most `room` lines. One of them counts the rest, if there is any:
    what runs first, then what failed, then what ended last."""
    if len(found) <= room:
        return Fitting(tuple(found), Counter())
    room = max(room - 1, 0)
    chosen: set[int] = set()
    for number in nsmallest(room, range(len(found)), key=lambda each: (*_rank(found[each]), each)):
        branch = [each for each in _up(found, number) if each not in chosen]
        if len(chosen) + len(branch) <= room:
            chosen.update(branch)
    hidden = Counter(row.status for number, row in enumerate(found) if number not in chosen)
    return Fitting(tuple(found[number] for number in sorted(chosen)), hidden)


def _add(found: list[Row], steps: Iterable[StepState], depth: int, parent: int | None) -> None:
    for step in steps:
        number = len(found)
        alone = None if step.plan.fans_out or not step.tasks else step.tasks[0]
        found.append(Row(step.plan.name, depth, parent, step.status, step, alone))
        if alone is not None and alone.frame is not None:
            _add(found, alone.frame.steps.values(), depth + 1, number)
        elif alone is None:
            _add_items(found, step, depth + 1, number)


def _add_items(found: list[Row], step: StepState, depth: int, parent: int) -> None:
    for task in step.tasks:
        if task.status in _COUNTED:
            continue
        number = len(found)
        found.append(Row(f"{step.plan.name}[{task.position}]", depth, parent, task.status, step, task))
        if task.frame is not None:
            _add(found, task.frame.steps.values(), depth + 1, number)


def _rank(row: Row) -> tuple[int, float]:
    """The smaller, the more important."""
    if row.status == "running" or (row.task is not None and row.status == "waiting" and _asks(row.task)):
        return (0, 0.0)
    if row.status in ("failed", "waiting"):
        return (1, 0.0)
    ended_at = row.step.ended_at
    return (2, -ended_at) if ended_at is not None else (3, 0.0)


def _asks(task: Task) -> bool:
    return task.asked is not None


def _up(found: Sequence[Row], number: int | None) -> Iterable[int]:
    while number is not None:
        yield number
        number = found[number].parent
