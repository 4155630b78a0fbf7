"""One attempt of a `run:` step: a command, its output, its exit code.

Output goes straight into the log's file where nobody needs to look at it on its way; by a pipe where secrets must be
masked or silence counts. The log is stdout; what came on stderr is added at the end.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from cpool_flow.events import Stored
from cpool_flow.executor import Assignment
from cpool_flow.executor.context import RunContext, display
from cpool_flow.executor.outcome import Outcome, err_path, merge_stderr, seconds_text, stopped, with_output
from cpool_flow.executor.work import TAIL_BYTES, Ended, Log, Watch, Work, tail
from cpool_flow.outputs import BadOutput, mode_of, read_output
from cpool_flow.process import Command, Sink
from cpool_flow.run_folder import INLINE_BYTES

# An output that has to be parsed is held in memory: above this it is refused.
MAX_PARSED_BYTES = 256 * 1024 * 1024


async def run_command(assignment: Assignment, context: RunContext, work: Work) -> Outcome:
    """Run the step's command once. Raises RenderError, InvalidInput, ProcessNotStarted, OperationFailed."""
    step = assignment.step.step
    command = _command(assignment, context)
    ended = await run_logged(command, assignment.log, context, work, assignment.step.idle_timeout_seconds)
    size = os.path.getsize(assignment.log)
    last = merge_stderr(assignment.log)
    outcome = stopped(ended, work.stopped, seconds_text(assignment.timeout_seconds), seconds_text(assignment.step.idle_timeout_seconds))
    if outcome is None:
        outcome = Outcome(exit_code=ended.exit.code, signal=ended.exit.signal)
        if ended.exit.code not in (step.ok_codes or (0,)):
            outcome = outcome.failed("failed", f"`{display(step.run or '')}` ended with {ended.text}")
    if outcome.error_kind:
        kept = replace(outcome, output=_stored(assignment, context, size), tail=last or tail(assignment.log))
        return replace(kept, answer=kept.tail)
    return _read(outcome, assignment, context, size)


async def run_logged(command: Command, log: Path, context: RunContext, work: Work, idle_seconds: float | None) -> Ended:
    """Run a command with its output in `log` and beside it; nothing of it on disk holds a secret."""
    if not context.masker and idle_seconds is None:
        return await work.run(command, str(log), str(err_path(log)))
    watch = Watch(idle_seconds=idle_seconds) if idle_seconds is not None else None
    with ExitStack() as stack:
        out: Sink = stack.enter_context(Log(log, context.masker))
        err: Sink = stack.enter_context(Log(err_path(log), context.masker))
        return await work.run(command, out, err, watch=watch)


def _command(assignment: Assignment, context: RunContext) -> Command:
    step, scope = assignment.step.step, assignment.scope
    environment = context.shell_environment(assignment)
    if isinstance(step.run, str):
        script, values = context.script(step.run, scope)
        argv = (*context.shell(step), script)
        environment |= values
    else:
        argv = tuple(context.text(word, scope) for word in step.run or ())
    stdin = None if step.stdin is None else context.text(step.stdin, scope).encode("utf-8", "surrogatepass")
    return Command(argv, context.directory(step, scope), environment, stdin)


def _read(outcome: Outcome, assignment: Assignment, context: RunContext, size: int) -> Outcome:
    """The output as the step says to read it."""
    step = assignment.step.step
    stored = _stored(assignment, context, size)
    variables = step.output_vars or {}
    schema = context.inputs.schema_of(step)
    if stored.file is not None and mode_of(step.output, schema is not None, variables) == "text" and not variables:
        return replace(outcome, output=stored)
    if size > MAX_PARSED_BYTES:
        return replace(outcome, output=stored).failed("bad_output", f"the output is {size:,} bytes; at most {MAX_PARSED_BYTES:,} are parsed")
    text = context.folder.load(stored)
    try:
        read = read_output(text if stored.file is None else f"{text}\n", step.output, schema=schema, variables=variables)
    except BadOutput as error:
        return replace(outcome, output=stored, answer=text[-TAIL_BYTES:]).failed("bad_output", str(error), tail(assignment.log))
    return with_output(outcome, read, assignment, context.folder, stored)


def _stored(assignment: Assignment, context: RunContext, size: int) -> Stored:
    """Stdout without exactly one last newline: inline, or the first bytes of the log itself."""
    with open(assignment.log, "rb") as file:
        if size <= INLINE_BYTES:
            return Stored(text=file.read(size).removesuffix(b"\n").decode("utf-8", "replace"))
        file.seek(size - 1)
        size -= file.read(1) == b"\n"
    return Stored(file=f"logs/{assignment.log.name}", bytes=size)
