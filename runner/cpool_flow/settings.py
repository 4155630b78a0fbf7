"""The settings of one agent task out of the layers that have a say, and the system prompt that follows from them.

Knows the one rule by which layers merge, not where a layer was read nor what an agent does with a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cpool_flow.model import AgentConfig

# Settings in the words of one agent: another one that stands in for it does not get them.
OF_ONE_AGENT = ("model", "fallback_model", "effort")


@dataclass(frozen=True, slots=True)
class Layer:
    """What one place says: `source` is how `plan` names it (`workflow`, `skill implement`, `step fix`)."""

    source: str
    config: AgentConfig


@dataclass(frozen=True, slots=True)
class Settings:
    """The merged settings. `sources` says where each value came from; a value by name has a key of its own
    (`env.PORT`, `mcp_servers.github`), and values that add up name all their layers."""

    config: AgentConfig
    sources: Mapping[str, str]


def merge(layers: Iterable[Layer]) -> Settings:
    """The layers as one, weakest first.

    Scalars and plain lists: the last that says something wins. `env`, `settings` and `mcp_servers`: by name, the last
    wins whole. `allowed_tools` and `disallowed_tools` add up without duplicates, and what any layer disallows no
    layer can allow.
    """
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for layer in layers:
        for key in AgentConfig.model_fields:
            value = getattr(layer.config, key)
            if value is not None:
                rule: Rule = _RULES.get(key, _last_wins)
                rule(values, sources, key, value, layer.source)
    if values.get("allowed_tools"):
        taken = values.get("disallowed_tools", ())
        values["allowed_tools"] = tuple(tool for tool in values["allowed_tools"] if not _is_taken(tool, taken))
    return Settings(AgentConfig().model_copy(update=values), sources)


def system_prompt(context: Mapping[str, Any], config: AgentConfig) -> str | None:
    """What is added to the agent's own system prompt: the configured text, then the shared context sorted by key."""
    parts = [config.system_prompt] if config.system_prompt else []
    if context:
        parts.append("\n".join(["Shared context:", *(f"- {key}: {_shown(context[key])}" for key in sorted(context))]))
    return "\n\n".join(parts) or None


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
