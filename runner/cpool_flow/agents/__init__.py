"""The agents of this version, by the name that a workflow file calls them."""

from __future__ import annotations

from collections.abc import Callable

from cpool_flow.agents import claude_warm
from cpool_flow.agents.claude import Claude
from cpool_flow.agents.command import Command
from cpool_flow.agents.protocol import Adapter, AgentRequest
from cpool_flow.agents.scripted import Scripted
from cpool_flow.agents.warm import Station

ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (Claude(), Command(), Scripted())}

# Those that can do one task after another in one process. The flag: take any program of that name for the agent's own.
STATIONS: dict[str, Callable[[AgentRequest, bool], Station | None]] = {"claude": claude_warm.station}
