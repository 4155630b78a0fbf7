"""What becomes of a failed attempt: retries, time limits, recovery, and what `{{ error }}` says. By the real command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from session import Session

NO_GIT = {"GIT_CEILING_DIRECTORIES": "/"}


def run(session: Session, text: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The steps of a run of this file, by name."""
    session.file("flow.yaml", text)
    ended = session.flow("run", "flow.yaml", "--json", *arguments)
    assert ended.code == code, ended.err
    return {step["name"]: step for step in ended.json()["steps"]}


def attempts(step: dict[str, Any]) -> list[tuple[str, str, str | None]]:
    """Kind, status and error kind of each attempt."""
    return [(attempt["kind"], attempt["status"], attempt["error_kind"]) for attempt in step["attempts"]]


def kinds(step: dict[str, Any]) -> list[str | None]:
    return [attempt["error_kind"] for attempt in step["attempts"]]


def test_a_retry_knows_its_number_and_what_went_wrong_before(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - name: flaky
            retries: 3
            retry: {delay: 10ms}
            run: |
              echo "attempt {{ attempt }}, before: [{{ error }}]" >> seen
              echo "out {{ attempt }}"; echo "err {{ attempt }}" >&2
              [ {{ attempt }} = 3 ]
          - {name: reads, run: "echo {{ steps.flaky.output }} {{ steps.flaky.error is none }}"}
        """,
    )
    assert attempts(steps["flaky"]) == [("normal", "failed", "failed"), ("normal", "failed", "failed"), ("normal", "success", None)]
    assert steps["reads"]["output"] == "out 3 true"
    first = '`echo "attempt {{ attempt }}, before: [{{ error }}]" >> seen` ended with exit code 1'
    assert (session.path / "seen").read_text() == (
        f"attempt 1, before: []\nattempt 2, before: [flaky, attempt 1: {first}\nout 1\nerr 1]\n"
        f"attempt 3, before: [flaky, attempt 2: {first}\nout 2\nerr 2]\n"
    )


def test_the_error_ends_with_the_last_four_kilobytes_of_output(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: long, retries: 1, retry: {delay: 0s}, run: 'seq 1 20000; echo the end >&2; [ {{ attempt }} = 2 ] && printf "%s" {{ error }} > seen'}
        """,
    )
    assert steps["long"]["status"] == "success"
    head, *tail = (session.path / "seen").read_text().split("\n")
    assert head.endswith("ended with exit code 1")
    assert tail[-2:] == ["20000", "the end"]
    assert 3500 < len("\n".join(tail)) <= 4096
    assert tail[0].isdigit()
    assert len(tail[0]) == 5


def test_only_the_classes_that_are_named_are_tried_again_and_waits_are_kept(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: once, needs: [], run: exit 1}
          - {name: code, needs: [], retries: 2, retry: {delay: 0s, exit_codes: [75]}, run: exit 75}
          - {name: other, needs: [], retries: 2, retry: {delay: 0s, exit_codes: [75]}, run: exit 1}
          - {name: kind, needs: [], retries: 2, retry: {delay: 0s, on: [timeout]}, run: exit 1}
          - {name: late, needs: [], retries: 1, retry: {delay: 0s, on: [timeout]}, timeout: 100ms, run: sleep 60}
          - {name: waits, needs: [], retries: 2, retry: {delay: 100ms, factor: 3, jitter: false}, run: exit 1}
          - {name: all, needs: [], retries: 50, retry: {delay: 150ms, factor: 1, jitter: false, timeout: 400ms}, run: exit 1}
          - {name: invalid, needs: [], retries: 2, retry: {delay: 0s}, run: "echo {{ steps.none.output }}"}
          - {name: none, needs: [], when: false, run: "true"}
        """.replace("{name: invalid, needs: []", "{name: invalid, needs: none"),
        code=1,
    )
    assert {name: len(step["attempts"]) for name, step in steps.items() if name != "all"} == {
        "once": 1,
        "code": 3,
        "other": 1,
        "kind": 1,
        "late": 2,
        "waits": 3,
        "invalid": 1,
        "none": 0,
    }
    assert kinds(steps["late"]) == ["timeout", "timeout"]
    assert 2 <= len(steps["all"]["attempts"]) <= 3
    events = [event for event in session.events() if event["type"] == "RetryScheduled" and event["task"] == "waits"]
    assert [event["reason"] for event in events] == ["failed, retry 1 of 2", "failed, retry 2 of 2"]


def test_a_timeout_covers_the_attempt_with_its_verify_and_silence_has_its_own(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: slow, needs: [], timeout: 200ms, run: echo before; sleep 60}
          - {name: verify, needs: [], timeout: 300ms, run: echo done, verify: sleep 60}
          - {name: silent, needs: [], idle_timeout: 200ms, run: echo before; sleep 60}
          - {name: talks, needs: [], idle_timeout: 2s, run: "for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done"}
        """,
        code=1,
    )
    errors = {name: step["attempts"][0]["error"] for name, step in steps.items()}
    assert errors == {
        "slow": "slow, attempt 1: did not end within 200ms\nbefore",
        "verify": "verify, attempt 1: verify `sleep 60`: did not end within 300ms",
        "silent": "silent, attempt 1: was silent for 200ms (`idle_timeout`)\nbefore",
        "talks": None,
    }
    assert {name: kinds(step) for name, step in steps.items()} == {
        "slow": ["timeout"],
        "verify": ["timeout"],
        "silent": ["timeout"],
        "talks": [None],
    }
    assert steps["slow"]["output"] == "before"


def agent(session: Session, answers: str) -> None:
    session.file("answers.yaml", answers)


def test_a_run_step_is_run_again_after_each_recovery_until_it_passes(session: Session) -> None:
    agent(
        session,
        """
        steps:
          build:
            - {when: "missing a", edits: {a: x}, answer: made a}
            - {when: "missing b", edits: {b: x}, answer: made b}
        """,
    )
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: build
            retries: 1
            retry: {delay: 0s}
            run: for f in a b; do [ -e $f ] || { echo "missing $f"; exit 1; }; done; echo built
            recovery_prompt: "It fails: {{ error }}"
            recoveries: 5
        """,
    )
    assert attempts(steps["build"]) == [
        ("normal", "failed", "failed"),
        ("normal", "failed", "failed"),
        ("recovery", "success", None),
        ("normal", "failed", "failed"),
        ("recovery", "success", None),
        ("normal", "success", None),
    ]
    assert steps["build"]["output"] == "built"
    assert [attempt["agent"] for attempt in steps["build"]["attempts"]] == [None, None, "scripted", None, "scripted", None]


def test_a_refused_tool_fails_the_recovery_of_a_run_step_unless_it_is_allowed_to_be(session: Session) -> None:
    agent(session, "steps: {build: {edits: {a: x}, denials: [Bash], answer: I could not run the tests}}")
    text = """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: build
            run: test -e a
            recovery_prompt: Make a.
    """
    assert attempts(run(session, text, code=1)["build"]) == [
        ("normal", "failed", "failed"),
        ("recovery", "failed", "permission_denied"),
    ]
    (session.path / "a").unlink()
    assert attempts(run(session, text.rstrip() + "\n            allow_denials: true")["build"]) == [
        ("normal", "failed", "failed"),
        ("recovery", "success", None),
        ("normal", "success", None),
    ]


def test_the_recovery_of_an_agent_step_is_its_answer_if_it_is_valid(session: Session) -> None:
    agent(
        session,
        """
        steps:
          plan:
            - {when: "Plan", answer: no json here}
            - {when: "Rejected: plan, attempt 1: no valid JSON in the answer", answer: {wrong: 1}}
            - {when: "Rejected: plan, attempt 2: the output does not match its schema", answer: {files: [a]}}
        """,
    )
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: plan
            prompt: Plan it
            output_schema: {type: object, required: [files]}
            output_vars: {files: files}
            recovery_prompt: "Rejected: {{ error }}"
            recoveries: 2
          - {name: read, run: "echo {{ steps.plan.files[0] }}"}
        """,
    )
    assert attempts(steps["plan"]) == [
        ("normal", "failed", "bad_output"),
        ("recovery", "failed", "bad_output"),
        ("recovery", "success", None),
    ]
    assert (steps["plan"]["vars"], steps["read"]["output"]) == ({"files": ["a"]}, "a")


@pytest.mark.parametrize("git", [True, False])
def test_rounds_that_change_nothing_end_the_recovery_early(session: Session, git: bool) -> None:
    if git:
        session.repository()
    agent(session, "steps: {build: {answer: I looked and did nothing}}\n")
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: build, run: echo broken; exit 1, recovery_prompt: "Fix it.", recoveries: 9}
        """,
        code=1,
    )
    assert attempts(steps["build"]) == [("normal", "failed", "failed"), ("recovery", "success", None), ("normal", "failed", "failed")]
    assert steps["build"]["reason"].endswith("no progress: this state was seen before")


def test_rounds_that_go_in_circles_end_and_rounds_that_get_on_do_not(session: Session) -> None:
    session.repository()
    agent(
        session,
        """
        steps:
          circles:
            - {when: "one", edits: {a: "two"}}
            - {when: "two", edits: {a: "one"}}
          gets-on:
            - {when: "at 0", edits: {n: "1"}}
            - {when: "at 1", edits: {n: "2"}}
            - {when: "at 2", edits: {n: "3"}}
        """,
    )
    steps = run(
        session,
        """
        isolation: worktree
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: circles, run: "[ -e a ] || printf one > a; cat a; exit 1", recovery_prompt: "{{ error }}", recoveries: 9, on_failure: continue}
          - {name: gets-on, run: "[ -e n ] || printf 0 > n; echo at $(cat n); [ $(cat n) = 3 ]", recovery_prompt: "{{ error }}", recoveries: 9}
        """,
    )
    assert [kind for kind, *_ in attempts(steps["circles"])] == ["normal", "recovery", "normal", "recovery", "normal"]
    assert steps["circles"]["reason"].endswith("no progress: this state was seen before")
    assert steps["gets-on"]["status"] == "success"
    assert len(steps["gets-on"]["attempts"]) == 7


def test_recovery_is_bounded_and_not_tried_where_it_cannot_help(session: Session) -> None:
    session.repository()
    agent(
        session,
        """
        steps:
          once: {edits: {x: "1"}}
          refused: {error: auth}
        """,
    )
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: once, needs: [], run: "echo {{ attempt }} >> n; exit 1", recovery_prompt: "{{ error }}"}
          - {name: refused, needs: [], prompt: go, recovery_prompt: "{{ error }}", recoveries: 3}
        """,
        code=1,
    )
    assert [kind for kind, *_ in attempts(steps["once"])] == ["normal", "recovery", "normal"]
    assert kinds(steps["refused"]) == ["auth"]


def test_a_usage_limit_is_waited_for_and_costs_no_attempt(session: Session) -> None:
    agent(
        session,
        """
        steps:
          ask:
            - {error: rate_limited, resets_in_seconds: 0.4}
            - {answer: fine}
        """,
    )
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: ask, prompt: go, retries: 0}
        """,
    )
    assert kinds(steps["ask"]) == ["rate_limited", None]
    assert steps["ask"]["output"] == "fine"


def test_a_usage_limit_that_lasts_longer_than_wait_max_ends_the_coordinator_and_a_resume_goes_on(session: Session) -> None:
    agent(session, "steps: {ask: [{error: rate_limited, resets_in_seconds: 5000}, {answer: fine}]}\n")
    flow = """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: ask, prompt: go, retries: 0}
          - {name: other, run: sleep 0.1, needs: []}
    """
    session.file("flow.yaml", flow)
    ended = session.flow("run", "flow.yaml", "--run-id", "r1", "--wait-max", "1h")
    assert ended.code == 4, ended.err
    result = session.status("r1")
    assert (result["status"], [step["status"] for step in result["steps"]]) == ("waiting", ["waiting", "success"])
    assert session.flow("status", "r1", "--exit-status").code == 4
    assert session.flow("resume", "r1", "--wait-max", "1h").code == 4
    agent(session, "steps: {ask: [{error: rate_limited, resets_in_seconds: 0.4}, {answer: fine}]}\n")
    assert session.flow("run", "flow.yaml", "--wait-max", "1h").code == 0


def test_an_agent_is_tried_again_by_default_when_it_is_overloaded_or_lost(session: Session) -> None:
    agent(
        session,
        """
        steps:
          busy: [{error: overloaded}, {error: overloaded}, {answer: there}]
          gone: [{error: lost}, {answer: there}]
          wrong: {error: failed, message: it went wrong}
        """,
    )
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: busy, needs: [], prompt: go, retry: {delay: 0s}}
          - {name: gone, needs: [], prompt: go, retry: {delay: 0s}}
          - {name: wrong, needs: [], prompt: go, retry: {delay: 0s}}
        """,
        code=1,
    )
    assert {name: kinds(step) for name, step in steps.items()} == {
        "busy": ["overloaded", "overloaded", None],
        "gone": ["lost", None],
        "wrong": ["failed"],
    }
    assert "it went wrong" in steps["wrong"]["attempts"][0]["error"]


def test_git_that_breaks_in_the_middle_ends_the_run_and_does_not_hang_it(session: Session) -> None:
    session.repository()
    agent(session, "steps: {breaks: {edits: {mended: x}}}\n")
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: breaks, run: "[ -e mended ] || { echo junk > .git/HEAD; exit 1; }", recovery_prompt: "{{ error }}"}
        """,
    )
    assert [kind for kind, *_ in attempts(steps["breaks"])] == ["normal", "recovery", "normal"]


def test_a_failed_step_of_a_fan_out_fails_alone_and_its_recovery_sees_its_item(session: Session) -> None:
    agent(session, "default: {echo: true}\n")
    steps = run(
        session,
        """
        isolation: none
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: each
            foreach: [x, "y"]
            prompt: "{{ item }}"
            output_schema: {type: object}
            recovery_prompt: '{"item": {{ item | tojson }}, "n": {{ index }}, "attempt": {{ attempt }}, "error": {{ error | length > 0 }}}'
            output_vars: {n: n}
        """,
    )
    items = steps["each"]["items"]
    assert [item["output"] for item in items] == [
        '{"item": "x", "n": 0, "attempt": 2, "error": true}',
        '{"item": "y", "n": 1, "attempt": 2, "error": true}',
    ]


def test_the_log_of_every_attempt_stays(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: a, retries: 2, retry: {delay: 0s}, run: "echo out {{ attempt }}; echo err {{ attempt }} >&2; exit 1", verify: "true"}
        """,
        code=1,
    )
    logs = [Path(attempt["log"]) for attempt in steps["a"]["attempts"]]
    assert all(log.is_absolute() for log in logs)
    assert [log.read_text() for log in logs] == [f"out {n}\nerr {n}\n" for n in (1, 2, 3)]


def test_the_error_of_an_answer_that_is_refused_ends_with_the_end_of_the_answer(session: Session) -> None:
    prose = "no JSON at all. " * 400
    session.file("answers.yaml", json.dumps({"steps": {"ask": [{"answer": f"{prose}THE END"}, {"answer": '{"a": 1}'}]}}))
    session.file(
        "flow.yaml",
        """
        config: {agent: scripted, script: answers.yaml}
        steps:
          - {name: ask, prompt: hi, output: json, recovery_prompt: "mend: {{ error }}"}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 0, ended.err
    error = ended.json()["steps"][0]["attempts"][0]["error"]
    assert error.startswith("ask, attempt 1: no valid JSON in the answer")
    assert error.endswith("THE END")
    assert 4096 < len(error) < 4096 + 400


def test_a_run_cannot_be_called_last(session: Session) -> None:
    session.file("flow.yaml", "steps: [{run: echo hi}]")
    ended = session.flow("run", "flow.yaml", "--run-id", "last")
    assert (ended.code, ended.err) == (2, "error: `last` cannot be a run id: it means the latest run\n")
    nameless = session.flow("run", "flow.yaml", "--run-id", "")
    assert (nameless.code, nameless.err.splitlines()[0]) == (2, "error: `` cannot be a run id")
