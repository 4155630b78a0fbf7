"""Whether an agent may change files: by its mode, by its tools, by what the step says, by the agent that really runs."""

from __future__ import annotations

from typing import Any

import pytest

from cpool_flow.model import AgentConfig, Workflow
from cpool_flow.permissions import may_write
from cpool_flow.plan import build

READS: list[dict[str, Any]] = [
    {},
    {"permission_mode": "plan", "allowed_tools": ["Write"]},
    {"permission_mode": "dontAsk"},
    {"permission_mode": "default", "allowed_tools": ["Read", "Grep", "WebFetch(domain:example.org)"]},
    {"agent": "codex"},
    {"agent": "gemini", "allowed_tools": ["read_file", "google_web_search"]},
    {"agent": "opencode", "permission_mode": "plan", "allowed_tools": ["bash"]},
    {"agent": "opencode", "allowed_tools": ["webfetch"], "settings": {"provider": {}}},
]
WRITES: list[dict[str, Any]] = [
    {"permission_mode": "acceptEdits"},
    {"permission_mode": "bypassPermissions"},
    {"permission_mode": "auto"},
    {"allowed_tools": ["Edit"]},
    {"permission_mode": "dontAsk", "allowed_tools": ["Bash(git diff *)"]},
    {"allowed_tools": ["mcp__github__get"]},
    {"settings": {"permissions": {"allow": ["Write"]}}},
    {"settings": {"permissions": {"defaultMode": "acceptEdits"}}},
    {"agent": "codex", "permission_mode": "acceptEdits"},
    {"agent": "codex", "settings": {"sandbox_mode": "workspace-write"}},
    {"agent": "gemini", "allowed_tools": ["run_shell_command(git log)"]},
    {"agent": "opencode", "allowed_tools": ["bash(git log *)"]},
    {"agent": "opencode", "settings": {"permission": {"edit": "allow"}}},
    {"agent": "scripted", "script": "answers.yaml"},
    {"agent": "command", "command": ["cat"], "permission_mode": "plan"},
]


def workflow(step: dict[str, Any], **top: Any) -> Workflow:
    return Workflow.model_validate({"steps": [step], **top})


def writes(step: dict[str, Any], skill: dict[str, Any] | None = None, agent: str | None = None, **top: Any) -> bool:
    flow = workflow(step, **top)
    return may_write(flow.steps[0], flow, AgentConfig.model_validate(skill or {}), agent)


@pytest.mark.parametrize("config", READS)
def test_an_agent_that_is_refused_every_write_changes_no_file(config: dict[str, Any]) -> None:
    assert not writes({"prompt": "x", "config": config})


@pytest.mark.parametrize("config", WRITES)
def test_an_agent_with_a_way_to_write_may_change_files(config: dict[str, Any]) -> None:
    assert writes({"prompt": "x", "config": config})
    assert writes({"prompt": "x"}, config=config)
    assert writes({"skill": "x"}, skill=config)
    assert writes({"run": "true", "recovery_prompt": "x", "config": config})


def test_a_recording_does_what_the_agents_of_the_file_may_do() -> None:
    assert not writes({"prompt": "x"}, agent="replay")
    assert writes({"prompt": "x", "config": {"permission_mode": "acceptEdits"}}, agent="replay")
    assert writes({"prompt": "x", "config": {"agent": "command", "command": ["cat"]}}, agent="replay")
    named = {"agent": "replay", "recording": "rec"}
    assert writes({"prompt": "x", "config": named})
    assert not writes({"prompt": "x", "config": {**named, "permission_mode": "plan"}})


def test_a_command_without_recovery_has_no_agent_that_could() -> None:
    assert not writes({"run": "true"}, config={"permission_mode": "acceptEdits"})


@pytest.mark.parametrize("config", [{"agent": "scripted", "script": "a.yaml"}, {"agent": "command", "command": ["cat"]}])
def test_an_agent_without_modes_changes_no_file_where_the_step_says_so(config: dict[str, Any]) -> None:
    assert not writes({"prompt": "x", "effects": "none"}, config=config)
    assert writes({"prompt": "x", "effects": "workspace"}, config=config)
    assert writes({"prompt": "x", "effects": "external"}, config=config)


def test_the_mode_of_claude_decides_whatever_the_step_says() -> None:
    assert writes({"prompt": "x", "effects": "none"}, config={"permission_mode": "acceptEdits"})
    assert not writes({"prompt": "x", "effects": "workspace"})


def test_the_agent_that_stands_in_for_the_others_is_the_one_that_counts() -> None:
    assert writes({"prompt": "x"}, agent="scripted")
    assert not writes({"prompt": "x"}, agent="claude", config={"agent": "command", "command": ["cat"]})


def test_a_plan_knows_the_settings_of_skills_and_the_agent_that_stands_in() -> None:
    flow = workflow({"skill": "mend"}, config={"agent": "claude"})
    mend = AgentConfig.model_validate({"permission_mode": "acceptEdits", "agent": "scripted"})
    planned = build(flow, skills=lambda source: {"mend": mend})["step_1"]
    assert (planned.may_write, planned.agent) == (True, "scripted")
    assert build(flow, skills=lambda source: {"mend": mend}, agent="claude")["step_1"].agent == "claude"
    assert not build(flow)["step_1"].may_write
    assert build(flow, agent="scripted")["step_1"].may_write
