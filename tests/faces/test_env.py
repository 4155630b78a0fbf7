"""`env`, `context` and `setup` of a workflow: their templates come to values before any step runs, or nothing starts."""

from __future__ import annotations

import pytest
from session import Session


def test_a_variable_may_build_on_those_above_it_and_on_the_run(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        args: {who: {type: string, default: world}}
        env: {GREETING: "Hello, {{ args.who }}", LINE: "{{ env.GREETING }}, from {{ run.workflow }}"}
        steps:
          - run: printenv LINE
        outputs: {line: "{{ env.LINE }}", printed: "{{ steps.step_1.output }}"}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"line": "Hello, world, from flow", "printed": "Hello, world, from flow"}


@pytest.mark.parametrize(
    ("line", "column", "value"),
    [("env: {SHARE: '{{ 1 / args.people }}'}", 14, "env.SHARE"), ("context: {share: '{{ 1 / args.people }}'}", 18, "context.share")],
)
def test_a_value_that_cannot_be_had_is_an_error_at_its_place_and_nothing_starts(
    session: Session, line: str, column: int, value: str
) -> None:
    session.file("flow.yaml", f"args: {{people: {{type: integer}}}}\n{line}\nsteps: [{{run: 'true'}}]\n")
    ended = session.flow("run", "flow.yaml", "--arg", "people=0")
    assert (ended.code, ended.out) == (2, "")
    assert f"error: `{value}` has no value: " in ended.err
    assert f"  --> flow.yaml:2:{column}\n" in ended.err
    assert not (session.path / ".cpool").exists()
    assert session.flow("run", "flow.yaml", "--arg", "people=2").code == 0


def test_a_setup_that_cannot_be_rendered_fails_the_run_and_says_why(session: Session) -> None:
    session.file("flow.yaml", "args: {people: {type: integer}}\nsetup: echo {{ 1 / args.people }}\nsteps: [{run: 'true'}]\n")
    ended = session.flow("run", "flow.yaml", "--arg", "people=0", "--json")
    assert ended.code == 1, ended.err
    assert ended.json()["error"] == "setup failed: `echo {{ 1 / args.people }}`: division by zero"
    assert [step["status"] for step in ended.json()["steps"]] == ["cancelled"]
