"""What a run of Claude Code was: the first rule that holds, in the order of `docs/agents.md`.

Knows the words of its events and of its error texts; nothing of how the answer is used. Exit code 0 proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cpool_flow.agents.json_lines import http_status
from cpool_flow.agents.limits import names_limit
from cpool_flow.agents.protocol import MAX_LINE_BYTES, Ending, StopReason
from cpool_flow.agents.verdict import refused_to_start
from cpool_flow.dataclass import dataclass
from cpool_flow.model import ErrorKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that the rules ask. `stopped`: we stopped it before its last result was read. `limited`: the account was rejected, and nothing
    followed. `overlong`: a line was too long to be read."""

    ending: Ending
    stopped: StopReason | None
    events: int
    limited: bool
    overlong: bool
    result: Mapping[str, Any] | None
    error_word: str
    answer: str
    turns: int
    max_turns: int | None
    tokens: int
    denials: tuple[str, ...]
    schema_unmet: bool

    @property
    def subtype(self) -> object:
        return (self.result or {}).get("subtype")

    @property
    def complaint(self) -> str:
        """The agent's own words for what went wrong."""
        result = self.result or {}
        errors = [text for text in result.get("errors") or () if isinstance(text, str)] if isinstance(result.get("errors"), list) else []
        text = result.get("result")
        return errors[0] if errors else text if isinstance(text, str) else ""

    @property
    def status(self) -> int | None:
        """The HTTP status of an API error; where the field is missing, the one that its text names."""
        given = http_status((self.result or {}).get("api_error_status"))
        if given is not None:
            return given
        named = _STATUS.search(self.complaint)
        return int(named[named.lastindex or 0]) if named else None


Verdict = tuple[ErrorKind, str]


def verdict(outcome: Outcome) -> Verdict | None:
    """The kind of failure and what to say of it; None for success."""
    return next(filter(None, (rule(outcome) for rule in _RULES)), None)


_STATUS = re.compile(r"(?:API Error:? \(?|Request rejected \(|Repeated )([45]\d\d)\b|^([45]\d\d) \w+_error\b")
_NOT_SIGNED_IN = "Please run /login"
_NO_START = re.compile(
    r"unknown option|is invalid|already in use|Invalid session ID|requires --verbose|not valid JSON|not a valid JSON Schema"
    r"|Input must be provided|Input contained only whitespace|cannot be used with root"
)
_SUBTYPES: dict[str, Verdict] = {
    "error_max_turns": ("max_turns", "the agent used up its turns"),
    "error_max_budget_usd": ("budget", "the agent used up its budget"),
    "error_max_structured_output_retries": ("bad_output", "the agent gave no structured answer that fits the schema"),
}


def _stopped(outcome: Outcome) -> Verdict | None:
    texts: dict[StopReason, str] = {"cancelled": "stopped before the agent was done", "timeout": "the agent was not done in time"}
    return (outcome.stopped, texts[outcome.stopped]) if outcome.stopped else None


def _never_began(outcome: Outcome) -> Verdict | None:
    refused = not outcome.events and outcome.ending.exit_code and _NO_START.search(outcome.ending.stderr)
    return refused_to_start(outcome.ending.stderr.strip()) if refused else None


def _only_words(outcome: Outcome) -> Verdict | None:
    """Older versions, and wrappers around it, say on stderr why they do nothing."""
    words = outcome.ending.stderr.strip()
    if outcome.events or not outcome.ending.exit_code:
        return None
    if names_limit(words):
        return "rate_limited", words
    return ("auth", words) if _NOT_SIGNED_IN in words else None


def _no_result(outcome: Outcome) -> Verdict | None:
    if outcome.result is not None:
        return None
    if outcome.limited:
        return "rate_limited", f"the account is at its usage limit, and the agent ended ({outcome.ending.how}) without a result"
    left_out = f", after a line longer than {MAX_LINE_BYTES // 2**20} MB" if outcome.overlong else ""
    return "lost", f"the agent ended ({outcome.ending.how}) without a result{left_out}{outcome.ending.last_words}"


def _limit_of_ours(outcome: Outcome) -> Verdict | None:
    limit = _SUBTYPES.get(outcome.subtype) if isinstance(outcome.subtype, str) else None
    return (limit[0], outcome.complaint or limit[1]) if limit else None


def _broken_off(outcome: Outcome) -> Verdict | None:
    if outcome.subtype != "error_during_execution":
        return None
    if outcome.complaint.startswith("No conversation found"):
        return "invalid", outcome.complaint
    aborted = (outcome.result or {}).get("terminal_reason") in ("aborted_streaming", "aborted_tools")
    return ("cancelled", "the agent was interrupted") if aborted else None


def _api_error(outcome: Outcome) -> Verdict | None:
    result = outcome.result or {}
    if not result.get("is_error") or outcome.subtype not in ("success", "error_during_execution"):
        return None
    for kind, holds in _API_ERRORS:
        if holds(outcome, outcome.status, outcome.error_word, outcome.complaint):
            return kind, outcome.complaint
    return None


_API_ERRORS: tuple[tuple[ErrorKind, Callable[[Outcome, int | None, str, str], object]], ...] = (
    ("auth", lambda outcome, status, word, text: status in (401, 403)),
    ("rate_limited", lambda outcome, status, word, text: status == 429 or word == "rate_limit" or names_limit(text)),
    ("rate_limited", lambda outcome, status, word, text: (outcome.result or {}).get("api_error") == "usage_limit_reached"),
    ("overloaded", lambda outcome, status, word, text: status is not None and status >= 500),
    ("overloaded", lambda outcome, status, word, text: status is None and word == "server_error"),
    ("auth", lambda outcome, status, word, text: status is None and (word == "authentication_failed" or _NOT_SIGNED_IN in text)),
    ("auth", lambda outcome, status, word, text: word == "billing_error" or text.startswith("Credit balance is too low")),
    ("invalid", lambda outcome, status, word, text: word == "model_not_found"),
)


def _any_error(outcome: Outcome) -> Verdict | None:
    if not (outcome.result or {}).get("is_error") and outcome.subtype == "success":
        return None
    what = f"`{outcome.subtype}`" if isinstance(outcome.subtype, str) and outcome.subtype != "success" else "an error"
    return "failed", outcome.complaint or f"the agent reported {what} without a word"


def _declined(outcome: Outcome) -> Verdict | None:
    """The model refused to answer; not all versions call that an error."""
    if (outcome.result or {}).get("stop_reason") != "refusal":
        return None
    return "failed", f"the model refused to answer: {outcome.complaint}" if outcome.complaint else "the model refused to answer"


def _too_many_turns(outcome: Outcome) -> Verdict | None:
    over = outcome.max_turns is not None and outcome.turns > outcome.max_turns
    return ("max_turns", f"the agent took {outcome.turns} turns, more than the {outcome.max_turns} allowed") if over else None


def _refused_tools(outcome: Outcome) -> Verdict | None:
    names = ", ".join(f"`{name}`" for name in dict.fromkeys(outcome.denials))
    return ("permission_denied", f"the agent was refused a tool that it asked for: {names}") if outcome.denials else None


def _nothing_spent(outcome: Outcome) -> Verdict | None:
    idle = (outcome.result or {}).get("num_turns") == 0 or not outcome.tokens
    return ("failed", "no tokens were spent: the model was not asked") if idle else None


def _no_answer(outcome: Outcome) -> Verdict | None:
    if outcome.answer.strip():
        return None
    return ("bad_output", "the answer is empty, a value was asked for") if outcome.schema_unmet else ("failed", "the answer is empty")


def _bad_exit(outcome: Outcome) -> Verdict | None:
    ending = outcome.ending
    bad = not ending.ended_by_us and (ending.exit_code != 0 or ending.signal)
    return ("failed", f"the agent gave a good result, then ended with {ending.how}") if bad else None


_RULES: tuple[Callable[[Outcome], Verdict | None], ...] = (
    _stopped,
    _never_began,
    _only_words,
    _no_result,
    _limit_of_ours,
    _broken_off,
    _api_error,
    _any_error,
    _declined,
    _too_many_turns,
    _refused_tools,
    _nothing_spent,
    _no_answer,
    _bad_exit,
)
