"""`doctor`: what is installed, which version, and what a step may ask of it."""

from __future__ import annotations

import json

import pytest
from agent_stage import Stage
from session import Session


@pytest.fixture
def stage(session: Session) -> Stage:
    return Stage(session)


def test_each_agent_is_named_with_its_version_its_account_and_what_it_can(stage: Stage) -> None:
    stage.program("codex", "#!/bin/sh\necho warning >&2; echo codex-cli 1.2.3\n")
    ended = stage.session.flow("doctor", PATH=f"{stage.programs}:/usr/bin:/bin", CODEX_API_KEY="sk-secret")
    lines = ended.out.splitlines()
    at = next(number for number, line in enumerate(lines) if "agent codex" in line)
    assert lines[at : at + 2] == [
        f"ok      agent codex        codex-cli 1.2.3 ({stage.programs}/codex), signed in",
        "        can:  go on in a session, copy a session, be held to a schema, count its tokens; config: add_dirs effort mcp_servers"
        " model permission_mode replace_system_prompt settings strict_mcp_config system_prompt",
    ]
    at = next(number for number, line in enumerate(lines) if "agent gemini" in line)
    assert lines[at : at + 2] == ["no      agent gemini       not found", "        help: install it: npm install -g @google/gemini-cli"]
    assert "sk-secret" not in ended.out
    assert ended.code == 0


def test_a_program_that_prints_control_characters_prints_none_here(stage: Stage) -> None:
    stage.program("gemini", "#!/bin/sh\nprintf '\\033[31m0.61.0\\n'\n")
    ended = stage.session.flow("doctor", "--json", PATH=f"{stage.programs}:/usr/bin:/bin", GEMINI_API_KEY="k")
    found = next(check for check in json.loads(ended.out)["checks"] if check["name"] == "agent gemini")
    assert found["found"].startswith("\\x1b[31m0.61.0 (")
    assert (found["can"]["resume"], found["can"]["fork"], "model" in found["can"]["config"]) == (True, False, True)
