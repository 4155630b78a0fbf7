"""`run --only STEP`: one step of a workflow, where it needs nothing of the others."""

from __future__ import annotations

import pytest
from session import Session

FLOW = """
    version: 1
    args: {word: {type: string, default: hello}}
    steps:
      - name: fetch
        run: echo fetched >> ledger; echo data
      - name: lint
        run: echo lint >> ledger; echo {{ args.word }}
      - name: use
        needs: [fetch, lint]
        run: echo {{ steps.fetch.output }} {{ steps.lint.output | upper }}
      - name: maybe
        run: echo maybe >> ledger; echo {{ steps.fetch.output | default('nothing') }}
      - name: group
        steps:
          - name: first
            run: echo a
          - name: second
            run: echo {{ previous.output }} {{ steps.first.output }}
      - name: outer
        foreach: steps.group.output | length | list
        steps:
          - name: inner
            run: echo {{ steps.use.output }}
    finally:
      - name: tidy
        run: echo tidy >> ledger
    outputs: {used: "{{ steps.use.output }}", word: "{{ steps.lint.output }}"}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("flow.yaml", FLOW)
    return session


def statuses(document: dict) -> dict[str, str]:
    return {step["name"]: step["status"] for step in document["steps"]}


def test_only_the_step_and_finally_run(project: Session) -> None:
    ended = project.flow("run", "flow.yaml", "--only", "lint", "--json", "--arg", "word=hi")
    assert ended.code == 0, ended.err
    document = ended.json()
    assert (project.path / "ledger").read_text().split() == ["lint", "tidy"]
    assert statuses(document) == {
        "fetch": "skipped", "lint": "success", "use": "skipped", "maybe": "skipped", "group": "skipped", "outer": "skipped", "tidy": "success",
    }  # fmt: skip
    assert document["steps"][0]["reason"] == "not chosen by `--only`"
    assert document["outputs"] == {"word": "hi"}
    assert document["status"] == "success"


@pytest.mark.parametrize(("step", "said"), [("maybe", "nothing"), ("group", "a a")])
def test_what_has_a_default_or_comes_from_inside_is_not_missing(project: Session, step: str, said: str) -> None:
    ended = project.flow("run", "flow.yaml", "--only", step, "--json")
    assert ended.code == 0, ended.err
    assert next(entry for entry in ended.json()["steps"] if entry["name"] == step)["output"] == said


def test_missing_inputs_are_listed_with_their_places_and_nothing_starts(project: Session) -> None:
    ended = project.flow("run", "flow.yaml", "--only", "use")
    assert ended.code == 2
    assert "error: `--only use`: `steps.fetch.output` is missing, for step `fetch` does not run\n  --> flow.yaml:" in ended.err
    assert "error: `--only use`: `steps.lint.output` is missing, for step `lint` does not run\n" in ended.err
    assert ended.err.endswith("2 errors\n")
    assert not (project.path / ".cpool").exists()


def test_what_a_group_reads_of_others_is_missing_too(project: Session) -> None:
    ended = project.flow("run", "flow.yaml", "--only", "outer")
    assert ended.code == 2
    assert "`steps.group.output` is missing" in ended.err
    assert "`steps.use.output` is missing" in ended.err


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("lnit", "error: `--only lnit`: there is no such step\nhint: did you mean `lint`?\n"),
        ("group/second", "error: `--only group/second`: it is a part of step `group`, which can run only as a whole\nhelp: --only group\n"),
        ("tidy", "error: `--only tidy`: `tidy` is in `finally`, which runs at the end of every run\n"),
    ],
)
def test_a_wrong_name_is_told_with_the_nearest(project: Session, name: str, error: str) -> None:
    ended = project.flow("run", "flow.yaml", "--only", name)
    assert ended.code == 2
    assert ended.err.startswith(error)


def test_a_session_of_another_step_is_missing(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        steps:
          - {name: plan, prompt: x}
          - {name: go, prompt: x, session: {continue: plan}}
        """,
    )
    ended = project.flow("run", "flow.yaml", "--only", "go")
    assert ended.code == 2
    assert "`--only go`: the session is missing, for step `plan` does not run" in ended.err


def test_the_agent_of_a_step_that_is_left_out_need_not_be_there(project: Session) -> None:
    project.file(
        "flow.yaml", "steps:\n  - {name: ask, prompt: x, config: {agent: command, command: [not-here]}}\n  - {name: say, run: echo said}\n"
    )
    assert project.flow("run", "flow.yaml").code == 2
    assert project.flow("run", "flow.yaml", "--only", "say").code == 0


def test_a_resume_and_a_rerun_keep_to_the_one_step(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("echo lint >> ledger", "echo lint >> ledger; test -e ready"))
    assert project.flow("run", "flow.yaml", "--only", "lint", "--run-id", "r1").code == 1
    (project.path / "ready").touch()
    assert project.flow("resume", "r1", "--quiet").code == 0
    assert (project.path / "ledger").read_text().split() == ["lint", "tidy", "lint", "tidy"]
    for arguments in ([], ["--from", "lint"]):
        (project.path / "ledger").unlink()
        ended = project.flow("rerun", "r1", "--json", *arguments)
        assert ended.code == 0, ended.err
        assert statuses(ended.json())["use"] == "skipped"
        assert ended.json()["outputs"] == {"word": "hello"}
        assert (project.path / "ledger").read_text().split() == ["lint", "tidy"]
