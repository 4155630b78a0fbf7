"""Reads one run of `codex exec --json` to its verdict (measured: 0.169).

Knows its events and the texts of its errors. Exit code 0 proves nothing; `turn.completed` does. What its sandbox refuses
leaves no event: only the step's `expect` and `verify` can tell. It reports no cost, and its tokens are those of the whole thread.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, tzinfo
from typing import Any

from cpool_flow.agents.json_lines import count, event, first_line, mapping, plain, text
from cpool_flow.agents.limits import names_limit, reset_time
from cpool_flow.agents.protocol import AgentResult, Ending, StopReason
from cpool_flow.agents.verdict import Verdict, bad_end, empty, refused, refused_to_start, stopped
from cpool_flow.model import ErrorKind

_TOOLS = frozenset({"command_execution", "mcp_tool_call", "web_search", "file_change", "collab_tool_call"})
# Without an event: a flag, a configuration, a session or a folder that it does not take. Anything else is a crash.
_NO_START = (1, 2)
_ERRORS: tuple[tuple[ErrorKind, str], ...] = (
    (
        "auth",
        r"unexpected status 40[13]\b|Missing environment variable|not logged in|(?:log|sign) ?in again|refresh token|invalid[ _]api[ _]key",
    ),
    ("rate_limited", r"unexpected status 429\b|last status: 429\b"),
    ("invalid", r"unexpected status 404\b|model[^.]{0,80} (?:does not exist|not found|is not supported)"),
    ("overloaded", r"unexpected status 5\d\d\b|last status: 5\d\d\b|high demand|at capacity|overloaded|stream (?:disconnected|closed)"),
    ("overloaded", r"error sending request|connection (?:refused|reset|closed)|network error|timed? ?out"),
)


class CodexReader:
    """`zone` is that of the agent's process; `resumed` the thread that it should go on in."""

    futile = False

    def __init__(self, *, schema_asked: bool = False, allow_denials: bool = False, zone: tzinfo = UTC, resumed: str | None = None) -> None:
        self._schema_asked = schema_asked
        self._allow_denials = allow_denials
        self._zone = zone
        self._resumed = resumed
        self._stopped: StopReason | None = None
        self._left_over = False
        self._events = 0
        self._thread: str | None = None
        self._answer = ""
        self._usage: Mapping[str, Any] | None = None
        self._failure: str | None = None
        self._complaint = ""
        self._open: set[str] = set()
        self._denials: dict[str, str] = {}

    @property
    def tool_running(self) -> bool:
        return bool(self._open)

    @property
    def turn_over(self) -> bool:
        return self._usage is not None or self._failure is not None

    def feed(self, line: bytes) -> str | None:
        found = event(line)
        if found is None:
            return None
        self._events += 1
        match found.get("type"):
            case "thread.started":
                self._thread = text(found.get("thread_id")) or self._thread
            case "item.started" | "item.updated" | "item.completed":
                return self._item(mapping(found.get("item")), ended=found.get("type") == "item.completed")
            case "turn.completed":
                self._usage = mapping(found.get("usage"))
                self._open.clear()
            case "turn.failed":
                self._failure = text(mapping(found.get("error")).get("message")) or text(found.get("error"))
                self._open.clear()
            case "error":
                self._complaint = text(found.get("message"))
                return self._complaint
        return None

    def _item(self, item: Mapping[str, Any], *, ended: bool) -> str | None:
        kind, identity = text(item.get("type")), text(item.get("id"))
        if kind == "agent_message":
            self._answer = text(item.get("text"))
            return self._answer
        if kind not in _TOOLS:
            return None
        (self._open.discard if ended else self._open.add)(identity)
        if item.get("status") == "declined":
            self._denials[identity] = text(item.get("tool")) or kind
        return first_line(text(item.get("command")) or text(item.get("tool")) or text(item.get("query")) or kind)

    def warn(self, line: bytes) -> None:
        """Of stderr only the end is asked, when all is over."""

    def stopping(self, reason: StopReason) -> None:
        self._left_over = self.turn_over
        self._stopped = None if self.turn_over else reason

    def finish(self, ending: Ending) -> AgentResult:
        kind, error = self._verdict(ending) or (None, "")
        usage, known = self._usage or {}, self._usage is not None
        return AgentResult(
            kind=kind,
            error=error,
            answer=plain(self._answer).strip(),
            cost_usd=0.0 if kind == "invalid" and not self._events else None,
            input_tokens=count(usage.get("input_tokens")) if known else None,
            output_tokens=count(usage.get("output_tokens")) if known else None,
            cached_tokens=count(usage.get("cached_input_tokens")) if known else None,
            counts_session=True,
            session_id=self._thread,
            denials=tuple(self._denials.values()),
            resets_at=reset_time(error, ending.now, self._zone) if kind == "rate_limited" else None,
        )

    def _verdict(self, ending: Ending) -> Verdict | None:
        if self._stopped:
            return stopped(self._stopped)
        if not self._events and ending.exit_code in _NO_START:
            return refused_to_start(ending.stderr.strip() or ending.how)
        if self._failure is not None:
            return _failed(self._failure or self._complaint)
        if self._usage is None:
            return self._without_result(ending)
        if self._resumed is not None and self._thread != self._resumed:
            return "invalid", f"the agent knows no session `{self._resumed}`: it began another"
        spent = count(self._usage.get("input_tokens")) + count(self._usage.get("output_tokens"))
        denials = () if self._allow_denials else self._denials.values()
        return refused(denials) or empty(self._answer, spent, self._schema_asked) or bad_end(ending, self._left_over)

    def _without_result(self, ending: Ending) -> Verdict:
        """It may have said why before it ended; a text that says nothing of the server is a crash like any other."""
        kind, told = _failed(self._complaint) if self._complaint and ending.exit_code else ("failed", "")
        if kind != "failed":
            return kind, told
        complaint = f", after the error: {self._complaint}" if self._complaint else ""
        return "lost", f"the agent ended ({ending.how}) without a result{complaint}{ending.last_words}"


def _failed(words: str) -> Verdict:
    told = text(mapping(mapping(event(words.encode("utf-8", "replace"))).get("error")).get("message")) or words
    if names_limit(words):
        return "rate_limited", told
    for kind, pattern in _ERRORS:
        if re.search(pattern, words, re.IGNORECASE):
            return kind, told
    return "failed", told or "the turn failed without a word"
