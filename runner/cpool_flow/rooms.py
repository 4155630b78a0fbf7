"""What is executed in the places of items beside their steps: `setup` in a fresh one, `verify` after a merge.

Knows the contexts in which attempts work; not git (`places.py`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace

from cpool_flow import events
from cpool_flow.errors import OperationFailed
from cpool_flow.executor import Assignment
from cpool_flow.executor.checks import verified
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.outcome import Outcome
from cpool_flow.executor.work import Work
from cpool_flow.places import Places
from cpool_flow.run_folder import file_name
from cpool_flow.run_values import RunValues
from cpool_flow.setup import run_all
from cpool_flow.state import State
from cpool_flow.tasks import Task


class Rooms:
    """`tell` takes in a fact of the run."""

    def __init__(
        self, places: Places, context: RunContext, values: RunValues, state: State, tell: Callable[[events.Event], object]
    ) -> None:
        self._places = places
        self._context = context
        self._values = values
        self._state = state
        self._tell = tell
        self._setting_up: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def enter(self, assignment: Assignment, work: Work) -> RunContext:
        """The place of an attempt, made and set up. Raises OperationFailed."""
        context = await self._at(assignment.place)
        async with self._setting_up[assignment.place]:
            await self._set_up(self._state.tasks[assignment.place], context, work)
        if assignment.kind == "merge":
            await self._places.lay_out(assignment.task)
        return context

    def new_work(self, task: Task) -> Work:
        """What a merge does, so that it can be stopped."""
        return Work(self._context.processes, self._state.steps[task.step].plan.timeout_seconds, self._context.grace_seconds)

    async def verify(self, task: Task, work: Work) -> tuple[str, str]:
        """Why what was merged into an item's place does not pass the step's `verify`: in one line, and with what was printed. Empty where it
        does. Raises RenderError, InvalidInput, OperationFailed."""
        plan = self._state.steps[task.step].plan
        number = len(task.attempts)
        assignment = Assignment(
            step=plan,
            task=task.id,
            index=task.index,
            number=number,
            kind="merge",
            slot=None,
            log=self._context.folder.logs / f"{file_name(task.id)}.merge.log",
            scope=self._values.scope(task.id, number),
            timeout_seconds=plan.timeout_seconds,
            session_id="",
            item=self._values.item(task.id),
            place=task.id,
        )
        outcome = await verified(Outcome(), assignment, await self._at(task.id), work)
        if outcome.error_kind is None:
            return "", ""
        reason = self._context.masker.mask(f"after the merge: {outcome.reason}")
        return reason, f"{reason}\n{self._context.masker.mask(outcome.tail)}".rstrip()

    async def _at(self, place: str) -> RunContext:
        opened = (await self._places.open(place)).place
        recorder = self._context.recorder
        return replace(self._context, place=opened, recorder=recorder and replace(recorder, place=opened))

    async def _set_up(self, task: Task, context: RunContext, work: Work) -> None:
        place, step = task.place, self._state.steps[task.step].plan.step
        commands = self._context.workflow.setup if step.setup is None else step.setup
        if not commands or place is None or (place.set_up is not None and not place.set_up.error):
            return
        error = await run_all(commands, f"{file_name(task.id)}.setup", self._values.scope(task.id, 1), context, work)
        self._tell(events.SetupFinished(error, task.id))
        if error:
            raise OperationFailed(f"setup failed: {error}")
