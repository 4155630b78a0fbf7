"""The steps of the plan, each with all that has become of it: of a fan-out all items together, of a loop all rounds.

What the graph and the time line are drawn from; its size is that of the workflow file, however many items there were.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.plan import Plan, PlannedStep

Document = dict[str, Any]
# Of a step that has come to several things, the first of these is what is said of it.
_WEIGHT = ("failed", "running", "waiting", "cancelled", "ready", "pending", "success", "skipped")


@dataclass(frozen=True, slots=True)
class Line:
    """One step of the plan. `path` names it with those around it (`each/fix`). `documents`: of the step, each time that it was there;
    `tasks`: of all its items. `attempts`: documents, without those of the steps in it. What is said of it is only made of the few lines
    that are shown."""

    path: str
    step: PlannedStep
    documents: Sequence[Document]
    tasks: Sequence[Document]
    attempts: list[Document]
    inside: list[Line]

    @property
    def name(self) -> str:
        return self.step.name

    @property
    def kind(self) -> str:
        return self.step.step.result_kind

    @property
    def needs(self) -> tuple[str, ...]:
        return self.step.needs

    @property
    def is_finally(self) -> bool:
        return self.step.phase == "finally"

    @property
    def fans_out(self) -> bool:
        return self.step.fans_out

    @property
    def rounds(self) -> int | None:
        """The most that a loop may make."""
        return self.step.step.repeat.max if self.step.step.repeat is not None else None

    @property
    def status(self) -> str:
        found = {document["status"] for document in self.documents}
        return next((status for status in _WEIGHT if status in found), "pending")

    @property
    def counts(self) -> Counter[str]:
        """How many of its tasks are in which state."""
        return Counter(str(task["status"]) for task in self.tasks)

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
    if step.inner is None:
        return Line(path, step, documents, tasks, attempts, [])
    inside = overview(step.inner, [inner for task in tasks for inner in _steps_of_all_rounds(task)], f"{path}/")
    if step.step.repeat is not None and len(inside) == 1 and inside[0].name == step.name:  # a loop over one step holds that step
        attempts += inside[0].attempts
        inside = inside[0].inside
    return Line(path, step, documents, tasks, attempts, inside)


def _steps_of_all_rounds(task: Document) -> Iterator[Document]:
    for steps in task.get("earlier_rounds", ()):
        yield from steps
    yield from task.get("steps", ())
