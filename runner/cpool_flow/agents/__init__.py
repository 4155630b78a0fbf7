"""The agents of this version, by the name that a workflow file calls them. An adapter is imported when a workflow asks for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module

from cpool_flow.agents.protocol import Adapter, AgentRequest
from cpool_flow.agents.warm import Station
from cpool_flow.own_agent import OwnAgent

# Where each adapter is: a module of this package, and its class there.
ADAPTERS = {
    "claude": ("claude", "Claude"),
    "codex": ("codex", "Codex"),
    "gemini": ("gemini", "Gemini"),
    "opencode": ("opencode", "Opencode"),
    "command": ("command", "Command"),
    "scripted": ("scripted", "Scripted"),
    "replay": ("replay", "Replay"),
}
# Those that can do one task after another in one process: a module, and its function that says in which.
STATIONS = {"claude": ("claude_warm", "station")}
# The flag: take any program of that name for the agent's own.
FindStation = Callable[[AgentRequest, bool], Station | None]


def adapter_of(name: str, own: Mapping[str, OwnAgent]) -> Adapter:
    """The adapter of an agent, among those of this version and the project's `own`. Raises KeyError for a name that is none."""
    if name not in own:
        return adapter(name)
    from cpool_flow.agents.own import Own

    return Own(name, own[name])


@cache
def adapter(name: str) -> Adapter:
    """The adapter of an agent of this version. Raises KeyError for a name that is none."""
    module, kind = ADAPTERS[name]
    found: Adapter = getattr(import_module(f"{__name__}.{module}"), kind)()
    return found


@cache
def find_station(name: str) -> FindStation | None:
    """How to find the station of a task for this agent, None where each task has a process of its own."""
    if name not in STATIONS:
        return None
    module, function = STATIONS[name]
    found: FindStation = getattr(import_module(f"{__name__}.{module}"), function)
    return found
