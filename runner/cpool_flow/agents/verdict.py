"""Rules of success that hold for every agent, whatever its events are called. Each is asked in turn; None is "no objection"."""

from __future__ import annotations

import re
from collections.abc import Iterable

from cpool_flow.agents.json_lines import Joined
from cpool_flow.agents.protocol import MAX_LINE_BYTES, Ending, StopReason
from cpool_flow.model import ErrorKind

Verdict = tuple[ErrorKind, str]
_UNKNOWN_FLAG = re.compile(r"(?:unknown|unrecognized|unexpected) (?:option|argument|flag)", re.IGNORECASE)


def stopped(reason: StopReason) -> Verdict:
    """We stopped it before its whole result was read."""
    return reason, "stopped before the agent was done" if reason == "cancelled" else "the agent was not done in time"


def refused_to_start(words: str) -> Verdict:
    """It took neither the flags nor the input. A flag that it does not know may be one of a later version."""
    old = " (is it too old? `cpool-flow doctor` names its version)" if _UNKNOWN_FLAG.search(words) else ""
    return "invalid", f"the agent refused to start{old}: {words}"


def refused(tools: Iterable[str]) -> Verdict | None:
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(tools))
    return ("permission_denied", f"the agent was refused a tool that it asked for: {names}") if names else None


def too_long(answer: Joined) -> Verdict | None:
    return ("failed", f"the answer is longer than {MAX_LINE_BYTES // 2**20} MB") if answer.too_long else None


def empty(answer: str, tokens: int, schema_asked: bool) -> Verdict | None:
    """Nothing was spent, or nothing said."""
    if not tokens:
        return "failed", "no tokens were spent: the model was not asked"
    if answer.strip():
        return None
    return ("bad_output", "the answer is empty, a value was asked for") if schema_asked else ("failed", "the answer is empty")


def bad_end(ending: Ending, left_over: bool = False) -> Verdict | None:
    """A good result, and then another end than a good one. `left_over`: we stopped what had stayed after its result."""
    bad = not ending.ended_by_us and not left_over and (ending.exit_code != 0 or ending.signal)
    return ("failed", f"the agent gave a good result, then ended with {ending.how}") if bad else None
