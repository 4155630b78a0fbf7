"""What an adapter adds whose CLI can do one task after another in one process: a station, and the conversation with it.

Knows no agent. A station says what to start and for which tasks that process would do; a conversation is one such process's, over its
whole life. An adapter that has none runs each task in a process of its own.

Order of calls: `ask`, then the lines of the turn to the reader that it returned, then `keeps` when that turn is over. If it keeps: `clear`, then
the answer's lines to the reader that that returned, until it is `over`. If that is `clean`: `ask` again. Otherwise the process is ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import field
from typing import Protocol

from cpool_flow.agents.protocol import AgentRequest, Invocation, Reader
from cpool_flow.dataclass import dataclass


class Clearing(Protocol):
    """Reads the answer to the wish for a clean session."""

    @property
    def over(self) -> bool: ...

    @property
    def clean(self) -> bool:
        """Whether it is proved that the next task begins as in a new process."""

    def feed(self, line: bytes) -> str | None: ...


class Conversation(Protocol):
    """What is said to one process. `interrupt` asks it to end the turn that runs now."""

    @property
    def interrupt(self) -> bytes: ...

    def ask(self, request: AgentRequest) -> tuple[bytes, Reader]:
        """The bytes that give it this task, and the reader of its turn."""

    @property
    def only_tasks_left(self) -> bool:
        """Whether the turn has its result and only background tasks keep it from being over. More input is then of no use."""

    def keeps(self) -> bool:
        """Whether the turn that is over has left nothing in the process that a clean session would not take away."""

    def clear(self) -> tuple[bytes, Clearing]:
        """The bytes that ask for a clean session, and the reader of the answer."""


@dataclass(frozen=True, slots=True)
class Station:
    """A process that can do tasks like this one. Two tasks may share it if their `key` is equal: same program, flags, files, environment and
    folder. The invocation has no standard input: that is the conversation's."""

    invocation: Invocation = field(repr=False)
    key: str
    begin: Callable[[], Conversation]
