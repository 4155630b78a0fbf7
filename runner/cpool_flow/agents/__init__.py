"""The agents of this version, by the name that a workflow file calls them. An adapter is imported when a workflow asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from cpool_flow.agents.protocol import Adapter
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
