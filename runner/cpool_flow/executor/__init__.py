"""What an executor is: it takes attempts, and hands back how they ended.

Protocol: `start` and `stop` are called from the coordinator's loop and return at once. For each started attempt
`deliver` is called exactly once, whatever happens to it: with how it ended, or with the error for which nobody can go on
(the disk is full). `stop` may be called again, and for an attempt that has
just ended; `at_once` leaves out the grace. `rest` says that nothing is to do for some time; what only waits for work may end. `leave`:
a folder goes, and nothing may stay in it.
After `close` nothing that was started is alive; it may be called twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from cpool_flow.dataclass import dataclass
from cpool_flow.events import AttemptFinished, AttemptKind
from cpool_flow.plan import PlannedStep
from cpool_flow.shared_slots import Held

Deliver = Callable[[AttemptFinished | Exception], None]


@dataclass(frozen=True, slots=True, order=True)
class Tokens:
    """What an agent has counted. `cached` are those of `input` that came from a cache."""

    input: int = 0
    output: int = 0
    cached: int = 0


@dataclass(frozen=True, slots=True)
class Assignment:
    """One attempt to execute. `scope`: the values that its texts may see. `timeout_seconds` covers it with its `verify`.
    `resume`: the session in which the agent goes on. `item`: that of its fan-out, or of the nearest group around it.
    `agent`: the step's own, or one that stands in for it. `budget_usd`: what it may spend of a budget, US dollars. `tokens_before`: what
    the session had come to in which it goes on. `held`: the slot among those that it shares with other runs. `place`: where it works, the
    id of the item whose own place that is; empty: the run's."""

    step: PlannedStep
    task: str
    index: int | None
    number: int
    kind: AttemptKind
    slot: str | None
    log: Path
    scope: Mapping[str, object]
    timeout_seconds: float
    session_id: str
    resume: str | None = None
    item: Any = None
    tree: str | None = None
    held: Held | None = None
    agent: str | None = None
    budget_usd: float | None = None
    tokens_before: Tokens = Tokens()
    place: str = ""


class Executor(Protocol):
    def start(self, assignment: Assignment, deliver: Deliver) -> None: ...

    def stop(self, task: str, reason: str, *, at_once: bool) -> None: ...

    async def rest(self) -> None: ...

    async def leave(self, folder: str) -> None: ...

    async def close(self) -> None: ...
