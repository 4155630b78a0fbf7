"""How far a piece of work is at one moment: counted from the state of the pool's run, or from its result; never kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.pool.result import TaskResult
from cpool_flow.tasks import ENDED, StepState


@dataclass(frozen=True)
class TaskProgress:
    """`status` is that of the task, `steps` those of the steps inside of a chain or workflow, by name and in order (empty before it begins,
    and for a single prompt). `said`: what an agent of it has said last; empty when it has ended."""

    status: str
    steps: Mapping[str, str] = field(default_factory=dict)
    said: str = ""

    @property
    def running(self) -> tuple[str, ...]:
        """The steps that are being worked on."""
        return tuple(name for name, status in self.steps.items() if status == "running")

    @property
    def ended_steps(self) -> int:
        return sum(status in ENDED for status in self.steps.values())

    @property
    def total_steps(self) -> int:
        return len(self.steps)

    def to_dict(self) -> dict[str, Any]:
        """The progress as plain data that JSON can hold."""
        return {"status": self.status, "steps": dict(self.steps), "said": self.said}


def progress_of_step(step: StepState, said: str) -> TaskProgress:
    """Of a step of the pool that has not ended."""
    frame = next((task.frame for task in step.tasks if task.frame is not None), None)
    steps = {each.plan.name: each.status for each in frame.steps.values()} if frame is not None else {}
    return TaskProgress(step.status, steps, said)


def progress_of_result(result: TaskResult) -> TaskProgress:
    """Of one that has ended."""
    return TaskProgress(result.status, {name: step.status for name, step in result.steps.items()})
