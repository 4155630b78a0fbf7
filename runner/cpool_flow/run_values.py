"""What the templates of one run come to: `when` and `foreach` of its steps, the scope of each attempt, its outputs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cpool_flow import events, plan, template
from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.executor.context import RunContext
from cpool_flow.scope import Scope
from cpool_flow.state import SKIPPED_BY_WHEN, State
from cpool_flow.values import Record, RenderError, truth, unwrap, wrap


class RunValues:
    """Asked by the engine. Masks what it hands on to the journal."""

    def __init__(self, state: State, context: RunContext) -> None:
        self._state = state
        self._context = context
        self._scope = Scope(state, context.folder.load, fixed_values(context, state))

    def open_step(self, step: str) -> events.StepOpened | events.StepClosed:
        """Ask `when`, then `foreach`, of a step whose needs are met. A failure closes the step."""
        planned = self._state.steps[step].plan
        try:
            if any(task.settled for task in self._state.steps[step].tasks):
                return self._opened_again(step)
            scope = self._scope.of_step(planned) if not planned.is_plain else {}
            if not self._holds(planned.step.when, scope):
                return events.StepClosed(step, "skipped", SKIPPED_BY_WHEN)
            if planned.fans_out:
                return self._fanned_out(planned, scope)
            return events.StepOpened(step)
        except (RenderError, InvalidInput, OperationFailed) as error:
            text = self._context.masker.mask(str(error))
            return events.StepClosed(step, "failed", f"invalid: {text}", error=text)

    def scope(self, task: str, number: int) -> dict[str, object]:
        """What the texts of attempt `number` of a task see."""
        found = self._state.tasks[task]
        before = found.attempts[-2].finished if len(found.attempts) > 1 else None
        error = before.error if before and before.error_kind else _last_error(found.attempts[:-1])
        return self._scope.of_task(self._state.steps[found.step].plan, found, number, error)

    def outputs(self) -> tuple[dict[str, Any], str]:
        """The outputs of the workflow. Those that cannot be had are left out, and named in the text that is returned with them."""
        values: dict[str, Any] = {}
        problems = []
        for name, value in self._context.workflow.outputs.items():
            try:
                values |= self._context.values({name: value}, self._scope.of_run())
            except (RenderError, OperationFailed) as error:
                problems.append(f"output `{name}`: {self._context.masker.mask(str(error))}")
        return {name: self._context.masker.mask_value(unwrap(value)) for name, value in values.items()}, "; ".join(problems)

    def _holds(self, when: str | bool | None, scope: Mapping[str, object]) -> bool:
        if when is None or isinstance(when, bool):
            return when is not False
        return truth(template.parse_expression(when).evaluate(scope, self._context))

    def _fanned_out(self, planned: plan.PlannedStep, scope: Mapping[str, object]) -> events.StepOpened:
        foreach = planned.step.foreach
        if isinstance(foreach, str):
            found = template.parse_expression(foreach).evaluate(scope, self._context)
        else:
            found = self._context.values({"items": list(foreach or ())}, scope)["items"]
        items = plan.fan_out_items(unwrap(found), planned)
        text = json.dumps(self._context.masker.mask_value([unwrap(item) for item in items]), ensure_ascii=False)
        return events.StepOpened(planned.name, self._context.folder.keep(text, f"{planned.name}.items.json"), len(items))

    def _opened_again(self, step: str) -> events.StepOpened:
        """A resume of a fan-out of which some items had succeeded: the items stay what they were."""
        found = self._state.steps[step]
        return events.StepOpened(step, found.items, len(found.tasks))


def fixed_values(context: RunContext, state: State | None) -> dict[str, object]:
    """What never changes during a run: `args`, `env`, `context`, `run`."""
    place = state.place if state else None
    run = {
        "id": context.folder.run_id,
        "dir": str(context.folder.path),
        "branch": place.branch if place else None,
        "base": place.base if place else None,
        "workflow": context.inputs.name,
    }
    return {
        "args": wrap(dict(context.inputs.args)),
        "env": Record(dict(context.env)),
        "context": wrap(dict(context.context)),
        "run": Record(run),
    }


def _last_error(attempts: list[Any]) -> str | None:
    """Why the last attempt that failed did so: a recovery in between that went well has no error of its own."""
    for attempt in reversed(attempts):
        if attempt.finished and attempt.finished.error_kind:
            return str(attempt.finished.error)
    return None
