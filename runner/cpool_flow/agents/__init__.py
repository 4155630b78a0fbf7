"""The agents of this version, by the name that a workflow file calls them."""

from __future__ import annotations

from cpool_flow.agents.claude import Claude
from cpool_flow.agents.codex import Codex
from cpool_flow.agents.command import Command
from cpool_flow.agents.gemini import Gemini
from cpool_flow.agents.opencode import Opencode
from cpool_flow.agents.protocol import Adapter
from cpool_flow.agents.scripted import Scripted

ADAPTERS: dict[str, Adapter] = {adapter.name: adapter for adapter in (Claude(), Codex(), Gemini(), Opencode(), Command(), Scripted())}
