"""Which agent a step has, and whether it may change files, as far as its settings say.

Knows modes, and the tools of the agents that have them. Others may do anything, unless their step says that it has no effects.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cpool_flow import model, settings
from cpool_flow.slots import NO_POOL, SlotPool

# The agents that have modes.
_MODAL = frozenset({"claude", "codex", "gemini", "opencode"})
# It does again what another agent did: where the settings of that one are known, they say what.
_REPLAY = "replay"
_WRITING_MODES = frozenset({"acceptEdits", "bypassPermissions", "auto"})
# Every other tool counts as one that writes: `Bash(git diff *)` can be made to write a file.
_READING_TOOLS = frozenset(
    {"read", "grep", "glob", "ls", "notebookread", "webfetch", "websearch", "todoread", "todowrite", "bashoutput"}
    | {"task", "agent", "skill", "askuserquestion", "exitplanmode"}
    | {"read_file", "read_many_files", "list_directory", "grep_search", "search_file_content", "google_web_search", "web_fetch"}
    | {"list", "lsp"}
)
_EDITING_TOOLS = frozenset({"write", "edit", "multiedit", "notebookedit", "write_file", "replace", "patch"})
# What in the settings of a CLI itself says what it may do: it may be anything.
_SETTINGS_OF_MODE = {"codex": ("sandbox_mode", "default_permissions"), "opencode": ("permission", "tools", "agent")}


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
    agents = agents_of(step, workflow, skill, None if instead == _REPLAY else instead, pool)
    if not agents:
        return False
    possible = settings.possible(step, "", workflow, pool, skill)
    modal = [agent for agent in agents if _has_modes(agent, pool, possible)]
    if len(modal) < len(agents) and step.effects != "none":
        return True
    return any(_modal_may_write(agent, merged.config) for agent in modal for merged in possible)


def agents_of(
    step: model.Step,
    workflow: model.Workflow,
    skill: model.AgentConfig | None = None,
    instead: str | None = None,
    pool: SlotPool = NO_POOL,
) -> tuple[str, ...]:
    """The agent of a step, or of its recovery, then those that stand in at its usage limit; none where it has neither. All slots that a
    step may get have the same: `validate` sees to it."""
    if not step.is_agent and step.recovery_prompt is None:
        return ()
    if instead:
        return (instead,)
    config = settings.possible(step, "", workflow, pool, skill)[0].config
    return tuple(dict.fromkeys((config.agent or "claude", *(config.fallback or ()))))


def agent_of(
    step: model.Step,
    workflow: model.Workflow,
    skill: model.AgentConfig | None = None,
    instead: str | None = None,
    pool: SlotPool = NO_POOL,
) -> str | None:
    """The agent of a step, or of its recovery; None where it has neither."""
    return next(iter(agents_of(step, workflow, skill, instead, pool)), None)


def cap_of(step: model.Step, workflow: model.Workflow, skill: model.AgentConfig | None = None, pool: SlotPool = NO_POOL) -> float | None:
    """The most that one attempt may spend by its settings (`max_budget_usd`), in US dollars; the most that any slot allows."""
    caps = [merged.config.max_budget_usd for merged in settings.possible(step, "", workflow, pool, skill)]
    known = [cap for cap in caps if cap is not None]
    return max(known) if len(known) == len(caps) else None


def only_edits(tool: str) -> bool:
    """Whether a tool, as `allowed_tools` names it, does nothing but change files."""
    return _plain(tool) in _EDITING_TOOLS


def _has_modes(agent: str, pool: SlotPool, possible: Iterable[settings.Settings]) -> bool:
    """Whether a mode says what the agent may do."""
    own = pool.file.agents.get(agent)
    if agent == _REPLAY:
        return all(merged.config.permission_mode is not None for merged in possible)
    return agent in _MODAL or (own is not None and "permission_mode" in own.options)


def _modal_may_write(agent: str, config: model.AgentConfig) -> bool:
    if any(key in (config.settings or {}) for key in _SETTINGS_OF_MODE.get(agent, ())):
        return True
    mode = config.permission_mode or _permissions(config).get("defaultMode") or "default"
    if mode == "plan":
        return False
    allowed = [*(config.allowed_tools or ()), *_listed(_permissions(config).get("allow"))]
    return mode in _WRITING_MODES or any(_plain(tool) not in _READING_TOOLS for tool in allowed)


def _plain(tool: str) -> str:
    return tool.partition("(")[0].strip().lower()


def _permissions(config: model.AgentConfig) -> dict[str, Any]:
    """What `settings` hands to the agent CLI can allow tools as well."""
    permissions = (config.settings or {}).get("permissions")
    return permissions if isinstance(permissions, dict) else {}


def _listed(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
