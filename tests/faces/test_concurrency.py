"""`concurrency`: one run of a group at a time in a project; and runs that have nothing to do with each other, side by side."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from pathlib import Path

import pytest
from session import Session
from terminal import Terminal

# Each run tells that it has begun, and works until it is told to end: so two at once would be seen.
FLOW = """
    version: 1
    args: {pr: {type: integer}, me: {type: string}}
    concurrency: {group: "{{ args.pr }}", cancel: false}
    steps:
      - name: work
        run: |
          mkdir here || { echo overlap >> overlaps; exit 1; }
          trap 'rmdir here' EXIT
          echo "{{ args.me }} begins" >> ledger
          touch begun-{{ args.me }}
          while ! test -e end-{{ args.me }}; do sleep 0.02; done
    finally:
      - name: tidy
        run: echo "{{ args.me }} tidies" >> ledger
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("flow.yaml", FLOW)
    return session


def start(project: Session, me: str, pr: int = 1) -> subprocess.Popen[bytes]:
    return project.start("run", "flow.yaml", "--run-id", me, "--arg", f"pr={pr}", "--arg", f"me={me}")


def until(project: Session, name: str, process: subprocess.Popen[bytes]) -> None:
    while not (project.path / name).exists():
        assert process.poll() is None, (project.home / "err.txt").read_text()
        time.sleep(0.01)


def until_said(project: Session, text: str, process: subprocess.Popen[bytes]) -> None:
    while text not in (project.home / "err.txt").read_text():
        assert process.poll() is None, (project.home / "err.txt").read_text()
        time.sleep(0.01)


def end(project: Session, me: str) -> None:
    (project.path / f"end-{me}").touch()


def ledger(project: Session) -> list[str]:
    path = project.path / "ledger"
    return path.read_text().splitlines() if path.exists() else []


def test_a_second_run_of_the_group_waits_its_turn(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until_said(project, "waits for its turn in group `1`: run a is at work", second)
    status = project.status("b")
    assert (status["status"], status["error"]) == ("waiting", "waits for its turn in group `1`: run a is at work")
    shown = project.flow("status", "b", "--exit-status")
    assert (shown.code, shown.out.splitlines()[-1]) == (4, "follow it: cpool-flow status b --watch · stop it: cpool-flow cancel b")
    end(project, "a")
    until(project, "begun-b", second)
    end(project, "b")
    assert (first.wait(), second.wait()) == (0, 0)
    assert ledger(project) == ["a begins", "a tidies", "b begins", "b tidies"]
    assert "its turn has come" in (project.home / "err.txt").read_text()
    assert list((project.path / ".cpool" / "concurrency").iterdir()) == [project.path / ".cpool" / "concurrency" / "lock"]


def test_another_group_does_not_wait(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    project.file("flow.yaml", FLOW.replace("mkdir here", "mkdir there").replace("rmdir here", "rmdir there"))
    second = start(project, "b", pr=2)
    until(project, "begun-b", second)
    end(project, "a")
    end(project, "b")
    assert (first.wait(), second.wait()) == (0, 0)


@pytest.mark.parametrize("how", ["ctrl-c", "cancel"])
def test_a_run_that_waits_can_be_cancelled_and_resumed(project: Session, how: str) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until_said(project, "waits for its turn", second)
    if how == "ctrl-c":
        second.send_signal(signal.SIGINT)
    else:
        assert project.flow("cancel", "b").code == 0
    assert second.wait() == 130
    assert ledger(project) == ["a begins"]  # not even `finally`: that too is work in the turn of another
    assert [step["status"] for step in project.status("b")["steps"]] == ["cancelled", "cancelled"]
    end(project, "a")
    assert first.wait() == 0
    end(project, "b")
    assert project.flow("resume", "b", "--quiet").code == 0
    assert ledger(project) == ["a begins", "a tidies", "b begins", "b tidies"]


def test_at_a_terminal_a_run_that_waits_says_for_whom_and_ctrl_c_ends_it(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    terminal = Terminal(project, "run", "flow.yaml", "--run-id", "b", "--arg", "pr=1", "--arg", "me=b", columns=120)
    terminal.see("waits for its turn in group `1`: run a is at work")
    terminal.press_ctrl_c()
    assert terminal.end() == 130
    end(project, "a")
    assert first.wait() == 0


def test_who_is_killed_frees_its_turn(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until_said(project, "waits for its turn", second)
    first.send_signal(signal.SIGKILL)
    first.wait()
    while (project.path / "here").exists():  # its guardian ends what it has left; the trap of a killed shell does not run
        (project.path / "here").rmdir()
    until(project, "begun-b", second)
    end(project, "b")
    assert second.wait() == 0


def test_who_is_killed_while_it_waits_is_not_waited_for(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until_said(project, "run a is at work", second)
    third = start(project, "c")
    until_said(project, "run a is at work, then b", third)
    second.send_signal(signal.SIGKILL)
    second.wait()
    end(project, "a")
    until(project, "begun-c", third)
    end(project, "c")
    assert (first.wait(), third.wait()) == (0, 0)
    end(project, "b")
    assert project.flow("resume", "b", "--quiet").code == 0
    assert ledger(project)[-2:] == ["b begins", "b tidies"]


def test_a_new_run_cancels_the_old_and_waits_until_it_has_ended(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("cancel: false", "cancel: true"))
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until(project, "begun-b", second)
    assert first.wait() == 130
    status = project.status("a")
    assert (status["status"], status["error"]) == ("cancelled", "cancelled by run b of the same group")
    end(project, "b")
    assert second.wait() == 0
    assert ledger(project) == ["a begins", "a tidies", "b begins", "b tidies"]
    assert not (project.path / "overlaps").exists()


def test_of_many_new_runs_the_newest_goes_on(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("cancel: false", "cancel: true"))
    runs = []
    for me in "abcd":
        runs.append(start(project, me))
        while not (project.path / ".cpool" / "runs" / me / "coordinator.lock").exists():
            time.sleep(0.01)
    until(project, "begun-d", runs[-1])
    end(project, "d")
    assert [run.wait() for run in runs] == [130, 130, 130, 0]
    assert not (project.path / "overlaps").exists()


def test_a_resume_of_an_old_run_waits_for_a_newer_one(project: Session) -> None:
    project.file("flow.yaml", FLOW.replace("cancel: false", "cancel: true"))
    first = start(project, "a")
    until(project, "begun-a", first)
    second = start(project, "b")
    until(project, "begun-b", second)
    assert first.wait() == 130
    resumed = project.start("resume", "a")
    until_said(project, "waits for its turn in group `1`: run b is at work", resumed)
    end(project, "a")
    end(project, "b")
    assert (second.wait(), resumed.wait()) == (0, 0)


def test_a_detached_run_waits_in_the_background(project: Session) -> None:
    first = start(project, "a")
    until(project, "begun-a", first)
    ended = project.flow("run", "flow.yaml", "--run-id", "b", "--arg", "pr=1", "--arg", "me=b", "--detach")
    assert (ended.code, ended.out) == (0, "b\n")
    end(project, "b")
    end(project, "a")
    assert first.wait() == 0
    assert project.flow("status", "b", "--watch", "--exit-status").code == 0


def test_a_run_that_a_step_starts_works_within_the_turn_of_its_parent(project: Session) -> None:
    command = " ".join(project.command("--project", str(project.path), "run", "inner.yaml", "--run-id", "inner", "--json"))
    project.file("inner.yaml", "concurrency: {group: g, cancel: true}\nsteps: [{name: in, run: echo inside}]\n")
    project.file(
        "outer.yaml",
        f"""
        concurrency: {{group: g, cancel: true}}
        steps: [{{name: out, run: "{command}"}}]
        """,
    )
    ended = project.flow("run", "outer.yaml", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.json()["steps"][0]["output"])["steps"][0]["output"] == "inside"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("concurrency: {grup: a}", "unknown key `grup` in `concurrency`"),
        ("concurrency: {cancel: true}", "`group`"),
        ("concurrency: {group: '{{ args.nope }}'}", "unknown argument `nope`"),
        ("concurrency: {group: '{{ steps.x.output }}'}", "`steps` is not known in `concurrency`"),
        ("concurrency: {group: a, cancel: maybe}", "cancel"),
        ("concurrency: {group: ' '}", "group"),
    ],
)
def test_what_is_no_group_is_refused_with_its_place(session: Session, text: str, error: str) -> None:
    session.file("flow.yaml", f"version: 1\n{text}\nsteps: [{{name: x, run: 'true'}}]\n")
    ended = session.flow("validate", "flow.yaml")
    assert ended.code == 2
    assert error in ended.err + ended.out
    assert "flow.yaml:2:" in ended.err + ended.out


def test_a_group_that_comes_to_nothing_is_refused_before_anything_exists(session: Session) -> None:
    session.file(
        "flow.yaml", "version: 1\nargs: {pr: {type: string}}\nconcurrency: {group: '{{ args.pr }}'}\nsteps: [{name: x, run: 'true'}]\n"
    )
    ended = session.flow("run", "flow.yaml", "--arg", "pr=")
    assert ended.code == 2
    assert ended.err.startswith("error: `concurrency.group` has no value: it is empty\n  --> flow.yaml:3:22")
    assert not (session.path / ".cpool").exists()


def test_several_runs_in_one_repository_at_once_keep_apart(session: Session) -> None:
    session.repository()
    session.file(
        "flow.yaml",
        """
        version: 1
        isolation: worktree
        args: {me: {type: string}}
        steps:
          - {name: one, run: "echo {{ args.me }} > same.txt"}
          - {name: two, run: "cat same.txt && echo {{ args.me }} >> same.txt"}
        outputs: {seen: "{{ steps.two.output }}"}
        """,
    )
    names = [f"r{number}" for number in range(4)]
    processes = [session.start("run", "flow.yaml", "--run-id", name, "--arg", f"me={name}") for name in names]
    assert [process.wait() for process in processes] == [0] * 4, Path(session.home / "err.txt").read_text()
    for name in names:
        assert session.status(name)["outputs"] == {"seen": name}
        assert session.git("show", f"cpool/flow/{name}:same.txt") == f"{name}\n{name}\n"
    assert session.git("status", "--porcelain") == "?? flow.yaml\n"
    assert len(session.git("worktree", "list").splitlines()) == 1
