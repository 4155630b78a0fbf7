"""Which agent a step has, and whether it may change files, as far as its settings say.

Knows modes and tools of Claude Code. Agents without such modes may do anything, unless their step says that it has no effects.
"""

from __future__ import annotations

from typing import Any

from cpool_flow import model, settings

_WRITING_MODES = frozenset({"acceptEdits", "bypassPermissions", "auto"})
# Every other tool counts as one that writes: `Bash(git diff *)` can be made to write a file.
_READING_TOOLS = frozenset(
    {"Read", "Grep", "Glob", "LS", "NotebookRead", "WebFetch", "WebSearch", "TodoRead", "TodoWrite", "BashOutput"}
    | {"Task", "Agent", "Skill", "AskUserQuestion", "ExitPlanMode"}
)


def may_write(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None, instead: str | None = None) -> bool:
    """Whether an agent task of this step (its own, or its recovery) may change files. False for a step without one.

    `skill`: the settings of the step's skill, where it is known. `instead`: the agent that stands in for every other.
    """
    agents = agents_of(step, workflow, skill, instead)
    if any(agent != "claude" for agent in agents) and step.effects != "none":
        return True
    return "claude" in agents and _claude_may_write(
        settings.merge(settings.Layer("", config) for config in _layers(step, workflow, skill)).config
    )


def agents_of(
    step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None, instead: str | None = None
) -> tuple[str, ...]:
    """The agent of a step, or of its recovery, then those that stand in at its usage limit; none where it has neither."""
    if not step.is_agent and step.recovery_prompt is None:
        return ()
    layers = _layers(step, workflow, skill)
    return (instead,) if instead else tuple(dict.fromkeys((_last(layers, "agent") or "claude", *(_last(layers, "fallback") or ()))))


def agent_of(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None, instead: str | None = None) -> str | None:
    """The agent of a step, or of its recovery; None where it has neither."""
    return next(iter(agents_of(step, workflow, skill, instead)), None)


def cap_of(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None) -> float | None:
    """The most that one attempt may spend by its settings (`max_budget_usd`), in US dollars."""
    cap: float | None = _last(_layers(step, workflow, skill), "max_budget_usd")
    return cap


def _last(layers: list[model.AgentConfig], key: str) -> Any:
    """The value that the strongest layer gives; None where none gives any."""
    return next((value for layer in reversed(layers) if (value := getattr(layer, key)) is not None), None)


def _layers(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None) -> list[model.AgentConfig]:
    profile = workflow.profiles.get(step.profile or "")
    return [config for config in (workflow.config, skill, profile, step.config) if config is not None]


def _claude_may_write(config: model.AgentConfig) -> bool:
    mode = config.permission_mode or _permissions(config).get("defaultMode") or "default"
    if mode == "plan":
        return False
    allowed = [*(config.allowed_tools or ()), *_listed(_permissions(config).get("allow"))]
    return mode in _WRITING_MODES or any(tool.partition("(")[0].strip() not in _READING_TOOLS for tool in allowed)


def _permissions(config: model.AgentConfig) -> dict[str, Any]:
    """What `settings` hands to the agent CLI can allow tools as well."""
    permissions = (config.settings or {}).get("permissions")
    return permissions if isinstance(permissions, dict) else {}


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
