"""Reads one turn of Claude Code, in a process of its own or in a warm one, to its verdict.

Knows nothing of how the process was started, and of the clock only what it is told at the end.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, tzinfo

from cpool_flow.agents.claude_events import Transcript
from cpool_flow.agents.claude_verdict import Outcome, Verdict, verdict
from cpool_flow.agents.limits import reset_time
from cpool_flow.agents.protocol import AgentResult, Ending, StopReason


class ClaudeReader:
    """`zone` is that of the agent's process. `dollars_before` is what a warm process had spent before this turn."""

    def __init__(
        self,
        *,
        max_turns: int | None = None,
        schema_asked: bool = False,
        allow_denials: bool = False,
        zone: tzinfo = UTC,
        dollars_before: float = 0.0,
    ) -> None:
        self.transcript = Transcript(dollars_before)
        self._max_turns = max_turns
        self._schema_asked = schema_asked
        self._allow_denials = allow_denials
        self._zone = zone
        self._stopped: StopReason | None = None
        self._left_over = False
        self._refused: Verdict | None = None

    @property
    def tool_running(self) -> bool:
        return bool(self.transcript.open_tools or self.transcript.open_tasks)

    @property
    def turn_over(self) -> bool:
        seen = self.transcript
        return seen.result is not None and not seen.in_turn and not seen.open_tasks

    @property
    def futile(self) -> bool:
        return self.transcript.refused is not None

    def feed(self, line: bytes) -> str | None:
        refused, result = self.transcript.refused, self.transcript.result
        shown = self.transcript.feed(line)
        if self.transcript.result is not result:
            self._refused = refused
        return shown

    def warn(self, line: bytes) -> None:
        """Of stderr only the end is asked, when all is over."""

    def stopping(self, reason: StopReason) -> None:
        if self.turn_over:
            self._left_over = True
        else:
            self._stopped = reason

    def finish(self, ending: Ending) -> AgentResult:
        seen = self.transcript
        outcome = self._outcome(ending)
        kind, error = verdict(outcome) or (None, "")
        refused = self._refused or seen.refused
        if refused is not None and kind in ("lost", "cancelled") and not self._stopped:
            kind, error = refused  # it was ended for that
        limited = kind == "rate_limited"
        input_tokens, output_tokens, cached_tokens = seen.tokens
        return AgentResult(
            kind=kind,
            error=error,
            answer=outcome.answer,
            cost_usd=self._cost(kind == "invalid"),
            cost_at_least=seen.result is not None and not self.turn_over,
            turns=outcome.turns if seen.result is not None else None,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            cached_tokens=cached_tokens,
            session_id=seen.session_id,
            model=seen.model,
            denials=tuple(seen.denials.values()),
            failed_servers=tuple(seen.failed_servers),
            resets_at=(seen.resets_at or reset_time(error, ending.now, self._zone)) if limited else None,
        )

    def _outcome(self, ending: Ending) -> Outcome:
        seen = self.transcript
        structured = seen.result is not None and seen.result.get("structured_output") is not None
        if self._left_over and not ending.ended_by_us:
            ending = replace(ending, ended_by_us=True)
        return Outcome(
            ending=ending,
            stopped=self._stopped,
            events=seen.events,
            limited=seen.limited,
            overlong=seen.overlong,
            result=seen.result,
            error_word=seen.error_word,
            answer=self._answer(),
            # Handing in the structured answer is a turn to the CLI, but one that `--max-turns` does not count.
            turns=max(seen.messages, seen.reported_turns - structured),
            max_turns=self._max_turns,
            tokens=seen.input_tokens + seen.output_tokens,
            denials=() if self._allow_denials else tuple(seen.denials.values()),
            schema_unmet=self._schema_asked and not structured,
        )

    def _answer(self) -> str:
        """The structured answer as JSON text where there is one, else the text of the last result."""
        result = self.transcript.result or {}
        structured, text = result.get("structured_output"), result.get("result")
        answer = json.dumps(structured, ensure_ascii=False) if structured is not None else text if isinstance(text, str) else ""
        return answer.encode("utf-8", "replace").decode()  # half of a surrogate pair is no text

    def _cost(self, never_asked: bool) -> float | None:
        """Unknown without a result: tokens may have been spent."""
        if self.transcript.result is None:
            return 0.0 if never_asked else None
        return self.transcript.cost_usd
