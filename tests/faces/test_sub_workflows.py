"""Workflows within workflows: arguments in, outputs back, one run."""

from __future__ import annotations

import pytest
from session import Session

CHILD = """
    version: 1
    args:
      who: {type: string}
      times: {type: integer, default: 1}
    env: {GREETING: "hello {{ args.who }}"}
    steps:
      - name: greet
        run: |
          echo "$GREETING {{ args.times }}"
    finally:
      - name: tidy
        run: echo tidied >> "$LEDGER"
    outputs: {text: "{{ steps.greet.output }}", twice: "{{ args.times * 2 }}"}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("parts/child.yaml", CHILD)
    session.environment["LEDGER"] = str(session.home / "ledger")
    return session


def test_arguments_go_in_and_outputs_come_back_with_their_types(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        args: {n: {type: integer, default: 21}}
        steps:
          - name: sub
            workflow: parts/child.yaml
            with: {who: "Ann $(id)", times: "{{ args.n }}"}
        outputs: {text: "{{ steps.sub.text }}", twice: "{{ steps.sub.twice }}", all: "{{ steps.sub.json }}"}
        """,
    )
    result = project.flow("run", "flow.yaml", "--json").json()
    assert result["outputs"] == {"text": "hello Ann $(id) 21", "twice": 42, "all": {"text": "hello Ann $(id) 21", "twice": 42}}
    (sub,) = result["steps"]
    assert (sub["kind"], sub["vars"]) == ("workflow", {"text": "hello Ann $(id) 21", "twice": 42})
    assert [(step["name"], step["status"]) for step in sub["steps"]] == [("greet", "success"), ("tidy", "success")]


def test_one_child_for_each_item_and_a_failing_child_leaves_the_others(project: Session) -> None:
    project.file("parts/child.yaml", "args: {n: {type: integer}}\nsteps:\n  - run: test {{ args.n }} != 2\noutputs: {n: '{{ args.n }}'}\n")
    project.file(
        "flow.yaml",
        """
        steps:
          - name: each
            foreach: [1, 2, 3]
            max_parallel: 2
            on_failure: continue
            workflow: parts/child.yaml
            with: {n: "{{ item }}"}
          - name: sum
            run: echo {{ steps.each.items | selectattr('status', 'equalto', 'success') | map(attribute='n') | sum }}
        outputs: {sum: "{{ steps.sum.output }}"}
        """,
    )
    result = project.flow("run", "flow.yaml", "--json").json()
    assert result["outputs"] == {"sum": "4"}
    assert [item["status"] for item in result["steps"][0]["items"]] == ["success", "failed", "success"]


def test_an_argument_that_comes_out_wrong_fails_the_step_as_invalid(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        steps:
          - name: word
            run: echo many
          - name: sub
            workflow: parts/child.yaml
            with: {who: x, times: "{{ steps.word.output }}"}
        """,
    )
    ended = project.flow("run", "flow.yaml", "--json")
    assert ended.code == 1
    place = f"{project.path}/flow.yaml:7:27"
    assert ended.json()["steps"][1]["reason"] == f'invalid: argument `times`: expected integer, found "many" ({place})'


def test_a_child_is_found_by_name_beside_the_workflow(project: Session) -> None:
    project.file("workflows/child.yaml", CHILD)
    project.file("flow.yaml", "steps: [{name: sub, workflow: child, with: {who: Bo}}]\noutputs: {t: '{{ steps.sub.text }}'}")
    assert project.flow("run", "flow.yaml", "--json").json()["outputs"] == {"t": "hello Bo 1"}


def test_a_name_means_the_same_in_a_file_as_on_the_command_line(project: Session) -> None:
    project.file("workflows/child.yaml", CHILD)
    project.file("workflows/flow.yaml", "steps: [{name: sub, workflow: child, with: {who: Di}}]\noutputs: {t: '{{ steps.sub.text }}'}")
    assert project.flow("run", "flow", "--json").json()["outputs"] == {"t": "hello Di 1"}


def test_a_run_owns_its_sub_workflows(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        steps:
          - {name: first, run: test -f go}
          - {name: sub, workflow: parts/child.yaml, with: {who: Cy}}
        outputs: {t: "{{ steps.sub.text }}"}
        """,
    )
    assert project.flow("run", "flow.yaml").code == 1
    (project.path / "parts" / "child.yaml").unlink()
    project.file("go", "")
    ended = project.flow("resume", "last", "--json")
    assert ended.json()["outputs"] == {"t": "hello Cy 1"}


def test_a_missing_or_broken_child_is_told_with_the_places_of_both(project: Session) -> None:
    project.file("parts/broken.yaml", "steps:\n  - {name: a, run: x, nedds: b}\n")
    project.file("flow.yaml", "steps:\n  - workflow: parts/broken.yaml\n  - workflow: parts/nothing.yaml\n")
    ended = project.flow("validate", "flow.yaml")
    assert ended.code == 2
    assert "--> parts/broken.yaml:2:23" in ended.err
    assert "sub-workflow `parts/broken.yaml` is not valid\n  --> flow.yaml:2:15" in ended.err
    assert "parts/nothing.yaml" in ended.err
    assert "--> flow.yaml:3:15" in ended.err


def test_a_missing_child_is_told_by_the_path_where_it_was_looked_for(project: Session) -> None:
    project.file("sub/top.yaml", "steps: [{name: a, workflow: ../gone/../nope.yaml}]\n")
    ended = project.flow("validate", "sub/top.yaml")
    assert ended.code == 2
    assert "error: cannot read `nope.yaml`: no such file or directory\n  --> sub/top.yaml:1:29\n" in ended.err


def test_what_is_odd_in_a_child_is_told_of_its_parent_once(project: Session) -> None:
    project.file("odd.yaml", "args: {unused: {default: 1}}\nsteps: [{run: 'true'}]\n")
    project.file("flow.yaml", "steps:\n  - workflow: odd.yaml\n  - workflow: odd.yaml\n")
    for files in (["flow.yaml"], ["flow.yaml", "odd.yaml"]):
        ended = project.flow("validate", *files)
        assert ended.code == 0
        assert ended.err.count("warning: argument `unused` is not used\n  --> odd.yaml:1:8\n") == 1
    assert project.flow("validate", "--strict", "flow.yaml").code == 2


def test_workflows_that_run_each_other_in_a_circle_are_refused(project: Session) -> None:
    project.file("parts/a.yaml", "steps: [{workflow: b.yaml}]\n")
    project.file("parts/b.yaml", "steps: [{workflow: a.yaml}]\n")
    ended = project.flow("run", "parts/a.yaml")
    assert ended.code == 2
    assert "workflows run each other in a circle: parts/a.yaml → parts/b.yaml → parts/a.yaml" in ended.err
    assert not (project.path / ".cpool").exists()


def test_what_a_child_lacks_is_found_before_anything_starts(project: Session) -> None:
    project.file("flow.yaml", "steps: [{name: sub, workflow: parts/child.yaml, with: {whom: x}}]\n")
    ended = project.flow("run", "flow.yaml")
    assert ended.code == 2
    assert "unknown argument `whom`" in ended.err
    assert "argument `who` is missing" in ended.err


def test_the_secrets_of_a_child_are_required_at_the_start_and_masked(project: Session) -> None:
    project.file(
        "parts/child.yaml", "secrets: [TOKEN]\nsteps: [{run: 'echo $TOKEN', secrets: [TOKEN]}]\noutputs: {t: '{{ steps.step_1.output }}'}"
    )
    project.file("flow.yaml", "steps: [{name: sub, workflow: parts/child.yaml}]\noutputs: {t: '{{ steps.sub.t }}'}")
    refused = project.flow("run", "flow.yaml")
    assert refused.code == 2
    assert "TOKEN" in refused.err
    assert project.flow("run", "flow.yaml", "--json", TOKEN="tok-12345").json()["outputs"] == {"t": "***"}


def test_cancel_stops_a_child_and_its_finally_runs(project: Session) -> None:
    project.file(
        "parts/child.yaml",
        'steps: [{name: long, run: "echo go >> \\"$LEDGER\\"; sleep 600"}]\nfinally: [{run: "echo tidied >> \\"$LEDGER\\""}]',
    )
    project.file("flow.yaml", "steps: [{name: sub, workflow: parts/child.yaml}]\n")
    run = project.start("run", "flow.yaml")
    ledger = project.home / "ledger"
    from survivors import eventually

    assert eventually(lambda: ledger.exists())
    assert project.flow("cancel", "last").code == 0
    assert run.wait(60) == 130
    assert ledger.read_text().split() == ["go", "tidied"]
