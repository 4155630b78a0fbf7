"""The values that a template may see: `args`, `steps`, `previous`, `item` and the others of format.md 4.

Pure: the text of an output above 64 kB is fetched by a function that is handed in, and only when it is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cpool_flow.events import Stored
from cpool_flow.json_value import BadJson, read_json
from cpool_flow.state import State
from cpool_flow.tasks import ENDED, Frame, Product, StepState, Task, seen
from cpool_flow.values import Absent, Lazy, Record, RenderError, wrap

Load = Callable[[Stored], str]
# What never changes within one walk through a workflow file: `args`, `env`, `context`, `run`, wrapped.
Fixed = Callable[[Frame], Mapping[str, object]]


class Scope:
    """Builds scopes for one run. What a step that ended shows is made once and kept."""

    def __init__(self, state: State, load: Load, fixed: Fixed) -> None:
        self._state = state
        self._load = load
        self._fixed = fixed
        self._kept: dict[str, tuple[float | None, Record]] = {}
        self._items: dict[str, tuple[Stored, list[Any]]] = {}
        self._frames: dict[str, tuple[Frame, dict[str, object]]] = {}

    def of_step(self, step: StepState) -> dict[str, object]:
        """What `when`, `foreach` and `matrix` of a step see."""
        scope = {**self._of_frame(step.frame), "steps": _Steps(step.frame, self._record)}
        if len(step.plan.needs) == 1:
            scope["previous"] = self._record(step.frame.steps[step.plan.needs[0]])
        return scope

    def of_item(self, step: StepState, item: Any, index: int) -> dict[str, object]:
        """What `filter` sees of one item."""
        return self.of_step(step) | _item_names(step, item, index)

    def of_task(self, task: Task, number: int = 1, error: str | None = None) -> dict[str, object]:
        """What the texts of one attempt see. `error`: why the attempt before failed."""
        step = self._state.steps[task.step]
        scope = self.of_step(step)
        scope["attempt"] = number
        scope["error"] = error
        if step.plan.fans_out:
            scope |= _item_names(step, self.items(step)[task.position], task.position)
        return scope

    def of_frame(self, frame: Frame) -> dict[str, object]:
        """What `until` of a loop, or `outputs` of a workflow, see: everything in it, from outside of its steps."""
        return {**self._of_frame(frame), "steps": _Steps(frame, self._record)}

    def _of_frame(self, frame: Frame) -> dict[str, object]:
        """What all steps of a frame see, beside `steps`: names of the file, items and rounds around them."""
        kept = self._frames.get(frame.id)
        if kept is not None and kept[0] is frame:
            return kept[1]
        owner = frame.owner
        if owner is None or frame.plan.is_workflow:
            names = dict(self._fixed(frame))
        else:
            around = self._state.steps[owner.step]
            names = dict(self._of_frame(around.frame))
            if around.plan.fans_out:
                names |= _item_names(around, self.items(around)[owner.position], owner.position)
            if around.plan.step.repeat is not None:
                names["iteration"] = frame.number - owner.counted_from
        self._frames[frame.id] = (frame, names)
        return names

    def forget(self, step_id: str) -> None:
        """Let go of what was kept of a step, and of all in it."""
        kept: dict[str, Any]
        for kept in (self._kept, self._items, self._frames):
            for name in [name for name in kept if re.split(r"[/\[#]", name, maxsplit=1)[0] == step_id]:
                del kept[name]

    def item(self, task: Task) -> Any:
        """The item of a task, or of the nearest group around it; None where there is none."""
        around: Task | None = task
        while around is not None:
            step = self._state.steps[around.step]
            if step.plan.fans_out:
                return self.items(step)[around.position]
            around = around.within.owner
        return None

    def items(self, step: StepState) -> list[Any]:
        """The items of a fan-out."""
        if step.items is None:
            return []
        kept = self._items.get(step.id)
        if kept is None or kept[0] is not step.items:
            kept = self._items[step.id] = (step.items, json.loads(self._load(step.items)))
        return kept[1]

    def output_text(self, product: Product) -> str:
        return self._load(product.output) if product.output else ""

    def json_value(self, product: Product) -> Any:
        """The parsed output: what was kept of it, else the text itself if it is JSON. Raises BadJson."""
        return json.loads(self._load(product.value)) if product.value else read_json(self.output_text(product))

    def variables(self, product: Product) -> dict[str, Any]:
        return json.loads(self._load(product.variables)) if product.variables else {}

    # ---- records --------------------------------------------------------------------------------------------

    def _record(self, step: StepState) -> Record:
        kept = self._kept.get(step.id)
        if kept and step.ended and kept[0] == step.ended_at:
            return kept[1]
        record = self._fan_out_record(step) if step.plan.fans_out else self._task_record(step, step.tasks[0] if step.tasks else None)
        if step.ended and not any(task.id in self._state.uncommitted for task in step.tasks):
            self._kept[step.id] = (step.ended_at, record)
        return record

    def _task_record(self, step: StepState, task: Task | None) -> Record:
        fields = _common(step.status, step.error or (task.error if task and step.status != "success" else ""))
        fields |= self._place_fields([task] if task else [])
        fields["duration"] = _duration(step)
        fields |= self._result_fields(step, task) if task else _absent(step, None)
        return Record(fields)

    def _fan_out_record(self, step: StepState) -> Record:
        items = self.items(step)
        fields = _common(step.status, step.error or step.reason if step.status == "failed" else "")
        fields |= self._place_fields(step.tasks)
        fields["duration"] = _duration(step)
        fields["items"] = Lazy(lambda: [self._item_record(step, task, items[task.position]) for task in step.tasks])
        if not step.ended or step.items is None:
            absent = _absent(step, None)
            return Record(fields | (absent if step.ended else {**absent, "items": absent["output"]}))
        fields["output"] = Lazy(lambda: json.dumps(self.outputs(step), ensure_ascii=False))
        fields["json"] = Lazy(lambda: wrap(self.outputs(step)))
        return Record(fields)

    def _item_record(self, step: StepState, task: Task, item: Any) -> Record:
        fields = _common(task.status, task.error if task.status != "success" else "")
        fields |= self._place_fields([task])
        fields |= {"item": wrap(item), "index": task.position, "duration": _task_duration(task)}
        return Record(fields | self._result_fields(step, task))

    def outputs(self, step: StepState) -> list[Any]:
        """The items' outputs in item order: parsed where the step's output is JSON; null where an item left none."""
        return [self._plain_output(step, task) for task in step.tasks]

    def _plain_output(self, step: StepState, task: Task) -> Any:
        result = task.result
        if result is None:
            return None
        return self.json_value(result) if result.value else self.output_text(result)

    def _result_fields(self, step: StepState, task: Task) -> dict[str, object]:
        """Output and variables of a task; of a failed one its last output, where it left any."""
        product = task.product if task.status in ("success", "failed") else None
        if product is None or product.output is None:
            return _absent(step, task)
        fields: dict[str, object] = {
            "output": Lazy(lambda: self.output_text(product)),
            "json": Lazy(lambda: wrap(self._parsed(step, product))),
            "vars": wrap({}),
        }
        if task.status == "success":
            variables = self.variables(product)
            fields["vars"] = wrap(variables)
            fields |= {name: wrap(value) for name, value in variables.items()}
        return fields

    def _parsed(self, step: StepState, product: Product) -> Any:
        try:
            return self.json_value(product)
        except BadJson:
            raise RenderError(f"the output of step `{step.plan.name}` is not JSON: give the step `output: json`") from None

    def _place_fields(self, tasks: list[Task]) -> dict[str, object]:
        attempts = [attempt for task in tasks for attempt in task.all_attempts()]
        costs = [attempt.finished.cost_usd for attempt in attempts if attempt.finished and attempt.started.agent]
        known = [cost for cost in costs if cost is not None]
        alone = tasks[0] if len(tasks) == 1 else None
        places = {self._state.place_of(task) for task in tasks}
        return {
            "branch": self._state.branch_at(places.pop() if len(places) == 1 else ""),
            "commit": alone.commit if alone else None,
            "changed_files": self._changed_files(alone) if alone else None,
            "cost_usd": sum(known) if len(known) == len(costs) else None,
        }

    def _changed_files(self, task: Task) -> list[str] | None:
        """None where it is not known: outside of a place that is committed, of steps that ran at once, before the commit."""
        if task.changed_files is not None:
            return list(task.changed_files)
        versioned = self._state.place is not None and self._state.place.branch is not None
        to_be_committed = task.id in self._state.uncommitted and self._state.works_in(self._state.place_of(task))
        return [] if versioned and task.commit is None and task.status in ENDED and not to_be_committed else None


class _Steps(Record):
    """`steps` as it is seen in a frame: its own, then those around it as far as the file goes; each as it is now.

    In a loop a step that has not ended in this round is shown as the round before left it.
    """

    __slots__ = ("_frame", "_read")

    def __init__(self, frame: Frame, read: Callable[[StepState], Record]) -> None:
        super().__init__({})
        self._frame = frame
        self._read = read

    def __getitem__(self, name: str) -> Record:
        step = seen(self._frame, name)
        if step is None:
            raise KeyError(name)
        return self._read(step)

    def __iter__(self) -> Iterator[str]:
        return iter(_names(self._frame))

    def __len__(self) -> int:
        return len(_names(self._frame))

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and seen(self._frame, name) is not None


def _names(frame: Frame) -> dict[str, None]:
    around = {} if frame.owner is None or frame.plan.is_workflow else _names(frame.owner.within)
    return around | dict.fromkeys(frame.steps)


def _item_names(step: StepState, item: Any, index: int) -> dict[str, object]:
    name = "matrix" if step.plan.step.matrix is not None else step.plan.step.as_ or "item"
    return {name: wrap(item), "index": index}


def _common(status: str, error: str) -> dict[str, object]:
    return {"status": status, "error": error or None}


def _absent(step: StepState, task: Task | None) -> dict[str, object]:
    """The fields of a step that left no output, each with the reason."""
    status = task.status if task else step.status
    reason = f"step `{step.plan.name}` {'was ' if status in ('skipped', 'cancelled') else 'is ' if status not in ENDED else ''}{status}"
    names = ("output", "json", "vars", *(step.plan.step.output_vars or ()))
    return {name: Absent(reason) for name in names}


def _task_duration(task: Task) -> float | None:
    """Seconds from the start of its first attempt, or of one within it, to the end of the last."""
    attempts = list(task.all_attempts())
    ended = [attempt.ended_at for attempt in attempts if attempt.ended_at is not None]
    return max(ended) - min(attempt.started_at for attempt in attempts) if task.ended and ended else None


def _duration(step: StepState) -> float | None:
    """Seconds from the first attempt's start to the end."""
    if step.started_at is None or step.ended_at is None:
        return None
    return step.ended_at - step.started_at
