"""Claude Code as one process for many tasks: `claude -p --input-format stream-json`, with a `/clear` after each of them.

Knows what was measured of it (2.1.197, 2.1.330, 2.1.331): what `/clear` takes away (history, todo list, files that were read, the shell's
folder, what was spent) and what it leaves (timers, a worktree that was entered, MCP servers, subagents, another model). A task that used
what is left, or anything that nobody has measured, makes the process unfit for the next.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from cpool_flow.agents.claude import INSTALL, PROGRAM, Claude, message, process_arguments, process_environment, session_arguments
from cpool_flow.agents.claude_events import Transcript
from cpool_flow.agents.claude_program import is_claude_code
from cpool_flow.agents.claude_reader import ClaudeReader
from cpool_flow.agents.environment import fits, program
from cpool_flow.agents.protocol import AgentRequest, AgentResult, Ending, Invocation, StopReason
from cpool_flow.agents.warm import Station

# Tools whose doings end with the session. All others, also those that are not known yet, may leave something in the process.
FORGOTTEN_TOOLS = frozenset({
    "Bash", "Edit", "Glob", "Grep", "LS", "MultiEdit", "NotebookEdit", "Read", "StructuredOutput", "TaskCreate", "TaskGet", "TaskList",
    "TaskUpdate", "TodoWrite", "ToolSearch", "Write",
})  # fmt: skip
# What the process says of itself at the beginning of each turn, and which no task may change for the next.
_LASTING = ("cwd", "model", "permissionMode", "tools", "mcp_servers", "agents", "skills", "plugins", "output_style", "apiKeySource")
# From this version on a cap of dollars holds for one conversation; before, for the process.
_CAP_PER_CONVERSATION = (2, 1, 330)


def station(request: AgentRequest, anything: bool) -> Station | None:
    """The process for a task, None where it needs one of its own: it goes on in an earlier session; it has MCP servers, whose
    memory nobody can clear; it may spend a share of a budget that no other task has the like of. A program that is not known to be Claude
    Code is taken for it with `anything` only. Raises InvalidInput."""
    message(request.prompt)
    config = request.config
    if request.resume is not None or config.mcp_servers or config.strict_mcp_config is False:
        return None
    if request.budget_usd is not None and request.budget_usd != config.max_budget_usd:
        return None
    environment = process_environment(request)
    path = program(PROGRAM, environment, f"install it: {INSTALL}")
    if not anything and not is_claude_code(path):
        return None
    arguments, files = process_arguments(request)
    argv = (path, *arguments, "--input-format=stream-json", *session_arguments(request))
    invocation = fits(Invocation(argv, request.directory, environment, b"", files))
    contents = {file.path: hashlib.sha256(file.data).hexdigest() for file in files}
    flags = [_named(argument, contents) for argument in arguments]
    capped = any(argument.startswith("--max-budget-usd=") for argument in arguments)
    return Station(invocation, _digest([path, flags, sorted(environment.items()), request.directory]), lambda: Talk(capped))


class Talk:
    """The conversation with one process."""

    interrupt = b'{"type":"control_request","request_id":"interrupt","request":{"subtype":"interrupt"}}\n'

    def __init__(self, capped: bool) -> None:
        self._capped = capped
        self._sessions: set[str] = set()
        self._cleared = ""  # the session that the next task must be in
        self._began: Mapping[str, Any] | None = None  # what the process said of itself first
        self._turn: ClaudeReader | None = None
        self._dollars = 0.0

    def ask(self, request: AgentRequest) -> tuple[bytes, TurnReader]:
        reader = Claude().reader(request, dollars_before=self._dollars)
        self._turn = reader
        return _line(message(request.prompt).decode()), TurnReader(reader, self._cleared)

    @property
    def only_tasks_left(self) -> bool:
        seen = self._turn.transcript if self._turn else None
        return seen is not None and seen.result is not None and not seen.in_turn and bool(seen.open_tasks)

    def keeps(self) -> bool:
        assert self._turn is not None
        seen = self._turn.transcript
        if seen.init is None or seen.result is None or seen.marked or not seen.used_tools <= FORGOTTEN_TOOLS:
            return False
        if seen.init.get("mcp_servers") or (self._capped and _version(seen.version) < _CAP_PER_CONVERSATION):
            return False
        self._began = self._began or seen.init
        return seen.result.get("subtype") == "success" and not seen.result.get("is_error") and not seen.denials and self._is_same(seen)

    def clear(self) -> tuple[bytes, ClearReader]:
        assert self._turn is not None
        seen = self._turn.transcript
        self._dollars = seen.dollars_before
        self._sessions.add(seen.session_id or "")
        return _line("/clear"), ClearReader(self)

    def take_cleared(self, seen: Transcript) -> bool:
        """Whether the answer to `/clear` proves a session that no task was in, of a process that is as it was."""
        result, session = seen.result or {}, seen.session_id or ""
        empty = (
            result.get("num_turns") == 0
            and not result.get("is_error")
            and not seen.messages
            and seen.input_tokens + seen.output_tokens == 0
        )
        if (
            not empty
            or not session
            or session in self._sessions
            or (seen.init or {}).get("session_id") != session
            or not self._is_same(seen)
        ):
            return False
        self._cleared, self._dollars = session, seen.dollars_before
        return True

    @property
    def dollars(self) -> float:
        return self._dollars

    def _is_same(self, seen: Transcript) -> bool:
        return self._began is not None and all(self._began.get(name) == (seen.init or {}).get(name) for name in _LASTING)


class TurnReader:
    """Reads the turn of one task. In another session than the one that was cleared for it, nothing that it says counts."""

    def __init__(self, reader: ClaudeReader, session: str) -> None:
        self._reader = reader
        self._session = session

    @property
    def tool_running(self) -> bool:
        return self._reader.tool_running

    @property
    def turn_over(self) -> bool:
        return self._reader.turn_over

    @property
    def futile(self) -> bool:
        return self._reader.futile

    def feed(self, line: bytes) -> str | None:
        return self._reader.feed(line)

    def warn(self, line: bytes) -> None:
        self._reader.warn(line)

    def stopping(self, reason: StopReason) -> None:
        self._reader.stopping(reason)

    def finish(self, ending: Ending) -> AgentResult:
        result = self._reader.finish(ending)
        if self._session and result.kind is None and result.session_id != self._session:
            return AgentResult(kind="lost", error="the agent worked in another session than the clean one", cost_usd=result.cost_usd)
        return result


class ClearReader:
    """Reads the answer to `/clear`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._seen = Transcript(talk.dollars)
        self.over = False
        self.clean = False

    def feed(self, line: bytes) -> str | None:
        self._seen.feed(line)
        if self._seen.result is not None and not self.over:
            self.over, self.clean = True, self._talk.take_cleared(self._seen)
        return None


def _line(text: str) -> bytes:
    return json.dumps({"type": "user", "message": {"role": "user", "content": text}}).encode() + b"\n"


def _named(argument: str, contents: Mapping[str, str]) -> str:
    """A flag, with what is in its file in place of that file's name."""
    flag, _, value = argument.partition("=")
    return f"{flag}={contents[value]}" if value in contents else argument


def _digest(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode("utf-8", "replace")).hexdigest()


def _version(text: str | None) -> tuple[int, ...]:
    found = re.match(r"(\d+)\.(\d+)\.(\d+)", text or "")
    return tuple(map(int, found.groups())) if found else ()
