"""The stream-json events of Claude Code, one JSON object a line, folded into what is true of the turn.

Knows the events of all versions measured (2.1.197, 2.1.330, 2.1.331) and skips what it does not know; nothing of
verdicts or processes. Every value may be of any type, since an agent's output is anybody's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from cpool_flow.agents.json_lines import count, dollars, event, first_line, http_status, listed, mapping, number, text
from cpool_flow.agents.protocol import MAX_LINE_BYTES
from cpool_flow.dataclass import dataclass
from cpool_flow.model import ErrorKind

_ENDED_TASKS = frozenset({"completed", "failed", "killed", "stopped"})
# So many times the CLI may ask a server again that refuses it; more is waiting in vain, which holds the slot. It gives up an
# overloaded one by itself, after ten times.
_MOST_RETRIES: Mapping[ErrorKind, int] = {"auth": 2, "rate_limited": 2, "overloaded": 10}
_REFUSALS: Mapping[object, ErrorKind] = {
    **dict.fromkeys((401, 403, "authentication_failed"), "auth"),
    **dict.fromkeys((429, "rate_limit"), "rate_limited"),
    **dict.fromkeys((*range(500, 600), "overloaded", "server_error"), "overloaded"),
}
_INPUT_TOKENS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
_LAST_MOMENT = 1e11

Tokens = tuple[int, int, int]  # input, output, and what of the input came from a cache


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
    failed_servers: dict[str, None] = field(default_factory=dict)
    resets_at: float | None = None
    open_tools: set[str] = field(default_factory=set)
    open_tasks: set[str] = field(default_factory=set)
    in_turn: bool = True
    # Why the server refuses, while the CLI asks it again and again: the kind of failure, and what to say of it.
    refused: tuple[ErrorKind, str] | None = None
    limited: bool = False  # the account was rejected, and nothing was answered since
    overlong: bool = False  # a line was too long to be read whole
    init: Mapping[str, Any] | None = None  # the last one
    used_tools: set[str] = field(default_factory=set)  # by name, those of subagents too
    marked: bool = False  # a background task began, or the model was changed: a process keeps that beyond the turn
    _message_id: str = ""
    _message_tokens: Tokens = (0, 0, 0)
    _word: str = ""
    _retries: int = 0

    def feed(self, line: bytes) -> str | None:
        """Take one line; what the agent says or does, for who looks on. A line that is no JSON object is skipped."""
        self.overlong = self.overlong or len(line) > MAX_LINE_BYTES
        found = event(line)
        if found is None:
            return None
        self.events += 1
        take = _EVENTS.get(text(found.get("type")))
        return take(self, found) if take else None

    @property
    def tokens(self) -> Tokens:
        """Input, output, and what of the input came from a cache, so far: those of a turn included that has no result yet."""
        return _added((self.input_tokens, self.output_tokens, self.cached_tokens), self._message_tokens)

    def _system(self, event: Mapping[str, Any]) -> str | None:
        match event.get("subtype"):
            case "init":
                return self._init(event)
            case "task_started":
                self.marked = True
                self.open_tasks.add(text(event.get("task_id")))
            case "task_updated" if text(mapping(event.get("patch")).get("status")) in _ENDED_TASKS:
                self.open_tasks.discard(text(event.get("task_id")))
            case "task_notification":
                self.open_tasks.discard(text(event.get("task_id")))
            case "background_tasks_changed":
                self.open_tasks = {text(mapping(task).get("task_id")) for task in listed(event.get("tasks"))}
            case "api_retry":
                self._retry(event)
                return f"the API asks to wait: {text(event.get('error')) or 'unknown'}"
            case "model_fallback":
                self.marked = True
                self.model = text(event.get("fallback_model")) or self.model
                return f"falls back to {text(event.get('fallback_model')) or 'another model'}"
            case "permission_denied":
                return f"refused: {text(event.get('tool_name'))}"
        return None

    def _retry(self, event: Mapping[str, Any]) -> None:
        status, word = http_status(event.get("error_status")), text(event.get("error"))
        kind = _REFUSALS.get(status) or _REFUSALS.get(word)
        self._retries = max(self._retries + 1, count(event.get("attempt")))
        if kind is not None and self._retries > _MOST_RETRIES[kind]:
            named = ", ".join(str(part) for part in (status, word) if part)
            self.refused = kind, f"the API refuses again and again ({named})"

    def _init(self, event: Mapping[str, Any]) -> str | None:
        self.in_turn = True
        self.init = event
        self.open_tools.clear()
        self.session_id = text(event.get("session_id")) or self.session_id
        self.model = text(event.get("model")) or self.model
        self.version = text(event.get("claude_code_version")) or self.version
        servers = map(mapping, listed(event.get("mcp_servers")))
        failed = [text(server.get("name")) for server in servers if server.get("status") == "failed"]
        self.failed_servers |= dict.fromkeys(failed)
        return f"MCP servers that failed: {', '.join(failed)}" if failed else None  # it goes on without a word

    def _assistant(self, event: Mapping[str, Any]) -> str | None:
        message = mapping(event.get("message"))
        self._answered()
        self._word = text(event.get("error"))
        identity = text(message.get("id"))
        # One message comes as an event a block. What the CLI made up itself, and what a subagent says, is no turn.
        if identity and identity != self._message_id and message.get("model") != "<synthetic>" and not event.get("parent_tool_use_id"):
            self._message_id = identity
            self.messages += 1
            self._message_tokens = _added(self._message_tokens, _tokens(message.get("usage")))
        shown = None
        for block in map(mapping, listed(message.get("content"))):
            match block.get("type"):
                case "tool_use":
                    self.open_tools.add(text(block.get("id")))
                    self.used_tools.add(text(block.get("name")))
                    shown = _tool(block)
                case "text":
                    shown = text(block.get("text")) or shown
        return shown

    def _user(self, event: Mapping[str, Any]) -> str | None:
        for block in map(mapping, listed(mapping(event.get("message")).get("content"))):
            if block.get("type") == "tool_result":
                self.open_tools.discard(text(block.get("tool_use_id")))
        return None

    def _rate_limit(self, event: Mapping[str, Any]) -> str | None:
        info = mapping(event.get("rate_limit_info"))
        if info.get("status") == "rejected":
            self.resets_at = number(info.get("resetsAt"), _LAST_MOMENT) or self.resets_at
            self.limited = True
        return None

    def _answered(self) -> None:
        self.refused = None
        self.limited = False
        self._retries = 0

    def _result(self, event: Mapping[str, Any]) -> str | None:
        self.cost_usd = _plus(self.cost_usd, self._dollars(event))
        self.result = event
        self._answered()
        self.error_word, self._word = self._word, ""
        self.in_turn = False
        self.open_tools.clear()
        self.session_id = text(event.get("session_id")) or self.session_id
        self.reported_turns += count(event.get("num_turns"))
        # After a broken stream 2.1.197 reports no tokens for an answer that it has; its messages know them.
        spent = _tokens(event.get("usage"))
        spent = spent if any(spent) else self._message_tokens
        self.input_tokens, self.output_tokens, self.cached_tokens = _added(
            (self.input_tokens, self.output_tokens, self.cached_tokens), spent
        )
        self._message_tokens = (0, 0, 0)
        denied = event.get("permission_denials")
        for index, denial in enumerate(map(mapping, listed(denied) or ([denied] if denied else []))):
            self.denials[text(denial.get("tool_use_id")) or str(index)] = text(denial.get("tool_name")) or "a tool"
        return None

    def _dollars(self, result: Mapping[str, Any]) -> float | None:
        """The cost of one result. Newer versions say it; with the others `total_cost_usd` is a running total."""
        total, before = dollars(result.get("total_cost_usd")), self.dollars_before
        self.dollars_before = before if total is None else total
        models = result.get("model_usage_since_last_result")
        if isinstance(models, dict):
            costs = [dollars(mapping(usage).get("costUSD")) for usage in models.values()]
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


def _tokens(usage: object) -> Tokens:
    counts = mapping(usage)
    output, cached = count(counts.get("output_tokens")), count(counts.get("cache_read_input_tokens"))
    return sum(count(counts.get(name)) for name in _INPUT_TOKENS), output, cached


def _added(left: Tokens, right: Tokens) -> Tokens:
    return left[0] + right[0], left[1] + right[1], left[2] + right[2]


def _plus(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left + right


def _tool(block: Mapping[str, Any]) -> str | None:
    detail = next((value for value in mapping(block.get("input")).values() if isinstance(value, str)), "")
    return first_line(f"{text(block.get('name'))} {detail}")
