"""The replay agent: answers and changes files as a recording of an earlier run says. No network, no model, nothing spent.

Knows which exchange an attempt gets (`recording.py`) and hands its changes to a real child process (`replay_cli.py`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from cpool_flow.agents.environment import agent_environment, fits, prompt_bytes
from cpool_flow.agents.protocol import AgentRequest, AgentResult, Capabilities, Ending, Invocation, Ladder, StopReason
from cpool_flow.agents.verdict import stopped
from cpool_flow.capabilities import ALL_KEYS
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig
from cpool_flow.recording import Exchange, Recording, read
from cpool_flow.secrets import COVER

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "replay_cli.py")


class Replay:
    name = "replay"
    # It stands in for the agents of the recorded run, so a step may ask it for all that any can do.
    capabilities = Capabilities(keys=ALL_KEYS, resume=True, fork=True, schema=True, cost=True, tokens=True)
    credentials: tuple[str, ...] = ()
    ladder: Ladder = ((signal.SIGTERM, 2.0),)

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        _recording(config)

    def prepare(self, request: AgentRequest) -> Invocation:
        prompt_bytes(request.prompt)  # refuses an empty one, as every agent does
        exchange = _exchange(request)
        task = {"patch": exchange.patch, "commits": list(exchange.commits), "answer": exchange.answer}
        argv = (sys.executable, "-I", "-S", _CHILD)
        return fits(Invocation(argv, request.directory, agent_environment(request), json.dumps(task).encode()))

    def reader(self, request: AgentRequest) -> ReplayReader:
        """Also of an attempt whose coordinator has died: then nobody knows its recording."""
        return ReplayReader(_exchange(request) if request.config.recording else _NOTHING, request.allow_denials)


_NOTHING = Exchange(task="", attempt=0, result={"kind": "lost", "error": "no recording", "cost_usd": 0.0})


class ReplayReader:
    """What comes of it is what was recorded, unless its changes cannot be made here."""

    tool_running = False
    turn_over = False
    futile = False

    def __init__(self, exchange: Exchange, allow_denials: bool) -> None:
        self._exchange = exchange
        self._allow_denials = allow_denials
        self._stopped: StopReason | None = None

    def feed(self, line: bytes) -> str | None:
        return None

    def warn(self, line: bytes) -> None:
        """Of stderr only the end is asked, when all is over."""

    def stopping(self, reason: StopReason) -> None:
        self._stopped = reason

    def finish(self, ending: Ending) -> AgentResult:
        if self._stopped:
            kind, error = stopped(self._stopped)
            return AgentResult(kind=kind, error=error, cost_usd=0.0)
        if ending.exit_code != 0:
            return AgentResult(kind="failed", error=f"the recorded changes cannot be made here{ending.last_words}", cost_usd=0.0)
        recorded: dict[str, Any] = {**self._exchange.result, "denials": tuple(self._exchange.result.get("denials") or ())}  # type: ignore[arg-type]
        if recorded["kind"] == "permission_denied" and self._allow_denials:
            recorded["kind"] = None
        return AgentResult(**recorded, answer=self._exchange.answer)


def _exchange(request: AgentRequest) -> Exchange:
    """What this attempt gets. Raises InvalidInput where the recording has nothing for it."""
    recording = _recording(request.config)
    found = recording.find(request.task, request.attempt)
    what = f"step `{request.task}`, attempt {request.attempt}"
    if found is None:
        raise InvalidInput(f"the recording `{recording.name}` has no exchange of {what}", help="record the run again: `run --record DIR`")
    if found.item != request.item and COVER not in json.dumps(found.item):
        was = json.dumps(found.item, ensure_ascii=False)
        raise InvalidInput(f"the exchange of {what} in the recording `{recording.name}` is that of another item: {was[:200]}")
    return found


def _recording(config: AgentConfig) -> Recording:
    if config.recording is None:
        help = "config: {agent: replay, recording: DIR}, or `run --agent replay --recording DIR`"
        raise InvalidInput("`agent: replay` needs `recording`", help=help)
    return _read(config.recording, os.stat(config.recording).st_mtime_ns if os.path.isfile(config.recording) else 0)


@lru_cache(maxsize=16)
def _read(path: str, changed: int) -> Recording:
    return read(Path(path))
