"""The answers of a command that an agent mends: in one list, by attempt, what the command prints and what its `recovery_prompt` brings about.

build:
  - {exit_code: 1, stderr: "x is missing"}     # first attempt: the command
  - {answer: done, edits: {x: "1\\n"}}           # second: the agent mends it
  - {stdout: "built\\n"}                         # third: the command again
"""

from __future__ import annotations

from typing import Any

from cpool_flow.agents.script import Call
from cpool_flow.cases import Printed

_OF_AGENTS = frozenset(Call.model_fields) - frozenset(Printed.model_fields)


def of_command(written: Any) -> list[Any]:
    """The answers of the command, each at the number of its attempt. Empty where it has none, and is run."""
    return _filled(written, agents=False)


def of_agent(written: Any) -> list[Any]:
    """The answers of the agent that mends, each at the number of its attempt."""
    return _filled(written, agents=True)


def _filled(written: Any, *, agents: bool) -> list[Any]:
    """The list with others in the places of what is not wanted: the one before of the same item and round, else the next."""
    every = written if isinstance(written, list) else [written]
    wanted = [(number, each) for number, each in enumerate(every) if _is_of_agent(each) == agents]
    found = []
    for index, each in enumerate(every):
        alike = [(number, other) for number, other in wanted if _which(other) == _which(each)]
        before = [other for number, other in alike if number <= index]
        if alike:
            found.append(before[-1] if before else alike[0][1])
    return found


def _is_of_agent(answer: Any) -> bool:
    return isinstance(answer, dict) and not _OF_AGENTS.isdisjoint(answer)


def _which(answer: Any) -> tuple[Any, ...]:
    return tuple(answer.get(key) for key in ("item", "round")) if isinstance(answer, dict) else (None, None)
