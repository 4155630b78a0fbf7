"""The agents of this version, by the name that a workflow file calls them. An adapter is imported when a workflow asks for it."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from cpool_flow.agents.protocol import Adapter

# Where each adapter is: a module of this package, and its class there.
ADAPTERS = {
    "claude": ("claude", "Claude"),
    "codex": ("codex", "Codex"),
    "gemini": ("gemini", "Gemini"),
    "opencode": ("opencode", "Opencode"),
    "command": ("command", "Command"),
    "scripted": ("scripted", "Scripted"),
}


@cache
def adapter(name: str) -> Adapter:
    """The adapter of an agent. Raises KeyError for a name that is none."""
    module, kind = ADAPTERS[name]
    found: Adapter = getattr(import_module(f"{__name__}.{module}"), kind)()
    return found
