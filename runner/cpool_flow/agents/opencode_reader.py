"""Reads one run of `opencode run --format json` to its verdict (measured: 1.18.33).

Knows its events, and the log on its stderr: of a server that refuses it says nothing else and asks again for ever. There is
no final event: the last step that ended with `stop` is the result. A tool shows only when it has ended.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cpool_flow.agents.json_lines import Joined, count, dollars, event, first_line, http_status, mapping, notice, plain, text
from cpool_flow.agents.limits import names_limit, reset_time
from cpool_flow.agents.protocol import AgentResult, Ending, StopReason
from cpool_flow.agents.verdict import Verdict, bad_end, empty, refused, refused_to_start, stopped, too_long
from cpool_flow.model import ErrorKind
from cpool_flow.pool_file import Price

_PATIENCE = 3  # requests that the server did not answer, one after the other
_RETRY = re.compile(r'message="stream error".* small=false .*error\.error="(?P<words>.*)"')
_REFUSED = re.compile(r"unavailable tool|rejected permission|specified a rule which prevents|permission denied by", re.IGNORECASE)
_NO_START = re.compile(r"Session not found|Unknown arguments?|^opencode run |Invalid values", re.MULTILINE)
_UNKNOWN_MODEL = re.compile(r"ModelNotFoundError|Model not found")
_STATUSES: Mapping[object, ErrorKind] = {401: "auth", 403: "auth", 402: "auth", 404: "invalid", 429: "rate_limited"}
_LIMITED = re.compile(r"rate.?limit|too many requests|\b429\b|quota", re.IGNORECASE)


class OpencodeReader:
    def __init__(
        self,
        *,
        max_turns: int | None = None,
        budget_usd: float | None = None,
        price: Price | None = None,
        schema_asked: bool = False,
        allow_denials: bool = False,
    ) -> None:
        """`price`: what its tokens cost, where it says itself that they cost nothing."""
        self._max_turns = max_turns
        self._budget_usd = budget_usd
        self._price = price
        self._schema_asked = schema_asked
        self._allow_denials = allow_denials
        self._stopped: StopReason | None = None
        self._left_over = False
        self._events = 0
        self._session: str | None = None
        self._answer = Joined("\n")
        self._turns = 0
        self._reason = ""
        self._cost: float | None = 0.0
        self._input = self._output = self._cached = 0
        self._error: Mapping[str, Any] | None = None
        self._denials: list[str] = []
        self._refusals = 0
        self._words = ""
        self._unknown_model = False

    @property
    def tool_running(self) -> bool:
        return False

    @property
    def turn_over(self) -> bool:
        return self._reason == "stop" or self._error is not None

    @property
    def futile(self) -> bool:
        return not self.turn_over and (self._refusals >= _PATIENCE or self._over_turns or self._over_budget)

    @property
    def _over_budget(self) -> bool:
        """Whether it has spent what it may, and wants to go on."""
        return self._budget_usd is not None and self._turns > 0 and self._reason != "stop" and self._spent_usd >= self._budget_usd

    @property
    def _spent_usd(self) -> float:
        """What is known of its cost so far."""
        if self._cost or self._price is None:
            return self._cost or 0.0
        return self._price.cost_usd(self._input - self._cached, self._output, self._cached)

    @property
    def _over_turns(self) -> bool:
        return self._max_turns is not None and self._turns + (self._reason != "stop") > self._max_turns

    def feed(self, line: bytes) -> str | None:
        found = event(line)
        if found is None:
            return None
        self._events += 1
        self._session = text(found.get("sessionID")) or self._session
        part = mapping(found.get("part"))
        match found.get("type"):
            case "text":
                self._refusals = 0
                self._answer.add(text(part.get("text")))
                return text(part.get("text"))
            case "tool_use":
                self._refusals = 0
                self._answer.clear()
                return self._tool(part)
            case "step_start":
                self._reason = ""
            case "step_finish":
                self._finished(part)
            case "error":
                self._error = mapping(found.get("error"))
        return None

    def _tool(self, part: Mapping[str, Any]) -> str | None:
        name, state = text(part.get("tool")), mapping(part.get("state"))
        given = mapping(state.get("input"))
        if name == "invalid" and "unavailable tool" in text(given.get("error")):
            self._denials.append(text(given.get("tool")) or "a tool")
        elif state.get("status") == "error" and _REFUSED.search(text(state.get("error"))):
            self._denials.append(name or "a tool")
        return first_line(f"{name} {text(state.get('title'))}")

    def _finished(self, part: Mapping[str, Any]) -> None:
        self._refusals = 0
        self._turns += 1
        self._reason = text(part.get("reason"))
        cost = dollars(part.get("cost"))
        self._cost = None if cost is None or self._cost is None else self._cost + cost
        tokens = mapping(part.get("tokens"))
        cache = mapping(tokens.get("cache"))
        self._input += count(tokens.get("input")) + count(cache.get("read")) + count(cache.get("write"))
        self._output += count(tokens.get("output")) + count(tokens.get("reasoning"))
        self._cached += count(cache.get("read"))

    def warn(self, line: bytes) -> None:
        words = notice(line)
        self._unknown_model = self._unknown_model or bool(_UNKNOWN_MODEL.search(words))
        if found := _RETRY.search(words):
            self._refusals += 1
            self._words = found["words"]

    def stopping(self, reason: StopReason) -> None:
        self._left_over = self.turn_over
        self._stopped = None if self.turn_over else reason

    def finish(self, ending: Ending) -> AgentResult:
        kind, error = self._verdict(ending) or (None, "")
        spent = self._input + self._output
        return AgentResult(
            kind=kind,
            error=error,
            answer=plain(self._answer.text).strip(),
            # It knows no price of many models, and says 0 then.
            cost_usd=None if (spent and not self._cost) or (not self._turns and kind in ("lost", "cancelled", "timeout")) else self._cost,
            # A step that was begun costs as well.
            cost_at_least=bool(self._turns) and self._reason == "" and kind in ("lost", "cancelled", "timeout", "overloaded"),
            turns=self._turns or None,
            input_tokens=self._input if self._turns else None,
            output_tokens=self._output if self._turns else None,
            cached_tokens=self._cached if self._turns else None,
            session_id=self._session,
            denials=tuple(self._denials),
            resets_at=reset_time(error, ending.now) if kind == "rate_limited" else None,
        )

    def _verdict(self, ending: Ending) -> Verdict | None:
        if self._refusals >= _PATIENCE and not self.turn_over:
            limited = names_limit(self._words) or _LIMITED.search(self._words)
            return "rate_limited" if limited else "overloaded", f"the server was asked {self._refusals} times: {self._words}"
        if self._over_turns:
            return "max_turns", f"the agent took more than the {self._max_turns} turns allowed"
        if self._over_budget:
            return "budget", f"the agent has spent ${self._spent_usd:.4g}, and may spend ${self._budget_usd:.4g}"
        if self._stopped:
            # Of a server that does not answer it says nothing.
            waited = self._stopped == "timeout" and not self._reason
            return ("overloaded", "the agent waited for a server that did not answer") if waited else stopped(self._stopped)
        if self._error is not None:
            return _failed(self._error, self._unknown_model)
        if not self._events and ending.exit_code and (_NO_START.search(ending.stderr) or self._unknown_model):
            return refused_to_start(ending.stderr.strip())
        denials = () if self._allow_denials else self._denials
        if self._turns and (denied := refused(denials)):
            return denied
        if self._reason in ("", "tool-calls"):
            return "lost", f"the agent ended ({ending.how}) without a result{ending.last_words}"
        if self._reason != "stop":
            return "failed", f"the agent's answer ended with `{self._reason}`"
        said = too_long(self._answer) or empty(self._answer.text, self._input + self._output, self._schema_asked)
        return said or bad_end(ending, self._left_over)


def _failed(error: Mapping[str, Any], unknown_model: bool) -> Verdict:
    data = mapping(error.get("data"))
    name, words, status = text(error.get("name")), text(data.get("message")), http_status(data.get("statusCode"))
    told = words or name or "the agent reported an error without a word"
    if unknown_model:
        return "invalid", "opencode knows no such model, or has no account with its provider"
    if names_limit(words):
        return "rate_limited", told
    if status is not None and (status in _STATUSES or status >= 500):
        return _STATUSES.get(status, "overloaded"), told
    if name == "ProviderAuthError":
        return "auth", told
    # What it could not begin with: a model or a provider that nobody configured. Only its log says which.
    return ("invalid" if name == "UnknownError" else "failed"), told
