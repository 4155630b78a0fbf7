"""The settings of one agent task out of the layers that have a say, and the system prompt that follows from them.

Knows which layers there are, their order, and the one rule by which they merge; not where a layer was read, nor what an agent does
with a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.model import AgentConfig, Step, Workflow
from cpool_flow.slots import NamedSlot, SlotPool

# Settings in the words of one agent: another one that stands in for it does not get them.
OF_ONE_AGENT = ("model", "fallback_model", "effort")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says: `source` is how `plan` names it (`workflow`, `skill implement`, `step fix`). `pooled`: it stands in
    `cpool.yaml`, and what it names by a path is beside that file."""

    source: str
    config: AgentConfig
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """The merged settings. `sources` says where each value came from; a value by name has a key of its own
    (`env.PORT`, `mcp_servers.github`), and values that add up name all their layers. `pooled`: the keys whose last word stands in
    `cpool.yaml`."""

    config: AgentConfig
    sources: Mapping[str, str]
    pooled: frozenset[str] = frozenset()


def layers_of(
    step: Step, name: str, workflow: Workflow, pool: SlotPool, skill: AgentConfig | None = None, slot: NamedSlot | None = None
) -> list[Layer]:
    """Who has a say in the agent settings of a step, weakest first. `slot`: the one of those it asked for that it gets."""
    layers = [Layer("pool", pool.file.config, pooled=True), Layer("workflow", workflow.config)]
    if skill is not None:
        layers.append(Layer(f"skill {step.skill}", skill))
    if slot is not None and slot.config is not None:
        layers.append(Layer(f"slot {slot.kind or slot.name}", slot.config, slot.pooled))
    if step.profile is not None:
        layers.append(_profile(step.profile, workflow, pool))
    if step.config is not None:
        layers.append(Layer(f"step {name}", step.config))
    return layers


def possible(step: Step, name: str, workflow: Workflow, pool: SlotPool, skill: AgentConfig | None = None) -> list[Settings]:
    """What the settings of a step may come to: one for each kind of slot that it may get, or just one where any will do."""
    return [merge(layers_of(step, name, workflow, pool, skill, slot)) for slot in pool.kinds_for(step)]


def _profile(name: str, workflow: Workflow, pool: SlotPool) -> Layer:
    """A workflow's own profile of a name wins, whole. One that nobody has says nothing: it is refused elsewhere."""
    own = workflow.profiles.get(name)
    return Layer(f"profile {name}", own or pool.file.profiles.get(name) or AgentConfig(), pooled=own is None)


def merge(layers: Iterable[Layer]) -> Settings:
    """The layers as one, weakest first.

    Scalars and plain lists: the last that says something wins. `env`, `settings` and `mcp_servers`: by name, the last
    wins whole. `allowed_tools` and `disallowed_tools` add up without duplicates, and what any layer disallows no
    layer can allow.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    pooled: dict[str, bool] = {}
    for layer in layers:
        for key in AgentConfig.model_fields:
            value = getattr(layer.config, key)
            if value is not None:
                rule: Rule = _RULES.get(key, _last_wins)
                rule(values, sources, key, value, layer.source)
                pooled[key] = layer.pooled
    if values.get("allowed_tools"):
        taken = values.get("disallowed_tools", ())
        values["allowed_tools"] = tuple(tool for tool in values["allowed_tools"] if not _is_taken(tool, taken))
    return Settings(AgentConfig().model_copy(update=values), sources, frozenset(key for key, holds in pooled.items() if holds))


def system_prompt(context: Mapping[str, Any], config: AgentConfig, slot: NamedSlot | None = None) -> str | None:
    """What is added to the agent's own system prompt: who it is, where its step asked for a slot, then the configured text, then the
    shared context sorted by key."""
    parts = list(filter(None, (_identity(slot), config.system_prompt)))
    if context:
        parts.append("\n".join(["Shared context:", *(f"- {key}: {_shown(context[key])}" for key in sorted(context))]))
    return "\n\n".join(parts) or None


def _identity(slot: NamedSlot | None) -> str | None:
    """What an agent is told of the slot that it works in."""
    if slot is None:
        return None
    lines = [f"Your name is {slot.name}."]
    lines += [f"Your role: {slot.role}"] if slot.role else []
    return "\n".join([*lines, *([slot.description] if slot.description else [])])


def _last_wins(values: dict[str, Any], sources: dict[str, str], key: str, value: object, source: str) -> None:
    values[key] = value
    sources[key] = source


def _by_name(values: dict[str, Any], sources: dict[str, str], key: str, value: Mapping[str, Any], source: str) -> None:
    values[key] = {**values.get(key, {}), **value}
    sources.update({f"{key}.{name}": source for name in value})


def _adds_up(values: dict[str, Any], sources: dict[str, str], key: str, value: tuple[str, ...], source: str) -> None:
    values[key] = tuple(dict.fromkeys((*values.get(key, ()), *value)))
    sources[key] = ", ".join(dict.fromkeys((*filter(None, (sources.get(key),)), source)))


Rule = Callable[[dict[str, Any], dict[str, str], str, Any, str], None]
_RULES: dict[str, Rule] = {
    "env": _by_name,
    "settings": _by_name,
    "mcp_servers": _by_name,
    "allowed_tools": _adds_up,
    "disallowed_tools": _adds_up,
}


def _is_taken(tool: str, disallowed: tuple[str, ...]) -> bool:
    """`Bash` takes `Bash(git log *)` along; `Bash(rm *)` takes only itself."""
    return tool in disallowed or tool.partition("(")[0].strip() in disallowed


def _shown(value: object) -> str:
    if isinstance(value, str) and "\n" not in value:
        return value
    return json.dumps(value, ensure_ascii=False)
