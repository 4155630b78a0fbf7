"""How codex, gemini and opencode are started for each setting, without starting them."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from agent_runs import request

from cpool_flow import agents
from cpool_flow.agents.protocol import Invocation
from cpool_flow.agents.strict_schema import strict
from cpool_flow.errors import InvalidInput


class Prepared:
    """An agent's CLI on a PATH, and what would be started of it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.folder, self.place = name, folder, folder / "place"
        self.place.mkdir()
        program = folder / "bin" / name
        program.parent.mkdir()
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)

    def __call__(self, environment: dict[str, str] | None = None, **more: Any) -> Invocation:
        given = {"PATH": str(self.folder / "bin"), "HOME": str(self.folder), **(environment or {})}
        return agents.adapter(self.name).prepare(request(self.place, environment=given, **{"session_id": "SESSION", **more}))


@pytest.fixture
def codex(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path, "codex")


@pytest.fixture
def gemini(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path, "gemini")


@pytest.fixture
def opencode(tmp_path: Path) -> Prepared:
    return Prepared(tmp_path, "opencode")


# ---- codex ----


def settings(invocation: Invocation) -> dict[str, Any]:
    """What codex reads out of its `-c` words."""
    found: dict[str, Any] = {}
    for flag, word in zip(invocation.argv, invocation.argv[1:], strict=False):
        if flag == "-c":
            found |= tomllib.loads(word)
    return found


def test_the_plain_command_line_of_codex(codex: Prepared) -> None:
    invocation = codex()
    place = str(codex.place)
    assert invocation.argv == (
        str(codex.folder / "bin" / "codex"), "exec", "--json", "--skip-git-repo-check", "-c", "analytics.enabled=false",
        "-c", "check_for_update_on_startup=false", "-c", f'projects={{"{place}" = {{trust_level = "untrusted"}}}}',
        "-c", 'sandbox_mode="read-only"', "-",
    )  # fmt: skip
    assert (invocation.stdin, invocation.directory, invocation.files) == (b"say hi", place, ())


@pytest.mark.parametrize(
    ("mode", "sandbox"),
    [
        ("default", "read-only"),
        ("plan", "read-only"),
        ("dontAsk", "read-only"),
        ("acceptEdits", "workspace-write"),
        ("auto", "workspace-write"),
        ("bypassPermissions", "danger-full-access"),
    ],
)
def test_a_mode_is_a_sandbox_of_codex(codex: Prepared, mode: str, sandbox: str) -> None:
    assert settings(codex(config={"permission_mode": mode}))["sandbox_mode"] == sandbox


def test_every_setting_of_codex_has_its_word(codex: Prepared) -> None:
    config = {
        "model": "gpt-5", "effort": "high", "permission_mode": "acceptEdits", "add_dirs": ["../docs"], "replace_system_prompt": "You are.",
        "settings": {"sandbox_workspace_write": {"network_access": True}, "analytics.enabled": None, "other": [1, {"c": "ü\x7f\"\n"}]},
    }  # fmt: skip
    invocation = codex(config=config, system_prompt='- be "brief"\n- \U0001f600', resume="ID", session_id="ID")
    found = settings(invocation)
    assert invocation.argv[1:3] == ("exec", "resume")
    assert invocation.argv[-3:] == ("--model=gpt-5", "ID", "-")
    assert found["model_reasoning_effort"] == "high"
    assert found["sandbox_workspace_write"] == {"writable_roots": [f"{codex.place}/../docs"], "network_access": True}
    assert found["developer_instructions"] == '- be "brief"\n- \U0001f600'
    assert found["other"] == [1, {"c": 'ü\x7f"\n'}]
    (file,) = invocation.files
    assert (found["model_instructions_file"], file.data) == (file.path, b"You are.")
    assert codex(resume="ID").argv[2] == "fork"


def test_what_is_private_of_an_mcp_server_is_on_no_command_line_of_codex(codex: Prepared) -> None:
    (codex.folder / ".codex").mkdir()
    (codex.folder / ".codex" / "config.toml").write_text('[mcp_servers.mine]\ncommand = "x"\n')
    servers = {
        "github": {"command": "mcp", "args": ["-v"], "env": {"TOKEN": "secret-token"}},
        "web": {"type": "http", "url": "https://x", "headers": {"Authorization": "Bearer secret-header"}},
    }
    invocation = codex(config={"mcp_servers": servers})
    assert settings(invocation)["mcp_servers"] == {
        "mine": {"enabled": False},
        "github": {"enabled": True, "command": "mcp", "args": ["-v"], "env_vars": ["TOKEN"]},
        "web": {"enabled": True, "url": "https://x", "env_http_headers": {"Authorization": "CPOOL_MCP_2_1"}},
    }
    assert "secret" not in " ".join(invocation.argv)
    assert (invocation.environment["TOKEN"], invocation.environment["CPOOL_MCP_2_1"]) == ("secret-token", "Bearer secret-header")
    assert "mcp_servers" not in settings(codex(config={"strict_mcp_config": False}))


def test_a_schema_that_codex_can_hold_to_goes_by_its_flag_closed_and_with_every_property_required(codex: Prepared) -> None:
    invocation = codex(schema={"type": "object", "properties": {"n": {"type": "integer"}, "m": {"type": "string"}}, "required": ["n"]})
    path = invocation.argv[invocation.argv.index("--output-schema") + 1]
    (file,) = invocation.files
    assert file.path == path
    assert json.loads(file.data) == {
        "type": "object",
        "properties": {"n": {"type": "integer"}, "m": {"type": "string"}},
        "required": ["n", "m"],
        "additionalProperties": False,
    }


def test_another_schema_is_told_to_codex_in_words(codex: Prepared) -> None:
    invocation = codex(schema={"type": "object", "properties": {"findings": {"type": "array"}}})
    assert "--output-schema" not in invocation.argv
    assert '"findings"' in settings(invocation)["developer_instructions"]


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "object", "properties": {}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}},
        {"type": "object", "properties": {"a": {"type": "object", "additionalProperties": {"type": "string"}}}},
        {"type": "object", "properties": {"a": {"$ref": "other.json"}}},
        {"type": "object", "properties": {"a": {"type": ["object", "null"]}}},
        {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["b"]},
        {"type": "object", "properties": {"a": {"type": "string"}}, "allOf": []},
        {"type": "object", "properties": {"a": {"enum": ["x" * 200_000]}}},
    ],
)
def test_a_schema_that_a_strict_api_would_refuse_is_not_handed_over(schema: Any) -> None:
    assert strict(schema) is None


def test_a_schema_is_narrowed_all_the_way_down() -> None:
    item = {"type": "object", "properties": {"name": {"type": "string", "default": "x"}, "next": {"$ref": "#/$defs/item"}}}
    found = strict({
        "$schema": "x", "type": "object", "$defs": {"item": item},
        "properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/item"}}, "some": {"anyOf": [{"type": "null"}, {"const": 1}]}},
    })  # fmt: skip
    assert found == {
        "type": "object",
        "$defs": {
            "item": {
                "type": "object",
                "properties": {"name": {"type": "string"}, "next": {"$ref": "#/$defs/item"}},
                "required": ["name", "next"],
                "additionalProperties": False,
            }
        },
        "properties": {"all": {"type": "array", "items": {"$ref": "#/$defs/item"}}, "some": {"anyOf": [{"type": "null"}, {"const": 1}]}},
        "required": ["all", "some"],
        "additionalProperties": False,
    }


# ---- gemini ----


def test_the_plain_command_line_of_gemini(gemini: Prepared) -> None:
    invocation = gemini()
    assert invocation.argv == (
        str(gemini.folder / "bin" / "gemini"), "--output-format=stream-json", "--approval-mode=default", "--session-id=SESSION",
        "--allowed-mcp-server-names=no-server-of-this-name",
    )  # fmt: skip
    assert (invocation.stdin, invocation.files) == (b"say hi", ())
    environment = {"GEMINI_CLI_NO_RELAUNCH": "true", "GEMINI_CLI_TRUST_WORKSPACE": "true"}
    assert environment.items() <= invocation.environment.items()


def test_an_address_in_a_file_of_the_place_gets_no_key_of_gemini(gemini: Prepared) -> None:
    assert gemini().environment["GOOGLE_GEMINI_BASE_URL"] == ""
    assert gemini({"GOOGLE_GEMINI_BASE_URL": "http://x"}).environment["GOOGLE_GEMINI_BASE_URL"] == "http://x"
    assert gemini(config={"env": {"GOOGLE_GEMINI_BASE_URL": "http://y"}}).environment["GOOGLE_GEMINI_BASE_URL"] == "http://y"


def test_every_setting_of_gemini_has_its_word(gemini: Prepared) -> None:
    config = {
        "model": "gemini-2.5-pro", "permission_mode": "acceptEdits", "add_dirs": ["../docs"], "replace_system_prompt": "You are.",
        "allowed_tools": ["run_shell_command(git log *)", "web_fetch"], "disallowed_tools": ["write_file"], "strict_mcp_config": False,
    }  # fmt: skip
    invocation = gemini(config=config, system_prompt="- be brief", resume="ID", session_id="ID")
    system, policy = invocation.files
    assert invocation.argv[1:] == (
        "--output-format=stream-json", "--approval-mode=auto_edit", "--resume=ID", "--model=gemini-2.5-pro",
        f"--include-directories={gemini.place}/../docs", f"--policy={policy.path}",
    )  # fmt: skip
    assert (invocation.environment["GEMINI_SYSTEM_MD"], system.data) == (system.path, b"You are.")
    assert tomllib.loads(policy.data.decode())["rule"] == [
        {"toolName": "run_shell_command", "decision": "allow", "priority": 900, "commandPrefix": "git log"},
        {"toolName": "web_fetch", "decision": "allow", "priority": 900},
        {"toolName": "write_file", "decision": "deny", "priority": 999},
    ]
    assert invocation.stdin == b"<instructions>\n- be brief\n</instructions>\n\nsay hi"


@pytest.mark.parametrize(("mode", "word"), [("plan", "plan"), ("dontAsk", "default"), ("bypassPermissions", "yolo"), ("auto", "auto_edit")])
def test_a_mode_has_its_name_in_gemini(gemini: Prepared, mode: str, word: str) -> None:
    assert f"--approval-mode={word}" in gemini(config={"permission_mode": mode}).argv


@pytest.mark.parametrize("found", [{"hooks": {"SessionStart": []}}, {"tools": {"discoveryCommand": "x"}}])
def test_programs_that_the_place_names_are_not_run_by_gemini_unless_allowed(gemini: Prepared, found: dict[str, Any]) -> None:
    (gemini.place / ".gemini").mkdir()
    (gemini.place / ".gemini" / "settings.json").write_text(json.dumps(found))
    with pytest.raises(InvalidInput, match="names programs"):
        gemini()
    assert gemini(config={"strict_mcp_config": False})


@pytest.mark.parametrize("line", ["HTTPS_PROXY=http://x", "export CODE_ASSIST_ENDPOINT = x", "A=1\nNODE_OPTIONS=--require=x"])
def test_a_file_that_leads_gemini_to_somebody_else_is_refused(gemini: Prepared, line: str) -> None:
    (gemini.place / ".env").write_text(line)
    with pytest.raises(InvalidInput, match="would talk to somebody else"):
        gemini()
    (gemini.place / ".env").write_text("DATABASE_URL=x\n# HTTPS_PROXY=y\n")
    assert gemini()


def test_other_settings_of_the_place_are_no_matter_for_gemini(gemini: Prepared) -> None:
    (gemini.place / ".gemini").mkdir()
    for text in ("{}", "[]", "no json", '{"mcpServers": {"x": {"command": "y"}}}'):
        (gemini.place / ".gemini" / "settings.json").write_text(text)
        assert gemini()


# ---- opencode ----


def configuration(invocation: Invocation) -> dict[str, Any]:
    found = json.loads(invocation.environment["OPENCODE_CONFIG_CONTENT"])
    assert isinstance(found, dict)
    return found


def test_the_plain_command_line_of_opencode(opencode: Prepared) -> None:
    invocation = opencode()
    program = str(opencode.folder / "bin" / "opencode")
    assert invocation.argv == (program, "run", "--format=json", "--print-logs", "--log-level=ERROR")
    assert configuration(invocation)["permission"] == {
        "*": "deny", **dict.fromkeys(("read", "grep", "glob", "list", "lsp", "skill", "task", "todoread", "todowrite", "invalid"), "allow")
    }  # fmt: skip
    assert invocation.environment["OPENCODE_DISABLE_PROJECT_CONFIG"] == "1"


def test_every_setting_of_opencode_has_its_word(opencode: Prepared) -> None:
    config = {
        "model": "anthropic/m", "effort": "high", "permission_mode": "acceptEdits", "replace_system_prompt": "You are.",
        "allowed_tools": ["Bash(git log *)", "bash(ls)", "webfetch"], "disallowed_tools": ["Write", "bash(git push *)"],
        "mcp_servers": {"a": {"command": "mcp", "args": ["-v"], "env": {"T": "t"}}, "b": {"type": "http", "url": "u", "headers": {"H": "h"}}},
        "settings": {"provider": {"anthropic": {"options": {"timeout": 5}}}},
    }  # fmt: skip
    caller = {
        "OPENCODE_CONFIG_CONTENT": '{"provider": {"anthropic": {"options": {"baseURL": "x"}}}}',
        "OPENAI_API_KEY": "o",
        "ANTHROPIC_API_KEY": "a",
    }
    invocation = opencode(caller, config=config, system_prompt="- be brief", resume="ID")
    found = configuration(invocation)
    assert invocation.argv[5:] == ("--model=anthropic/m", "--variant=high", "--session=ID", "--fork")
    assert found["provider"] == {"anthropic": {"options": {"baseURL": "x", "timeout": 5}}}
    assert found["agent"] == {"build": {"prompt": "You are."}}
    assert found["mcp"] == {
        "a": {"type": "local", "command": ["mcp", "-v"], "environment": {"T": "t"}},
        "b": {"type": "remote", "url": "u", "headers": {"H": "h"}},
    }
    rules = found["permission"]
    assert {name: rules[name] for name in ("edit", "webfetch", "a_*", "b_*")} == {
        "edit": "deny",
        "webfetch": "allow",
        "a_*": "allow",
        "b_*": "allow",
    }
    assert rules["bash"] == {"*": "deny", "git log *": "allow", "ls": "allow", "git push *": "deny"}
    (file,) = invocation.files
    assert (found["instructions"], file.data) == ([file.path], b"- be brief")
    assert "OPENAI_API_KEY" not in invocation.environment  # a model of another provider needs no key of it
    assert invocation.environment["ANTHROPIC_API_KEY"] == "a"


def test_without_a_model_opencode_gets_the_keys_of_all_providers(opencode: Prepared) -> None:
    assert {"OPENAI_API_KEY", "ANTHROPIC_API_KEY"} <= opencode({"OPENAI_API_KEY": "o", "ANTHROPIC_API_KEY": "a"}).environment.keys()


def test_everything_is_allowed_where_permissions_are_bypassed_but_what_is_taken_away(opencode: Prepared) -> None:
    found = configuration(opencode(config={"permission_mode": "bypassPermissions", "disallowed_tools": ["bash"]}))
    assert found["permission"] == {"*": "allow", "bash": "deny"}


def test_a_plugin_in_the_place_is_not_run_by_opencode_unless_allowed(opencode: Prepared) -> None:
    folder = opencode.place / ".opencode" / "plugin"
    folder.mkdir(parents=True)
    (folder / "evil.js").write_text("")
    with pytest.raises(InvalidInput, match=r"`\.opencode/plugin/evil\.js` of the step's place is a plugin"):
        opencode()
    assert opencode(config={"strict_mcp_config": False})
