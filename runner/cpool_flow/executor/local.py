"""Slots on this machine: each attempt is a task of the loop that runs processes and then judges what they left."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path

from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.events import AttemptFinished
from cpool_flow.executor import Assignment, Deliver
from cpool_flow.executor.artifacts import keep_artifacts
from cpool_flow.executor.checks import expected, left_state, verified
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.outcome import Outcome
from cpool_flow.executor.shell_step import run_command
from cpool_flow.executor.work import Work
from cpool_flow.values import RenderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpool_flow.executor.warm_slots import WarmSlots

# Below this a disk counts as full (bytes).
LEAST_FREE_BYTES = 64 * 1024
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


class LocalSlots:
    """Executes attempts in the run's place. How many at once is the policy's matter."""

    def __init__(self, context: RunContext) -> None:
        self._context = context
        self._works: dict[str, Work] = {}
        self._attempts: set[asyncio.Task[None]] = set()
        self._warm: WarmSlots | None = None

    def start(self, assignment: Assignment, deliver: Deliver) -> None:
        work = self._works[assignment.task] = Work(self._context.processes, assignment.timeout_seconds, self._context.grace_seconds)
        attempt = asyncio.get_running_loop().create_task(self._attempt(assignment, work, deliver))
        self._attempts.add(attempt)
        attempt.add_done_callback(self._attempts.discard)

    def stop(self, task: str, reason: str, *, at_once: bool) -> None:
        work = self._works.get(task)
        if work is not None:
            work.stop(reason, at_once=at_once)

    async def rest(self) -> None:
        if self._warm is not None:
            await self._warm.rest()

    async def close(self) -> None:
        for work in self._works.values():
            work.stop("the run ends", at_once=True)
        if self._attempts:
            await asyncio.wait(self._attempts)
        if self._warm is not None:
            await self._warm.close()

    async def _attempt(self, assignment: Assignment, work: Work, deliver: Deliver) -> None:
        try:
            deliver(await self._fact(assignment, work))
        except Exception as error:  # told to who waits for it: nobody else would hear of it
            deliver(error)
        finally:
            del self._works[assignment.task]

    async def _fact(self, assignment: Assignment, work: Work) -> AttemptFinished:
        outcome = self._with_artifacts(await self._outcome(assignment, work), assignment)
        if self._context.masker:
            outcome = outcome.masked(self._context.masker.mask)
        if outcome.error_kind in ("failed", "errored"):
            self._check_disk()
        tree, state = await left_state(outcome, assignment, self._context)
        return outcome.fact(assignment, tree=tree, state=state)

    def _check_disk(self) -> None:
        """A failure on a full disk is not the step's own. Raises OperationFailed."""
        for folder in (self._context.folder.path, self._context.place.directory):
            if _free_bytes(folder) < LEAST_FREE_BYTES:
                raise OperationFailed(f"the disk of `{folder}` is full")

    def _with_artifacts(self, outcome: Outcome, assignment: Assignment) -> Outcome:
        if not assignment.step.step.artifacts:
            return outcome
        try:
            return replace(outcome, artifacts=keep_artifacts(assignment, self._context))
        except OperationFailed as error:
            return outcome if outcome.error_kind else outcome.failed("errored", str(error))

    async def _outcome(self, assignment: Assignment, work: Work) -> Outcome:
        context = self._context
        outcome = None
        try:
            head = await context.place.head() if assignment.step.step.expect else None
            outcome = await self._work(assignment, work)
            damage = context.place.damage() if outcome.error_kind is None else None
            if damage:
                outcome = outcome.failed("failed", damage)
            # The recovery of a `run` step proves nothing itself: the command is run again.
            if outcome.error_kind is None and (assignment.kind == "normal" or assignment.step.step.is_agent):
                if assignment.step.step.verify:
                    outcome = await verified(outcome, assignment, context, work)
                if outcome.error_kind is None:
                    outcome = await expected(outcome, assignment, context, head)
            return outcome
        except (RenderError, InvalidInput) as error:
            return (outcome or _unasked(assignment, work)).instead("invalid", _told(error, assignment, context))
        except (OperationFailed, OSError) as error:
            if _is_of_disk(error):
                raise
            return (outcome or _unasked(assignment, work)).instead("errored", str(error))

    async def _work(self, assignment: Assignment, work: Work) -> Outcome:
        if not assignment.step.step.is_agent and assignment.kind == "normal":
            return await run_command(assignment, self._context, work)
        # Not loaded by a run without agents.
        from cpool_flow.executor.agent_step import run_agent
        from cpool_flow.executor.warm_slots import WarmSlots

        if self._warm is None:
            self._warm = WarmSlots(self._context.processes, self._context.environment)
        return await run_agent(assignment, self._context, work, self._warm)


def _told(error: Exception, assignment: Assignment, context: RunContext) -> str:
    """The error with its place in the file; what a program gave to a pool stands in none."""
    return str(error) if assignment.step.literal else context.copy(assignment).told(error, assignment.step.path)


def _unasked(assignment: Assignment, work: Work) -> Outcome:
    """An agent that was not even started has cost nothing."""
    return Outcome(cost_usd=0.0 if assignment.agent is not None and not work.began else None)


def _is_of_disk(error: Exception) -> bool:
    causes = (error, error.__cause__)
    return any(isinstance(cause, OSError) and cause.errno in _DISK_ERRORS for cause in causes)


def _free_bytes(folder: Path) -> int:
    try:
        found = os.statvfs(folder)
    except OSError:
        return LEAST_FREE_BYTES
    return found.f_bavail * found.f_frsize
