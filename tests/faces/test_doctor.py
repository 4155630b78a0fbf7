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


def test_an_agent_that_is_older_than_any_that_was_tried_is_told_of_here_and_where_it_refuses_a_flag(stage: Stage) -> None:
    refuses = "cat > /dev/null; echo \"error: unknown option '--setting-sources=user'\" >&2; exit 1"
    stage.program("claude", f'#!/bin/sh\n[ "$1" = --version ] && echo "1.0.30 (Claude Code)" && exit\n{refuses}\n')
    shown = stage.session.flow("doctor", ANTHROPIC_API_KEY="k").out
    told = f"1.0.30 (Claude Code) ({stage.programs}/claude), signed in, older than any that was tried (2.1)\n"
    assert f"{told}        help: get a newer one: npm install -g @anthropic-ai/claude-code\n" in shown
    stage.workflow([{"name": "ask", "prompt": "x"}])
    (attempt,) = stage.run("--json").json()["steps"][0]["attempts"]
    told = (
        "the agent refused to start (is it too old? `cpool-flow doctor` names its version): error: unknown option '--setting-sources=user'"
    )
    assert (attempt["error_kind"], attempt["error"]) == ("invalid", f"ask, attempt 1: {told}")


@pytest.mark.parametrize(("body", "how"), [("exit 3", "exit code 3"), ("kill -9 $$", "signal 9")])
def test_an_agent_that_does_not_start_is_not_ready_though_there_is_a_key(stage: Stage, body: str, how: str) -> None:
    stage.program("codex", f"#!/bin/sh\n{body}\n")
    ended = stage.session.flow("doctor", PATH=f"{stage.programs}:/usr/bin:/bin", CODEX_API_KEY="k")
    assert f"no      agent codex        no version: `--version` ended with {how} ({stage.programs}/codex), signed in\n" in ended.out
    assert "        help: it does not start: install it anew: npm install -g @openai/codex\n" in ended.out
    assert "but no agent is ready" in ended.err


def test_where_no_agent_is_ready_it_says_what_runs_all_the_same(stage: Stage) -> None:
    ended = stage.session.flow("doctor", PATH="/usr/bin:/bin")
    assert ended.code == 0
    assert ended.err == (
        "workflows can run here, but no agent is ready: the help above says how to get one; try `cpool-flow run hello`, which needs none\n"
    )
    stage.program("codex", "#!/bin/sh\necho codex-cli 1.2.3\n")
    ended = stage.session.flow("doctor", PATH=f"{stage.programs}:/usr/bin:/bin", CODEX_API_KEY="k")
    assert ended.err == "workflows can run here, with codex\n"


@pytest.mark.parametrize(
    ("version", "line"), [("2.30.2", "no      git                git version 2.30.2"), ("3.1 (Apple Git-9)", "ok      git")]
)
def test_a_git_that_is_too_old_for_worktrees_is_named(version: str, line: str, stage: Stage) -> None:
    stage.program("git", f'#!/bin/sh\ntest "$1" = --version && echo \'git version {version}\' || exec /usr/bin/git "$@"\n')
    shown = stage.session.flow("doctor", PATH=f"{stage.programs}:/usr/bin:/bin").out
    assert line in shown
    assert ("install git 2.31 or newer" in shown) == (version == "2.30.2")


def test_a_shallow_clone_is_told_with_the_command_that_mends_it(session: Session) -> None:
    session.repository()
    session.git("commit", "-q", "--allow-empty", "-m", "second")
    session.git("clone", "-q", "--depth", "1", f"file://{session.path}", "shallow")
    ended = session.flow("--project", str(session.path / "shallow"), "doctor")
    assert "(shallow clone)\nno      history            the clone is shallow" in ended.out
    assert "help: git fetch --unshallow" in ended.out


@pytest.mark.parametrize(
    ("name", "head", "line"),
    [
        ("push", None, "ok      event              push"),
        ("pull_request", 1, "ok      event              pull_request: what runs is read from the base of the pull request (pull_request)"),
        ("pull_request", 2, "no      event              pull_request of a fork: the job has no secrets, and a token that only reads"),
        ("pull_request_target", 2, "no      event              pull_request_target of a fork, in a job that may have secrets"),
    ],
)
def test_in_github_actions_it_says_what_the_event_means(name: str, head: int | None, line: str, session: Session) -> None:
    sides = {"base": {"ref": "main", "sha": "a" * 40, "repo": {"id": 1}}, "head": {"sha": "b" * 40, "repo": {"id": head}}}
    event = session.home / "event.json"
    event.write_text(json.dumps({"pull_request": sides} if head else {}))
    ended = session.flow("doctor", GITHUB_ACTIONS="true", GITHUB_EVENT_NAME=name, GITHUB_EVENT_PATH=str(event))
    assert line in ended.out + ended.err
    broken = session.flow("doctor", GITHUB_ACTIONS="true", GITHUB_EVENT_NAME=name, GITHUB_EVENT_PATH="/nowhere")
    assert "no      event              the event of $GITHUB_EVENT_PATH: cannot read `/nowhere`" in broken.out + broken.err
    assert broken.code == 0
