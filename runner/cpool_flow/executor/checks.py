"""What a step promises beyond its own word: `verify` commands, `expect` of its files, and the state it left.

Runs after the work of an attempt, in its place and within its time.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cpool_flow.errors import OperationFailed
from cpool_flow.executor import Assignment
from cpool_flow.executor.context import RunContext, display
from cpool_flow.executor.outcome import Outcome, seconds_text, stopped
from cpool_flow.executor.shell_step import run_logged
from cpool_flow.executor.work import Work
from cpool_flow.process import Command


async def verified(outcome: Outcome, assignment: Assignment, context: RunContext, work: Work) -> Outcome:
    """The outcome after the step's `verify` commands: the first that does not exit with 0 makes it a failure."""
    commands = assignment.step.step.verify or ()
    for number, text in enumerate((commands,) if isinstance(commands, str) else commands, 1):
        failure = await _verify(text, number, assignment, context, work)
        if failure:
            kind, reason, last = failure
            return outcome.failed(kind, reason, last)
    return outcome


async def _verify(text: str, number: int, assignment: Assignment, context: RunContext, work: Work) -> tuple[str, str, str] | None:
    step = assignment.step.step
    script, values = context.script(text, assignment.scope)
    environment = context.shell_environment(assignment) | values
    command = Command((*context.default_shell, script), context.directory(step, assignment.scope), environment)
    log = _verify_log(assignment.log, number)
    ran = await run_logged(command, log, assignment.slot, context, work)
    halted = stopped(ran.ended, work.stopped, seconds_text(assignment.timeout_seconds), "")
    if halted:
        return halted.error_kind or "failed", f"verify `{display(text)}`: {halted.reason}", ran.last
    if ran.ended.exit.code != 0:
        return "failed", f"verify `{display(text)}` ended with {ran.ended.text}", ran.last
    return None


def _verify_log(log: Path, number: int) -> Path:
    return log.with_suffix(f".verify{'' if number == 1 else f'-{number}'}.log")


async def expected(outcome: Outcome, assignment: Assignment, context: RunContext, head: str | None) -> Outcome:
    """The outcome after `expect`: what must be true of the step's place. `head`: the commit when the attempt began."""
    expect = assignment.step.step.expect
    if expect is None:
        return outcome
    if expect.changes is not None:
        tree = await context.place.tree()
        if tree is None or assignment.tree is None:
            return outcome.failed("errored", "`expect: changes` needs a git repository, and the run's place is in none")
        changed = tree != assignment.tree
        if changed != expect.changes:
            return outcome.failed(
                "failed", "expected changes, but no file has changed" if expect.changes else "expected no changes, but files have changed"
            )
    if expect.commit is not None and ((await context.place.head()) != head) != expect.commit:
        return outcome.failed("failed", "expected a commit, but there is none" if expect.commit else "expected no commit, but there is one")
    missing = context.place.unmatched(expect.files or ())
    if missing:
        return outcome.failed("failed", f"expected files are missing: {', '.join(f'`{pattern}`' for pattern in missing)}")
    return outcome


async def left_state(outcome: Outcome, assignment: Assignment, context: RunContext) -> tuple[str | None, str]:
    """The tree that a failed attempt of a recoverable step left, and a name for that state: the same files and the same
    failure have the same name, for an agent step only with the same answer, outside git only with the same output."""
    if outcome.error_kind is None or not assignment.step.recoveries:
        return None, ""
    try:
        tree = await context.place.tree()
    except OperationFailed:  # git is broken here: what failed is known, and what it left is not
        return None, ""
    parts = [tree or "", outcome.error_kind, str(outcome.exit_code)]
    if tree is None or assignment.step.step.is_agent:
        parts.append(outcome.answer)
    return tree, hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
