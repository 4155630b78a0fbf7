"""What somebody meets who has just installed cpool-flow, and nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest
from session import Session

NEEDS_MUCH = """
    secrets: [FLOW_TEST_TOKEN]
    config: {permission_mode: plan}
    steps:
      - name: fetch
        run: echo fetched
        secrets: [FLOW_TEST_TOKEN]
      - name: look
        prompt: "Look at this: {{ steps.fetch.output }}"
"""
BARE_PATH = "/usr/bin:/bin"  # no `claude` there


def test_a_plan_needs_neither_the_secrets_nor_the_agents(session: Session) -> None:
    session.file("flow.yaml", NEEDS_MUCH)
    ended = session.flow("plan", "flow.yaml", PATH=BARE_PATH)
    assert ended.code == 0, ended.err
    assert "1. fetch (run)\n     | echo fetched\n" in ended.out
    assert ended.err == (
        "warning: secret `FLOW_TEST_TOKEN` is not set in the environment\n"
        "help: export FLOW_TEST_TOKEN=…\n\n"
        "warning: the program `claude` was not found on the PATH\n"
        "help: install it: npm install -g @anthropic-ai/claude-code\n\n"
        "2 warnings\n"
    )


def test_a_run_names_all_that_is_missing_at_once_and_starts_nothing(session: Session) -> None:
    session.file("flow.yaml", NEEDS_MUCH)
    ended = session.flow("run", "flow.yaml", PATH=BARE_PATH)
    assert (ended.code, ended.out) == (2, "")
    assert "error: secret `FLOW_TEST_TOKEN` is not set in the environment\n" in ended.err
    assert "error: the program `claude` was not found on the PATH\n" in ended.err
    assert not (session.path / ".cpool").exists()


def test_a_tag_is_kept_with_the_run(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'true'}]\n")
    ended = session.flow("run", "flow.yaml", "--tag", "nightly", "--tag", "try", "--json")
    assert ended.json()["tags"] == ["nightly", "try"]
    assert session.flow("runs", "--json").json()["runs"][0]["tags"] == ["nightly", "try"]


def test_a_plan_names_the_place_of_every_setting_and_shows_it_as_json(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        config: {model: sonnet, permission_mode: plan, env: {LANG: en}, allowed_tools: [Read]}
        steps:
          - name: look
            prompt: Look.
            config: {model: opus, env: {PORT: 8080}, allowed_tools: [Grep]}
        """,
    )
    ended = session.flow("plan", "flow.yaml", PATH=BARE_PATH)
    settings = [line.strip() for line in ended.out.splitlines() if ": " in line and "timeout" not in line]
    assert settings == [
        "agent: claude (default)",
        "model: opus (step look)",
        "permission_mode: plan (workflow)",
        'allowed_tools: ["Read", "Grep"] (workflow, step look)',
        "env.LANG: en (workflow)",
        "env.PORT: 8080 (step look)",
    ]


def test_status_shows_outputs_as_the_run_did(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'seq 2'}]\noutputs: {lines: '{{ steps.step_1.output }}', count: '{{ 1 + 1 }}'}\n")
    shown = session.flow("run", "flow.yaml").out
    assert shown == "lines =\n  1\n  2\ncount = 2\n"
    assert session.flow("status").out.endswith(shown)


@pytest.mark.parametrize("command", [["run", "hello"], ["list"], []])
def test_on_a_system_that_is_not_supported_one_clear_error_names_the_way_out(session: Session, command: list[str]) -> None:
    program = f"import sys; from cpool_flow.cli.main import run_main; sys.platform = 'win32'; sys.exit(run_main({command!r}))"
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=session.path, env=session.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert (
        ended.stderr
        == "error: cpool-flow does not run on win32\nhelp: it runs on Linux, and on macOS at best effort; on Windows, use WSL\n"
    )
    assert not (session.path / ".cpool").exists()


def test_the_version_and_the_help_come_on_any_system(session: Session) -> None:
    program = "import sys; from cpool_flow.cli.main import run_main; sys.platform = 'win32'; sys.exit(run_main(['--version']))"
    ended = subprocess.run(
        [sys.executable, "-c", program], env=session.environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_status_of_a_run_that_goes_on_says_how_to_follow_and_stop_it(session: Session) -> None:
    session.file("flow.yaml", "steps: [{name: wait, run: 'until test -e go; do sleep 0.05; done'}]\n")
    run = session.flow("run", "flow.yaml", "--detach").out.strip()
    shown = session.flow("status", run).out
    session.file("go", "")
    assert session.flow("status", run, "--watch", "--exit-status").code == 0
    assert f"follow it: cpool-flow status {run} --watch · stop it: cpool-flow cancel {run}\n" in shown
    assert "resume" not in shown
