"""`clean`: runs are deleted with all that they have left, unless something of somebody would be lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from session import Ended, Session

FLOW = """
    version: 1
    isolation: worktree
    steps: [{name: make, run: echo made > made.txt}]
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file("flow.yaml", FLOW)
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    return session


def run(project: Session, run_id: str = "r1", text: str = FLOW, code: int = 0) -> str:
    """A run; its branch."""
    project.file("flow.yaml", text)
    ended = project.flow("run", "flow.yaml", "--quiet", "--run-id", run_id)
    assert ended.code == code, ended.err
    return f"cpool/flow/{run_id}"


def worktree(project: Session, run_id: str = "r1") -> Path:
    return next((project.home / "state" / "cpool-flow" / "worktrees").glob(f"*/{run_id}"))


def clean(project: Session, *arguments: str) -> dict[str, Any]:
    """What became of each run, by its id."""
    ended = project.flow("clean", "--json", *arguments)
    assert ended.code == 0, ended.err
    return {entry["run_id"]: (entry["deleted"], entry["reason"]) for entry in ended.json()["runs"]}


def assert_gone(project: Session, run_id: str = "r1") -> None:
    assert not (project.path / ".cpool" / "runs" / run_id).exists()
    assert project.git("for-each-ref", f"refs/heads/cpool/flow/{run_id}*") == ""
    assert list((project.home / "state" / "cpool-flow" / "worktrees").glob(f"*/*{run_id}")) == []
    assert len(project.git("worktree", "list").splitlines()) == 1
    assert list((project.path / ".cpool").glob("removed/*")) == []


def assert_kept(project: Session, ended: Ended, run_id: str = "r1") -> str:
    """Nothing of the run has gone; what was said."""
    assert ended.code == 2, ended.out
    assert ended.out == ""
    assert project.status(run_id)["run_id"] == run_id
    return ended.err


def test_a_run_that_was_merged_goes_with_its_branch(project: Session) -> None:
    branch = run(project)
    tip = project.git("rev-parse", branch).strip()
    assert project.flow("merge", "r1").code == 0
    ended = project.flow("clean")
    assert ended.code == 0, ended.err
    first, last = ended.out.splitlines()
    assert first.startswith("deleted  r1 · ")
    assert first.endswith(f"kB · branch {branch}, was {tip[:10]}: merged into main")
    assert last.startswith("freed ")
    assert last.endswith(" kB")
    assert_gone(project)
    assert project.flow("clean").out == "nothing to clean\n"


def test_a_run_that_is_not_merged_is_kept_and_said_how_it_can_go(project: Session) -> None:
    branch = run(project)
    assert clean(project) == {"r1": (False, f"the branch {branch} is not merged (1 commit)")}
    said = assert_kept(project, project.flow("clean", "r1"))
    assert said.startswith("error: run `r1` is kept (")
    assert said.endswith(
        f" kB): the branch {branch} is not merged (1 commit)\n"
        "help: take it over: cpool-flow merge r1; or delete it for good: cpool-flow clean r1 --force\n"
    )
    assert project.git("show", f"{branch}:made.txt") == "made\n"


def test_force_deletes_what_is_not_merged_and_says_where_it_was(project: Session) -> None:
    branch = run(project)
    tip = project.git("rev-parse", branch).strip()
    ended = project.flow("clean", "r1", "--force")
    assert ended.code == 0, ended.err
    assert f"branch {branch}, was {tip[:10]}: the branch {branch} is not merged (1 commit)" in ended.out
    assert_gone(project)


@pytest.mark.parametrize("how", ["squash", "one by one", "with remote"])
def test_a_branch_that_was_taken_over_by_other_means_is_known(project: Session, how: str) -> None:
    branch = run(project)
    (project.path / "other.txt").write_text("other\n")
    project.git("add", "other.txt")
    project.git("commit", "-q", "-m", "other")
    if how == "one by one":
        project.git("cherry-pick", branch)
    else:
        project.git("merge", "-q", "--squash", branch)
        project.git("commit", "-q", "-m", "squashed")
    if how == "with remote":
        project.git("update-ref", "refs/remotes/origin/main", "main")
        project.git("reset", "-q", "--hard", "HEAD~1")
    where = "origin/main" if how == "with remote" else "main"
    assert clean(project) == {"r1": (True, f"merged into {where}")}
    assert_gone(project)


def test_packed_references_are_no_obstacle(project: Session) -> None:
    run(project)
    project.flow("merge", "r1")
    project.git("pack-refs", "--all")
    assert clean(project) == {"r1": (True, "merged into main")}
    assert_gone(project)


def test_runs_without_work_go_when_they_have_succeeded(project: Session) -> None:
    run(project, "empty", "version: 1\nisolation: worktree\nsteps: [{run: 'true'}]\n")
    run(project, "plain", "version: 1\nsteps: [{run: 'true'}]\n")
    run(project, "failed", "version: 1\nsteps: [{run: 'false'}]\n", code=1)
    assert clean(project) == {
        "empty": (True, "no branch is left"),
        "plain": (True, "it has no branch"),
        "failed": (False, "it failed, and can be resumed"),
    }
    assert clean(project, "--older", "1ms") == {"failed": (True, "it has no branch")}


def test_of_two_runs_at_the_same_commit_one_is_kept_and_that_is_said_before(project: Session) -> None:
    first = run(project, "r1")
    project.git("branch", "held", first)
    second = run(project, "r2")
    project.git("update-ref", f"refs/heads/{second}", first)
    project.git("branch", "-D", "held")
    assert project.git("rev-parse", first) == project.git("rev-parse", second)
    expected = {"r1": (True, f"merged into {second}"), "r2": (False, f"the branch {second} is not merged (1 commit)")}
    assert clean(project, "--dry-run") == expected
    assert clean(project) == expected
    assert_kept(project, project.flow("clean", "r2"), "r2")


def test_a_run_whose_name_begins_as_that_of_another_is_none_of_its_items(project: Session) -> None:
    run(project, "r1")
    others = [run(project, name, FLOW.replace("echo made", f"echo {name}")) for name in ("r1.2", "r1-kept-1", "r1.2.3")]
    assert project.flow("merge", "r1").code == 0
    assert clean(project, "r1", "--dry-run") == {"r1": (True, "merged into main")}
    assert project.flow("clean", "r1.2", "--force").code == 0
    assert project.flow("clean", "r1", "--force").code == 0
    assert project.git("for-each-ref", "--format=%(refname:short)", "refs/heads/cpool").split() == sorted(others[1:])


def test_older_chooses_by_age(project: Session) -> None:
    run(project)
    project.flow("merge", "r1")
    assert clean(project, "--older", "30d") == {}
    assert project.status("r1")["status"] == "success"
    ended = project.flow("clean", "r1", "--older", "30d")
    assert (ended.code, ended.err.splitlines()[0]) == (2, "error: `--older` chooses among all runs, and one is named")
    assert clean(project, "--older", "1ms") == {"r1": (True, "merged into main")}


def test_a_dry_run_deletes_nothing(project: Session) -> None:
    run(project)
    project.flow("merge", "r1")
    run(project, "r2", FLOW.replace("made", "more"))
    before = project.git("for-each-ref")
    ended = project.flow("clean", "--dry-run")
    assert [line.partition(" · ")[0] for line in ended.out.splitlines()[:2]] == ["would go r1", "kept     r2"]
    assert project.git("for-each-ref") == before
    assert project.status("r1")["status"] == "success"


def test_a_worktree_with_changes_that_are_not_committed_is_kept(project: Session) -> None:
    branch = run(project, text=FLOW + "    keep: worktree\n")
    assert project.flow("merge", "r1").code == 0
    place = worktree(project)
    (place / "mine.txt").write_text("mine\n")
    said = assert_kept(project, project.flow("clean", "r1"))
    assert f"1 file in {place} is not committed" in said
    assert (place / "mine.txt").read_text() == "mine\n"
    assert project.git("show-ref", "--verify", f"refs/heads/{branch}")
    (place / "mine.txt").unlink()
    assert clean(project, "r1") == {"r1": (True, "merged into main")}
    assert_gone(project)


def test_commits_in_a_worktree_that_are_on_no_branch_are_kept(project: Session) -> None:
    run(project, text=FLOW + "    keep: worktree\n")
    assert project.flow("merge", "r1").code == 0
    place = worktree(project)
    identity = ("-c", "user.name=t", "-c", "user.email=t@t")
    project.program("git", "checkout", "-q", "--detach", cwd=place)
    assert project.program("git", *identity, "commit", "-q", "--allow-empty", "-m", "mine", cwd=place).code == 0
    assert f"commits in {place} are on no branch" in assert_kept(project, project.flow("clean", "r1"))


def test_a_repository_inside_of_a_worktree_is_kept(project: Session) -> None:
    flow = """
        version: 1
        isolation: worktree
        steps:
          - run: |
              git init -q inner && cd inner && echo x > x && git add x
              git -c user.name=t -c user.email=t@t commit -q -m x
    """
    run(project, text=flow)
    place = worktree(project)
    assert project.flow("merge", "r1").code == 0
    assert "is a git repository with commits of its own" in assert_kept(project, project.flow("clean", "r1"))
    assert (place / "inner" / ".git").is_dir()
    assert project.flow("clean", "r1", "--force").code == 0
    assert_gone(project)


def test_commits_that_were_kept_aside_keep_the_run(project: Session) -> None:
    flow = """
        version: 1
        isolation: worktree
        steps:
          - name: one
            run: echo one > one.txt
          - name: two
            run: git reset -q --hard HEAD~1 && echo two > two.txt
    """
    branch = run(project, text=flow)
    kept = f"{branch}-kept-1"
    assert project.git("show", f"{kept}:one.txt") == "one\n"
    assert project.flow("merge", "r1").code == 0
    assert f"the branch {kept} is not merged (1 commit)" in assert_kept(project, project.flow("clean", "r1"))
    assert project.flow("clean", "r1", "--force").code == 0
    assert_gone(project)


def test_a_branch_that_is_checked_out_is_not_deleted_even_by_force(project: Session) -> None:
    branch = run(project)
    project.git("checkout", "-q", "-f", branch)
    said = assert_kept(project, project.flow("clean", "r1", "--force"))
    assert f"the branch {branch} is checked out in {project.path}" in said
    assert "help: switch that checkout to another branch first" in said
    assert project.git("symbolic-ref", "HEAD").strip() == f"refs/heads/{branch}"


def test_a_run_that_has_not_ended_is_kept(project: Session) -> None:
    run(project, text=FLOW.replace("echo made > made.txt}", "echo made > made.txt}, {name: ok, approve: ok?}"), code=4)
    said = assert_kept(project, project.flow("clean", "r1"))
    assert "): it has not ended; the branch cpool/flow/r1 is not merged (1 commit)\n" in said
    assert clean(project, "--force")["r1"][0] is False  # it must be named
    assert project.flow("clean", "r1", "--force").code == 0
    assert_gone(project)


def test_a_run_that_goes_on_is_never_deleted(project: Session) -> None:
    project.file("flow.yaml", "version: 1\nisolation: worktree\nsteps: [{run: 'touch $HOME/begun; sleep 60'}]\n")
    process = project.start("run", "flow.yaml", "--run-id", "r1")
    try:
        while not (project.home / "begun").exists():
            assert process.poll() is None
        said = assert_kept(project, project.flow("clean", "r1", "--force"))
        assert "it is still at work\nhelp: stop it: cpool-flow cancel r1\n" in said
        assert clean(project, "--force", "--older", "1ms") == {"r1": (False, "it is still at work")}
    finally:
        project.flow("cancel", "r1")
        process.wait()


def test_clean_is_refused_from_inside_the_same_run(project: Session) -> None:
    ended = project.flow("run", str(_calls_clean(project)), "--json", "--run-id", "inner")
    assert ended.code == 0, ended.err
    refused, meant, all_runs = ended.json()["outputs"]["said"].splitlines()
    assert refused == "error: this is called from inside the same run: it is still at work"
    assert meant.endswith("it is still at work")
    assert json.loads(all_runs)["runs"][0]["deleted"] is False


def _calls_clean(project: Session) -> Path:
    command = " ".join(project.command("--project", str(project.path), "clean"))
    return project.file(
        "calls.yaml",
        f"""
        version: 1
        steps:
          - name: call
            run: |
              {{ {command} inner --force || true; }} 2>&1 | head -n 1
              {{ {command} inner --force --self || true; }} 2>&1 | head -n 1
              {command} --force --json
        outputs: {{said: "{{{{ steps.call.output }}}}"}}
        """,
    )


def test_a_run_whose_repository_is_gone_is_only_forced(project: Session) -> None:
    run(project)
    (project.path / ".git").rename(project.home / "was-git")
    said = project.flow("clean", "r1")
    assert said.code == 2
    assert f"its repository is gone: {project.path}/.git" in said.err
    assert project.flow("clean", "r1", "--force").code == 0
    assert not (project.path / ".cpool" / "runs" / "r1").exists()


def test_a_run_that_cannot_be_read_is_only_forced(project: Session) -> None:
    run(project)
    (project.path / ".cpool" / "runs" / "r1" / "inputs" / "inputs.json").unlink()
    assert "it cannot be read: " in project.flow("clean", "r1").err
    assert project.flow("clean", "r1", "--force").code == 0
    assert not (project.path / ".cpool" / "runs" / "r1").exists()


@pytest.mark.parametrize("point", ["before-tidy", "after-place-tidied", "after-branch-tidied", "after-folder-set-aside"])
def test_a_clean_killed_at_any_moment_can_be_done_again(project: Session, point: str) -> None:
    run(project, text=FLOW + "    keep: worktree\n")
    assert project.flow("merge", "r1").code == 0
    assert project.flow("clean", CPOOL_FAULT=point).code == -9
    assert project.flow("clean").code == 0
    assert_gone(project)


def test_of_several_branches_with_the_work_the_one_is_named_that_it_was_merged_into(project: Session) -> None:
    first = run(project, "r1")
    second = run(project, "r2")
    project.git("update-ref", f"refs/heads/{second}", first)
    project.flow("merge", "r1")
    assert clean(project, "--dry-run") == {"r1": (True, "merged into main"), "r2": (True, "merged into main")}


def test_two_runs_with_the_same_work_do_not_vouch_for_each_other(project: Session) -> None:
    first = run(project, "r1")
    second = run(project, "r2")
    project.git("update-ref", f"refs/heads/{second}", first)
    processes = [project.start("clean") for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    left = project.git("for-each-ref", "--format=%(refname)", "refs/heads/cpool").split()
    assert len(left) == 1
    assert project.git("show", f"{left[0]}:made.txt") == "made\n"
