"""`diff` and `merge`: what a run left on its branch, looked at and taken over, with real git."""

from __future__ import annotations

from pathlib import Path

import pytest
from session import Session
from terminal import Terminal

FLOW = """
    version: 1
    isolation: worktree
    steps:
      - name: make
        run: printf 'made\\n' > made.txt && printf 'a project, better\\n' > README
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file("flow.yaml", FLOW)
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    session.environment |= {f"GIT_{who}_{what}": "you@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    return session


def run(project: Session, run_id: str = "r1", *arguments: str) -> str:
    """A run; its branch."""
    ended = project.flow("run", "flow.yaml", "--quiet", "--run-id", run_id, *arguments)
    assert ended.code == 0, ended.err
    return f"cpool/flow/{run_id}"


def commit(project: Session, name: str, text: str) -> str:
    (project.path / name).write_text(text)
    project.git("add", "-A")
    project.git("commit", "-q", "-m", f"change {name}")
    return project.git("rev-parse", "HEAD").strip()


# ---- diff ---------------------------------------------------------------------------------------------------


def test_diff_is_a_patch_that_git_can_apply(project: Session) -> None:
    run(project)
    ended = project.flow("diff", "r1")
    assert ended.code == 0
    assert ended.err == ""
    assert "\x1b" not in ended.out
    patch = project.home / "patch"
    patch.write_text(ended.out)
    project.git("apply", str(patch))
    assert (project.path / "made.txt").read_text() == "made\n"
    assert (project.path / "README").read_text() == "a project, better\n"


def test_diff_stat_has_a_line_for_each_file(project: Session) -> None:
    run(project)
    ended = project.flow("diff", "last", "--stat")
    assert ended.out.splitlines() == [
        " README   | 2 +-",
        " made.txt | 1 +",
        " 2 files changed, 2 insertions(+), 1 deletion(-)",
    ]


def test_diff_as_json_counts_lines(project: Session) -> None:
    branch = run(project)
    document = project.flow("diff", "r1", "--json").json()
    assert document == {
        "run_id": "r1",
        "branch": branch,
        "base": project.git("rev-parse", "main").strip(),
        "commit": project.git("rev-parse", branch).strip(),
        "files": [
            {"path": "README", "added": 1, "removed": 1, "before": None},
            {"path": "made.txt", "added": 1, "removed": 0, "before": None},
        ],
    }


def test_a_file_cannot_steer_the_terminal_by_its_diff(project: Session) -> None:
    project.file("flow.yaml", "version: 1\nisolation: worktree\nsteps: [{name: make, run: \"printf '\\\\033[2Jx\\n' > made.txt\"}]\n")
    run(project)
    assert "+\x1b[2Jx" in project.flow("diff", "r1").out  # into a pipe it is as it is, so that it can be applied
    shown = project.flow("diff", "r1", FORCE_COLOR="1").out
    assert "\x1b[32m+\\x1b[2Jx\x1b[m" in shown
    assert "\x1b[1mdiff --git a/made.txt b/made.txt\x1b[m" in shown


def test_diff_has_colours_on_a_terminal_and_only_there(project: Session) -> None:
    run(project)
    terminal = Terminal(project, "diff", "r1")
    assert terminal.end() == 0
    assert b"\x1b[32m+made\x1b[m" in terminal.shown
    assert "\x1b" not in project.flow("diff", "r1").out
    terminal = Terminal(project, "diff", "r1", NO_COLOR="1")
    assert terminal.end() == 0
    assert b"\x1b[" not in terminal.shown


def test_diff_still_shows_what_a_deleted_branch_had(project: Session) -> None:
    branch = run(project)
    project.git("branch", "-q", "-D", branch)
    ended = project.flow("diff", "r1", "--stat")
    assert "2 files changed" in ended.out
    assert ended.err == f"note: the branch {branch} is gone; this was its last commit\n"


def test_a_run_that_changed_nothing_has_an_empty_diff_and_nothing_to_merge(project: Session) -> None:
    project.file("flow.yaml", "version: 1\nisolation: worktree\nsteps: [{run: 'true'}]\n")
    run(project)
    ended = project.flow("diff", "r1")
    assert (ended.code, ended.out, ended.err) == (0, "", "run r1 has changed nothing\n")
    ended = project.flow("merge", "r1")
    assert (ended.code, ended.out) == (0, "nothing to merge: run r1 has changed nothing\n")


@pytest.mark.parametrize("command", ["diff", "merge"])
def test_a_run_that_worked_in_place_has_no_branch(project: Session, command: str) -> None:
    run(project, "r1", "--isolation", "none")
    ended = project.flow(command, "r1")
    assert ended.code == 2
    assert ended.err.splitlines()[0] == f"error: run `r1` has no branch: it worked in {project.path} itself (`isolation: none`)"


@pytest.mark.parametrize("command", ["diff", "merge"])
def test_a_run_that_does_not_exist_is_named_with_the_nearest(project: Session, command: str) -> None:
    run(project, "first-run")
    ended = project.flow(command, "frist-run")
    assert ended.code == 2
    assert "there is no run `frist-run`, did you mean `first-run`?" in ended.err


@pytest.mark.parametrize("command", ["diff", "merge"])
def test_a_repository_that_is_gone_is_told(project: Session, command: str) -> None:
    run(project)
    (project.path / ".git").rename(project.path / "was-git")
    ended = project.flow("--project", str(project.path), command, "r1")
    assert ended.code == 2
    assert ended.err.startswith(f"error: the repository of the run is gone: {project.path}/.git")


# ---- merge --------------------------------------------------------------------------------------------------


def test_merge_takes_the_branch_over_into_the_one_that_the_run_came_from(project: Session) -> None:
    branch = run(project)
    ended = project.flow("merge", "last")
    tip = project.git("rev-parse", branch).strip()
    assert (ended.code, ended.out) == (0, f"merged {branch} into main ({tip[:10]})\n")
    assert ended.err == "tidy: cpool-flow clean r1\n"
    assert project.git("symbolic-ref", "HEAD").strip() == "refs/heads/main"
    assert project.git("rev-parse", "main").strip() == tip
    assert (project.path / "made.txt").read_text() == "made\n"
    assert project.git("status", "--porcelain") == ""


def test_a_base_that_has_moved_is_merged_with_a_commit_of_two_parents(project: Session) -> None:
    branch = run(project)
    moved = commit(project, "other.txt", "other\n")
    ended = project.flow("merge", "r1", "--json")
    assert ended.code == 0, ended.err
    document = ended.json()
    assert document == {"run_id": "r1", "status": "merged", "into": "main", "commit": project.git("rev-parse", "main").strip()}
    tip = project.git("rev-parse", branch).strip()
    assert project.git("rev-list", "--parents", "-n", "1", "main").split()[1:] == [moved, tip]
    assert project.git("log", "-1", "--format=%an <%ae>: %s", "main") == (f"you@example.com <you@example.com>: Merge branch '{branch}'\n")
    assert sorted(project.git("ls-files").split()) == ["README", "flow.yaml", "made.txt", "other.txt"]
    assert project.git("status", "--porcelain") == ""


def test_a_conflict_changes_nothing_and_says_how_to_go_on(project: Session) -> None:
    branch = run(project)
    moved = commit(project, "README", "another project\n")
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert ended.err == (
        f"error: `{branch}` cannot be merged into `main` by itself: both have changed `README`; nothing was done\n"
        f"help: cd {project.path} && git merge {branch}\n"
    )
    assert project.git("rev-parse", "HEAD").strip() == moved
    assert project.git("status", "--porcelain") == ""
    assert not (project.path / ".git" / "MERGE_HEAD").exists()


def test_a_change_that_would_be_overwritten_is_not(project: Session) -> None:
    run(project)
    before = project.git("rev-parse", "main")
    (project.path / "README").write_text("my own\n")
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert ended.err == (
        f"error: `main` is checked out in {project.path}, and its own changes to `README` would be overwritten; nothing was done\n"
        "help: commit or stash them there, then merge again\n"
    )
    assert (project.path / "README").read_text() == "my own\n"
    assert not (project.path / "made.txt").exists()
    assert project.git("rev-parse", "main") == before


@pytest.mark.parametrize("ignored", [False, True])
def test_a_file_of_yours_that_git_does_not_know_is_not_overwritten(project: Session, ignored: bool) -> None:
    run(project)
    (project.path / ".git" / "info" / "exclude").write_text("made.txt\n" if ignored else "")
    (project.path / "made.txt").write_text("my own\n")
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert "its own changes to `made.txt` would be overwritten; nothing was done" in ended.err
    assert (project.path / "made.txt").read_text() == "my own\n"
    assert (project.path / "README").read_text() == "a project\n"


def test_other_changes_stay_as_they_are(project: Session) -> None:
    commit(project, "notes.txt", "notes\n")
    run(project)
    (project.path / "notes.txt").write_text("my own\n")
    project.git("add", "notes.txt")
    (project.path / "new.txt").write_text("new\n")
    assert project.flow("merge", "r1").code == 0
    assert project.git("status", "--porcelain") == "M  notes.txt\n?? new.txt\n"
    assert (project.path / "notes.txt").read_text() == "my own\n"


def test_a_target_that_is_checked_out_elsewhere_is_updated_there(project: Session) -> None:
    branch = run(project)
    project.git("switch", "-q", "-c", "topic")
    elsewhere = project.home / "main"
    project.git("worktree", "add", "-q", str(elsewhere), "main")
    ended = project.flow("merge", "r1")
    assert ended.code == 0, ended.err
    assert ended.out.endswith(f", whose files in {elsewhere} are updated\n")
    assert (elsewhere / "made.txt").read_text() == "made\n"
    assert project.program("git", "status", "--porcelain", cwd=elsewhere).out == ""
    assert project.git("rev-parse", "main") == project.git("rev-parse", branch)
    assert not (project.path / "made.txt").exists()
    assert project.git("status", "--porcelain", "--branch") == "## topic\n"


def test_a_target_that_is_checked_out_nowhere_only_moves(project: Session) -> None:
    branch = run(project)
    project.git("switch", "-q", "-c", "topic")
    ended = project.flow("merge", "r1")
    assert ended.code == 0, ended.err
    assert project.git("rev-parse", "main") == project.git("rev-parse", branch)
    assert project.git("status", "--porcelain", "--branch") == "## topic\n"
    assert not (project.path / "made.txt").exists()


def test_the_base_of_a_workflow_is_where_its_run_came_from(project: Session) -> None:
    project.git("branch", "release")
    project.file("flow.yaml", FLOW.replace("version: 1", "version: 1\n    base: release"))
    run(project)
    assert project.flow("merge", "r1").code == 0
    assert "made.txt" in project.git("ls-tree", "--name-only", "release")
    assert not (project.path / "made.txt").exists()


def test_into_names_another_branch_and_an_unknown_one_the_nearest(project: Session) -> None:
    run(project)
    project.git("branch", "develop")
    ended = project.flow("merge", "r1", "--into", "devlop")
    assert ended.code == 2
    assert "there is no branch `devlop`, did you mean `develop`?" in ended.err
    assert project.flow("merge", "r1", "--into", "develop").code == 0
    assert "made.txt" in project.git("ls-tree", "--name-only", "develop")
    assert "made.txt" not in project.git("ls-tree", "--name-only", "main")


@pytest.mark.parametrize("into", ["", "main~0", "main^{commit}", "@"])
def test_into_takes_the_name_of_a_branch_and_nothing_else_that_git_would(project: Session, into: str) -> None:
    run(project)
    ended = project.flow("merge", "r1", "--into", into)
    assert (ended.code, ended.err.partition(", did")[0].partition("\n")[0]) == (2, f"error: there is no branch `{into}`")
    assert "made.txt" not in project.git("ls-tree", "--name-only", "main")


def test_a_run_that_came_from_no_branch_goes_into_the_one_that_is_checked_out_by_then(project: Session) -> None:
    project.git("switch", "-q", "--detach")
    run(project)
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert "run `r1` came from no branch, and none is checked out" in ended.err
    project.git("switch", "-q", "main")
    assert project.flow("merge", "r1").code == 0
    assert (project.path / "made.txt").exists()


@pytest.mark.parametrize("how", ["merge", "fast-forward", "squash", "squash and more", "one by one"])
def test_what_is_merged_already_is_not_merged_again(project: Session, how: str) -> None:
    branch = run(project)
    commit(project, "other.txt", "other\n")
    if how == "merge":
        project.git("merge", "-q", "--no-edit", branch)
    elif how == "one by one":
        project.git("cherry-pick", branch)
    elif how == "fast-forward":
        project.git("reset", "-q", "--hard", branch)
    else:
        project.git("merge", "-q", "--squash", branch)
        project.git("commit", "-q", "-m", "squashed")
    if how == "squash and more":
        commit(project, "README", "quite another project\n")
    before = project.git("rev-parse", "main")
    ended = project.flow("merge", "r1")
    assert (ended.code, ended.out) == (0, f"already merged: {branch} is in main\n")
    assert project.git("rev-parse", "main") == before


def test_a_change_that_only_looks_like_it_is_merged(project: Session) -> None:
    run(project)
    commit(project, "made.txt", "made\n")  # half of what the run did
    assert project.flow("merge", "r1").out.startswith("merged ")
    assert (project.path / "README").read_text() == "a project, better\n"


def test_merge_runs_no_hook_and_no_filter_that_the_run_has_planted(project: Session) -> None:
    trap = project.home / "trap"
    project.file(
        "flow.yaml",
        f"""
        version: 1
        isolation: worktree
        steps:
          - name: plant
            run: |
              common=$(git rev-parse --path-format=absolute --git-common-dir)
              git config filter.evil.smudge 'touch {trap}; cat'
              git config filter.evil.clean 'touch {trap}; cat'
              git config merge.evil.driver 'touch {trap}'
              git config core.fsmonitor 'touch {trap}'
              printf '* filter=evil merge=evil\\n' > .gitattributes
              mkdir -p "$common/hooks"
              for hook in post-merge pre-merge-commit post-checkout post-index-change reference-transaction post-commit; do
                printf '#!/bin/sh\\ntouch {trap}\\n' > "$common/hooks/$hook"; chmod +x "$common/hooks/$hook"
              done
              echo made > made.txt
        """,
    )
    run(project)
    trap.unlink(missing_ok=True)  # the step's own git may have come by
    project.program("sh", "-c", "printf 'more\\n' > more.txt && git -c core.hooksPath=/dev/null -c core.fsmonitor= add more.txt")
    for command in (["diff", "r1"], ["merge", "r1"], ["merge", "r1"]):
        ended = project.flow(*command)
        assert ended.code == 0, ended.err
    assert (project.path / "made.txt").read_text() == "made\n"
    assert not trap.exists()


def test_a_filter_that_was_there_when_the_run_began_is_used(project: Session) -> None:
    project.git("config", "filter.caps.clean", "tr a-z A-Z")
    project.git("config", "filter.caps.smudge", "tr A-Z a-z")
    commit(project, ".gitattributes", "*.txt filter=caps\n")
    run(project)
    assert project.git("show", "cpool/flow/r1:made.txt") == "MADE\n"
    assert project.flow("merge", "r1").code == 0
    assert (project.path / "made.txt").read_text() == "made\n"
    assert project.git("status", "--porcelain") == ""


def test_a_filter_that_a_step_defines_is_not_started_by_a_resume_either(project: Session) -> None:
    trap = project.home / "trap"
    project.file(
        "flow.yaml",
        f"""
        version: 1
        isolation: worktree
        steps:
          - name: plant
            run: |
              git config filter.evil.smudge 'touch {trap}; cat'
              git config filter.evil.clean 'touch {trap}; cat'
              printf '* filter=evil\\n' > .gitattributes
          - name: fails
            run: test -e {project.home}/ready
        """,
    )
    assert project.flow("run", "flow.yaml", "--run-id", "r1").code == 1
    trap.unlink(missing_ok=True)
    (project.home / "ready").touch()
    assert project.flow("resume", "r1").code == 0
    assert not trap.exists()


def test_merge_uses_the_last_commit_of_a_branch_that_somebody_has_deleted(project: Session) -> None:
    branch = run(project)
    tip = project.git("rev-parse", branch).strip()
    project.git("branch", "-q", "-D", branch)
    assert project.flow("merge", "r1").code == 0
    assert project.git("rev-parse", "main").strip() == tip


def test_a_branch_in_the_middle_of_a_rebase_is_left_alone(project: Session) -> None:
    run(project)
    commit(project, "a.txt", "a\n")
    project.program("git", "-c", "sequence.editor=sed -i s/^pick/edit/", "rebase", "-q", "-i", "HEAD~1")
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert f"`main` is in the middle of a rebase in {project.path}" in ended.err


def test_a_merge_that_is_not_finished_is_left_alone(project: Session) -> None:
    run(project)
    project.git("switch", "-q", "-c", "topic")
    commit(project, "README", "topic\n")
    project.git("switch", "-q", "main")
    commit(project, "README", "main\n")
    assert project.program("git", "merge", "topic").code == 1
    project.program("git", "checkout", "-q", "--ours", "README")
    before = (project.git("status", "--porcelain"), project.git("rev-parse", "main"))
    ended = project.flow("merge", "r1")
    assert ended.code == 2, ended.out
    assert (project.git("status", "--porcelain"), project.git("rev-parse", "main")) == before


def test_merge_is_refused_from_inside_the_same_run_unless_it_is_meant(project: Session) -> None:
    command = " ".join(project.command("--project", str(project.path), "merge", "r1"))
    project.file(
        "flow.yaml",
        f"""
        version: 1
        isolation: worktree
        steps:
          - name: make
            run: echo made > made.txt
          - name: refused
            run: {command} 2>&1
            ok_codes: [2]
          - name: meant
            run: {command} --self
        outputs: {{refused: "{{{{ steps.refused.output }}}}"}}
        """,
    )
    ended = project.flow("run", "flow.yaml", "--run-id", "r1", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"]["refused"] == (
        "error: this is called from inside the same run: its branch is not finished\nhelp: cpool-flow merge r1 --self"
    )
    assert (project.path / "made.txt").read_text() == "made\n"


def test_a_run_that_has_not_ended_is_not_merged(project: Session) -> None:
    project.file(
        "flow.yaml", "version: 1\nisolation: worktree\nsteps: [{name: make, run: 'echo made > made.txt'}, {name: ok, approve: ok?}]\n"
    )
    assert project.flow("run", "flow.yaml", "--run-id", "r1").code == 4
    ended = project.flow("merge", "r1")
    assert ended.code == 2
    assert ended.err == ("error: run `r1` has not ended\nhelp: go on with `cpool-flow resume r1`, or end it: cpool-flow cancel r1\n")
    ended = project.flow("diff", "r1", "--stat")
    assert "made.txt" in ended.out
    assert ended.err == "note: run r1 has not ended; this is what it has committed so far\n"


def test_merge_works_from_a_folder_below(project: Session) -> None:
    (project.path / "below").mkdir()
    run(project)
    ended = project.program(*project.command("merge", "r1"), cwd=project.path / "below")
    assert ended.code == 0, ended.err
    assert (project.path / "made.txt").exists()


def test_a_merge_killed_at_any_moment_can_be_done_again(project: Session) -> None:
    for number, point in enumerate(("before-hand-over", "after-hand-over")):
        project.file("flow.yaml", FLOW.replace("made", f"made{number}"))
        branch = run(project, f"r{number}")
        assert project.flow("merge", f"r{number}", CPOOL_FAULT=point).code == -9
        assert project.flow("merge", f"r{number}").code == 0
        assert (project.path / f"made{number}.txt").exists()
        assert project.git("merge-base", "--is-ancestor", branch, "main") == ""


def test_several_merges_at_once_all_arrive(project: Session) -> None:
    for number in range(3):
        project.file("flow.yaml", f"version: 1\nisolation: worktree\nsteps: [{{run: 'echo x > made{number}.txt'}}]\n")
        run(project, f"r{number}")
    processes = [project.start("merge", f"r{number}") for number in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0], Path(project.home / "err.txt").read_text()
    assert [(project.path / f"made{number}.txt").exists() for number in range(3)] == [True, True, True]
    assert project.git("status", "--porcelain", "--untracked-files=no").strip() in ("", "M flow.yaml")
