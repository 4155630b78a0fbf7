"""How Claude Code is started: flags, environment, files and message, without starting it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent_runs import request

from cpool_flow.agents.claude import Claude
from cpool_flow.agents.claude_schema import enforceable
from cpool_flow.agents.protocol import Invocation, private_files
from cpool_flow.errors import InvalidInput

ALWAYS = ["-p", "--output-format=stream-json", "--verbose", "--setting-sources=user"]
OBJECT = {"type": "object", "properties": {"n": {"type": "integer"}}}


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH with a program of that name."""
    program = tmp_path / "bin" / "claude"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return str(program.parent)


@pytest.fixture
def prepare(tmp_path: Path, path: str) -> Any:
    def prepared(prompt: str = "say hi", environment: dict[str, str] | None = None, **more: Any) -> Invocation:
        environment = {"PATH": path, "HOME": "/home/user", **(environment or {})}
        return Claude().prepare(request(tmp_path, prompt, environment=environment, session_id="SESSION", **more))

    return prepared


def test_the_plain_command_line(prepare: Any, path: str, tmp_path: Path) -> None:
    invocation = prepare()
    assert invocation.argv == (f"{path}/claude", *ALWAYS, "--strict-mcp-config", "--session-id=SESSION")
    assert (invocation.stdin, invocation.directory, invocation.files) == (b"say hi", str(tmp_path), ())


def test_every_setting_has_its_flag(prepare: Any) -> None:
    config = {
        "model": "sonnet", "fallback_model": "haiku", "effort": "high", "permission_mode": "acceptEdits", "max_turns": 5,
        "max_budget_usd": 2, "allowed_tools": ["Edit", "Bash(git log *)"], "disallowed_tools": ["WebFetch"], "add_dirs": ["../docs", "-x"],
        "strict_mcp_config": False, "replace_system_prompt": "You are.",
    }  # fmt: skip
    argv = prepare(config=config, budget_usd=0.5, system_prompt="- be brief", schema=OBJECT).argv
    assert list(argv[5:-1]) == [
        "--model=sonnet", "--fallback-model=haiku", "--effort=high", "--permission-mode=acceptEdits", "--max-turns=5",
        "--allowedTools=Edit", "--allowedTools=Bash(git log *)", "--disallowedTools=WebFetch", "--add-dir=../docs", "--add-dir=-x",
        "--max-budget-usd=0.500000", f"--json-schema={json.dumps(OBJECT)}", "--system-prompt=You are.", "--append-system-prompt=- be brief",
    ]  # fmt: skip


def test_the_smaller_cap_holds(prepare: Any) -> None:
    assert "--max-budget-usd=1.000000" in prepare(config={"max_budget_usd": 1}, budget_usd=5.0).argv
    assert "--max-budget-usd=0.000001" in prepare(budget_usd=0.0000001).argv


def test_servers_and_settings_go_by_private_files(prepare: Any, tmp_path: Path) -> None:
    servers = {"github": {"command": "mcp", "env": {"TOKEN": "secret-token"}}}
    invocation = prepare(config={"mcp_servers": servers, "settings": {"env": {"A": "b"}}})
    assert "secret-token" not in " ".join(invocation.argv)
    named = dict(argument.split("=", 1) for argument in invocation.argv if argument.startswith(("--mcp-config", "--settings")))
    with private_files(invocation):
        assert json.loads(Path(named["--mcp-config"]).read_text()) == {"mcpServers": servers}
        assert json.loads(Path(named["--settings"]).read_text()) == {"env": {"A": "b"}}
        assert {Path(name).stat().st_mode & 0o777 for name in named.values()} == {0o600}
    assert not any(Path(name).exists() for name in named.values())


def test_private_files_go_even_when_the_work_fails(prepare: Any) -> None:
    invocation = prepare(config={"settings": {"a": 1}})
    with pytest.raises(ZeroDivisionError), private_files(invocation):
        raise ZeroDivisionError
    assert not Path(invocation.files[0].path).exists()


def test_attempts_that_share_a_folder_do_not_share_files(prepare: Any, tmp_path: Path) -> None:
    settings = {"config": {"settings": {"a": 1}}}
    assert "SESSION" in prepare(**settings).files[0].path


def test_a_long_system_prompt_goes_by_a_file(prepare: Any) -> None:
    invocation = prepare(system_prompt="ü" * 100_000, config={"replace_system_prompt": "x" * 100_000})
    flags = [argument.partition("=")[0] for argument in invocation.argv]
    assert {"--append-system-prompt-file", "--system-prompt-file"} <= set(flags)
    assert [len(file.data) for file in invocation.files] == [100_000, 200_000]


def test_the_environment_is_what_it_needs_and_what_was_declared(prepare: Any, path: str) -> None:
    caller = {
        "LANG": "C.UTF-8", "LC_TIME": "C", "TERM": "xterm", "TZ": "UTC", "ANTHROPIC_API_KEY": "k", "HTTPS_PROXY": "p", "IS_SANDBOX": "1",
        "CLAUDECODE": "1", "CLAUDE_CODE_ENTRYPOINT": "cli", "GITHUB_TOKEN": "t", "AWS_SECRET_ACCESS_KEY": "a", "LD_PRELOAD": "x",
    }  # fmt: skip
    environment = prepare(environment=caller, step_environment={"STEP": "s"}, config={"env": {"CONFIG": "c"}}).environment
    assert set(environment) == {
        "PATH", "HOME", "LANG", "LC_TIME", "TERM", "TZ", "ANTHROPIC_API_KEY", "HTTPS_PROXY", "IS_SANDBOX", "STEP", "CONFIG",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING",
        "CLAUDE_CODE_MAX_RETRIES", "CLAUDE_CODE_DISABLE_FILE_MENTIONS",
    }  # fmt: skip
    assert environment["CLAUDE_CODE_MAX_RETRIES"] == "0"


def test_a_cloud_gets_its_variables_only_where_it_is_switched_on(prepare: Any) -> None:
    caller = {"AWS_REGION": "eu", "AWS_SECRET_ACCESS_KEY": "a", "GOOGLE_APPLICATION_CREDENTIALS": "g"}
    bedrock = prepare(environment={**caller, "CLAUDE_CODE_USE_BEDROCK": "1"}).environment
    assert bedrock["AWS_SECRET_ACCESS_KEY"] == "a"
    assert "GOOGLE_APPLICATION_CREDENTIALS" not in bedrock
    configured = prepare(environment=caller, config={"env": {"CLAUDE_CODE_USE_VERTEX": "1"}}).environment
    assert "GOOGLE_APPLICATION_CREDENTIALS" in configured
    assert "AWS_REGION" not in configured


def test_what_is_configured_wins_over_ours_and_the_step_over_both(prepare: Any) -> None:
    name = "CLAUDE_CODE_MAX_RETRIES"
    assert prepare(config={"env": {name: "2"}}).environment[name] == "2"
    assert prepare(config={"env": {name: "2"}}, step_environment={name: "1"}).environment[name] == "1"


def test_it_asks_often_enough_to_fall_back_on_another_model(prepare: Any) -> None:
    name = "CLAUDE_CODE_MAX_RETRIES"
    assert prepare(config={"fallback_model": "haiku"}).environment[name] == "2"
    assert prepare(config={"fallback_model": "haiku", "env": {name: "5"}}).environment[name] == "5"


@pytest.mark.parametrize(("prompt", "sent"), [("/cost", b"\n/cost"), ("-x", b"-x"), (" /cost", b" /cost"), ("ü\ud800", b"\xc3\xbc?")])
def test_a_prompt_is_text_and_no_command_of_the_cli(prepare: Any, prompt: str, sent: bytes) -> None:
    assert prepare(prompt).stdin == sent


@pytest.mark.parametrize("prompt", ["", " \n\t"])
def test_an_empty_prompt_is_refused_before_the_start(prepare: Any, prompt: str) -> None:
    with pytest.raises(InvalidInput, match="the prompt is empty"):
        prepare(prompt)


def test_a_missing_program_says_how_to_install_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        Claude().check(request(tmp_path).config, {"PATH": str(tmp_path)})
    assert "`claude` was not found" in refused.value.problems[0].message
    assert refused.value.problems[0].help == "install it: npm install -g @anthropic-ai/claude-code"


@pytest.mark.parametrize(
    "schema",
    [
        OBJECT,
        {"type": "object", "properties": {"prefixItems": {"type": "array"}}, "enum": [{"$anchor": 1}]},
        {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"pattern": "^(?:a|b)$"}}},
    ],
)
def test_a_plain_schema_is_handed_to_the_cli(schema: Any) -> None:
    assert json.loads(enforceable(schema) or "null") == schema


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {"type": "array"},
        {"properties": {}},
        {**OBJECT, "unevaluatedProperties": False},
        {**OBJECT, "properties": {"a": {"prefixItems": []}}},
        {**OBJECT, "properties": {"a": {"pattern": "(?P<x>a)"}}},
        {**OBJECT, "patternProperties": {"(?i)a": {}}},
        {**OBJECT, "properties": {"a": {"$ref": "other.json"}}},
        {**OBJECT, "if": {}},
        {**OBJECT, "description": "x" * 200_000},
    ],
)
def test_a_schema_that_the_cli_would_refuse_is_not(schema: Any) -> None:
    assert enforceable(schema) is None
