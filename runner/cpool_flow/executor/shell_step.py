"""One attempt of a `run:` step: a command, its output, its exit code.

Output goes straight into a file where nobody needs to look at it on its way; by a pipe where secrets must be masked
or silence counts.
"""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path

from cpool_flow import template
from cpool_flow.dataclass import dataclass
from cpool_flow.events import Stored
from cpool_flow.executor import Assignment
from cpool_flow.executor.context import RunContext, display
from cpool_flow.executor.logs import Log, collect, spools
from cpool_flow.executor.outcome import Outcome, seconds_text, stopped, with_output
from cpool_flow.executor.work import Ended, Watch, Work
from cpool_flow.outputs import BadOutput, mode_of, read_output
from cpool_flow.process import Command
from cpool_flow.run_folder import INLINE_BYTES

# An output that has to be parsed is held in memory: above this it is refused.
MAX_PARSED_BYTES = 256 * 1024 * 1024


async def run_command(assignment: Assignment, context: RunContext, work: Work) -> Outcome:
    """Run the step's command once. Raises RenderError, InvalidInput, ProcessNotStarted, OperationFailed."""
    outcome = await _ran(assignment, context, work)
    if context.recorder:
        ended = {"kind": outcome.error_kind, "error": outcome.reason, "exit_code": outcome.exit_code, "signal": outcome.signal}
        context.recorder.command(assignment, _text(assignment.step.step.run or ""), ended)
    return outcome


def _text(command: str | tuple[str, ...]) -> str:
    """A command as its author wrote it; no value is in it."""
    return command if isinstance(command, str) else shlex.join(command)


async def _ran(assignment: Assignment, context: RunContext, work: Work) -> Outcome:
    step = assignment.step.step
    idle = assignment.step.idle_timeout_seconds
    ran = await run_logged(_command(assignment, context), assignment.log, assignment.slot, context, work, idle)
    outcome = stopped(ran.ended, work.stopped, seconds_text(assignment.timeout_seconds), seconds_text(idle))
    stored = _stored(assignment, ran.size)
    if outcome is not None:
        return replace(outcome, output=stored, tail=ran.last, answer=ran.last)
    outcome = Outcome(exit_code=ran.ended.exit.code, signal=ran.ended.exit.signal, output=stored, answer=ran.last)
    if ran.ended.exit.code not in (0, *(step.ok_codes or ())):
        return outcome.failed("failed", f"`{display(step.run or '')}` ended with {ran.ended.text}", ran.last)
    return _read(outcome, assignment, context, ran.size, stored)


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that has ended: the bytes of its stdout in the log, and the end of its output for people."""

    ended: Ended
    size: int
    last: str


async def run_logged(
    command: Command, log: Path, slot: str | None, context: RunContext, work: Work, idle_seconds: float | None = None
) -> Ran:
    """Run a command and make its log."""
    spool_out, spool_err = spools(log, slot)
    if not context.masker and idle_seconds is None:
        ended = await work.run(command, spool_out, spool_err)
    else:
        watch = Watch(idle_seconds=idle_seconds) if idle_seconds is not None else None
        with Log(spool_out, context.masker) as out, Log(spool_err, context.masker) as err:
            ended = await work.run(command, out, err, watch=watch)
    return Ran(ended, *collect(log, slot))


def _command(assignment: Assignment, context: RunContext) -> Command:
    step, scope = assignment.step.step, assignment.scope
    environment = context.shell_environment(assignment)
    if isinstance(step.run, str):
        script, values = context.script(step.run, scope)
        argv = (*context.shell(step), script)
        environment |= values
    else:
        argv = tuple(context.masker.mask(context.text(word, scope)) for word in step.run or ())  # everybody sees a command line
        for word in argv:
            template.check_argument(word)
    stdin = None if step.stdin is None else context.stdin(step.stdin, scope)
    return Command(argv, context.directory(step, scope), environment, stdin)


def _read(outcome: Outcome, assignment: Assignment, context: RunContext, size: int, stored: Stored) -> Outcome:
    """The output as the step says to read it."""
    step = assignment.step.step
    variables = step.output_vars or {}
    schema = context.copy(assignment).schema_of(step)
    if mode_of(step.output, schema is not None, variables) == "text" and not variables:
        return outcome
    if size > MAX_PARSED_BYTES:
        return outcome.failed("bad_output", f"the output is {size:,} bytes; at most {MAX_PARSED_BYTES:,} are parsed")
    try:
        # One newline was taken off when it was stored, and reading takes one off.
        read = read_output(f"{context.folder.load(stored)}\n", step.output, schema=schema, variables=variables)
    except BadOutput as error:
        return outcome.failed("bad_output", str(error), outcome.answer)
    return with_output(outcome, read, assignment, context, stored)


def _stored(assignment: Assignment, size: int) -> Stored:
    """Stdout without exactly one last newline: inline, or the first bytes of the log itself."""
    if size == 0:
        return Stored(text="")
    with open(assignment.log, "rb") as file:
        if size <= INLINE_BYTES:
            return Stored(text=file.read(size).removesuffix(b"\n").decode("utf-8", "replace"))
        file.seek(size - 1)
        size -= file.read(1) == b"\n"
    return Stored(file=f"logs/{assignment.log.name}", bytes=size)
