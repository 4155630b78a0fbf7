"""Reads one run of `gemini --output-format stream-json` to its verdict (measured: 0.61).

Knows its events, its exit codes and the texts of its errors. Exit code 0 proves nothing: it ends so without a result when
it hears SIGTERM, and with an error result when the answer was empty. It reports tokens, no cost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from cpool_flow.agents.json_lines import Joined, count, event, first_line, mapping, notice, plain, text
from cpool_flow.agents.limits import names_limit, reset_time
from cpool_flow.agents.protocol import AgentResult, Ending, StopReason
from cpool_flow.agents.verdict import Verdict, bad_end, empty, refused, refused_to_start, stopped, too_long
from cpool_flow.model import ErrorKind

# A tool that would have to ask is not offered; a rule that refuses one says so.
_REFUSALS = frozenset({"tool_not_registered", "policy_violation"})
_PATIENCE = 3  # requests that the server did not answer, one after the other; it would go on for minutes
_ATTEMPT = re.compile(r"Attempt (\d+) failed")
# Other exit codes are HTTP statuses, less 256.
_EXITS: Mapping[int | None, ErrorKind] = {
    41: "auth", 42: "invalid", 44: "invalid", 52: "invalid", 53: "max_turns", 55: "invalid", 145: "auth", 147: "auth", 173: "rate_limited",
}  # fmt: skip
_NO_START = re.compile(r"Unknown arguments?:|^Usage: gemini|Invalid values:|Error resuming session|not running in a trusted", re.MULTILINE)
_ERRORS: tuple[tuple[ErrorKind, str], ...] = (
    ("auth", r"API key not valid|API_KEY_INVALID|UNAUTHENTICATED|PERMISSION_DENIED|\"code\": ?40[13]\b|GEMINI_API_KEY"),
    ("rate_limited", r"\"code\": ?429\b|status:? 429\b"),
    ("invalid", r"ModelNotFound|model[^.]{0,80} (?:is )?not found|models/\S+ is not found|\"code\": ?404\b|NOT_FOUND"),
    ("overloaded", r"\"code\": ?5\d\d\b|status:? 5\d\d\b|overloaded|UNAVAILABLE|INTERNAL|API Error: terminated|fetch failed|ECONN|socket|ETIMEDOUT"),
)  # fmt: skip


class GeminiReader:
    """`zone` is that of the agent's process."""

    def __init__(self, *, schema_asked: bool = False, allow_denials: bool = False, zone: tzinfo = UTC) -> None:
        self._schema_asked = schema_asked
        self._allow_denials = allow_denials
        self._zone = zone
        self._stopped: StopReason | None = None
        self._left_over = False
        self._events = 0
        self._session: str | None = None
        self._model: str | None = None
        self._answer = Joined()
        self._complaint = ""
        self._halted = ""
        self._retries = 0
        self._retry = ""
        self._open: dict[str, str] = {}
        self._denials: list[str] = []
        self._result: Mapping[str, Any] | None = None

    @property
    def tool_running(self) -> bool:
        return bool(self._open)

    @property
    def turn_over(self) -> bool:
        return self._result is not None

    @property
    def futile(self) -> bool:
        return self._retries >= _PATIENCE and self._result is None

    def feed(self, line: bytes) -> str | None:
        found = event(line)
        if found is None:
            return None
        self._events += 1
        match found.get("type"):
            case "init":
                self._session = text(found.get("session_id")) or self._session
                self._model = text(found.get("model")) or self._model
            case "message" if found.get("role") == "assistant":
                self._retries = 0
                self._answer.add(text(found.get("content")))
                return text(found.get("content"))
            case "tool_use":
                self._retries = 0
                self._open[text(found.get("tool_id"))] = text(found.get("tool_name"))
                return first_line(text(found.get("tool_name")))
            case "tool_result":
                name = self._open.pop(text(found.get("tool_id")), "a tool")
                if text(mapping(found.get("error")).get("type")) in _REFUSALS:
                    self._denials.append(name)
            case "error":
                self._complaint = text(found.get("message"))
                self._halted = self._complaint if "stopping execution" in self._complaint else self._halted
                return self._complaint
            case "result":
                self._result = found
                self._open.clear()
        return None

    def warn(self, line: bytes) -> None:
        words = notice(line)
        if found := _ATTEMPT.search(words):
            self._retries, self._retry = int(found[1]), words
        elif self._retries and words.strip().startswith("status:"):
            self._retry += f" {words.strip()}"

    def stopping(self, reason: StopReason) -> None:
        self._left_over = self.turn_over
        self._stopped = None if self.turn_over else reason

    def finish(self, ending: Ending) -> AgentResult:
        kind, error = self._verdict(ending) or (None, "")
        stats = mapping((self._result or {}).get("stats"))
        known = bool(stats)
        return AgentResult(
            kind=kind,
            error=error,
            answer=plain(self._answer.text).strip(),
            cost_usd=0.0 if kind == "invalid" and not self._events else None,
            input_tokens=count(stats.get("input_tokens")) if known else None,
            output_tokens=count(stats.get("output_tokens")) if known else None,
            cached_tokens=count(stats.get("cached")) if known else None,
            session_id=self._session,
            model=self._model,
            denials=tuple(self._denials),
            resets_at=reset_time(f"{error}\n{self._retry}", ending.now, self._zone) if kind == "rate_limited" else None,
        )

    def _verdict(self, ending: Ending) -> Verdict | None:
        if self._stopped:
            return stopped(self._stopped)
        if self._result is None:
            return self._without_result(ending)
        told = self._told()
        if self._result.get("status") != "success":
            return _failed(told, ending, told)
        if self._halted:
            return "failed", self._halted
        stats = mapping(self._result.get("stats"))
        spent = count(stats.get("input_tokens")) + count(stats.get("output_tokens"))
        denials = () if self._allow_denials else self._denials
        said = too_long(self._answer) or empty(self._answer.text, spent, self._schema_asked)
        return refused(denials) or said or bad_end(ending, self._left_over)

    def _told(self) -> str:
        """What it says of its failure: of an empty answer only an event before the result speaks."""
        error = mapping((self._result or {}).get("error"))
        kind = text(error.get("type"))
        named = f"{kind}: " if kind not in ("", "unknown", "Error") else ""
        return f"{named}{text(error.get('message'))}" if error else self._complaint or "the agent reported an error without a word"

    def _without_result(self, ending: Ending) -> Verdict:
        if self.futile:
            kind, _ = _failed(self._retry, ending, "")
            return kind if kind in ("rate_limited", "auth") else "overloaded", f"the server was asked {self._retries} times: {self._retry}"
        if ending.exit_code in _EXITS:
            return _EXITS[ending.exit_code], ending.stderr.strip() or f"the agent ended with {ending.how}"
        if not self._events and ending.exit_code and _NO_START.search(ending.stderr):
            return refused_to_start(ending.stderr.strip())
        return "lost", f"the agent ended ({ending.how}) without a result{ending.last_words}"


def _failed(words: str, ending: Ending, told: str) -> Verdict:
    if ending.exit_code in _EXITS:
        return _EXITS[ending.exit_code], told
    if names_limit(words):
        return "rate_limited", told
    for kind, pattern in _ERRORS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind, told
    return "failed", told
