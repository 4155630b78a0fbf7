"""No agent gets a token that can write to the repository, unless a step names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpool_flow.agents import ADAPTERS, adapter
from cpool_flow.agents.protocol import AgentRequest
from cpool_flow.model import AgentConfig

TOKENS = {
    **dict.fromkeys(("GITHUB_TOKEN", "GH_TOKEN", "GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", "GITHUB_PAT"), "t"),
    **dict.fromkeys(("ACTIONS_RUNTIME_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_CACHE_URL"), "t"),
}


# `replay` starts no agent: it answers from a recording.
@pytest.mark.parametrize("name", [name for name in ADAPTERS if name != "replay"])
def test_an_agent_gets_no_write_token_but_from_a_step_that_names_it(name: str, tmp_path: Path) -> None:
    for program in ("claude", "codex", "gemini", "opencode", "mine"):
        (tmp_path / program).write_text("#!/bin/sh\n")
        (tmp_path / program).chmod(0o755)
    (tmp_path / "script.yaml").write_text("steps: {a: {answer: x}}\n")
    request = AgentRequest(
        prompt="Do it.",
        config=AgentConfig.model_validate({"agent": name, "command": ("mine",), "script": str(tmp_path / "script.yaml")}),
        directory=str(tmp_path),
        files=str(tmp_path),
        session_id="6f1c6e9e-9f6e-4f6e-8f6e-6f1c6e9e9f6e",
        environment={"PATH": str(tmp_path), "HOME": "/home/you", **TOKENS},
        step_environment={"GH_TOKEN": "named"},
        step="a",
    )
    environment = adapter(name).prepare(request).environment
    assert {key: value for key, value in environment.items() if key in TOKENS} == {"GH_TOKEN": "named"}
