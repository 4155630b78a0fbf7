"""`cpool-flow test`: cases beside a workflow, without a key; and the first case from a run that has happened."""

from __future__ import annotations

import pytest
from session import Session

FLOW = """
    secrets: [TOKEN]
    isolation: worktree
    config: {permission_mode: acceptEdits}
    args: {issue: {type: integer}}
    steps:
      - name: fetch
        run: gh issue view {{ args.issue }}
        secrets: [TOKEN]
      - name: fix
        foreach: [a, b]
        prompt: "{{ steps.fetch.output }} in {{ item }}"
        verify: test -f {{ item }}.txt
        retries: 1
        retry: {delay: 0s}
      - name: release
        approve: Release?
      - name: show
        run: cat a.txt b.txt
    outputs: {files: "{{ steps.show.output }}", by: "{{ steps.fetch.output }}"}
"""
CASES = """
    cases:
      - name: both are fixed
        args: {issue: 7}
        env: {TOKEN: a-token}
        answers:
          fetch: the bug
          fix:
            - {item: a, answer: I forgot}
            - {item: a, edits: {a.txt: "A\\n"}, answer: done}
            - {item: b, edits: {b.txt: "B\\n"}, answer: done}
        approvals: {release: true}
        expect: {outputs: {files: "A\\nB", by: the bug}, steps: {"fix[0]": success}}
      - name: a rejected release ships nothing
        args: {issue: 7}
        env: {TOKEN: a-token}
        answers: {fetch: the bug, fix: {edits: {a.txt: "", b.txt: ""}}}
        approvals: {release: {reject: true, reason: not today}}
        expect: {status: failed, steps: {release: failed, show: skipped}, error: release}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file("flow.yaml", FLOW)
    session.file("flow.test.yaml", CASES)
    return session


def test_cases_run_without_a_key_and_leave_the_project_as_it_was(project: Session) -> None:
    before = project.git("status", "--porcelain")
    ended = project.flow("test", "flow.yaml")
    assert (ended.code, ended.out) == (0, "ok     flow.yaml: both are fixed\nok     flow.yaml: a rejected release ships nothing\n")
    assert ended.err == "2 passed, 0 failed\n"
    assert project.git("status", "--porcelain") == before
    assert not (project.path / ".cpool").exists()


def test_what_is_different_is_said_and_the_exit_code_is_1(project: Session) -> None:
    project.file("flow.test.yaml", CASES.replace('files: "A\\nB"', 'files: "C"').replace("show: skipped", "show: success"))
    ended = project.flow("test", "flow.yaml", "--json")
    assert ended.code == 1
    first, second = ended.json()["cases"]
    assert first["differences"] == ['output `files`: expected "C", got "A\\nB"']
    assert second["differences"] == [
        "step `show`: expected success, got skipped (upstream failed)",
        "step `release` failed: rejected: not today",
    ]


def test_an_agent_step_without_an_answer_fails(project: Session) -> None:
    project.file("flow.test.yaml", CASES.replace("fix: {edits:", "fixed: {edits:"))
    ended = project.flow("test", "flow.yaml", "--case", "a rejected release ships nothing")
    assert ended.code == 2
    assert "answers for step `fixed`" in ended.err
    project.file("flow.test.yaml", CASES.replace(', fix: {edits: {a.txt: "", b.txt: ""}}', ""))
    ended = project.flow("test", "flow.yaml", "--case", "a rejected release ships nothing")
    assert ended.code == 1
    assert "has no answer for step `fix`" in ended.out


def test_the_cases_of_a_run_pass_as_they_are_written(project: Session) -> None:
    (project.path / "flow.test.yaml").unlink()
    project.file(
        "flow.yaml",
        FLOW.replace("gh issue view {{ args.issue }}", "echo the bug")
        .replace("foreach: [a, b]", "foreach: [a]")
        .replace("cat a.txt b.txt", "cat a.txt"),
    )
    project.file("answers.yaml", 'steps: {fix: [nope, {edits: {a.txt: "A\\n"}, answer: done}]}')
    flow = (project.path / "flow.yaml").read_text()
    project.file("flow.yaml", flow.replace("{permission_mode: acceptEdits}", "{agent: scripted, script: answers.yaml}"))
    run = project.flow("run", "flow.yaml", "--arg", "issue=7", "--auto-approve", TOKEN="a-real-token")
    assert run.code == 0, run.err
    written = project.flow("test", "--init", "last")
    assert written.code == 0, written.err
    assert written.out.strip() == str(project.path / "flow.test.yaml")
    text = (project.path / "flow.test.yaml").read_text()
    assert "a-real-token" not in text
    assert "+A" in text
    ended = project.flow("test", "flow.yaml")
    assert ended.code == 0, ended.out + ended.err
    again = project.flow("test", "--init", "last")
    assert (again.code, "there is already a file" in again.err) == (2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cases: []", "`cases`"),
        ("cases: [{args: {}}]", "`name` is missing"),
        ("cases: [{name: x, expects: {}}]", "unknown key `expects`"),
        ("cases: [{name: x}, {name: x}]", "two cases are called `x`"),
        ("cases: [{name: x, expect: {status: ok}}]", "`status`"),
        ("- a", "a file of cases is a mapping"),
    ],
)
def test_a_broken_file_of_cases_is_told_with_its_place(project: Session, text: str, message: str) -> None:
    project.file("flow.test.yaml", text)
    ended = project.flow("test", "flow.yaml")
    assert ended.code == 2
    assert message in ended.err
    assert "flow.test.yaml:1" in ended.err


def test_a_workflow_without_cases_says_how_to_get_them(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: 'true'}]")
    ended = session.flow("test", "flow.yaml")
    assert ended.code == 2
    assert "cpool-flow test --init RUN" in ended.err


@pytest.fixture
def plain(project: Session) -> Session:
    """A project without cases."""
    (project.path / "flow.test.yaml").unlink()
    return project


NESTED = """
    config: {agent: scripted, script: answers.yaml}
    steps:
      - name: part
        foreach: [a, b]
        steps:
          - name: each
            foreach: [same, same]
            run: echo {{ index }}-$CPOOL_STEP
          - {name: say, prompt: "{{ steps.each.items | map(attribute='output') | join(' ') }}"}
      - name: say
        prompt: the end
    outputs: {said: "{{ steps.part.items | map(attribute='output') | join(' ') }} {{ steps.say.output }}"}
"""


def test_answers_may_be_given_by_path_and_by_item_of_an_outer_step(project: Session) -> None:
    project.file("answers.yaml", "default: {echo: true}")
    project.file("flow.yaml", NESTED)
    project.file(
        "flow.test.yaml",
        """
        cases:
          - name: by path
            answers: {part/say: inner, say: outer, "part[1]/each[0]": one, each: other}
            expect: {outputs: {said: inner inner outer}}
          - name: by id
            answers: {"part[1]/say": second, part/say: first, say: outer}
            expect: {outputs: {said: first second outer}}
        """,
    )
    ended = project.flow("test", "flow.yaml")
    assert ended.code == 0, ended.out + ended.err


def test_the_cases_of_a_run_with_equal_items_inside_of_items_pass_as_they_are_written(plain: Session) -> None:
    plain.file("answers.yaml", "default: {echo: true}")
    plain.file("flow.yaml", NESTED)
    assert plain.flow("run", "flow.yaml").code == 0
    assert plain.flow("test", "--init", "last").code == 0
    ended = plain.flow("test", "flow.yaml")
    assert ended.code == 0, ended.out + ended.err
    text = (plain.path / "flow.test.yaml").read_text()
    assert "0-part[1]/each[0] 1-part[1]/each[1]" in text


def test_the_cases_of_a_loop_that_was_resumed_count_its_last_life(plain: Session) -> None:
    plain.file(
        "flow.yaml",
        """
        steps:
          - name: loop
            repeat: {until: steps.try.output == '6', max: 3}
            steps:
              - {name: try, run: 'echo x >> rounds; wc -l < rounds'}
        """,
    )
    assert plain.flow("run", "flow.yaml").code == 1
    assert plain.flow("resume", "last").code == 0
    assert plain.flow("test", "--init", "last").code == 0
    text = (plain.path / "flow.test.yaml").read_text()
    assert "round: 3" in text
    assert "round: 0" not in text
    ended = plain.flow("test", "flow.yaml")
    assert ended.code == 0, ended.out + ended.err


def test_the_cases_of_steps_that_worked_at_once_and_tried_again_pass_as_they_are_written(session: Session) -> None:
    session.repository()
    session.file(
        "answers.yaml",
        """
        steps:
          make:
            - {item: a, run: [sh, -c, "until test -e ../both; do sleep 0.01; done"], edits: {a.txt: A}}
            - {item: b, run: [sh, -c, "touch ../both"], edits: {half.txt: B}, delete: [README]}
            - {item: b, edits: {b.txt: B}}
          again: [{edits: {one.txt: "1"}}, {edits: {two.txt: "2"}}]
        """.replace("../both", str(session.home / "both")),
    )
    session.file(
        "flow.yaml",
        """
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: make, foreach: [a, b], prompt: "{{ item }}", verify: "test -f {{ item }}.txt", retries: 1, retry: {delay: 0s, on: [failed]}}
          - {name: again, prompt: go, verify: test -f one.txt && test -f two.txt, retries: 1, retry: {delay: 0s, on: [failed]}}
        """,
    )
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 0, ended.err
    assert session.flow("test", "--init", "last").code == 0
    text = (session.path / "flow.test.yaml").read_text()
    assert "# What make[0], make[1] changed was committed together" in text
    assert "half.txt" in text
    tried = session.flow("test", "flow.yaml")
    assert tried.code == 0, tried.out + tried.err


def test_files_that_an_agent_changed_in_the_project_itself_are_said_to_be_unknown(plain: Session) -> None:
    plain.file("answers.yaml", "steps: {write: {answer: done, edits: {a.txt: new}}}")
    plain.file("flow.yaml", "isolation: none\nconfig: {agent: scripted, script: answers.yaml}\nsteps:\n  - {name: write, prompt: go}\n")
    assert plain.flow("run", "flow.yaml").code == 0
    assert plain.flow("test", "--init", "last").code == 0
    assert "What files write changed is not known, for the run had no branch" in (plain.path / "flow.test.yaml").read_text()


def test_a_command_that_is_answered_with_a_failure_is_told_as_such(plain: Session) -> None:
    plain.file("flow.yaml", "steps:\n  - {name: build, run: make}\n")
    plain.file("flow.test.yaml", "cases:\n  - {name: red, answers: {build: {stderr: no rule, exit_code: 2}}}\n")
    ended = plain.flow("test", "flow.yaml")
    assert ended.code == 1
    assert "build, attempt 1: its answer ended with exit code 2" in ended.out + ended.err
    assert "stand_in" not in ended.out + ended.err


def test_no_agent_of_the_pool_of_a_profile_or_of_a_slot_answers_in_the_place_of_a_case(session: Session) -> None:
    session.repository()
    session.file("mine.yaml", "default: from the script\n")
    session.file(
        "cpool.yaml",
        """
        config: {agent: scripted, script: mine.yaml}
        profiles: {deep: {agent: command, command: ['false']}}
        slots: [{name: reviewer, config: {agent: scripted, script: mine.yaml}}]
        worktrees: ../elsewhere
        """,
    )
    session.file(
        "flow.yaml",
        """
        isolation: worktree
        steps:
          - {name: a, prompt: hi}
          - {name: b, prompt: hi, slot: reviewer}
          - {name: c, prompt: hi, profile: deep}
        outputs: {all: "{{ steps.a.output }} {{ steps.b.output }} {{ steps.c.output }}"}
        """,
    )
    session.file("flow.test.yaml", "cases: [{name: all, answers: {a: A, b: B, c: C}, expect: {outputs: {all: A B C}}}]\n")
    ended = session.flow("test", "flow.yaml")
    assert ended.code == 0, ended.err + ended.out
    assert not (session.path.parent / "elsewhere").exists()


MENDED = """
    steps:
      - name: build
        run: make
        recovery_prompt: Mend it.
        recoveries: 2
        foreach: [a, b]
      - name: after
        run: cat a.txt
    outputs: {built: "{{ steps.build.json }}", text: "{{ steps.after.output }}"}
"""
MENDING = """
    cases:
      - name: mended
        answers:
          build:
            - {item: a, exit_code: 1, stderr: broken}
            - {item: a, edits: {a.txt: "A\\n"}, answer: mended}
            - {item: a, stdout: built a}
            - {item: b, stdout: built b}
        expect: {outputs: {built: [built a, built b], text: A}}
"""


def test_a_case_says_what_a_command_prints_and_what_the_agent_does_that_mends_it(session: Session) -> None:
    session.repository()
    session.file("flow.yaml", MENDED)
    session.file("flow.test.yaml", MENDING)
    tried = session.flow("test", "flow.yaml")
    assert (tried.code, tried.out) == (0, "ok     flow.yaml: mended\n"), tried.err


def test_the_first_case_of_a_run_in_which_a_command_was_mended_passes(session: Session) -> None:
    session.repository()
    session.file("answers.yaml", "default: {edits: {good: yes}, answer: mended}\n")
    session.file(
        "flow.yaml",
        """
        isolation: worktree
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: build, run: test -e good, recovery_prompt: Mend it.}
          - {name: after, run: cat good}
        outputs: {good: "{{ steps.after.output }}"}
        """,
    )
    session.git("add", "-A")
    session.git("commit", "-qm", "flow")
    assert session.flow("run", "flow.yaml", "--run-id", "first").code == 0
    assert session.flow("test", "--init", "first").code == 0
    tried = session.flow("test", "flow.yaml")
    assert (tried.code, tried.err) == (0, "1 passed, 0 failed\n")


def test_a_command_that_runs_may_have_an_agent_that_mends_it_in_the_case(session: Session) -> None:
    session.repository()
    session.file("flow.yaml", 'steps:\n  - {name: build, run: test -e good, recovery_prompt: "Mend {{ error }}"}\n')
    session.file("flow.test.yaml", "cases:\n  - {name: mended, answers: {build: {edits: {good: yes}, answer: mended}}}\n")
    tried = session.flow("test", "flow.yaml")
    assert (tried.code, tried.err) == (0, "1 passed, 0 failed\n")


def test_the_first_case_of_a_run_in_which_an_agent_failed_by_itself_passes(session: Session) -> None:
    session.repository()
    session.file(
        "answers.yaml",
        """
        steps:
          ask: [{error: failed, message: boom}, {answer: well}]
          each: [{item: 1, answer: one}, {item: 2, error: failed, message: no}]
          empty: {answer: ""}
        """,
    )
    session.file(
        "flow.yaml",
        """
        isolation: worktree
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: ask, prompt: x, retries: 1, retry: {delay: 0s}, verify: "true"}
          - {name: each, foreach: [1, 2], prompt: x, on_failure: continue}
          - {name: empty, prompt: x, on_failure: continue}
        """,
    )
    session.git("add", "-A")
    session.git("commit", "-qm", "flow")
    assert session.flow("run", "flow.yaml", "--run-id", "first").code == 0
    assert session.flow("test", "--init", "first").code == 0
    tried = session.flow("test", "flow.yaml")
    assert (tried.code, tried.err) == (0, "1 passed, 0 failed\n"), tried.out
