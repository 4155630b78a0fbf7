"""What came of a piece of work, read from the state of the pool's run. Computes nothing that the journal does not say."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import FlowError
from cpool_flow.events import Stored
from cpool_flow.state import State
from cpool_flow.tasks import Product, StepState, Task

Load = Callable[[Stored], str]


@dataclass(frozen=True)
class TaskResult:
    """How a task has ended: `status` is `success`, `failed`, `cancelled` or `skipped`. `error_kind` is the kind of failure of its last
    attempt (`timeout`, `permission_denied`, `budget`, …) and `reason` one line about it. `json` is the parsed output where it was asked
    for. `cost_usd` (US dollars) is None where the cost of any attempt is unknown, `cost_at_least_usd` what is known. Times are seconds
    since the epoch. `branch`: where what it has done is: the pool's, or its own until that is merged. `steps`: those of a chain or workflow, by name; of a step with several items, those of it too, as `NAME[0]`."""

    id: str
    status: str
    text: str = ""
    json: Any = None
    vars: Mapping[str, Any] = field(default_factory=dict)
    error_kind: str | None = None
    reason: str = ""
    error: str = ""
    cost_usd: float | None = None
    cost_at_least_usd: float = 0.0
    turns: int | None = None
    session_id: str | None = None
    model: str | None = None
    agent: str | None = None
    slot: str | None = None
    attempts: int = 0
    denied_tools: tuple[str, ...] = ()
    started_at: float | None = None
    ended_at: float | None = None
    tags: tuple[str, ...] = ()
    steps: Mapping[str, TaskResult] = field(default_factory=dict)
    branch: str | None = None

    @property
    def ok(self) -> bool:
        """Whether the task has succeeded."""
        return self.status == "success"

    def check(self) -> TaskResult:
        """The result itself. Raises TaskFailed where the task did not succeed."""
        if not self.ok:
            raise TaskFailed(self)
        return self

    def to_dict(self) -> dict[str, Any]:
        """The result as plain data that JSON can hold."""
        data = dict(vars(self))
        data["vars"] = dict(self.vars)
        data["denied_tools"], data["tags"] = list(self.denied_tools), list(self.tags)
        data["steps"] = {name: step.to_dict() for name, step in self.steps.items()}
        return data


class TaskFailed(FlowError):
    """A task did not succeed, and its result was asked to say so by an error. `result` is what is known of it."""

    def __init__(self, result: TaskResult) -> None:
        super().__init__(f"task `{result.id}` {result.status}: {result.reason or result.error_kind or 'no reason is known'}")
        self.result = result


def result_of_step(step: StepState, state: State, load: Load, tags: tuple[str, ...] = ()) -> TaskResult:
    """The result of a step that has ended."""
    if len(step.tasks) == 1 and not step.plan.fans_out:
        return _result(step, step.tasks[0], state, load, tags)
    found = [_result(step, task, state, load, ()) for task in step.tasks]
    known = [each.cost_usd for each in found]
    return TaskResult(
        id=step.id,
        status=step.status,
        reason=step.reason,
        error=step.error,
        error_kind=next((each.error_kind for each in found if each.error_kind), "invalid" if step.error else None),
        json=[each.json if each.json is not None else each.text for each in found if each.ok] if step.plan.fans_out else None,
        cost_usd=sum(cost for cost in known if cost is not None) if None not in known else None,
        cost_at_least_usd=sum(each.cost_at_least_usd for each in found),
        attempts=sum(each.attempts for each in found),
        denied_tools=tuple(dict.fromkeys(tool for each in found for tool in each.denied_tools)),
        started_at=step.started_at,
        ended_at=step.ended_at,
        tags=tags,
        steps={each.id.rpartition("/")[2]: each for each in found},
    )


def _result(step: StepState, task: Task, state: State, load: Load, tags: tuple[str, ...]) -> TaskResult:
    attempts = list(task.all_attempts())
    ended = [attempt.finished for attempt in attempts if attempt.finished is not None]
    costs = [attempt.finished.cost_usd for attempt in attempts if attempt.started.agent is not None and attempt.finished is not None]
    own = task.last
    last = own or (attempts[-1] if attempts else None)
    inside = _inside(task, state, load)
    if step.plan.inner is not None and step.plan.inner.is_workflow and not step.plan.inner.workflow.outputs:
        shown = next(reversed([each for name, each in inside.items() if step.plan.inner[name].phase == "main"]), None)
    else:
        shown = None
    kind = None if task.status == "success" else _kind(task, inside)
    return TaskResult(
        id=task.id,
        status=task.status,
        text=shown.text if shown is not None else _text(task.product, load),
        json=shown.json if shown is not None else _json(task.product, load),
        vars=shown.vars if shown is not None else _vars(task.product, load),
        error_kind=kind,
        reason="" if task.status == "success" else task.reason or step.reason,
        error="" if task.status == "success" else task.error or step.error,
        cost_usd=sum(cost for cost in costs if cost is not None) if None not in costs else None,
        cost_at_least_usd=sum((each.cost_usd if each.cost_usd is not None else each.cost_at_least_usd) or 0.0 for each in ended),
        turns=sum(each.turns for each in ended if each.turns is not None) if any(each.turns is not None for each in ended) else None,
        session_id=last.finished.session_id if last and last.finished else None,
        model=last.finished.model if last and last.finished else None,
        agent=last.started.agent if last else None,
        slot=last.started.slot if last else None,
        attempts=len(task.attempts),
        denied_tools=tuple(dict.fromkeys(tool for each in ended for tool in each.denied)),
        started_at=step.started_at,
        ended_at=step.ended_at,
        tags=tags,
        steps=inside,
        branch=state.branch_at(state.place_of(task)),
    )


def _kind(task: Task, inside: Mapping[str, TaskResult]) -> str:
    """The kind of a failure: what the last attempt was; of what holds steps that of the first that failed."""
    if task.status == "cancelled":
        return "budget" if "budget" in task.reason else "cancelled"
    if task.place is not None and task.place.unmerged is not None:
        return "failed"
    last = task.last
    if last is not None and last.finished is not None and last.finished.error_kind:
        return last.finished.error_kind
    return next((each.error_kind for each in inside.values() if each.status == "failed" and each.error_kind), "invalid")


def _inside(task: Task, state: State, load: Load) -> dict[str, TaskResult]:
    frame = task.frame
    return {step.plan.name: result_of_step(step, state, load) for step in frame.steps.values()} if frame is not None else {}


def _text(product: Product | None, load: Load) -> str:
    return load(product.output) if product is not None and product.output is not None else ""


def _json(product: Product | None, load: Load) -> Any:
    return json.loads(load(product.value)) if product is not None and product.value is not None else None


def _vars(product: Product | None, load: Load) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(load(product.variables)) if product is not None and product.variables is not None else {}
    return found


def never_run(state: State, step: StepState, tags: tuple[str, ...]) -> TaskResult:
    """The result of a step that ended before any task of it was made: cancelled while it waited, or out of money."""
    budget = state.stopping is not None and state.stopping.cause == "budget"
    kind = "budget" if budget else "cancelled" if step.status == "cancelled" else "invalid"
    return TaskResult(
        step.id, step.status, reason=step.reason, error=step.error, error_kind=kind, cost_usd=0.0, ended_at=step.ended_at, tags=tags
    )
