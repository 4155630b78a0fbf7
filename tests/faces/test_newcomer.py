"""What somebody meets who has just installed cpool-flow, and nothing else."""

from __future__ import annotations

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
