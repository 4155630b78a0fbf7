"""The steps of the plan, each with all that has become of it: of a fan-out all items together, of a loop all rounds.

What the graph and the time line are drawn from; its size is that of the workflow file, however many items there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.plan import Plan, PlannedStep

Document = dict[str, Any]
# Of a step that has come to several things, the first of these is what is said of it.
_WEIGHT = ("failed", "running", "waiting", "cancelled", "ready", "pending", "success", "skipped")


@dataclass(frozen=True)
class Line:
    """One step of the plan. `path` names it with those around it (`each/fix`). `counts`: how many of its tasks are in which state.
    `rounds`: the most that a loop may make. `attempts`: documents, without those of the steps in it."""

    path: str
    name: str
    kind: str
    needs: tuple[str, ...]
    is_finally: bool
    fans_out: bool
    rounds: int | None
    status: str
    counts: Counter[str]
    attempts: list[Document]
    inside: list[Line] = field(default_factory=list)

    @property
    def depth(self) -> int:
        return self.path.count("/")

    def everything(self) -> Iterator[Line]:
        """The line and those of the steps in it."""
        yield self
        for line in self.inside:
            yield from line.everything()

    def all_attempts(self) -> list[Document]:
        """Its attempts with those of the steps in it."""
        return [attempt for line in self.everything() for attempt in line.attempts]


def overview(plan: Plan, steps: Iterable[Document], around: str = "") -> list[Line]:
    """The lines of all steps of a plan. `steps`: documents of these steps, each as often as it was there."""
    found: dict[str, list[Document]] = {step.name: [] for step in plan}
    for document in steps:
        found[document["name"]].append(document)
    return [_line(step, found[step.name], around) for step in plan]


def _line(step: PlannedStep, documents: Sequence[Document], around: str) -> Line:
    tasks = [task for document in documents for task in document["items"] or [document]]
    path = f"{around}{step.name}"
    attempts = [attempt for task in tasks for attempt in task["attempts"]]
    within = [inner for task in tasks for inner in _steps_of_all_rounds(task)]
    inside = overview(step.inner, within, f"{path}/") if step.inner is not None else []
    repeats = step.step.repeat is not None
    if repeats and len(inside) == 1 and inside[0].name == step.name:  # a loop over one step holds that step
        attempts += inside[0].attempts
        inside = inside[0].inside
    counts = Counter(str(task["status"]) for task in tasks)
    return Line(
        path=path,
        name=step.name,
        kind=step.step.result_kind,
        needs=step.needs,
        is_finally=step.phase == "finally",
        fans_out=step.fans_out,
        rounds=step.step.repeat.max if step.step.repeat is not None else None,
        status=_status(Counter(str(document["status"]) for document in documents)),
        counts=counts,
        attempts=attempts,
        inside=inside,
    )


def _steps_of_all_rounds(task: Document) -> Iterator[Document]:
    for steps in task.get("earlier_rounds", ()):
        yield from steps
    yield from task.get("steps", ())


def _status(counts: Counter[str]) -> str:
    return next((status for status in _WEIGHT if counts[status]), "pending")
