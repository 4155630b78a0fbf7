"""Slots on this machine: each attempt is a task of the loop that runs processes and then judges what they left."""

from __future__ import annotations

import asyncio
import errno
import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.events import AttemptFinished
from cpool_flow.executor import Assignment, Deliver
from cpool_flow.executor.artifacts import keep_artifacts
from cpool_flow.executor.checks import expected, left_state, verified
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.outcome import Outcome
from cpool_flow.executor.shell_step import run_command
from cpool_flow.executor.work import LONGEST_SETUP_SECONDS, Work
from cpool_flow.values import RenderError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cpool_flow.executor.warm_slots import WarmSlots


class Rooms(Protocol):
    """The places of items."""

    async def enter(self, assignment: Assignment, work: Work) -> RunContext:
        """The run as an attempt in an item's own place sees it; the place is made, and set up, where nobody was there before. Raises
        OperationFailed."""


# Below this a disk counts as full (bytes).
LEAST_FREE_BYTES = 64 * 1024
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})


class LocalSlots:
    """Executes attempts in the run's place. How many at once is the policy's matter."""

    def __init__(self, context: RunContext, rooms: Rooms | None = None) -> None:
        self._context = context
        self._rooms = rooms
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

    async def leave(self, folder: str) -> None:
        if self._warm is not None:
            await self._warm.leave(folder)

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
        context, outcome = await self._entered(assignment, work)
        if outcome is None:
            outcome = _with_artifacts(await self._outcome(assignment, context, work), assignment, context)
        if context.masker:
            outcome = outcome.masked(context.masker.mask)
        if outcome.error_kind in ("failed", "errored"):
            _check_disk(context)
        tree, state = await left_state(outcome, assignment, context)
        return outcome.fact(assignment, tree=tree, state=state)

    async def _entered(self, assignment: Assignment, work: Work) -> tuple[RunContext, Outcome | None]:
        """Where the attempt works, and how it has ended already where it cannot. The time of its `setup` is not the attempt's."""
        if not assignment.place or self._rooms is None:
            return self._context, None
        loop = asyncio.get_running_loop()
        seconds = work.remaining_seconds
        work.deadline = loop.time() + LONGEST_SETUP_SECONDS
        try:
            context = await self._rooms.enter(assignment, work)
        except (OperationFailed, OSError) as error:
            if _is_of_disk(error):
                raise
            kind = "cancelled" if work.stopped is not None else "errored"
            return self._context, _unasked(assignment, work).instead(kind, work.stopped or str(error))
        work.deadline = loop.time() + seconds
        return context, None

    async def _outcome(self, assignment: Assignment, context: RunContext, work: Work) -> Outcome:
        outcome = None
        expect = assignment.step.step.expect
        try:
            if assignment.place and expect:
                assignment = replace(assignment, tree=await context.place.tree())
            head = await context.place.head() if expect else None
            outcome = await self._work(assignment, context, work)
            damage = context.place.damage() if outcome.error_kind is None else None
            if damage:
                outcome = outcome.failed("failed", damage)
            # The recovery of a `run` step proves nothing itself: the command is run again. That of a merge is proved by the merge.
            if outcome.error_kind is None and (assignment.kind == "normal" or _answers(assignment)):
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

    async def _work(self, assignment: Assignment, context: RunContext, work: Work) -> Outcome:
        if not assignment.step.step.is_agent and assignment.kind == "normal":
            return await run_command(assignment, context, work)
        # Not loaded by a run without agents.
        from cpool_flow.executor.agent_step import run_agent
        from cpool_flow.executor.warm_slots import WarmSlots

        if self._warm is None:
            self._warm = WarmSlots(context.processes, context.environment)
        return await run_agent(assignment, context, work, self._warm)


def _check_disk(context: RunContext) -> None:
    """A failure on a full disk is not the step's own. Raises OperationFailed."""
    for folder in (context.folder.path, context.place.directory):
        if _free_bytes(folder) < LEAST_FREE_BYTES:
            raise OperationFailed(f"the disk of `{folder}` is full")


def _with_artifacts(outcome: Outcome, assignment: Assignment, context: RunContext) -> Outcome:
    if not assignment.step.step.artifacts:
        return outcome
    try:
        return replace(outcome, artifacts=keep_artifacts(assignment, context))
    except OperationFailed as error:
        return outcome if outcome.error_kind else outcome.failed("errored", str(error))


def _told(error: Exception, assignment: Assignment, context: RunContext) -> str:
    """The error with its place in the file; what a program gave to a pool stands in none."""
    return str(error) if assignment.step.literal else context.copy(assignment).told(error, assignment.step.path)


def _answers(assignment: Assignment) -> bool:
    """Whether a recovery is one of an agent step: what it says is the step's answer."""
    return assignment.kind == "recovery" and assignment.step.step.is_agent


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
