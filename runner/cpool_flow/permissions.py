"""Which agent a step has, and whether it may change files, as far as its settings say.

Knows modes and tools of Claude Code. Agents without such modes may do anything, unless their step says that it has no effects.
"""

from __future__ import annotations

from typing import Any

from cpool_flow import model, settings
from cpool_flow.slots import NO_POOL, SlotPool

_WRITING_MODES = frozenset({"acceptEdits", "bypassPermissions", "auto"})
# Every other tool counts as one that writes: `Bash(git diff *)` can be made to write a file.
_READING_TOOLS = frozenset(
    {"Read", "Grep", "Glob", "LS", "NotebookRead", "WebFetch", "WebSearch", "TodoRead", "TodoWrite", "BashOutput"}
    | {"Task", "Agent", "Skill", "AskUserQuestion", "ExitPlanMode"}
)


def may_write(
    step: model.Step,
    workflow: model.Workflow,
    skill: model.AgentConfig | None = None,
    instead: str | None = None,
    pool: SlotPool = NO_POOL,
) -> bool:
    """Whether an agent task of this step (its own, or its recovery) may change files, in any of the slots that it may get. False for a
    step without one.

    `skill`: the settings of the step's skill, where it is known. `instead`: the agent that stands in for every other.
    """
    agent = agent_of(step, workflow, skill, instead, pool)
    if agent is None:
        return False
    if agent != "claude":
        return step.effects != "none"
    return any(_claude_may_write(merged.config) for merged in settings.possible(step, "", workflow, pool, skill))


def agent_of(
    step: model.Step,
    workflow: model.Workflow,
    skill: model.AgentConfig | None = None,
    instead: str | None = None,
    pool: SlotPool = NO_POOL,
) -> str | None:
    """The agent of a step, or of its recovery; None where it has neither. All slots that a step may get have the same: `validate`
    sees to it."""
    if not step.is_agent and step.recovery_prompt is None:
        return None
    return instead or settings.possible(step, "", workflow, pool, skill)[0].config.agent or "claude"


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
