"""What an agent can be asked for, as its adapter says: so that a step that asks for more is refused before anything starts.

Knows no agent. Each adapter (`agents/`) declares its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from cpool_flow.dataclass import dataclass
from cpool_flow.model import AgentConfig

# Keys of `config` that we see to ourselves, and those that belong to one agent alone: no other is asked for them.
OUR_KEYS = frozenset({"agent", "fallback", "env", "command", "script", "recording"})
ALL_KEYS = frozenset(AgentConfig.model_fields) - OUR_KEYS


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The defaults are those of a program that knows nothing but its prompt.

    `keys`: the keys of `config` that it understands, beside `OUR_KEYS`. `values`: of keys that take only some of their values
    here, those (`{"effort": {"low", "high"}}`). `resume` and `fork`: an earlier session can be gone on with, or copied.
    `schema`: it can be held to an output schema; where it cannot, its answer is only checked afterwards. `cost`: it says what it
    has spent in US dollars; `tokens`: it counts its tokens, so that `prices` can tell. `reads_only_added`: beside its place it reads only
    in `add_dirs`.
    """

    keys: frozenset[str] = frozenset()
    values: Mapping[str, frozenset[str]] = field(default_factory=dict)
    resume: bool = False
    fork: bool = False
    schema: bool = False
    cost: bool = False
    tokens: bool = False
    reads_only_added: bool = False

    def takes(self, key: str, value: object) -> bool:
        """Whether it does anything with this setting."""
        return key in OUR_KEYS or (key in self.keys and (key not in self.values or value in self.values[key]))
