"""Reads what an agent of the project's own has printed, as its description says: a text, its last line, JSON, or lines of JSON.

Knows paths and events by their names in the description. An answer that is there, no error, and a good exit code are success.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, tzinfo
from typing import Any

from cpool_flow.agents.json_lines import Joined, count, dollars, first_line, plain
from cpool_flow.agents.limits import names_limit, reset_time
from cpool_flow.agents.protocol import MAX_LINE_BYTES, AgentResult, Ending, StopReason
from cpool_flow.agents.verdict import Verdict, stopped
from cpool_flow.outputs import Keys, path_keys
from cpool_flow.own_agent import Found, OwnAgent

_NOTHING = object()
# Of these `all` is the sum of what is found. A number that is none makes all of it unknown.
_SUMS: Mapping[str, Callable[[object], float | None]] = {"cost_usd": dollars, "input_tokens": count, "output_tokens": count}


class OwnReader:
    """`zone` is that of the agent's process."""

    tool_running = False
    turn_over = False
    futile = False

    def __init__(self, form: OwnAgent, *, schema_asked: bool = False, zone: tzinfo = UTC) -> None:
        self._form = form
        self._schema_asked = schema_asked
        self._zone = zone
        self._stopped: StopReason | None = None
        self._text = bytearray()
        self._too_long = False
        self._values: dict[str, Any] = {}
        self._paths = {name: _Place.of(place) for name, place in form.places.items()}

    def feed(self, line: bytes) -> str | None:
        match self._form.output:
            case "json_lines":
                self._take(_parsed(line))
            case "last_line":
                if line.strip():
                    self._text = bytearray(line)
            case _:
                self._too_long = self._too_long or len(self._text) + len(line) > MAX_LINE_BYTES
                if not self._too_long:
                    self._text += line + b"\n"
        return first_line(line[:1000].decode("utf-8", "replace"))

    def warn(self, line: bytes) -> None:
        """Of stderr only the end is asked, when all is over."""

    def stopping(self, reason: StopReason) -> None:
        self._stopped = reason

    def finish(self, ending: Ending) -> AgentResult:
        if self._form.output == "json":
            self._take(_document(bytes(self._text)))
        kind, error = self._verdict(ending) or (None, "")
        values = self._values
        session = values.get("session_id")
        return AgentResult(
            kind=kind,
            error=error,
            answer=self._answer,
            cost_usd=dollars(values.get("cost_usd")),
            input_tokens=count(values["input_tokens"]) if "input_tokens" in values else None,
            output_tokens=count(values["output_tokens"]) if "output_tokens" in values else None,
            session_id=_words(session) if session is not None else None,
            resets_at=reset_time(error, ending.now, self._zone) if kind == "rate_limited" else None,
        )

    @property
    def _answer(self) -> str:
        text = self._text.decode("utf-8", "replace") if self._form.answer is None else _words(self._values.get("answer", ""))
        return plain(text).strip()

    def _take(self, value: Any) -> None:
        """Note what stands in a document, or in one line."""
        for name, place in self._paths.items():
            found = place.find(value, self._form.event_key)
            if found is _NOTHING or found is None:
                continue
            if place.all and name in _SUMS:
                before, number = self._values.get(name, 0), _SUMS[name](found)
                self._values[name] = None if before is None or number is None else before + number
            elif place.all:
                joined = self._values.setdefault(name, Joined())
                joined.add(_words(found))
                self._too_long = self._too_long or joined.too_long
            else:
                self._values[name] = found

    def _verdict(self, ending: Ending) -> Verdict | None:
        if self._stopped:
            return stopped(self._stopped)
        if ending.signal or ending.exit_code is None:
            return "lost", f"the agent died of {ending.how}{ending.last_words}"
        error = _words(self._values.get("error")) if self._values.get("error") else ""
        meant = self._form.kind_of(ending.exit_code)
        told = error or f"the agent ended with {ending.how}{ending.last_words}"
        if meant not in (None, "success"):
            return meant, told  # type: ignore[return-value]
        if error or (ending.exit_code != 0 and meant is None):
            return "rate_limited" if names_limit(error or ending.stderr) else "failed", told
        if self._too_long:
            return "failed", f"the answer is longer than {MAX_LINE_BYTES // 2**20} MB"
        if self._form.answer is not None and "answer" not in self._values:
            return "lost", f"the agent ended ({ending.how}) without an answer in its output{ending.last_words}"
        if not self._answer:
            return ("bad_output", "the answer is empty, a value was asked for") if self._schema_asked else ("failed", "the answer is empty")
        return None


class _Place:
    """A path, and the lines in which it counts."""

    def __init__(self, keys: Keys, event: str | None, all: bool) -> None:
        self._keys, self._event, self.all = keys, event, all

    @classmethod
    def of(cls, place: str | Found) -> _Place:
        if isinstance(place, str):
            return cls(path_keys(place), None, False)
        return cls(path_keys(place.path), place.event, place.all)

    def find(self, value: Any, event_key: str) -> Any:
        """What stands there; _NOTHING where the path leads nowhere, or the line is another's."""
        if self._event is not None and (not isinstance(value, dict) or value.get(event_key) != self._event):
            return _NOTHING
        for key in self._keys:
            holds = isinstance(value, dict) if isinstance(key, str) else isinstance(value, list)
            if not holds:
                return _NOTHING
            try:
                value = value[key]
            except (KeyError, IndexError):
                return _NOTHING
        return value


def _parsed(text: bytes) -> Any:
    try:
        return json.loads(text.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return _NOTHING


def _document(text: bytes) -> Any:
    """The JSON of an output: all of it, else its last line, for some print warnings first."""
    whole = _parsed(text)
    return whole if whole is not _NOTHING else _parsed(text.strip().rpartition(b"\n")[2])


def _words(value: object) -> str:
    if isinstance(value, Joined):
        return value.text
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
