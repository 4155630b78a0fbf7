"""What came of an attempt, before it is a fact: passed on from the work itself to the checks, then recorded.

Knows how an error reads to people; not how the work was done.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from cpool_flow.dataclass import dataclass
from cpool_flow.events import AttemptFinished, Fault, Stored
from cpool_flow.executor import Assignment
from cpool_flow.executor.context import RunContext
from cpool_flow.executor.work import Ended
from cpool_flow.model import duration_text
from cpool_flow.outputs import Output


@dataclass(frozen=True, slots=True)
class Outcome:
    """`error_kind` None is success so far. `reason` is one line, `tail` the last output. `answer` is what the guard
    against going round in circles compares besides files."""

    error_kind: str | None = None
    reason: str = ""
    tail: str = ""
    exit_code: int | None = None
    signal: int | None = None
    output: Stored | None = None
    value: Stored | None = None
    variables: Stored | None = None
    answer: str = ""
    cost_usd: float | None = None
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    session_id: str | None = None
    model: str | None = None
    resets_at: float | None = None
    artifacts: tuple[str, ...] = ()
    fault: Fault = ""
    # What is known of a cost that is not known in full.
    cost_at_least_usd: float | None = None
    denied: tuple[str, ...] = ()

    def failed(self, kind: str, reason: str, tail: str = "") -> Outcome:
        """The same outcome, failed after all."""
        return replace(self, error_kind=kind, reason=reason, tail=tail or self.tail)

    def instead(self, kind: str, reason: str) -> Outcome:
        """A failure of ours in place of this outcome: of what was done only what it has cost remains."""
        return Outcome(
            kind,
            reason,
            cost_usd=self.cost_usd,
            cost_at_least_usd=self.cost_at_least_usd,
            turns=self.turns,
            session_id=self.session_id,
            model=self.model,
            denied=self.denied,
        )

    def masked(self, mask: Callable[[str], str]) -> Outcome:
        """The outcome as it may be written."""
        model, session_id = (None if text is None else mask(text) for text in (self.model, self.session_id))
        return replace(self, reason=mask(self.reason), tail=mask(self.tail), model=model, session_id=session_id)

    def fact(self, assignment: Assignment, *, tree: str | None, state: str) -> AttemptFinished:
        return AttemptFinished(
            task=assignment.task,
            number=assignment.number,
            error_kind=self.error_kind,
            error=self._error(assignment) if self.error_kind else "",
            reason=self.reason if self.error_kind else "",
            exit_code=self.exit_code,
            signal=self.signal,
            output=self.output,
            value=self.value,
            variables=self.variables,
            cost_usd=self.cost_usd,
            turns=self.turns,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            cached_tokens=self.cached_tokens,
            session_id=self.session_id,
            model=self.model,
            tree=tree,
            state=state,
            resets_at=self.resets_at,
            artifacts=self.artifacts,
            fault=self.fault,
            cost_at_least_usd=self.cost_at_least_usd,
            denied=self.denied,
        )

    def _error(self, assignment: Assignment) -> str:
        """What failed, where, and the end of its output: the text of `{{ error }}`."""
        head = f"{assignment.task}, attempt {assignment.number}: {self.reason}"
        return f"{head}\n{self.tail}" if self.tail else head


def with_output(outcome: Outcome, read: Output, assignment: Assignment, context: RunContext, stored: Stored | None = None) -> Outcome:
    """The outcome with what was read, kept for the journal. `stored`: where the text is already.

    The text was masked before it was read; its data is masked again, for JSON can write one text in many ways.
    """
    name, keep, mask = assignment.log.stem, context.folder.keep, context.masker.mask_value
    text = stored or keep(read.text, f"{name}.txt")
    value = None
    if read.json is not None:
        parsed = json.dumps(mask(read.json), ensure_ascii=False)
        value = text if parsed == read.text else keep(parsed, f"{name}.json")
    variables = keep(json.dumps(mask(dict(read.vars)), ensure_ascii=False), f"{name}.vars.json") if read.vars else None
    return replace(outcome, output=text, value=value, variables=variables)


def stopped(ended: Ended, reason: str | None, timeout: str, idle: str) -> Outcome | None:
    """The outcome of a process that we stopped; None where it ended by itself."""
    code, number = ended.exit.code, ended.exit.signal
    if ended.how == "cancelled":
        return Outcome("cancelled", reason or "cancelled", exit_code=code, signal=number)
    if ended.how == "timeout":
        return Outcome("timeout", f"did not end within {timeout}", exit_code=code, signal=number)
    if ended.how == "idle":
        return Outcome("timeout", f"was silent for {idle} (`idle_timeout`)", exit_code=code, signal=number)
    return None


def seconds_text(seconds: float | None) -> str:
    """A limit as people write it."""
    return "no limit" if seconds is None else duration_text(seconds)
