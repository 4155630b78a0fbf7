"""The values that a template may see: `args`, `steps`, `previous`, `item` and the others of format.md 4.

Pure: the text of an output above 64 kB is fetched by a function that is handed in, and only when it is read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpool_flow.events import AttemptFinished, Stored
from cpool_flow.json_value import BadJson, read_json
from cpool_flow.plan import PlannedStep
from cpool_flow.state import ENDED, State, StepState, Task
from cpool_flow.values import Absent, Lazy, Record, RenderError, wrap

Load = Callable[[Stored], str]


class Scope:
    """Builds scopes for one run. What a step that ended shows is made once and kept."""

    def __init__(self, state: State, load: Load, fixed: Mapping[str, object]) -> None:
        """`fixed`: what never changes during the run (`args`, `env`, `context`, `run`), wrapped."""
        self._state = state
        self._load = load
        self._fixed = dict(fixed)
        self._kept: dict[str, tuple[float | None, Record]] = {}
        self._items: dict[str, tuple[Stored, list[Any]]] = {}
        self._steps = _Steps(state, self._step)

    def of_step(self, plan: PlannedStep) -> dict[str, object]:
        """What `when` and `foreach` of a step see."""
        scope = {**self._fixed, "steps": self._steps}
        if len(plan.needs) == 1:
            scope["previous"] = self._step(plan.needs[0])
        return scope

    def of_task(self, plan: PlannedStep, task: Task, number: int, error: str | None) -> dict[str, object]:
        """What the texts of one attempt see. `error`: why the attempt before failed."""
        scope = self.of_step(plan)
        scope["attempt"] = number
        scope["error"] = error
        if plan.fans_out:
            scope["index"] = task.position
            scope[plan.step.as_ or "item"] = wrap(self.items(self._state.steps[plan.name])[task.position])
        return scope

    def of_run(self) -> dict[str, object]:
        """What `outputs` of the workflow see."""
        return {**self._fixed, "steps": self._steps}

    def items(self, step: StepState) -> list[Any]:
        """The items of a fan-out."""
        if step.items is None:
            return []
        kept = self._items.get(step.plan.name)
        if kept is None or kept[0] is not step.items:
            kept = self._items[step.plan.name] = (step.items, json.loads(self._load(step.items)))
        return kept[1]

    def output_text(self, finished: AttemptFinished) -> str:
        return self._load(finished.output) if finished.output else ""

    def json_value(self, finished: AttemptFinished) -> Any:
        """The parsed output: what was kept of it, else the text itself if it is JSON. Raises BadJson."""
        return json.loads(self._load(finished.value)) if finished.value else read_json(self.output_text(finished))

    def variables(self, finished: AttemptFinished) -> dict[str, Any]:
        return json.loads(self._load(finished.variables)) if finished.variables else {}

    # ---- records --------------------------------------------------------------------------------------------

    def _step(self, name: str) -> Record:
        step = self._state.steps[name]
        kept = self._kept.get(name)
        if kept and step.ended and kept[0] == step.ended_at:
            return kept[1]
        record = self._fan_out_record(step) if step.plan.fans_out else self._task_record(step, step.tasks[0] if step.tasks else None)
        if step.ended and not any(task.id in self._state.uncommitted for task in step.tasks):
            self._kept[name] = (step.ended_at, record)
        return record

    def _task_record(self, step: StepState, task: Task | None) -> Record:
        fields = _common(step.status, step.error or (task.error if task and step.status != "success" else ""))
        fields |= self._place_fields([task] if task else [])
        fields["duration"] = _duration(step)
        fields |= self._result_fields(step, task) if task else _absent(step, None)
        return Record(fields)

    def _fan_out_record(self, step: StepState) -> Record:
        items = self.items(step)
        records = Lazy(lambda: [self._item_record(step, task, items[task.position]) for task in step.tasks])
        fields = _common(step.status, step.error or step.reason if step.status == "failed" else "")
        fields |= self._place_fields(step.tasks)
        fields |= {
            "items": records,
            "output": Lazy(lambda: json.dumps(self._outputs(step), ensure_ascii=False)),
            "json": Lazy(lambda: wrap(self._outputs(step))),
            "duration": _duration(step),
        }
        return Record(fields)

    def _item_record(self, step: StepState, task: Task, item: Any) -> Record:
        status = task.status if task.status in ENDED else "pending"
        fields = _common(status, task.error if status != "success" else "")
        fields |= self._place_fields([task])
        fields |= {"item": wrap(item), "index": task.position}
        return Record(fields | self._result_fields(step, task))

    def _outputs(self, step: StepState) -> list[Any]:
        """The items' outputs in item order: parsed where the step's output is JSON; null where an item left none."""
        return [self._plain_output(step, task) for task in step.tasks]

    def _plain_output(self, step: StepState, task: Task) -> Any:
        result = task.result
        if result is None:
            return None
        return self.json_value(result) if result.value else self.output_text(result)

    def _result_fields(self, step: StepState, task: Task) -> dict[str, object]:
        """Output and variables of a task; of a failed one its last output, where it left any."""
        finished = task.attempts[-1].finished if task.attempts and task.status in ("success", "failed") else None
        if finished is None or finished.output is None:
            return _absent(step, task)
        fields: dict[str, object] = {
            "output": Lazy(lambda: self.output_text(finished)),
            "json": Lazy(lambda: wrap(self._parsed(step, finished))),
            "vars": wrap({}),
        }
        if finished.error_kind is None:
            variables = self.variables(finished)
            fields["vars"] = wrap(variables)
            fields |= {name: wrap(value) for name, value in variables.items()}
        return fields

    def _parsed(self, step: StepState, finished: AttemptFinished) -> Any:
        try:
            return self.json_value(finished)
        except BadJson:
            raise RenderError(f"the output of step `{step.plan.name}` is not JSON: give the step `output: json`") from None

    def _place_fields(self, tasks: list[Task]) -> dict[str, object]:
        costs = [attempt.finished.cost_usd for task in tasks for attempt in task.attempts if attempt.finished and attempt.started.agent]
        known = [cost for cost in costs if cost is not None]
        alone = tasks[0] if len(tasks) == 1 else None
        return {
            "branch": self._state.place.branch if self._state.place else None,
            "commit": alone.commit if alone else None,
            "changed_files": self._changed_files(alone) if alone else None,
            "cost_usd": sum(known) if len(known) == len(costs) else None,
        }

    def _changed_files(self, task: Task) -> list[str] | None:
        """None where it is not known: outside of a place that is committed, of steps that ran at once, before the commit."""
        if task.changed_files is not None:
            return list(task.changed_files)
        versioned = self._state.place is not None and self._state.place.branch is not None
        to_be_committed = task.id in self._state.uncommitted and bool(self._state.running)
        return [] if versioned and task.commit is None and task.status in ENDED and not to_be_committed else None


class _Steps(Record):
    """`steps`: each name as it is now, for a step that still runs may be asked again later."""

    __slots__ = ("_read", "_state")

    def __init__(self, state: State, read: Callable[[str], Record]) -> None:
        super().__init__({})
        self._state = state
        self._read = read

    def __getitem__(self, name: str) -> Record:
        if name not in self._state.steps:
            raise KeyError(name)
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._state.steps)

    def __len__(self) -> int:
        return len(self._state.steps)

    def __contains__(self, name: object) -> bool:
        return name in self._state.steps


def _common(status: str, error: str) -> dict[str, object]:
    return {"status": status if status in ENDED else "pending", "error": error or None}


def _absent(step: StepState, task: Task | None) -> dict[str, object]:
    """The fields of a step that left no output, each with the reason."""
    status = task.status if task else step.status
    reason = f"step `{step.plan.name}` {'was ' if status in ('skipped', 'cancelled') else 'is ' if status not in ENDED else ''}{status}"
    names = ("output", "json", "vars", *(step.plan.step.output_vars or ()))
    return {name: Absent(reason) for name in names}


def _duration(step: StepState) -> float | None:
    """Seconds from the first attempt's start to the end."""
    if step.started_at is None or step.ended_at is None:
        return None
    return step.ended_at - step.started_at
