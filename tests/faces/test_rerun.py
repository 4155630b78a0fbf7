"""`rerun`: a new run that repeats another, from its base or from the tree that a step saw."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from session import Session

FLOW = """
    version: 1
    isolation: worktree
    args: {word: {type: string}}
    steps:
      - name: one
        run: |
          echo one >> "$LEDGER"
          echo {{ args.word }} > one.txt
          echo "said {{ args.word }}"
      - name: two
        run: |
          echo two >> "$LEDGER"
          cat one.txt >> two.txt; echo two >> two.txt
          cat two.txt
      - name: three
        run: |
          echo three >> "$LEDGER"
          rm one.txt
          test ! -e "$HOME/broken"
          echo {{ steps.one.output }} / {{ steps.two.output }}
    finally:
      - name: tidy
        run: echo tidy >> "$LEDGER"
    outputs: {all: "{{ steps.three.output }}"}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file("flow.yaml", FLOW)
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    session.environment["LEDGER"] = str(session.home / "ledger")
    return session


def run(project: Session, *arguments: str, code: int = 0) -> Any:
    ended = project.flow("run", "flow.yaml", "--run-id", "old", "--json", "--arg", "word=hello", *arguments)
    assert ended.code == code, ended.err
    ledger(project)
    return ended.json()


def rerun(project: Session, *arguments: str, code: int = 0) -> Any:
    ended = project.flow("rerun", "old", "--run-id", "new", "--json", *arguments)
    assert ended.code == code, ended.err
    return ended.json()


def ledger(project: Session) -> list[str]:
    """What was done since the last look."""
    path = Path(project.environment["LEDGER"])
    lines = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return lines


def refused(project: Session, *arguments: str) -> str:
    before = sorted((project.path / ".cpool" / "runs").iterdir())
    ended = project.flow("rerun", *arguments)
    assert ended.code == 2, ended.err
    assert sorted((project.path / ".cpool" / "runs").iterdir()) == before
    return ended.err


def test_a_rerun_does_everything_again_from_the_base_with_the_old_copies(project: Session) -> None:
    old = run(project)
    project.file("flow.yaml", "version: 1\nsteps: [{run: 'false'}]\n")
    (project.path / "more.txt").write_text("more\n")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "more")
    new = rerun(project)
    assert ledger(project) == ["one", "two", "three", "tidy"]
    assert new["run_id"] == "new"
    assert new["rerun_of"] == "old"
    assert new["args"] == {"word": "hello"}
    assert new["outputs"] == old["outputs"]
    assert new["base"] == old["base"]
    assert new["branch"] == "cpool/flow/new"
    assert project.git("ls-tree", "--name-only", new["branch"]).split() == ["README", "flow.yaml", "two.txt"]
    assert project.git("rev-parse", old["branch"])


def test_a_rerun_from_a_step_takes_over_what_was_before_and_begins_with_the_files_that_it_saw(project: Session) -> None:
    old = run(project)
    new = rerun(project, "--from", "two")
    assert ledger(project) == ["two", "three", "tidy"]
    assert new["outputs"] == old["outputs"]  # `two` has not found its own leavings
    one, two, *_ = new["steps"]
    assert (one["status"], one["reason"], one["output"]) == ("success", "taken over from run old", "said hello")
    assert one["commit"] == old["steps"][0]["commit"]
    assert two["reason"] is None
    assert Path(one["attempts"][0]["log"]).read_text() == "said hello\n" if one["attempts"][0]["log"] else True
    assert project.git("log", "--format=%s", f"{new['base']}..{new['branch']}").split() == ["three", "two", "one"]
    shutil.rmtree(project.path / ".cpool" / "runs" / "old")
    assert project.status("new") == new  # one folder is the whole run


def test_what_is_said_of_a_rerun(project: Session) -> None:
    run(project)
    ended = project.flow("rerun", "old", "--run-id", "new", "--from", "three")
    head, takes, *_ = ended.err.splitlines()
    assert "; begins where step `three` of run old did · branch cpool/flow/new" in head
    assert takes == "takes over `one`, `two`"
    shown = project.flow("status", "new").out
    assert "one                  success" in shown
    assert "taken over from run old" in shown
    assert "all of this was done by run old, and is taken over" in project.flow("explain", "new", "one").out


def test_a_rerun_of_what_failed_begins_with_the_files_that_it_saw(project: Session) -> None:
    (project.home / "broken").touch()
    old = run(project, code=1)
    assert project.flow("rerun", "old", "--failed", "--run-id", "again", "--quiet").code == 1
    assert ledger(project) == ["three", "tidy"]
    (project.home / "broken").unlink()
    new = rerun(project, "--failed")  # `rm one.txt` finds it again
    assert ledger(project) == ["three", "tidy"]
    assert new["status"] == "success"
    assert old["status"] == "failed"
    assert "said hello" in new["outputs"]["all"]


def test_of_a_fan_out_only_what_failed_is_done_again_and_nothing_is_lost(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        isolation: worktree
        steps:
          - name: many
            foreach: [red, green, blue]
            run: |
              echo {{ item }} >> "$LEDGER"
              echo {{ item }} > {{ item }}.txt
              test {{ item }} != green || test -e "$HOME/ready"
          - name: last
            run: cat red.txt green.txt blue.txt
        outputs: {all: "{{ steps.last.output }}"}
        """,
    )
    ended = project.flow("run", "flow.yaml", "--run-id", "old")
    assert ended.code == 1
    ledger(project)
    (project.home / "ready").touch()
    new = rerun(project, "--failed")
    assert ledger(project) == ["green"]
    assert new["outputs"] == {"all": "red\ngreen\nblue"}


def test_a_rerun_that_fails_can_be_resumed_and_rerun_itself(project: Session) -> None:
    run(project)
    (project.home / "broken").touch()
    assert rerun(project, "--from", "two", code=1)["status"] == "failed"
    assert ledger(project) == ["two", "three", "tidy"]
    (project.home / "broken").unlink()
    project.file("mend.sh", "")
    ended = project.flow("rerun", "new", "--from", "three", "--run-id", "newer", "--json")
    assert ended.code == 0, ended.err
    assert ledger(project) == ["three", "tidy"]
    assert [step["reason"] for step in ended.json()["steps"]] == ["taken over from run new", "taken over from run new", None, None]
    assert ended.json()["outputs"]["all"] == "said hello / hello\ntwo"


@pytest.mark.parametrize("point", ["before-create", "after-create", "before-place", "after-place", "after-append"])
def test_a_rerun_killed_at_any_moment_goes_on_by_resume(project: Session, point: str) -> None:
    run(project)
    ended = project.flow("rerun", "old", "--run-id", "new", "--from", "two", CPOOL_FAULT=point)
    assert ended.code == -9
    if point == "before-create":
        assert project.flow("status", "new").code == 2
        return
    assert project.flow("resume", "new", "--quiet").code == 0
    assert "one" not in ledger(project)
    assert project.status("new")["outputs"]["all"] == "said hello / hello\ntwo"


def test_large_outputs_artifacts_and_logs_come_along(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        steps:
          - name: large
            run: head -c 100000 /dev/zero | tr '\\0' x; echo made > kept.txt; echo noise >&2
            artifacts: [kept.txt]
            verify: echo checked
          - name: count
            run: printf %s {{ steps.large.output | file }} | xargs wc -c | cut -d' ' -f1
        outputs: {count: "{{ steps.count.output }}"}
        """,
    )
    ended = project.flow("run", "flow.yaml", "--run-id", "old", "--json")
    assert ended.json()["outputs"] == {"count": "100000"}, ended.err
    new = rerun(project, "--from", "count")
    shutil.rmtree(project.path / ".cpool" / "runs" / "old")
    assert new["outputs"] == {"count": "100000"}
    large = project.status("new")["steps"][0]
    folder = str(project.path / ".cpool" / "runs" / "new")
    assert large["output_file"].startswith(folder)
    assert Path(large["output_file"]).read_bytes()[: large["output_bytes"]] == b"x" * 100000
    assert large["artifacts"] == [f"{folder}/artifacts/large/kept.txt"]
    assert Path(large["artifacts"][0]).read_text() == "made\n"
    assert "noise" in project.flow("logs", "new", "large").out
    assert "checked" in project.flow("logs", "new", "large").out


def test_an_approval_that_was_given_is_taken_over(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        steps:
          - name: ask
            approve: Which name?
          - name: say
            run: echo {{ steps.ask.output }}
        outputs: {said: "{{ steps.say.output }}"}
        """,
    )
    assert project.flow("run", "flow.yaml", "--run-id", "old").code == 4
    project.flow("approve", "old", "ask", "--answer", "Ada")
    assert project.flow("resume", "old", "--quiet").code == 0
    assert rerun(project, "--from", "say")["outputs"] == {"said": "Ada"}
    ended = project.flow("rerun", "old", "--from", "ask")
    assert ended.code == 4  # the question is asked again


def test_costs_of_what_is_taken_over_are_not_those_of_the_new_run(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        version: 1
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: think
            prompt: Think
          - name: write
            prompt: Write
        """,
    )
    project.file("answers.yaml", "steps: {think: {answer: a, cost_usd: 0.5}, write: {answer: b, cost_usd: 0.25}}\n")
    old = project.flow("run", "flow.yaml", "--run-id", "old", "--json").json()
    assert old["cost_usd"] == 0.75
    (project.path / "answers.yaml").unlink()  # the run owns a copy
    new = rerun(project, "--from", "write")
    assert new["cost_usd"] == 0.25
    assert [step["cost_usd"] for step in new["steps"]] == [0, 0.25]
    assert new["steps"][0]["attempts"][0]["cost_usd"] == 0.5


def test_changes_that_the_old_run_took_along_are_what_the_new_one_begins_with(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("version: 1", "version: 1\n    include_changes: true"))
    (project.path / "mine.txt").write_text("mine\n")
    run(project)
    (project.path / "mine.txt").write_text("other\n")
    new = rerun(project)
    assert project.git("show", f"{new['branch']}:mine.txt") == "mine\n"
    assert (project.path / "mine.txt").read_text() == "other\n"


def test_without_a_worktree_a_rerun_works_with_the_files_as_they_are(project: Session) -> None:
    run(project, "--isolation", "none")
    assert (project.path / "two.txt").read_text() == "hello\ntwo\n"
    (project.path / "one.txt").write_text("hello\n")
    ended = project.flow("rerun", "old", "--from", "two", "--run-id", "new")
    assert ended.code == 0, ended.err
    assert f"works in {project.path} as it is now; begins where step `two` of run old did" in ended.err
    assert (project.path / "two.txt").read_text() == "hello\ntwo\nhello\ntwo\n"


def test_setup_prepares_the_place_of_a_rerun(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("version: 1", 'version: 1\n    setup: echo setup >> "$LEDGER"'))
    run(project)
    rerun(project, "--from", "three")
    assert ledger(project) == ["setup", "three", "tidy"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("old", "--from", "tow"), "error: run `old` has no step `tow`\nhint: did you mean `two`?"),
        (("old", "--from", "tidy"), "error: step `tidy` is in `finally`: it runs at the end of every run\n"),
        (("old", "--failed"), "error: no step of run `old` has failed\nhelp: all of it again: cpool-flow rerun old\n"),
        (("old", "--from", "two", "--failed"), "error: `--from` and `--failed` both say where to begin\n"),
        (("odl",), "error: there is no run `odl`, did you mean `old`?\n"),
        (("old", "--run-id", "old"), "error: there is already a run with the id `old`\n"),
        (("old", "--run-id", "a/b"), "error: `a/b` cannot be a run id\n"),
        (("old", "--run-id", ""), "error: `` cannot be a run id\n"),
    ],
)
def test_what_cannot_be_rerun_is_refused_before_anything_exists(project: Session, arguments: tuple[str, ...], error: str) -> None:
    run(project)
    assert refused(project, *arguments).startswith(error)


def test_files_that_git_has_dropped_are_missed_before_anything_exists(project: Session) -> None:
    old = run(project)
    project.git("branch", "-q", "-D", old["branch"])
    project.git("reflog", "expire", "--expire=now", "--all")
    project.git("gc", "-q", "--prune=now")
    said = refused(project, "old", "--from", "two")
    assert said.startswith("error: the files that run `old` had by then are gone: git has dropped ")
    assert said.endswith("help: all of it again: cpool-flow rerun old\n")
    assert rerun(project)["status"] == "success"


def test_a_directory_or_secret_that_is_gone_is_missed_before_anything_exists(project: Session) -> None:
    project.file("flow.yaml", "version: 1\nsecrets: [TOKEN]\nsteps: [{run: 'true'}]\n")
    below = project.path / "below"
    below.mkdir()
    ended = project.program(*project.command("run", "../flow.yaml", "--run-id", "old"), cwd=below, TOKEN="long-secret")
    assert ended.code == 0, ended.err
    assert "TOKEN" in refused(project, "old")
    below.rmdir()
    ended = project.flow("rerun", "old", TOKEN="long-secret")
    assert (ended.code, ended.err) == (2, f"error: the directory in which run `old` was started is gone: {below}\n")


def test_a_rerun_can_be_left_alone_and_read_as_events(project: Session) -> None:
    run(project)
    ended = project.flow("rerun", "old", "--run-id", "new", "--from", "three", "--detach")
    assert (ended.code, ended.out) == (0, "new\n")
    assert project.flow("status", "new", "--watch", "--exit-status").code == 0
    ended = project.flow("rerun", "old", "--from", "three", "--events")
    kinds = [json.loads(line)["type"] for line in ended.out.splitlines()]
    assert kinds[:2] == ["RunCreated", "PlaceOpened"]
    assert "ResultsTaken" in kinds
    assert kinds[-1] == "RunFinished"


def test_the_work_of_a_rerun_is_merged_like_any_other(project: Session) -> None:
    run(project)
    new = rerun(project, "--from", "three")
    assert project.flow("merge", "new").code == 0
    assert sorted(project.git("ls-files").split()) == ["README", "flow.yaml", "two.txt"]
    assert project.git("rev-parse", "main") == project.git("rev-parse", new["branch"])
    ended = project.flow("clean")
    assert ended.code == 0
    assert project.git("for-each-ref", "refs/heads/cpool") == ""  # `old` has done the same


def test_a_rerun_can_begin_within_a_group_with_the_files_that_the_step_saw(session: Session) -> None:
    session.repository()
    session.environment["LEDGER"] = str(session.home / "ledger")
    session.file(
        "flow.yaml",
        """
        isolation: worktree
        steps:
          - name: group
            steps:
              - {name: one, run: 'echo one >> "$LEDGER"; echo 1 > one.txt; echo said one'}
              - {name: two, run: 'echo two >> "$LEDGER"; ls; rm one.txt; echo {{ steps.one.output }}'}
          - {name: last, run: 'echo last >> "$LEDGER"'}
        """,
    )
    assert session.flow("run", "flow.yaml", "--run-id", "old").code == 0
    ledger(session)
    new = rerun(session, "--from", "group/two")
    assert (new["status"], ledger(session)) == ("success", ["two", "last"])
    group = next(step for step in new["steps"] if step["name"] == "group")
    assert [step["output"] for step in group["steps"]] == ["said one", "README\none.txt\nsaid one"]
    assert session.git("ls-tree", "--name-only", "cpool/flow/new").split() == ["README"]
    ended = session.flow("rerun", "old", "--from", "group/tow")
    assert (ended.code, ended.err) == (2, "error: run `old` has no step `group/tow`\nhint: did you mean `group/two`?\n")
