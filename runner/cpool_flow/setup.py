"""The commands of `setup`: run once in a fresh place, before any step, and stopped like everything else.

Knows how they are run; not when a place is fresh.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from cpool_flow import policy
from cpool_flow.engine import POLL_SECONDS, Engine
from cpool_flow.executor.context import RunContext, display
from cpool_flow.executor.shell_step import run_logged
from cpool_flow.executor.work import LONGEST_SETUP_SECONDS, Work
from cpool_flow.process import Command
from cpool_flow.run_values import fixed_values
from cpool_flow.values import RenderError

LOG = "_setup"  # no step can be called so
# The policy sees the end of the run's time by another clock: it must not come later than the commands end.
_MARGIN_SECONDS = 0.1


async def set_up(engine: Engine, context: RunContext) -> str:
    """Run the commands until one fails. The error for people, empty where all went well. Raises FlowError."""
    commands = context.workflow.setup or ()
    if commands and engine.state.stopping is not None:
        return f"not run: {engine.state.stopping.reason}"
    work = Work(context.processes, _time_left(engine), context.grace_seconds)
    attending = asyncio.get_running_loop().create_task(_attend(engine, work))
    try:
        return await run_all(commands, LOG, fixed_values(context, None), context, work)
    finally:
        attending.cancel()


async def run_all(commands: str | tuple[str, ...], log: str, scope: Mapping[str, object], context: RunContext, work: Work) -> str:
    """Run the commands one after the other, until one fails. The error for people, empty where all went well. `log`: the beginning of the
    names of their logs; `scope`: the values that they see. Raises FlowError."""
    for number, text in enumerate((commands,) if isinstance(commands, str) else commands, 1):
        error = await _run(text, context.folder.logs / f"{log}.{number}.log", scope, context, work)
        if error:
            return context.masker.mask(error)
    return ""


def log_name(number: int) -> str:
    """The log of one command of the run's own place."""
    return f"{LOG}.{number}.log"


async def _run(text: str, log: Path, scope: Mapping[str, object], context: RunContext, work: Work) -> str:
    try:
        script, values = context.script(text, scope)
    except RenderError as error:
        return f"`{display(text)}`: {error.message}"
    command = Command((*context.default_shell, script), str(context.place.directory), context.setup_environment() | values)
    ran = await run_logged(command, log, None, context, work)
    if ran.ended.how == "cancelled":
        return f"`{display(text)}` was stopped: {work.stopped}"
    if ran.ended.how == "timeout":
        return f"`{display(text)}` did not end in time\n{ran.last}"
    return "" if ran.ended.exit.code == 0 else f"`{display(text)}` ended with {ran.ended.text}\n{ran.last}"


def _time_left(engine: Engine) -> float:
    end = policy.deadline(engine.state)
    return LONGEST_SETUP_SECONDS if end is None else min(LONGEST_SETUP_SECONDS, max(0.0, end - time.time()) + _MARGIN_SECONDS)


async def _attend(engine: Engine, work: Work) -> None:
    """Hand on what is asked of the run meanwhile."""
    while True:
        engine.take_requests()
        stopping = engine.state.stopping
        if stopping is not None:
            work.stop(stopping.reason, at_once=stopping.at_once)
        await asyncio.sleep(POLL_SECONDS / 2)
