"""`isolation: worktree` of a step or group: each item in a git worktree of its own, merged back in the order of the items."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from place_runs import branches, places, run
from session import Session

from cpool_flow.faults import POINTS, POINTS_OF_ITEMS


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file(".gitignore", "*.yaml\n*.log\n.env\n")
    session.file("list.txt", "first\n")
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "second")
    return session


def items(result: Any, step: str = "fix") -> list[Any]:
    found: list[Any] = next(each["items"] for each in result["steps"] if each["name"] == step)
    return found


def show(session: Session, branch: str, path: str = "list.txt") -> str:
    return session.git("show", f"{branch}:{path}")


# ---- the plain way ------------------------------------------------------------------------------------------


def test_each_item_works_in_a_place_of_its_own_and_all_come_together(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 3
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            run: "pwd; ls; echo {{ item }} > {{ item }}.txt"
          - name: see
            run: ls
        """,
    )
    outputs = [each["output"].split("\n") for each in items(result)]
    assert [lines[1:] for lines in outputs] == [["list.txt", "README"]] * 3 or [lines[1:] for lines in outputs] == [
        ["README", "list.txt"]
    ] * 3
    assert len({lines[0] for lines in outputs}) == 3
    assert all(result["run_id"] in lines[0] and str(project.path) not in lines[0] for lines in outputs)
    assert set(result["steps"][1]["output"].split()) == {"README", "list.txt", "a.txt", "b.txt", "c.txt"}
    assert branches(project) == [result["branch"]]
    assert places(project) == []
    assert project.git("status", "--porcelain") == ""


def test_they_are_merged_in_the_order_of_the_items_whoever_is_done_first(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 3
        steps:
          - name: fix
            foreach: [2, 1, 0]
            isolation: worktree
            run: "sleep 0.{{ item }}; echo {{ item }} > {{ item }}.txt"
        """,
    )
    log = project.git("log", "--first-parent", "--reverse", "--format=%s", f"main..{result['branch']}")
    assert log.splitlines() == ["fix[0]", "Merge item fix[1]", "Merge item fix[2]"]
    merged = [event["task"] for event in project.events() if event["type"] == "PlaceMerged"]
    assert merged == ["fix[0]", "fix[1]", "fix[2]"]


def test_of_a_group_all_steps_of_an_item_share_its_place(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            steps:
              - name: make
                run: echo {{ item }} > {{ item }}.txt
              - name: see
                run: "ls *.txt"
        """,
    )
    assert [each["output"] for each in items(result)] == ["a.txt\nlist.txt", "b.txt\nlist.txt"]
    assert project.git("ls-tree", "--name-only", result["branch"]).split() == [".gitignore", "README", "a.txt", "b.txt", "list.txt"]


def test_an_item_begins_with_what_the_steps_before_have_left(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: before
            run: echo made > made.txt
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: cat made.txt
        """,
    )
    assert [each["output"] for each in items(result)] == ["made", "made"]


def test_a_matrix_a_loop_and_a_sub_workflow_have_places_as_well(project: Session) -> None:
    project.file("child.yaml", "args: {x: {type: string}}\nsteps:\n  - run: echo {{ args.x }} > child-{{ args.x }}.txt\n")
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: grid
            matrix: {os: [linux, macos]}
            isolation: worktree
            run: echo x > {{ matrix.os }}.txt
          - name: loop
            foreach: [a, b]
            isolation: worktree
            repeat: {until: iteration == 2, max: 3}
            run: echo {{ iteration }} >> loop-{{ item }}.txt
          - name: child
            foreach: [p, q]
            isolation: worktree
            workflow: child.yaml
            with: {x: "{{ item }}"}
        """,
    )
    names = project.git("ls-tree", "--name-only", result["branch"]).split()
    assert {"linux.txt", "macos.txt", "loop-a.txt", "loop-b.txt", "child-p.txt", "child-q.txt"} <= set(names)
    assert show(project, result["branch"], "loop-a.txt") == "1\n2\n"


def test_places_stand_inside_of_places(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 4
        steps:
          - name: outer
            foreach: [a, b]
            isolation: worktree
            steps:
              - name: inner
                foreach: [1, 2]
                as: number
                isolation: worktree
                run: "git rev-parse --abbrev-ref HEAD; echo x > {{ item }}{{ number }}.txt"
              - name: see
                run: "ls *.txt"
        """,
    )
    assert [each["output"] for each in items(result, "outer")] == ["a1.txt\na2.txt\nlist.txt", "b1.txt\nb2.txt\nlist.txt"]
    assert {"a1.txt", "a2.txt", "b1.txt", "b2.txt"} <= set(project.git("ls-tree", "--name-only", result["branch"]).split())
    assert branches(project) == [result["branch"]]


def test_a_single_step_may_have_a_place_too(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - {name: alone, isolation: worktree, run: "pwd; echo x > x.txt"}
          - {name: other, needs: [], run: pwd}
          - {name: see, needs: [alone], run: cat x.txt}
        """,
    )
    alone, other, see = (step["output"] for step in result["steps"])
    assert alone != other
    assert see == "x"


# ---- what is left, and merging that is not wanted -----------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "branch"),
    [
        ("[{name: lock, isolation: worktree, merge: none, run: echo two > two.txt}]", "lock.0"),
        ("[{name: part, foreach: [a], steps: [{name: lock, isolation: worktree, merge: none, run: echo two > two.txt}]}]", "part.0.lock.0"),
    ],
)
def test_a_step_may_be_called_as_no_branch_of_git_may(project: Session, steps: str, branch: str) -> None:
    result = run(project, f"isolation: worktree\nsteps: {steps}\n")
    assert show(project, f"cpool/flow/{result['run_id']}.{branch}", "two.txt") == "two\n"


def test_with_merge_none_each_item_leaves_its_branch_and_its_name(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            merge: none
            run: echo {{ item }} >> list.txt
          - name: tell
            run: "echo {{ steps.fix.items[0].branch }} {{ steps.fix.items[1].branch }}; cat list.txt"
        """,
    )
    names = [f"cpool/flow/{result['run_id']}.fix.{number}" for number in (0, 1)]
    assert [each["branch"] for each in items(result)] == names
    assert [show(project, name) for name in names] == ["first\na\n", "first\nb\n"]
    assert result["steps"][1]["output"] == f"{names[0]} {names[1]}\nfirst"
    assert places(project) == []


def test_an_item_that_failed_keeps_its_branch_and_is_not_merged(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            run: "echo {{ item }} > {{ item }}.txt; test {{ item }} != b"
        """,
        code=1,
    )
    assert [each["status"] for each in items(result)] == ["success", "failed", "success"]
    branch = f"cpool/flow/{result['run_id']}.fix.1"
    assert items(result)[1]["branch"] == branch
    assert show(project, branch, "b.txt") == "b\n"
    assert {"a.txt", "c.txt"} <= set(names := project.git("ls-tree", "--name-only", result["branch"]).split())
    assert "b.txt" not in names
    shown = project.flow("status", "last")
    assert f"branch {branch} · fix[1], not merged" in shown.out


def test_keep_worktree_keeps_what_was_not_merged(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        keep: worktree
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "echo {{ item }} > {{ item }}.txt; test {{ item }} != b"
        """,
        code=1,
    )
    run_id = result["run_id"]
    assert [name for name in places(project) if not name.startswith(".")] == [run_id, f"{run_id}.fix.1"]


# ---- conflicts ----------------------------------------------------------------------------------------------

CONFLICT = """
isolation: worktree
slots: 2
steps:
  - name: fix
    foreach: [a, b]
    isolation: worktree
    run: echo {{ item }} >> list.txt
"""
MENDED = CONFLICT.replace("steps:", "config: {agent: scripted, script: answers.yaml}\nsteps:", 1)


def test_a_conflict_fails_the_item_and_says_in_which_files(project: Session) -> None:
    result = run(project, CONFLICT, code=1)
    assert [each["status"] for each in items(result)] == ["success", "failed"]
    reason = "conflict: it and the branch that it came from have both changed `list.txt`"
    assert items(result)[1]["reason"] == reason
    assert show(project, result["branch"]) == "first\na\n"
    assert show(project, items(result)[1]["branch"]) == "first\nb\n"
    assert places(project) == []
    events = project.events()
    assert [event["conflicts"] for event in events if event.get("conflicts")] == [["list.txt"]]


def test_the_recovery_runs_where_the_conflict_is(project: Session) -> None:
    project.file(
        "answers.yaml",
        """
        steps:
          fix:
            - when: "both changed `list.txt`"
              run: [bash, -c, "git status --short > status.log; cp list.txt seen.log; printf 'first\\\\na\\\\nb\\\\n' > list.txt"]
        """,
    )
    text = MENDED + '    recovery_prompt: "Solve it: {{ error }}"\n    artifacts: ["*.log"]\n'
    result = run(project, text)
    assert [each["status"] for each in items(result)] == ["success", "success"]
    assert show(project, result["branch"]) == "first\na\nb\n"
    attempts = items(result)[1]["attempts"]
    assert [(each["kind"], each["status"]) for each in attempts] == [("normal", "success"), ("merge", "success")]
    seen, status = sorted(Path(path) for path in items(result)[1]["artifacts"])
    assert status.read_text().splitlines()[0] == "UU list.txt"
    text = seen.read_text()
    assert text.startswith("first\n<<<<<<< ")
    assert "b\n=======\na\n>>>>>>> " in text
    assert len(project.git("rev-list", "--merges", f"main..{result['branch']}").split()) == 1


def test_explain_tells_who_mended_a_merge_what_he_was_told(project: Session) -> None:
    project.file("answers.yaml", "steps: {fix: {edits: {list.txt: all}}}\n")
    run(project, MENDED + '    recovery_prompt: "Solve it: {{ error }}"\n')
    reason = "conflict: it and the branch that it came from have both changed `list.txt`"
    assert f"recovery_prompt: error = {reason}" in project.flow("explain", "last", "fix[1]").out


def test_a_recovery_that_leaves_the_conflict_standing_has_not_mended_it(project: Session) -> None:
    project.file("answers.yaml", "steps: {fix: {answer: I could not do it}}\n")
    result = run(project, MENDED + "    recovery_prompt: Solve it\n    recoveries: 2\n", code=1)
    assert items(result)[1]["reason"] == "nobody has decided on the conflict in `list.txt`"
    assert [each["kind"] for each in items(result)[1]["attempts"]] == ["normal", "merge", "merge"]
    assert show(project, result["branch"]) == "first\na\n"


def test_a_recovery_that_leaves_the_conflict_standing_has_not_mended_it_in_a_subfolder_either(project: Session) -> None:
    project.file("part/list.txt", "first\n")
    project.git("add", "part")
    project.git("commit", "-q", "-m", "third")
    project.file("part/answers.yaml", "steps: {fix: {answer: I could not do it}}\n")
    project.path = project.path / "part"
    result = run(project, MENDED + "    recovery_prompt: Solve it\n", code=1)
    assert items(result)[1]["reason"] == "nobody has decided on the conflict in `part/list.txt`"
    assert show(project, result["branch"], "part/list.txt") == "first\na\n"


SILENT = """
config: {agent: scripted, script: answers.yaml}
isolation: worktree
slots: 2
steps:
  - name: fix
    foreach: [a, b]
    isolation: worktree
    env: {ITEM: "{{ item }}"}
    run: MAKE
    recovery_prompt: Solve it
    recoveries: 2
"""
# What each item does: git leaves no marks in any of these conflicts.
SILENT_CONFLICTS = {
    "binary": "printf '\\0'$ITEM > list.txt",
    "removed by the first": "if [ $ITEM = a ]; then rm list.txt; else echo b >> list.txt; fi",
    "removed by the second": "if [ $ITEM = b ]; then rm list.txt; else echo a >> list.txt; fi",
    "link": "ln -sfn $ITEM list.txt",
}


@pytest.mark.parametrize("make", SILENT_CONFLICTS.values(), ids=SILENT_CONFLICTS.keys())
def test_a_conflict_that_git_cannot_write_into_the_file_has_to_be_decided_too(project: Session, make: str) -> None:
    project.file("answers.yaml", "steps: {fix: {answer: I did nothing}}\n")
    result = run(project, SILENT.replace("MAKE", make), code=1)
    assert items(result)[1]["reason"] == "nobody has decided on the conflict in `list.txt`"
    assert [each["kind"] for each in items(result)[1]["attempts"]] == ["normal", "merge", "merge"]
    assert "Merge" not in project.git("log", "--format=%s", result["branch"])


@pytest.mark.parametrize("answer", ["git add list.txt", "git checkout --theirs list.txt", "git rm -q -f list.txt"])
def test_who_mends_a_merge_decides_by_a_change_or_tells_git_that_it_stays(project: Session, answer: str) -> None:
    project.file("answers.yaml", f"steps:\n  fix: [{{answer: Not yet}}, {{answer: Not yet}}, {{run: [bash, -c, '{answer}']}}]\n")
    result = run(project, SILENT.replace("MAKE", SILENT_CONFLICTS["binary"]))
    assert [each["kind"] for each in items(result)[1]["attempts"]] == ["normal", "merge", "merge"]
    decided = {"git add list.txt": "b", "git checkout --theirs list.txt": "a"}.get(answer)
    files = project.git("ls-tree", "--name-only", result["branch"]).split()
    assert ("list.txt" in files) == (decided is not None)
    assert decided is None or show(project, result["branch"]) == f"\0{decided}"


def test_a_mending_that_was_cut_off_has_decided_nothing(project: Session) -> None:
    project.file("answers.yaml", 'steps: {fix: [{}, {run: [bash, -c, "touch $HOME/begun; sleep 60"]}, {answer: I did nothing}]}\n')
    project.file("flow.yaml", SILENT.replace("MAKE", SILENT_CONFLICTS["link"]))
    started = project.start("run", "flow.yaml", "--run-id", "r")
    while not (project.home / "begun").exists():
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    assert started.wait(30) == 130
    assert places(project) == []
    ended = project.flow("resume", "r", "--json")
    assert items(ended.json())[1]["reason"] == "nobody has decided on the conflict in `list.txt`"
    assert [each["kind"] for each in items(ended.json())[1]["attempts"]] == ["normal", "merge", "merge", "merge"]
    assert project.git("log", "-1", "--format=%b", "cpool/flow/r.fix.1").strip() == 'Undecided: "list.txt"'


def test_a_conflict_of_files_that_are_named_by_a_secret_has_to_be_decided_too(project: Session) -> None:
    project.file("answers.yaml", "steps: {fix: {answer: I did nothing}}\n")
    text = """
    config: {agent: scripted, script: answers.yaml}
    isolation: worktree
    secrets: [TOKEN]
    slots: 2
    steps:
      - name: fix
        foreach: [a, b]
        isolation: worktree
        env: {ITEM: "{{ item }}"}
        run: echo $ITEM > hidden-''word.txt
        recovery_prompt: Solve it
    """
    result = run(project, text, code=1, TOKEN="hidden-word")
    assert items(result)[1]["reason"] == "nobody has decided on the conflict in `***.txt`"
    assert show(project, result["branch"], "hidden-word.txt") == "a\n"


def test_the_attributes_of_the_repository_say_how_files_are_merged(project: Session) -> None:
    project.file(".gitattributes", "list.txt merge=union\n")
    project.git("add", "-A")
    project.git("commit", "-q", "-m", "third")
    result = run(project, CONFLICT)
    assert sorted(show(project, result["branch"]).split()) == ["a", "b", "first"]
    project.file("list.txt", "first\nmine\n")
    project.git("commit", "-q", "-a", "-m", "fourth")
    assert project.flow("merge", "last").code == 0
    assert sorted((project.path / "list.txt").read_text().split()) == ["a", "b", "first", "mine"]


def test_an_agent_may_conclude_the_merge_itself(project: Session) -> None:
    project.file(
        "answers.yaml",
        """
        steps:
          fix: {run: [bash, -c, "printf 'first\\\\na\\\\nb\\\\n' > list.txt; git add -A; git -c user.name=a -c user.email=a@a commit -q -m solved"]}
        """,
    )
    result = run(project, MENDED + "    recovery_prompt: Solve it\n")
    assert show(project, result["branch"]) == "first\na\nb\n"
    assert "solved" in project.git("log", "--format=%s", result["branch"]).split("\n")


def test_a_group_says_who_mends_its_merge(project: Session) -> None:
    project.file("answers.yaml", 'steps: {fix: {edits: {list.txt: "all\\n"}}}\n')
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            recovery_prompt: Solve it
            config: {agent: scripted, script: answers.yaml}
            verify: test -s list.txt
            steps:
              - run: echo {{ item }} >> list.txt
              - run: echo done
        """,
    )
    assert [(each["status"], each["output"]) for each in items(result)] == [("success", "done")] * 3
    assert show(project, result["branch"]) == "all\n"


def test_an_agent_step_keeps_its_answer_when_its_merge_is_mended(project: Session) -> None:
    project.file(
        "answers.yaml",
        """
        steps:
          fix:
            - {item: a, edits: {list.txt: "a\\n"}, answer: {said: 1}}
            - {item: b, when: Do, edits: {list.txt: "b\\n"}, answer: {said: 2}}
            - {item: b, when: Solve, edits: {list.txt: "a\\nb\\n"}, answer: solved}
        """,
    )
    result = run(
        project,
        """
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            prompt: Do {{ item }}
            output_schema: {type: object, required: [said]}
            recovery_prompt: Solve it
          - name: tell
            run: echo {{ steps.fix.json | tojson }}
        """,
    )
    assert json.loads(result["steps"][1]["output"]) == [{"said": 1}, {"said": 2}]
    assert show(project, result["branch"]) == "a\nb\n"


# ---- verify and setup ---------------------------------------------------------------------------------------


def test_verify_is_asked_again_of_what_was_merged(project: Session) -> None:
    """Each item alone is fine; together they are not."""
    result = run(
        project,
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: echo x > {{ item }}.txt
            verify: "! test -f a.txt || ! test -f b.txt"
        """,
        code=1,
    )
    assert [each["status"] for each in items(result)] == ["success", "failed"]
    assert items(result)[1]["reason"].startswith("after the merge: verify `! test -f a.txt")
    assert "b.txt" not in project.git("ls-tree", "--name-only", result["branch"])


def test_a_verify_that_fails_after_the_merge_is_mended_by_the_recovery(project: Session) -> None:
    project.file("answers.yaml", "steps: {fix: {when: after the merge, delete: [a.txt]}}\n")
    result = run(
        project,
        """
        isolation: worktree
        slots: 2
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: echo x > {{ item }}.txt
            verify: "! test -f a.txt || ! test -f b.txt"
            recovery_prompt: "{{ error }}"
        """,
    )
    assert project.git("ls-tree", "--name-only", result["branch"]).split() == [".gitignore", "README", "b.txt", "list.txt"]


def test_what_verify_leaves_after_a_merge_is_merged_as_well(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            env: {ITEM: "{{ item }}"}
            run: echo $ITEM > $ITEM.txt
            verify: ls *.txt > seen-$ITEM.log; git add -f seen-$ITEM.log
        """,
    )
    assert show(project, result["branch"], "seen-b.log") == "a.txt\nb.txt\nlist.txt\n"
    assert branches(project) == [result["branch"]]


def test_a_second_ctrl_c_ends_a_verify_after_a_merge_at_once(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            env: {ITEM: "{{ item }}"}
            run: echo $ITEM > $ITEM.txt
            verify: test $ITEM = a || ! test -f a.txt || { trap '' TERM INT; touch $HOME/asked; sleep 5; touch $HOME/over; }
        """,
    )
    process = project.start("run", "flow.yaml")
    while not (project.home / "asked").exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    while "stopping in order" not in (project.home / "err.txt").read_text():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    assert not (project.home / "over").exists()
    assert len(branches(project)) == 2


def test_verify_of_a_group_is_asked_of_each_item(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: fix
            foreach: [good, bad]
            isolation: worktree
            verify: test ! -f bad.txt
            steps:
              - run: echo x > {{ item }}.txt
        """,
        code=1,
    )
    assert [each["status"] for each in items(result)] == ["success", "failed"]


def test_setup_runs_once_in_each_place_and_a_step_may_have_its_own(project: Session) -> None:
    project.file(".worktreeinclude", ".env\n")
    project.file(".env", "KEY=1\n")
    project.git("add", "-f", ".worktreeinclude")
    project.git("commit", "-q", "-m", "include")
    result = run(
        project,
        """
        isolation: worktree
        setup: echo common >> setup.log
        steps:
          - name: common
            foreach: [a]
            isolation: worktree
            steps: [{run: "cat setup.log .env"}, {run: "cat setup.log"}]
          - name: fix
            foreach: [a, b]
            isolation: worktree
            setup: ["echo own {{ item }} >> setup.log", "test -n \\"$CPOOL_RUN_ID\\""]
            run: cat setup.log
          - name: bare
            isolation: worktree
            setup: []
            run: "test ! -f setup.log"
        """,
    )
    assert result["steps"][0]["items"][0]["steps"][0]["output"] == "common\nKEY=1"
    assert result["steps"][0]["items"][0]["steps"][1]["output"] == "common"
    assert [each["output"] for each in items(result)] == ["own a", "own b"]


def test_a_setup_that_fails_fails_its_item_only(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            setup: "echo trying; test {{ item }} = a"
            run: echo worked
        """,
        code=1,
    )
    bad = items(result)[1]
    assert (items(result)[0]["output"], bad["status"], bad["attempts"][0]["error_kind"]) == ("worked", "failed", "errored")
    assert bad["reason"].startswith("setup failed: `echo trying; test")


def test_the_time_of_setup_is_not_that_of_the_step(project: Session) -> None:
    text = """
        isolation: worktree
        steps:
          - {name: fix, isolation: worktree, timeout: 300ms, setup: sleep 0.5, run: echo made > made.txt}
        """
    assert show(project, run(project, text)["branch"], "made.txt") == "made\n"


def test_expect_looks_at_the_place_of_the_item(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 3
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            run: "test {{ item }} = b || echo x > {{ item }}.txt"
            expect: {changes: true}
        """,
        code=1,
    )
    assert [each["status"] for each in items(result)] == ["success", "failed", "success"]


# ---- stopping, crashing, going on ---------------------------------------------------------------------------


def test_an_item_of_which_only_the_merge_is_missing_does_not_work_again_on_a_resume(project: Session) -> None:
    result = run(project, CONFLICT.replace("run: ", 'run: echo {{ item }} >> "$HOME/worked.log"; '), code=1)
    branch = result["branch"]
    # A person takes the item's work into the run's branch.
    tree = project.git("rev-parse", f"{items(result)[1]['branch']}^{{tree}}").strip()
    commit = project.git("commit-tree", tree, "-p", branch, "-p", items(result)[1]["branch"], "-m", "by hand").strip()
    project.git("update-ref", f"refs/heads/{branch}", commit)
    ended = project.flow("resume", "last", "--json")
    assert ended.code == 0, ended.err
    assert sorted((project.home / "worked.log").read_text().split()) == ["a", "b"]
    assert show(project, branch) == "first\nb\n"
    assert branches(project) == [branch]


def test_a_failed_item_goes_on_in_what_it_has_done_when_it_is_resumed(project: Session) -> None:
    text = """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "test -f {{ item }}.txt || { echo x > {{ item }}.txt; test {{ item }} = a; }"
        """
    run(project, text, code=1)
    ended = project.flow("resume", "last", "--json")
    assert ended.code == 0, ended.err
    assert {"a.txt", "b.txt"} <= set(project.git("ls-tree", "--name-only", ended.json()["branch"]).split())
    assert [len(each["attempts"]) for each in items(ended.json())] == [1, 2]


CRASHED = """
isolation: worktree
slots: 2
steps:
  - name: fix
    foreach: [a, b, c]
    isolation: worktree
    verify: test -f list.txt
    steps:
      - name: one
        run: echo {{ item }} one >> "$HOME/worked.log"; echo {{ item }} > {{ item }}.txt
      - name: two
        run: echo {{ item }} two >> "$HOME/worked.log"
  - name: see
    run: ls *.txt
outputs: {seen: "{{ steps.see.output }}"}
"""
KILLED_AT = [
    *((point, count) for point in POINTS_OF_ITEMS for count in (1, 2, 3)),
    *((point, count) for point in POINTS if point not in ("before-create",) for count in (4, 9)),
]


@pytest.mark.parametrize(("point", "count"), KILLED_AT)
def test_kill_9_at_any_point_loses_nothing_and_does_nothing_twice(project: Session, point: str, count: int) -> None:
    project.file("flow.yaml", CRASHED)
    ended = project.flow("run", "flow.yaml", "--run-id", "r", "--json", CPOOL_FAULT=f"{point}:{count}")
    if ended.code == -signal.SIGKILL:
        ended = project.flow("resume", "r", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"seen": "a.txt\nb.txt\nc.txt\nlist.txt"}
    events = project.events("r")
    lost = {(event["task"]) for event in events if event["type"] == "AttemptFinished" and event.get("interrupted")}
    worked = (project.home / "worked.log").read_text().splitlines()
    again = {line for line in worked if worked.count(line) > 1}
    assert {f"fix[{'abc'.index(line[0])}]/{line[2:]}" for line in again} <= lost
    assert branches(project) == ["cpool/flow/r"]
    assert places(project) == []
    assert project.git("status", "--porcelain") == ""


def test_ctrl_c_leaves_each_items_work_on_its_branch_and_a_resume_goes_on(project: Session) -> None:
    project.file(
        "flow.yaml",
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "test -f $HOME/go || { echo {{ item }} >> half.txt; touch $HOME/{{ item }}.log; sleep 60; }; echo {{ item }} > {{ item }}.txt"
        """,
    )
    started = project.start("run", "flow.yaml", "--run-id", "r")
    while not ((project.home / "a.log").exists() and (project.home / "b.log").exists()):
        time.sleep(0.01)
    started.send_signal(signal.SIGINT)
    assert started.wait(30) == 130
    assert show(project, "cpool/flow/r.fix.0", "half.txt") == "a\n"
    assert places(project) == []
    (project.home / "go").touch()
    ended = project.flow("resume", "r", "--json")
    assert ended.code == 1, ended.err  # both have made half.txt
    assert items(ended.json())[1]["reason"] == "conflict: it and the branch that it came from have both changed `half.txt`"


def test_an_item_that_removes_its_own_place_fails_alone(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "echo x > {{ item }}.txt; test {{ item }} != b || rm -rf $PWD"
        """,
        code=1,
    )
    assert [each["status"] for each in items(result)] == ["success", "failed"]
    assert items(result)[1]["reason"] == "the run's worktree is gone"
    assert show(project, result["branch"], "a.txt") == "x\n"
    assert places(project) == []


@pytest.mark.parametrize("stranger", ["echo x >", "ln -s $HOME"])
def test_an_item_that_puts_something_else_in_the_stead_of_its_place_fails_alone(project: Session, stranger: str) -> None:
    text = f"""
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "echo x > {{{{ item }}}}.txt; test {{{{ item }}}} != b || {{ rm -rf $PWD; {stranger} $PWD; }}"
        """
    result = run(project, text, code=1)
    assert [each["status"] for each in items(result)] == ["success", "failed"]
    assert show(project, result["branch"], "a.txt") == "x\n"
    note = next(event["note"] for event in project.events() if event["type"] == "PlaceClosed" and event.get("task") == "fix[1]")
    assert note.startswith("something else stands where the run's worktree was: ")
    assert project.flow("resume", "last").code == 1
    assert "something else stands" in project.flow("status", "last").out
    assert (project.home / "state").exists()


def test_what_an_item_writes_into_the_runs_own_place_is_committed_and_merged_with(project: Session) -> None:
    text = """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            env: {ITEM: "{{ item }}"}
            run: |
              echo $ITEM > $ITEM.txt
              echo over >> ${PWD%.fix.*}/$ITEM.txt
          - run: ls
        """
    result = run(project, text, code=1)
    conflict = "conflict: it and the branch that it came from have both changed"
    assert [each["reason"] for each in items(result)] == [f"{conflict} `a.txt`", f"{conflict} `b.txt`"]
    assert [show(project, each["branch"], f"{name}.txt") for each, name in zip(items(result), "ab", strict=True)] == ["a\n", "b\n"]
    assert show(project, result["branch"], "a.txt") == "over\n"
    assert any("somebody has written into" in event.get("text", "") for event in project.events())


def test_an_item_that_moves_the_runs_branch_itself_has_nothing_taken_back(project: Session) -> None:
    text = """
        isolation: worktree
        slots: 1
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            env: {ITEM: "{{ item }}"}
            run: |
              echo $ITEM > $ITEM.txt
              git add -A
              git -c user.name=a -c user.email=a@a commit -q -m own
              branch=$(git symbolic-ref HEAD)
              git update-ref ${branch%.fix.*} HEAD
          - run: echo last > last.txt
        """
    result = run(project, text)
    assert {"a.txt", "b.txt", "last.txt"} <= set(project.git("ls-tree", "--name-only", result["branch"]).split())


def test_a_file_that_git_ignores_is_never_overwritten_by_a_merge(project: Session) -> None:
    text = """
        isolation: worktree
        steps:
          - run: echo mine > build.log
          - name: fix
            isolation: worktree
            run: echo new > build.log; git add -f build.log
        """
    result = run(project, text, code=1)
    reason = result["steps"][1]["reason"]
    assert reason.startswith("a file that git ignores is in the way in ")
    assert reason.endswith(": `build.log`")
    assert "\n" not in reason


def test_where_the_budget_is_used_up_what_is_done_is_merged_all_the_same(project: Session) -> None:
    project.file("answers.yaml", "default: {cost_usd: 1, edits: {same.txt: x}}\n")
    result = run(
        project,
        """
        budget_usd: 2
        slots: 1
        config: {agent: scripted, script: answers.yaml, max_budget_usd: 1}
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            steps: [{name: one, prompt: x}, {name: two, run: "echo {{ item }} > {{ item }}.txt"}]
          - {name: other, needs: [], prompt: y}
        """,
        code=3,
    )
    assert [each["status"] for each in items(result)] == ["success", "success", "cancelled"]
    assert {"a.txt", "b.txt"} <= set(project.git("ls-tree", "--name-only", result["branch"]).split())


def test_an_early_end_comes_to_its_end_with_items_that_wait(project: Session) -> None:
    result = run(
        project,
        """
        isolation: worktree
        slots: 3
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "test {{ item }} = b || sleep 30; echo x > {{ item }}.txt; touch $HOME/{{ item }}.log"
          - {name: wait, needs: [], run: "until test -f $HOME/b.log; do sleep 0.05; done"}
          - {name: over, needs: [wait], end: success}
        """,
    )
    assert result["status"] == "success"
    assert places(project) == []
    assert show(project, f"{result['branch'] or 'cpool/flow/' + result['run_id']}.fix.1", "b.txt") == "x\n"


# ---- other commands -----------------------------------------------------------------------------------------


def test_clean_looks_at_the_branches_of_items(project: Session) -> None:
    result = run(project, CONFLICT, code=1)
    project.git("merge", "-q", result["branch"])
    kept = project.flow("clean")
    assert f"the branch {items(result)[1]['branch']} is not merged" in kept.out + kept.err
    assert len(branches(project)) == 2
    assert project.flow("clean", "--force", "last").code == 0
    assert branches(project) == []


def test_rerun_failed_does_the_items_again_that_were_not_merged(project: Session) -> None:
    text = """
        isolation: worktree
        steps:
          - name: fix
            foreach: [a, b, c]
            isolation: worktree
            steps:
              - run: echo {{ item }} > {{ item }}.txt
              - run: test -f "$HOME/go" -o {{ item }} != b
          - name: see
            run: ls *.txt
        """
    run(project, text, code=1)
    (project.home / "go").touch()
    ended = project.flow("rerun", "last", "--failed", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["steps"][1]["output"] == "a.txt\nb.txt\nc.txt\nlist.txt"
    assert [each["reason"] for each in items(ended.json())] == [None, None, None]
    assert sum(event["type"] == "PlaceMerged" for event in project.events()) == 3


@pytest.mark.parametrize("name", ["fix", "fix[1]", "see"])
def test_rerun_from_a_step_begins_with_what_was_merged_by_then(project: Session, name: str) -> None:
    text = """
        isolation: worktree
        steps:
          - {name: before, run: echo x > before.txt}
          - name: fix
            foreach: [a, b]
            isolation: worktree
            run: "ls before.txt; echo {{ item }} > {{ item }}.txt"
          - name: see
            run: ls *.txt
        """
    run(project, text)
    ended = project.flow("rerun", "last", "--from", name, "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["steps"][2]["output"] == "a.txt\nb.txt\nbefore.txt\nlist.txt"


def test_what_was_decided_by_hand_in_a_place_that_was_kept_is_merged_by_a_resume(project: Session) -> None:
    project.file("answers.yaml", "steps: {fix: {answer: I could not do it}}\n")
    text = f"keep: worktree\n{MENDED}    recovery_prompt: Solve it\n"
    result = run(project, text, code=1)
    place = next((project.home / "state" / "cpool-flow" / "worktrees").glob("*/[!.]*.fix.1"))
    (place / "list.txt").write_text("first\nboth\n")
    assert f"{items(result)[1]['branch']} · fix[1], not merged · {place}" in project.flow("status", "last").out
    assert project.flow("resume", "last").code == 0
    assert show(project, result["branch"]) == "first\nboth\n"


def test_the_report_names_the_branch_of_an_item_that_was_not_merged(project: Session) -> None:
    result = run(project, CONFLICT, code=1)
    rows = [line for line in project.flow("report", "last").out.splitlines() if line.startswith("| `fix")]
    assert len(rows) == 2
    assert "branch `" not in rows[0]
    assert rows[1].endswith(f"have both changed \\`list.txt\\` · branch `{items(result)[1]['branch']}` |")


def test_logs_show_the_setup_of_items_and_what_verify_said_after_a_merge(project: Session) -> None:
    text = """
        isolation: worktree
        slots: 2
        steps:
          - name: fix
            foreach: [a, b]
            isolation: worktree
            setup: [echo first, echo second]
            env: {ITEM: "{{ item }}"}
            run: echo $ITEM > $ITEM.txt
            verify: ls *.txt
        """
    run(project, text)
    said = project.flow("logs", "last", "fix[1]").out
    assert "── fix[1] setup\nfirst\n── fix[1] setup 2\nsecond\n" in said
    assert said.endswith("── fix[1] verify after the merge\na.txt\nb.txt\nlist.txt\n")
    assert "fix[0]" not in said


def test_the_case_of_a_run_whose_merge_was_mended_passes_as_it_is_written(project: Session) -> None:
    project.file("answers.yaml", 'steps: {fix: {edits: {list.txt: "first\\na\\nb\\n"}, answer: Kept both}}\n')
    run(project, MENDED + "    recovery_prompt: Solve it\n")
    assert project.flow("test", "--init", "last").code == 0
    ended = project.flow("test", "flow.yaml")
    assert ended.code == 0, ended.err


def test_explain_and_plan_tell_of_it(project: Session) -> None:
    run(project, CONFLICT, code=1)
    told = project.flow("explain", "last", "fix[1]").out
    assert "works on the branch cpool/flow/" in told
    assert "not merged: conflict: it and the branch" in told
    planned = project.flow("plan", "flow.yaml")
    assert planned.code == 0
    assert "isolation: worktree" in planned.out


# ---- what cannot be had -------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [(), ("--isolation", "none")])
def test_where_there_is_no_branch_to_merge_into_the_run_does_not_start(session: Session, arguments: tuple[str, ...]) -> None:
    if arguments:
        session.repository()
    session.file("flow.yaml", "steps: [{name: fix, foreach: [a], isolation: worktree, run: touch x}]\n")
    ended = session.flow("run", "flow.yaml", *arguments)
    assert ended.code == 2
    assert ended.err.count("error:") == 1
    assert "worktree" in ended.err
    assert not (session.path / ".cpool").exists()


OLD_GIT = """#!/bin/sh
case "$*" in
  *--write-tree*) echo "usage: git merge-tree <base-tree> <branch1> <branch2>" >&2; exit 129 ;;
  version) echo "git version 2.34.1" ;;
  *) exec GIT "$@" ;;
esac
"""


def old_git(session: Session) -> str:
    """A PATH with a git that cannot merge without a checkout."""
    program = session.home / "old" / "git"
    program.parent.mkdir(exist_ok=True)
    program.write_text(OLD_GIT.replace("GIT", str(shutil.which("git"))))
    program.chmod(0o755)
    return f"{program.parent}:{session.environment['PATH']}"


def test_with_a_git_that_cannot_merge_them_the_run_does_not_start(project: Session) -> None:
    project.file("flow.yaml", CONFLICT)
    ended = project.flow("run", "flow.yaml", PATH=old_git(project))
    assert ended.code == 2
    assert ended.err.startswith(
        "error: the items of `isolation: worktree` cannot be merged: that needs git 2.38 or newer, and this is `git version 2.34.1`\n"
    )
    assert branches(project) == []
    result = run(project, CONFLICT + "    merge: none\n", PATH=old_git(project))
    assert branches(project) == [each["branch"] for each in items(result)]


def test_the_default_of_a_run_with_such_items_is_a_worktree(project: Session) -> None:
    result = run(project, "steps: [{name: fix, foreach: [a], isolation: worktree, run: echo x > x.txt}]\n")
    assert show(project, result["branch"], "x.txt") == "x\n"
