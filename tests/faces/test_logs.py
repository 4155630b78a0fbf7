"""`logs`: what each attempt has printed, all of it, in the order in which they began."""

from __future__ import annotations

import subprocess

from session import Session


def test_each_verify_command_has_a_log_of_its_own(session: Session) -> None:
    session.file("flow.yaml", 'steps:\n  - name: a\n    run: echo work\n    verify: ["echo first check", "echo second check"]\n')
    assert session.flow("run", "flow.yaml", "--quiet").code == 0
    assert session.flow("logs").out == ("── a attempt 1\nwork\n── a attempt 1 verify\nfirst check\n── a attempt 1 verify 2\nsecond check\n")


def test_each_setup_has_a_log_of_its_own(session: Session) -> None:
    session.file("flow.yaml", 'isolation: none\nsetup: ["echo one of two", "echo two"]\nsteps:\n  - name: a\n    run: echo work\n')
    assert session.flow("run", "flow.yaml", "--quiet").code == 0
    assert session.flow("logs").out == "── setup\none of two\n── setup 2\ntwo\n── a attempt 1\nwork\n"


def test_the_log_of_an_attempt_begins_on_a_line_of_its_own(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - name: a\n    run: printf x\n  - name: b\n    run: printf y\n")
    assert session.flow("run", "flow.yaml", "--quiet").code == 0
    assert session.flow("logs").out == "── a attempt 1\nx\n── b attempt 1\ny"


def test_what_a_step_prints_is_followed_under_one_title_until_the_run_has_ended(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        isolation: none
        steps:
          - name: a
            run: |
              echo one; until [ -e first ]; do sleep 0.02; done
              echo two; until [ -e second ]; do sleep 0.02; done
              echo three; echo problem >&2
            verify: echo checked
          - name: b
            run: echo four
        """,
    )
    run = session.start("run", "flow.yaml", "--run-id", "r1", "--quiet")
    while not (session.path / ".cpool" / "runs" / "r1" / "logs" / ".slot-1.out").exists():
        assert run.poll() is None
    reader = subprocess.Popen(session.command("logs", "r1", "-f"), cwd=session.path, env=session.environment, stdout=subprocess.PIPE)
    assert reader.stdout is not None
    try:
        assert [reader.stdout.readline() for _ in range(2)] == ["── a attempt 1\n".encode(), b"one\n"]
        session.file("first", "")
        assert reader.stdout.readline() == b"two\n"
        session.file("second", "")
        rest = reader.communicate(timeout=60)[0].decode()
    finally:
        reader.kill()
        run.wait()
    assert rest == "three\nproblem\n── a attempt 1 verify\nchecked\n── b attempt 1\nfour\n"
