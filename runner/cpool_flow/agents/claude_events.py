"""The stream-json events of Claude Code, one JSON object a line, folded into what is true of the turn.

Knows the events of all versions measured (2.1.197, 2.1.330, 2.1.331) and skips what it does not know; nothing of
verdicts or processes. Every value may be of any type, since an agent's output is anybody's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cpool_flow.model import ErrorKind

_ENDED_TASKS = frozenset({"completed", "failed", "killed", "stopped"})
# So many times the CLI may ask a server again that refuses it; more is waiting in vain, which holds the slot.
_MOST_RETRIES = 2
_REFUSALS: Mapping[object, ErrorKind] = {
    **dict.fromkeys((401, 403, "authentication_failed"), "auth"),
    **dict.fromkeys((429, "rate_limit"), "rate_limited"),
}
_INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_MAX_DOLLARS = 1e9


@dataclass(slots=True)
class Transcript:
    """What the events so far come to. `dollars_before` is what the process had spent when this turn began."""

    dollars_before: float = 0.0
    events: int = 0
    session_id: str | None = None
    model: str | None = None
    version: str | None = None
    result: Mapping[str, Any] | None = None  # the last one
    error_word: str = ""  # `error` of the assistant event that came with the result
    messages: int = 0  # answers of the model, counted by us
    reported_turns: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cost_usd: float | None = 0.0
    denials: dict[str, str] = field(default_factory=dict)  # tool by id of its use
    resets_at: float | None = None
    open_tools: set[str] = field(default_factory=set)
    open_tasks: set[str] = field(default_factory=set)
    in_turn: bool = True
    # Why the server refuses, while the CLI asks it again and again: the kind of failure, and what to say of it.
    refused: tuple[ErrorKind, str] | None = None
    init: Mapping[str, Any] | None = None  # the last one
    used_tools: set[str] = field(default_factory=set)  # by name, those of subagents too
    marked: bool = False  # a background task began, or the model was changed: a process keeps that beyond the turn
    _message_id: str = ""
    _message_tokens: tuple[int, int] = (0, 0)
    _word: str = ""

    def feed(self, line: bytes) -> str | None:
        """Take one line; what the agent does, for the live view. A line that is no JSON object is skipped."""
        try:
            event = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
        if not isinstance(event, dict):
            return None
        self.events += 1
        kind = event.get("type")
        take = _EVENTS.get(kind) if isinstance(kind, str) else None
        return take(self, event) if take else None

    @property
    def tokens(self) -> tuple[int, int]:
        """Input and output so far, those of a turn included that has no result yet."""
        return _added((self.input_tokens, self.output_tokens), self._message_tokens)

    def _system(self, event: Mapping[str, Any]) -> str | None:
        match event.get("subtype"):
            case "init":
                return self._init(event)
            case "task_started":
                self.marked = True
                self.open_tasks.add(_text(event.get("task_id")))
            case "task_updated" if _text(_mapping(event.get("patch")).get("status")) in _ENDED_TASKS:
                self.open_tasks.discard(_text(event.get("task_id")))
            case "task_notification":
                self.open_tasks.discard(_text(event.get("task_id")))
            case "background_tasks_changed":
                self.open_tasks = {_text(_mapping(task).get("task_id")) for task in _list(event.get("tasks"))}
            case "api_retry":
                self._retry(event)
                return f"the API asks to wait: {_text(event.get('error')) or 'unknown'}"
            case "model_fallback":
                self.marked = True
                return f"falls back to {_text(event.get('fallback_model')) or 'another model'}"
            case "permission_denied":
                return f"refused: {_text(event.get('tool_name'))}"
        return None

    def _retry(self, event: Mapping[str, Any]) -> None:
        status, word = event.get("error_status"), _text(event.get("error"))
        kind = (_REFUSALS.get(status) if isinstance(status, int) else None) or _REFUSALS.get(word)
        if kind is not None and _count(event.get("attempt")) > _MOST_RETRIES:
            named = ", ".join(str(part) for part in (status, word) if part)
            self.refused = kind, f"the API refuses again and again ({named})"

    def _init(self, event: Mapping[str, Any]) -> str | None:
        self.in_turn = True
        self.init = event
        self.open_tools.clear()
        self.session_id = _text(event.get("session_id")) or self.session_id
        self.model = _text(event.get("model")) or self.model
        self.version = _text(event.get("claude_code_version")) or self.version
        servers = map(_mapping, _list(event.get("mcp_servers")))
        failed = [_text(server.get("name")) for server in servers if server.get("status") == "failed"]
        return f"MCP servers that failed: {', '.join(failed)}" if failed else None  # it goes on without a word

    def _assistant(self, event: Mapping[str, Any]) -> str | None:
        message = _mapping(event.get("message"))
        self.refused = None
        self._word = _text(event.get("error"))
        identity = _text(message.get("id"))
        # One message comes as an event a block. What the CLI made up itself, and what a subagent says, is no turn.
        if identity and identity != self._message_id and message.get("model") != "<synthetic>" and not event.get("parent_tool_use_id"):
            self._message_id = identity
            self.messages += 1
            self._message_tokens = _added(self._message_tokens, _tokens(message.get("usage")))
        shown = None
        for block in map(_mapping, _list(message.get("content"))):
            match block.get("type"):
                case "tool_use":
                    self.open_tools.add(_text(block.get("id")))
                    self.used_tools.add(_text(block.get("name")))
                    shown = _tool(block)
                case "text":
                    shown = _line(_text(block.get("text"))) or shown
        return shown

    def _user(self, event: Mapping[str, Any]) -> str | None:
        for block in map(_mapping, _list(_mapping(event.get("message")).get("content"))):
            if block.get("type") == "tool_result":
                self.open_tools.discard(_text(block.get("tool_use_id")))
        return None

    def _rate_limit(self, event: Mapping[str, Any]) -> str | None:
        info = _mapping(event.get("rate_limit_info"))
        if info.get("status") == "rejected":
            self.resets_at = _amount(info.get("resetsAt"), 1e11) or self.resets_at
        return None

    def _result(self, event: Mapping[str, Any]) -> str | None:
        self.cost_usd = _plus(self.cost_usd, self._dollars(event))
        self.result = event
        self.refused = None
        self.error_word, self._word = self._word, ""
        self.in_turn = False
        self.open_tools.clear()
        self.session_id = _text(event.get("session_id")) or self.session_id
        self.reported_turns += _count(event.get("num_turns"))
        # After a broken stream 2.1.197 reports no tokens for an answer that it has; its messages know them.
        spent = _tokens(event.get("usage"))
        spent = spent if any(spent) else self._message_tokens
        self.input_tokens, self.output_tokens = _added((self.input_tokens, self.output_tokens), spent)
        self.cached_tokens += _count(_mapping(event.get("usage")).get("cache_read_input_tokens"))
        self._message_tokens = (0, 0)
        for number, denial in enumerate(map(_mapping, _list(event.get("permission_denials")))):
            self.denials[_text(denial.get("tool_use_id")) or str(number)] = _text(denial.get("tool_name")) or "a tool"
        return None

    def _dollars(self, result: Mapping[str, Any]) -> float | None:
        """The cost of one result. Newer versions say it; with the others `total_cost_usd` is a running total."""
        total, before = _amount(result.get("total_cost_usd"), _MAX_DOLLARS), self.dollars_before
        self.dollars_before = before if total is None else total
        models = result.get("model_usage_since_last_result")
        if isinstance(models, dict):
            costs = [_amount(_mapping(usage).get("costUSD"), _MAX_DOLLARS) for usage in models.values()]
            known = [cost for cost in costs if cost is not None]
            return sum(known) if len(known) == len(costs) else None
        return None if total is None or total < before else total - before


_EVENTS = {
    "system": Transcript._system,
    "assistant": Transcript._assistant,
    "user": Transcript._user,
    "rate_limit_event": Transcript._rate_limit,
    "result": Transcript._result,
}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else 0


def _amount(value: object, most: float) -> float | None:
    """A number from 0 to `most`; NaN, infinite and negative ones are unknown."""
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= most else None


def _tokens(usage: object) -> tuple[int, int]:
    counts = _mapping(usage)
    return sum(_count(counts.get(name)) for name in _INPUT_TOKENS), _count(counts.get("output_tokens"))


def _added(left: tuple[int, int], right: tuple[int, int]) -> tuple[int, int]:
    return left[0] + right[0], left[1] + right[1]


def _plus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right


def _tool(block: Mapping[str, Any]) -> str:
    detail = next((text for text in _mapping(block.get("input")).values() if isinstance(text, str)), "")
    return _line(f"{_text(block.get('name'))} {detail}")


def _line(text: str) -> str:
    first, _, _ = text.lstrip().partition("\n")
    return first[:200].rstrip()
