"""A run that a step of another run starts: in the slots of that run, and known as its child."""

from __future__ import annotations

import json

import pytest
from session import Session

# Says how many work at once, as far as it sees.
WORK = "touch at-work-$1; ls at-work-* | wc -l >> crowd; sleep 0.3; rm at-work-$1"
INNER = """
    version: 1
    slots: 8
    args: {me: {type: string}}
    steps:
      - name: many
        foreach: [1, 2, 3, 4]
        run: [sh, work.sh, "{{ args.me }}-{{ item }}"]
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("work.sh", WORK)
    session.file("inner.yaml", INNER)
    return session


def call(project: Session, *arguments: str) -> str:
    return " ".join(project.command("--project", str(project.path), "run", "inner.yaml", "--quiet", *arguments))


def crowd(project: Session) -> list[int]:
    return [int(line) for line in (project.path / "crowd").read_text().split()]


def test_runs_inside_of_a_run_never_do_more_at_once_than_it_has_slots(project: Session) -> None:
    project.file(
        "outer.yaml",
        f"""
        slots: 3
        steps:
          - name: left
            needs: []
            run: {call(project, "--arg", "me=left")}
          - name: right
            needs: []
            run: {call(project, "--arg", "me=right")}
          - name: own
            needs: []
            foreach: [1, 2, 3]
            run: [sh, work.sh, "own-{{{{ item }}}}"]
        """,
    )
    ended = project.flow("run", "outer.yaml")
    assert ended.code == 0, ended.err
    assert len(crowd(project)) == 11
    assert max(crowd(project)) <= 3


def test_with_one_slot_a_run_inside_works_in_that_of_its_step(project: Session) -> None:
    project.file("outer.yaml", f"slots: 1\nsteps:\n  - run: {call(project, '--arg', 'me=in', '--run-id', 'inner')}\n")
    ended = project.flow("run", "outer.yaml", "--run-id", "outer")
    assert ended.code == 0, ended.err
    assert crowd(project) == [1, 1, 1, 1]
    created = project.events("inner")[0]
    assert created["parent"] == str(project.path / ".cpool" / "runs" / "outer")


def test_several_runs_inside_of_one_step_share_its_slot(project: Session) -> None:
    both = f"{call(project, '--arg', 'me=a')} & first=$!; {call(project, '--arg', 'me=b')}; wait $first"
    project.file("outer.yaml", f'slots: 1\nsteps:\n  - run: "{both}"\n')
    ended = project.flow("run", "outer.yaml")
    assert ended.code == 0, ended.err
    assert crowd(project) == [1] * 8


def test_a_run_inside_of_a_run_inside_of_a_run_works_too(project: Session) -> None:
    middle = " ".join(project.command("--project", str(project.path), "run", "middle.yaml", "--quiet"))
    project.file("middle.yaml", f"steps:\n  - run: {call(project, '--arg', 'me=deep')}\n")
    project.file("outer.yaml", f"slots: 1\nsteps:\n  - run: {middle}\n")
    ended = project.flow("run", "outer.yaml")
    assert ended.code == 0, ended.err
    assert crowd(project) == [1, 1, 1, 1]


def test_a_step_without_a_slot_lends_none(project: Session) -> None:
    project.file(
        "outer.yaml",
        f"""
        slots: 2
        steps:
          - name: call
            needs: []
            slot: none
            run: {call(project, "--arg", "me=in")}
          - name: own
            needs: []
            foreach: [1, 2, 3]
            run: [sh, work.sh, "own-{{{{ item }}}}"]
        """,
    )
    ended = project.flow("run", "outer.yaml")
    assert ended.code == 0, ended.err
    assert len(crowd(project)) == 7
    assert max(crowd(project)) <= 2


def test_places_of_runs_inside_are_kept_apart_by_their_ports(project: Session) -> None:
    project.file("inner.yaml", 'steps: [{name: in, foreach: [1, 2], run: "echo $CPOOL_PORT_OFFSET; sleep 0.3"}]\n')
    project.file("outer.yaml", f"slots: 3\nsteps:\n  - {{name: call, run: {call(project, '--json')}}}\n")
    document = project.flow("run", "outer.yaml", "--json").json()
    inner = json.loads(document["steps"][0]["output"])
    offsets = [item["output"] for item in inner["steps"][0]["items"]]
    assert len(set(offsets)) == 2
    assert set(offsets) <= {"100", "200", "300"}


def test_a_run_that_only_says_it_is_inside_is_a_run_of_its_own(project: Session) -> None:
    for directory, run_id in (("/nonexistent/x", "x"), ("", ""), (str(project.path), project.path.name)):
        ended = project.flow(
            "run", "inner.yaml", "--arg", "me=x", "--json", CPOOL_RUN_DIR=directory, CPOOL_RUN_ID=run_id, CPOOL_SLOT_LOCK="/etc/passwd"
        )
        assert ended.code == 0, ended.err
        assert "parent" not in project.events(ended.json()["run_id"])[0]


def test_a_run_inside_of_a_worktree_is_kept_with_that_around_it_and_merged_into_its_branch(project: Session) -> None:
    project.repository()
    flow = " ".join(project.command())
    project.file("inner.yaml", "isolation: worktree\nsteps: [{name: in, run: echo inner > inner.txt}]\n")
    project.file(
        "outer.yaml",
        f"""
        isolation: worktree
        steps:
          - name: before
            run: echo before > before.txt
          - name: call
            run: |
              {flow} run inner.yaml --quiet --run-id inner
              {flow} merge inner
              {flow} clean inner
              {flow} run inner.yaml --quiet --run-id again
          - name: after
            run: cat before.txt inner.txt
        outputs: {{seen: "{{{{ steps.after.output }}}}"}}
        """,
    )
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "flows")
    ended = project.flow("run", "outer.yaml", "--run-id", "outer", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"seen": "before\ninner"}
    branch = "cpool/outer/outer"
    assert project.git("ls-tree", "--name-only", branch).split() == [
        "README", "before.txt", "inner.txt", "inner.yaml", "outer.yaml", "work.sh",
    ]  # fmt: skip
    assert sorted(run["run_id"] for run in project.flow("runs", "--json").json()["runs"]) == ["again", "outer"]
    assert project.git("status", "--porcelain") == ""
    reasons = {run["run_id"]: run["reason"] for run in project.flow("clean", "--json").json()["runs"]}
    assert reasons == {"again": "no branch is left", "outer": f"the branch {branch} is not merged (2 commits)"}


def test_what_is_around_a_run_cannot_be_cancelled_from_inside_of_it(project: Session) -> None:
    cancel = " ".join(project.command("--project", str(project.path), "cancel", "outer"))
    project.file("inner.yaml", f"steps: [{{run: '{cancel}'}}]\n")
    inner = " ".join(project.command("--project", str(project.path), "run", "inner.yaml"))
    project.file("outer.yaml", f"steps: [{{run: '{inner} 2>&1', ok_codes: [1]}}]\n")
    ended = project.flow("run", "outer.yaml", "--run-id", "outer", "--json")
    assert ended.code == 0, ended.err
    assert "this is called from inside the same run: it would stop itself" in ended.json()["steps"][0]["output"]
