"""Whether the agent of a step may change files, as far as its settings say.

Knows modes and tools of Claude Code; agents without such modes may do anything.
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


def may_write(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None) -> bool:
    """Whether an agent task of this step (its own, or its recovery) may change files. False for a step without one.

    `skill`: the settings of the step's skill, where it is known.
    """
    if not step.is_agent and step.recovery_prompt is None:
        return False
    layers = [workflow.config, skill, step.config]
    return config_may_write(settings.merge(settings.Layer("", config) for config in layers if config is not None).config)


def config_may_write(config: model.AgentConfig) -> bool:
    """The same for merged settings."""
    if (config.agent or "claude") != "claude":
        return True
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
