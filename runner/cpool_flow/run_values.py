"""What the templates of one run come to: `when` and items of its steps, the scope of each attempt, what a round has come to, outputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from cpool_flow import approval, arguments, events, fan_out, template
from cpool_flow.after_failure import NO_PROGRESS
from cpool_flow.errors import InvalidInput, InvalidValue, OperationFailed
from cpool_flow.executor.context import RunContext, declared_values
from cpool_flow.outputs import BadOutput
from cpool_flow.plan import PlannedStep
from cpool_flow.run_folder import file_name
from cpool_flow.scope import Scope
from cpool_flow.state import State
from cpool_flow.tasks import SKIPPED_BY_WHEN, Frame, StepState, Task, outcome_of
from cpool_flow.values import Record, RenderError, truth, unwrap, wrap

# What a template may meet at run time that fails the step it stands in.
_FAILURES = (RenderError, InvalidInput, OperationFailed)


class RunValues:
    """Asked by the engine. Masks what it hands on to the journal."""

    def __init__(self, state: State, context: RunContext) -> None:
        self._state = state
        self._context = context
        self._scope = Scope(state, context.folder.load, self._fixed)

    def open_step(self, step_id: str) -> list[events.Event]:
        """Ask `when`, then the items, of a step whose needs are met. A failure closes the step."""
        step = self._state.steps[step_id]
        try:
            if any(task.settled for task in step.tasks):
                return [events.StepOpened(step_id, step.items, len(step.tasks))]  # what has succeeded keeps its item
            scope = self._scope.of_step(step) if not step.plan.is_plain else {}
            if not self._holds(step.plan.step.when, scope):
                return [events.StepClosed(step_id, "skipped", SKIPPED_BY_WHEN)]
            return self._fanned_out(step, scope) if step.plan.fans_out else [events.StepOpened(step_id)]
        except _FAILURES as error:
            text = self._told(error, step.plan)
            return [events.StepClosed(step_id, "failed", f"invalid: {text}", error=text)]

    def begin(self, task_id: str) -> events.Event:
        """Begin a task that executes nothing itself: a round of its steps, a question, the end."""
        task = self._state.tasks[task_id]
        step = self._state.steps[task.step].plan
        try:
            if step.inner is not None:
                return events.RoundStarted(task_id, len(task.rounds) + 1, self._arguments(task, step))
            scope = self._scope.of_task(task)
            if step.step.approve is not None:
                text = self._context.masker.mask(self._context.text(step.step.approve, scope))
                return events.ApprovalRequested(task_id, self._context.folder.keep(text, f"{file_name(task.id)}.question.txt"))
            reason = self._context.masker.mask(self._context.text(step.step.reason or "", scope))
            return events.EndReached(task_id, step.step.end or "success", reason or f"ended by step `{task_id}`")
        except _FAILURES as error:
            text = self._told(error, step)
            return events.TaskClosed(task_id, "failed", f"invalid: {text}", error=text)

    def answer(self, task_id: str, said: Mapping[str, str]) -> events.ApprovalAnswered | None:
        """What a person said: `reject`, `answer`, `reason`, `by`. None where the task asks nobody, or not for such an answer."""
        task = self._state.approvals.get(task_id)
        if task is None:
            return None
        mask, keep = self._context.masker.mask, self._context.folder.keep
        reason, by = mask(said.get("reason", "")), said.get("by", "")
        if said.get("reject"):
            return events.ApprovalAnswered(task_id, False, reason=reason, by=by)
        try:
            step = self._state.steps[task.step].plan
            read = approval.read_answer(said.get("answer", ""), step.step, self._context.inputs.copies[step.source])
        except BadOutput:
            return None
        name = file_name(task_id)
        output = keep(mask(read.text), f"{name}.answer.txt")
        value = None if read.json is None else keep(json.dumps(self._context.masker.mask_value(read.json)), f"{name}.answer.json")
        variables = keep(json.dumps(self._context.masker.mask_value(dict(read.vars))), f"{name}.answer.vars.json") if read.vars else None
        return events.ApprovalAnswered(task_id, True, output, value, variables, reason, by)

    def judge(self, task_id: str, tree: str | None) -> events.RoundFinished:
        """What a round has come to whose steps have all ended. `tree`: the files now, where they are under git."""
        task = self._state.tasks[task_id]
        step = self._state.steps[task.step]
        frame = task.rounds[-1]
        status = outcome_of(frame)
        if status != "success":
            return events.RoundFinished(task_id, frame.number, status, reason=_why(frame), error=_errors(frame))
        try:
            left = self._left_by(frame)
            if step.plan.step.repeat is None:
                return events.RoundFinished(task_id, frame.number, "success", reason=_why(frame), **left)
            return self._next_round(task, step, frame, tree, left)
        except _FAILURES as error:
            text = self._told(error, step.plan)
            return events.RoundFinished(task_id, frame.number, "failed", reason=f"invalid: {text}", error=text)

    def scope(self, task_id: str, number: int) -> dict[str, object]:
        """What the texts of attempt `number` of a task see."""
        task = self._state.tasks[task_id]
        return self._scope.of_task(task, number, task.error_before)

    def forget(self, step_id: str) -> None:
        """Let go of what was kept of a step, and of all in it."""
        self._scope.forget(step_id)

    def item(self, task_id: str) -> object:
        """The item of a task, or of the nearest group around it; None where there is none."""
        return self._scope.item(self._state.tasks[task_id])

    def outputs(self) -> tuple[dict[str, Any], str]:
        """The outputs of the run. Those that cannot be had are left out, and named in the text that is returned with them."""
        return self._outputs(self._state.root)

    def _outputs(self, frame: Frame) -> tuple[dict[str, Any], str]:
        values: dict[str, Any] = {}
        problems = []
        scope = self._scope.of_frame(frame)
        for name, value in frame.plan.workflow.outputs.items():
            try:
                values |= self._context.values({name: value}, scope)
            except (RenderError, OperationFailed) as error:
                told = self._context.inputs.copies[frame.plan.source].told(error, ("outputs", name))
                problems.append(f"output `{name}`: {self._context.masker.mask(told)}")
        return {name: self._context.masker.mask_value(unwrap(value)) for name, value in values.items()}, "; ".join(problems)

    # ---- sub-workflows --------------------------------------------------------------------------------------

    def _arguments(self, task: Task, step: PlannedStep) -> events.Stored | None:
        """The arguments of a sub-workflow, checked as its file declares them. Raises InvalidValue, RenderError."""
        if step.inner is None or not step.inner.is_workflow:
            return None
        flow = step.inner.workflow
        given = step.step.with_ or {}
        if not step.literal:
            given = self._context.values(given, self._scope.of_task(task))
        completed, complaints = arguments.complete(flow.args, {name: unwrap(value) for name, value in given.items()})
        if complaints:
            raise InvalidValue(("with", complaints[0][0]), [problem for _, problem in complaints])
        masked = self._context.masker.mask_value(completed)
        declared_values(flow, {"args": wrap(masked), "run": self._run(step.inner.source)}, self._context)
        return self._context.folder.keep(json.dumps(masked, ensure_ascii=False), f"{file_name(task.id)}.args.json")

    def _fixed(self, frame: Frame) -> Mapping[str, object]:
        """The names of one walk through a workflow file that never change."""
        if frame.owner is None or frame.arguments is None:
            return fixed_values(self._context, self._state)
        names = {"args": wrap(json.loads(self._context.folder.load(frame.arguments))), "run": self._run(frame.plan.source)}
        env, context = declared_values(frame.plan.workflow, names, self._context)
        return {**names, "env": Record(dict(env)), "context": wrap(dict(context))}

    def _run(self, source: str) -> Record:
        run = fixed_values(self._context, self._state)["run"]
        assert isinstance(run, Record)
        return Record({**run, "workflow": self._context.inputs.copies[source].name})

    # ---- items ----------------------------------------------------------------------------------------------

    def _fanned_out(self, step: StepState, scope: Mapping[str, object]) -> list[events.Event]:
        plan = step.plan.step
        if plan.matrix is not None:
            items = fan_out.combinations({key: self._value(value, scope) for key, value in plan.matrix.items()}, step.plan.name)
        else:
            items = fan_out.listed(self._value(plan.foreach, scope), step.plan.name, "foreach")
        fan_out.check_count(len(items), step.plan)
        if plan.filter is not None:
            items = [item for index, item in enumerate(items) if self._holds(plan.filter, self._scope.of_item(step, item, index))]
        most = None if plan.limit is None else fan_out.bound(self._value(plan.limit, scope), step.plan.name)
        taken = items if most is None else items[:most]
        text = json.dumps(self._context.masker.mask_value(taken), ensure_ascii=False)
        opened = events.StepOpened(step.id, self._context.folder.keep(text, f"{file_name(step.id)}.items.json"), len(taken))
        cut = len(items) - len(taken)
        return [opened, *([events.Noted(f"step `{step.id}`: `limit` took {len(taken)} of {len(items)} items")] if cut else [])]

    def _value(self, value: Any, scope: Mapping[str, object]) -> Any:
        """A literal with its templates rendered, or what a bare expression comes to."""
        if isinstance(value, str):
            return template.parse_expression(value).evaluate(scope, self._context)
        return unwrap(self._context.values({"value": list(value) if isinstance(value, tuple) else value}, scope)["value"])

    def _holds(self, condition: str | bool | None, scope: Mapping[str, object]) -> bool:
        if condition is None or isinstance(condition, bool):
            return condition is not False
        try:
            return truth(template.parse_expression(condition).evaluate(scope, self._context))
        except RenderError as error:
            error.source = condition
            raise

    # ---- rounds ---------------------------------------------------------------------------------------------

    def _left_by(self, frame: Frame) -> dict[str, Any]:
        """The output of a sub-workflow: its outputs; of a group: that of its last step. Raises InvalidInput."""
        if frame.plan.is_workflow:
            return self._left_by_workflow(frame)
        last = list(frame.steps.values())[-1]
        if last.plan.fans_out:
            outputs = self._scope.outputs(last)
            text = self._context.folder.keep(json.dumps(outputs, ensure_ascii=False), f"{file_name(last.id)}.outputs.json")
            return {"output": text, "value": text}
        product = last.tasks[0].product if last.tasks and last.status in ("success", "failed") else None
        if product is None or product.output is None:
            return {}
        return {"output": product.output, "value": product.value, "variables": product.variables}

    def _left_by_workflow(self, frame: Frame) -> dict[str, Any]:
        outputs, problem = self._outputs(frame)
        if problem:
            raise InvalidInput(problem)
        name = file_name(frame.id)
        stored = self._context.folder.keep(json.dumps(outputs, ensure_ascii=False), f"{name}.outputs.json")
        return {"output": stored, "value": stored, "variables": stored}

    def _next_round(self, task: Task, step: StepState, frame: Frame, tree: str | None, left: dict[str, Any]) -> events.RoundFinished:
        """Whether a loop is done, goes on, or goes round in circles."""
        repeat = step.plan.step.repeat
        assert repeat is not None
        number = frame.number - task.counted_from
        state = self._state_name(frame, tree)
        if self._holds(repeat.until, self._scope.of_frame(frame)):
            rounds = f"after {number} round{'s' if number > 1 else ''}"
            return events.RoundFinished(task.id, frame.number, "success", reason=rounds, state=state, **left)
        if state in task.seen:
            reason = f"{NO_PROGRESS}, in round {number}"
        elif number >= repeat.max:
            reason = f"`until` does not hold after {number} round{'s' if number > 1 else ''} (`max`)"
        else:
            return events.RoundFinished(task.id, frame.number, "success", again=True, state=state, **left)
        return events.RoundFinished(task.id, frame.number, "failed", reason=reason, error=reason, state=state, **left)

    def _state_name(self, frame: Frame, tree: str | None) -> str:
        """The same files and the same outputs of all steps have the same name."""
        digest = hashlib.sha256((tree or "").encode())
        for step in frame.steps.values():
            for task in step.tasks:
                product = task.product
                text = self._context.folder.load(product.output) if product is not None and product.output is not None else ""
                digest.update(f"\0{task.status}\0{text}".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()[:16]

    # ---- words ----------------------------------------------------------------------------------------------

    def _told(self, error: Exception, step: PlannedStep) -> str:
        """An error of a text of the step, with its place in the file."""
        return self._context.masker.mask(self._context.inputs.copies[step.source].told(error, step.path))


def fixed_values(context: RunContext, state: State | None) -> dict[str, object]:
    """What never changes during a run: `args`, `env`, `context`, `run`."""
    place = state.place if state else None
    run = {
        "id": context.folder.run_id,
        "dir": str(context.folder.path),
        "branch": place.branch if place else None,
        "base": place.base if place else None,
        "workflow": context.inputs.main.name,
    }
    return {
        "args": wrap(dict(context.inputs.args)),
        "env": Record(dict(context.env)),
        "context": wrap(dict(context.context)),
        "run": Record(run),
    }


def _why(frame: Frame) -> str:
    if frame.stopping is not None and frame.stopping.status == outcome_of(frame):
        return frame.stopping.reason
    names = [f"`{step.plan.name}`" for step in frame.bad_steps() if step.status == "failed"]
    return f"step{'s' if len(names) > 1 else ''} {', '.join(names[:5])} failed" if names else ""


def _errors(frame: Frame) -> str:
    """What the steps that failed say themselves."""
    failed = [step for step in frame.bad_steps() if step.status == "failed"]
    told = [step.error or next((task.error for task in step.tasks if task.status == "failed" and task.error), "") for step in failed]
    return "\n".join(text for text in told if text) or _why(frame)
