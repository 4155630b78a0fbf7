"""The last line that each running attempt has printed, from the files where its output stands.

Reads the end of a file, however long it or its last line is, and only when the file has changed. What stands there holds no secret.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from cpool_flow import agents
from cpool_flow.agents.json_lines import first_line
from cpool_flow.agents.protocol import AgentRequest
from cpool_flow.executor.logs import read_end, spools
from cpool_flow.model import AgentConfig
from cpool_flow.tasks import Task

TAIL_BYTES = 16 * 1024
# Of an agent's lines, those looked at for one that says something.
MOST_LINES = 20


class LastWords:
    """Of the run in whose folder of `logs` the attempts write."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._seen: dict[str, tuple[tuple[str, int, int], str]] = {}

    def __call__(self, task: Task) -> str:
        """The last line of a running task; empty where it has said nothing yet."""
        started = task.attempts[-1].started
        if not started.log:
            return ""
        newest = _newest(spools(self._logs / started.log, started.slot))
        if newest is None:
            return ""
        path, changed, size = newest
        identity = (f"{path} {started.number}", changed, size)
        before = self._seen.get(task.id)
        if before is not None and before[0] == identity:
            return before[1]
        said = _said(path, started.agent if path.endswith(".out") else None)
        if not said and before is not None and before[0][0] == identity[0]:
            said = before[1]  # what it does now says nothing: what it did last does
        self._seen[task.id] = (identity, said)
        return said


def last_line(data: bytes) -> str:
    """The last line of some output that is not blank. A carriage return begins a line anew, as where a percentage counts up."""
    for line in reversed(re.split(r"[\r\n]", data.decode("utf-8", "replace"))):
        if line.strip():
            return line.strip()
    return ""


def _newest(paths: tuple[str, ...]) -> tuple[str, int, int] | None:
    found = []
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        if status.st_size:
            found.append((status.st_mtime_ns, path, status.st_size))
    if not found:
        return None
    changed, path, size = max(found)
    return path, changed, size


def _said(path: str, agent: str | None) -> str:
    found = read_end(path, TAIL_BYTES)
    if found is None:
        return ""
    data, size = found
    # Of an agent that the project has described itself, or that is a function, the lines are what they are.
    return _agent_said(data, agent, whole=size <= TAIL_BYTES) if agent in agents.ADAPTERS else last_line(data)


def _agent_said(data: bytes, agent: str, *, whole: bool) -> str:
    """What the last lines of an agent's own output mean, by its adapter."""
    *lines, _ = data.split(b"\n")  # the last one may still grow
    feed = _reader(agent)
    for line in reversed(lines[0 if whole else 1 :][-MOST_LINES:]):
        said = first_line(feed(line) or "")
        if said:
            return said
    return ""


def _reader(agent: str) -> Callable[[bytes], str | None]:
    request = AgentRequest(prompt="", config=AgentConfig(), directory="", files="", session_id="", environment={})
    return agents.adapter(agent).reader(request).feed
