"""Agents that misbehave on purpose, in whole runs by the command line: what the journal says of each, and what is left of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from agent_stage import Stage, fake, told
from session import Session

from cases import CASES, case_path, cases
from memory import measured
from survivors import eventually

pytestmark = pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")

GOOD = ("success", (None, 0, 0.01))
UNKNOWN_COST = ("success", (None, 0, None))
LOST = ("lost", 0, None)
OVERLOADED = ("overloaded", 1, 0.01)


def bad(kind: str, exit_code: int | None = 0, cost: float | None = 0.01) -> tuple[Any, ...]:
    return ("failed", (kind, exit_code, cost))


# Cases that end by themselves and leave nothing behind, and what is told of them: kind, exit code, cost of each attempt.
TOLD: dict[str, tuple[Any, ...]] = {
    "ok": GOOD,
    "success-but-is-error": ("failed", *[("overloaded", 0, 0.01)] * 3),
    "error-during-execution": bad("failed", 1),
    "max-turns": bad("max_turns", 1),
    "max-turns-ignored": GOOD,
    "budget-exceeded": bad("budget", 1, 5.2),
    "schema-retries": bad("bad_output", 1),
    "overloaded": ("failed", *[OVERLOADED] * 3),
    "auth-error": bad("auth", 1),
    "token-expired": bad("auth", 1),
    "limit-quoted": GOOD,
    "limit-exit-0": ("failed", *[LOST] * 3),
    "empty-result": bad("failed"),
    "blank-result": bad("failed"),
    "null-result": bad("failed"),
    "zero-tokens": bad("failed", cost=0),
    "asks-a-question": GOOD,
    "denied-tools": bad("permission_denied"),
    "prose-not-json": GOOD,
    "cut-json": GOOD,
    "cost-nan": UNKNOWN_COST,
    "cost-negative": UNKNOWN_COST,
    "cost-missing": UNKNOWN_COST,
    "no-init": GOOD,
    "unknown-events": GOOD,
    "two-results": ("success", (None, 0, 0.03)),
    "events-after-result": GOOD,
    "exit-1-no-result": ("failed", *[("lost", 1, None)] * 3),
    "exit-0-no-result": ("failed", *[LOST] * 3),
    "exit-1-after-success": bad("failed", 1),
    "bad-json-line": GOOD,
    "partial-last-line": ("failed", *[LOST] * 3),
    "no-last-newline": GOOD,
    "invalid-utf8": GOOD,
    "huge-line": GOOD,
    "huge-result": GOOD,
    "many-lines": GOOD,
    "ansi": GOOD,
    "injection": GOOD,
    "prints-secret": GOOD,
    "stderr-flood": GOOD,
    "reads-stdin": GOOD,
    "dies-by-sigkill": ("failed", *[("lost", None, None)] * 3),
    "promises-commit": GOOD,
}
REASONS = {
    "success-but-is-error": "API Error: 500 internal server error",
    "error-during-execution": "the agent reported `error_during_execution` without a word",
    "max-turns": "the agent used up its turns",
    "budget-exceeded": "the agent used up its budget",
    "schema-retries": "the agent gave no structured answer that fits the schema",
    "auth-error": "Invalid API key · Please run /login",
    "empty-result": "the answer is empty",
    "zero-tokens": "no tokens were spent: the model was not asked",
    "denied-tools": "the agent was refused a tool that it asked for: `Bash`",
    "exit-1-no-result": "the agent ended (exit code 1) without a result",
    "exit-1-after-success": "the agent gave a good result, then ended with exit code 1",
    "dies-by-sigkill": "the agent ended (signal 9) without a result",
}
# The same agents under a step that asks for more, and the reason that is told then.
PROMISES: dict[str, tuple[dict[str, Any], tuple[Any, ...], str]] = {
    "too-many-turns": (
        fake("max-turns-ignored", config={"max_turns": 499}),
        bad("max_turns"),
        "the agent took 500 turns, more than the 499 allowed",
    ),
    "turns-enough": (fake("max-turns-ignored", config={"max_turns": 500}), GOOD, ""),
    "denials-allowed": (fake("denied-tools", allow_denials=True), GOOD, ""),
    "must-change": (fake("asks-a-question", expect={"changes": True}), bad("failed"), "expected changes, but no file has changed"),
    "must-commit": (fake("promises-commit", expect={"commit": True}), bad("failed"), "expected a commit, but there is none"),
    "prose-for-json": (fake("prose-not-json", output="json"), bad("bad_output"), "no valid JSON in the answer"),
    "cut-for-json": (fake("cut-json", output="json"), bad("bad_output"), "no valid JSON in the answer: it ends inside an "),
}
ELSEWHERE = {
    "limits": {"limit-epoch", "limit-clock", "limit-date", "limit-relative", "limit-no-time"},
    "stay": {"hangs-silently", "hangs-after-init", "drips", "ignores-term", "closes-stdout", "result-then-hangs"},
    "leave": {"leaves-grandchild", "leaves-daemon"},
    "files": {"edits", "edits-then-fails", "links-outside", "writes-outside"},
    "git": {"commits-on-wrong-branch", "detaches-head", "deletes-git-file", "leaves-index-lock", "plants-git-commands"},
    "verify": {"fixes-on-attempt", "goes-back-and-forth"},
}


@pytest.fixture
def stage(session: Session) -> Stage:
    stage = Stage(session)
    stage.fake_agent()
    return stage


def by_name(result: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["name"]: step for step in result["steps"]}


def test_every_case_is_played_here() -> None:
    listing = subprocess.run([sys.executable, case_path("misbehaving_agents/fake_agent.py"), "--list"], capture_output=True, check=True)
    assert json.loads(listing.stdout).keys() == set(TOLD).union(*ELSEWHERE.values())


def test_an_agent_that_ends_by_itself_gets_the_listed_verdict(stage: Stage) -> None:
    steps = [fake(case) for case in TOLD] + [{**step, "name": name} for name, (step, _, _) in PROMISES.items()]
    secret = {"prints-secret": {"secrets": ["FAKE_AGENT_SECRET"]}}
    stage.workflow([{**step, **secret.get(step["name"], {})} for step in steps], secrets=["FAKE_AGENT_SECRET"])
    ended = stage.run("--json", FAKE_AGENT_SECRET="hunter2-hunter2")
    assert ended.code == 0, ended.err
    result = ended.json()
    found = by_name(result)
    assert {name: told(step) for name, step in found.items()} == TOLD | {name: told for name, (_, told, _) in PROMISES.items()}
    reasons = REASONS | {name: reason for name, (_, _, reason) in PROMISES.items() if reason}
    assert {name: (found[name]["reason"] or "")[: len(reason)] for name, reason in reasons.items()} == reasons
    assert stage.session.status() == result
    assert result["cost_usd"] is None
    check_answers(found)
    check_journal(stage, found)
    check_terminal(ended.err)
    assert "hunter2" not in ended.out + ended.err
    assert stage.survivors() == []
    assert stage.untouched()


def check_answers(found: dict[str, dict[str, Any]]) -> None:
    assert found["ok"]["output"] == "done"
    assert found["two-results"]["output"] == "second"
    assert found["reads-stdin"]["output"] == "read 5 bytes"
    assert found["prints-secret"]["output"] == "token: ***"
    assert found["injection"]["output"].startswith("{{ 7*7 }} ${{ secrets.X }}\n::set-output name=a::b\n")
    assert found["ansi"]["output"].startswith("\x1b[31mred")
    huge = found["huge-result"]
    assert (huge["output"], huge["output_bytes"], Path(huge["output_file"]).read_text()) == (None, 8_000_000, "x" * 8_000_000)
    assert found["ok"]["attempts"][0]["session_id"] == "00000000-0000-4000-8000-000000000001"
    assert [found["ok"]["attempts"][0][key] for key in ("agent", "model", "turns")] == ["claude", "fake-model", 2]


def check_journal(stage: Stage, found: dict[str, dict[str, Any]]) -> None:
    """Verdict, reason, exit code or signal, and cost of every attempt are facts of the journal; no big text and no NaN is."""
    finished = [event for event in stage.events() if event["type"] == "AttemptFinished"]
    facts = {(event["task"], event["number"]): event for event in finished}
    for name, step in found.items():
        for attempt in step["attempts"]:
            fact = facts[name, attempt["number"]]
            assert [fact.get(key) for key in ("error_kind", "exit_code", "cost_usd")] == [
                attempt[key] for key in ("error_kind", "exit_code", "cost_usd")
            ]
            assert bool(fact.get("reason")) == (attempt["error_kind"] is not None)
    assert [facts["dies-by-sigkill", number]["signal"] for number in (1, 2, 3)] == [9, 9, 9]
    assert max(len(json.dumps(event)) for event in finished) < 8 * 1024
    assert "NaN" not in json.dumps(finished)


def check_terminal(text: str) -> None:
    """No control character but the line feed, and no line that a CI would take for a command."""
    assert [character for character in text if not character.isprintable() and character != "\n"] == []
    assert [line for line in text.splitlines() if line.startswith("::") or "##[" in line] == []


def test_a_flood_does_not_fill_the_memory_of_the_runner(stage: Stage) -> None:
    floods = ["huge-line", "huge-result", "many-lines", "stderr-flood"]
    stage.workflow([fake(case) for case in floods], slots=4)
    command = stage.session.command("run", "flow.yaml", "--quiet")
    ended = measured(command, stage.session.path, stage.session.environment, stage.session.home)
    assert ended.code == 0
    assert ended.peak < 200 * 1024 * 1024


def test_an_agent_that_does_not_leave_is_ended_and_nothing_of_it_lives_on(stage: Stage) -> None:
    idle = {"idle_timeout": "300ms"}
    stage.workflow(
        [
            fake("hangs-silently", **idle),
            fake("hangs-after-init", **idle),
            fake("ignores-term", **idle),
            fake("drips", timeout="1500ms", idle_timeout="1m"),
            fake("closes-stdout", retries=0),
            fake("result-then-hangs"),
            fake("leaves-grandchild"),
            fake("leaves-daemon"),
        ],
        slots=8,
    )
    ended = stage.run("--json")
    assert ended.code == 0, ended.err
    found = by_name(ended.json())
    timeout = bad("timeout", None, None)
    assert {name: told(step) for name, step in found.items()} == {
        "hangs-silently": timeout,
        "hangs-after-init": timeout,
        "ignores-term": timeout,
        "drips": timeout,
        "closes-stdout": bad("lost", 0, None),  # it ended by itself: its exit code is told
        "result-then-hangs": ("success", (None, None, 0.01)),
        "leaves-grandchild": GOOD,
        "leaves-daemon": GOOD,
    }
    assert found["hangs-silently"]["reason"] == "was silent for 300ms (`idle_timeout`)"
    assert found["drips"]["reason"] == "did not end within 1.5s"
    signals = {event["task"]: event.get("signal") for event in stage.events() if event["type"] == "AttemptFinished"}
    assert (signals["ignores-term"], signals["result-then-hangs"], signals["leaves-daemon"]) == (signal.SIGKILL, signal.SIGINT, None)
    assert stage.survivors() == []
    assert stage.untouched()


def test_a_usage_limit_waits_for_the_time_that_it_names_and_costs_no_attempt(stage: Stage) -> None:
    stage.workflow([fake(case, retries=0) for case in sorted(ELSEWHERE["limits"])], slots=5)
    running = stage.session.start("run", "flow.yaml")
    shown = stage.session.home / "err.txt"
    assert eventually(lambda: shown.read_text().count(" waiting ") == 5), shown.read_text()
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    steps = by_name(stage.session.status())
    assert {name: told(step) for name, step in steps.items()} == dict.fromkeys(ELSEWHERE["limits"], ("cancelled", ("rate_limited", 1, 0)))
    now = time.time()
    waits = {event["task"]: event["not_before"] for event in stage.events() if event["type"] == "RetryScheduled"}
    assert waits["limit-epoch"] == pytest.approx(now + 3600, abs=120)
    assert waits["limit-relative"] == pytest.approx(now + 125 * 60, abs=120)
    assert waits["limit-no-time"] in [pytest.approx(now + 60, abs=120), *(waits[name] for name in waits if name != "limit-no-time")]
    assert datetime.fromtimestamp(waits["limit-clock"], ZoneInfo("Europe/Berlin")).strftime("%H:%M") == "15:00"
    assert datetime.fromtimestamp(waits["limit-date"], UTC).strftime("%m-%d %H:%M") == "10-09 10:30"
    assert stage.survivors() == []


def test_with_one_retry_only_what_another_attempt_may_mend_is_tried_again(stage: Stage) -> None:
    attempts = {
        "auth-error": 1,
        "denied-tools": 1,
        "budget-exceeded": 1,
        "empty-result": 2,
        "max-turns": 2,
        "schema-retries": 2,
        "overloaded": 2,
        "exit-0-no-result": 2,
        "exit-1-after-success": 2,
    }
    stage.workflow([fake(case, retries=1) for case in attempts] + [fake("hangs-silently", retries=1, idle_timeout="200ms")])
    found = by_name(stage.run("--json").json())
    assert {name: len(step["attempts"]) for name, step in found.items()} == attempts | {"hangs-silently": 2}


# ---- what an agent does to its place ----


def test_what_an_agent_leaves_is_on_the_branch_whatever_became_of_it(stage: Stage) -> None:
    steps = [fake(case, needs=[], retries=0) for case in ("edits", "links-outside", "writes-outside", "edits-then-fails")]
    for before, step in pairwise(steps):
        step |= {"needs": [before["name"]], "join": "done"}
    stage.workflow(steps)
    ended = stage.run("--json")
    assert ended.code == 0, ended.err
    result = ended.json()
    assert {name: told(step) for name, step in by_name(result).items()} == {
        "edits": GOOD,
        "links-outside": GOOD,
        "writes-outside": GOOD,
        "edits-then-fails": bad("failed", 1),
    }
    git = stage.session.git
    log = git("log", "--reverse", "--format=%s", f"{result['base']}..{result['branch']}").splitlines()
    assert log == ["edits", "links-outside", "edits-then-fails"]
    assert git("show", f"{result['branch']}~2:edited.txt") == "edited\n"
    assert stage.on_branch("edited.txt") == "half\n"
    assert git("ls-tree", result["branch"], "root-link").startswith("120000 ")
    (outside,) = stage.session.home.glob("state/cpool-flow/worktrees/*/outside.txt")
    assert outside.read_text() == "outside\n"
    assert f"a step wrote outside of its place, which stays: {outside}" in ended.err
    assert stage.untouched()


def test_an_edit_of_a_failed_attempt_is_there_for_the_next(stage: Stage) -> None:
    stage.workflow([fake("edits-then-fails", retries=1, verify="false", on_failure="fail")])
    ended = stage.run("--json")
    assert (ended.code, len(by_name(ended.json())["edits-then-fails"]["attempts"])) == (1, 2)
    assert stage.on_branch("edited.txt") == "half\n"


def test_a_commit_on_another_branch_is_none_of_the_runs_and_is_kept(stage: Stage) -> None:
    stage.workflow([fake("commits-on-wrong-branch", expect={"commit": True}, retries=0)])
    ended = stage.run("--json")
    assert told(by_name(ended.json())["commits-on-wrong-branch"]) == bad("failed")
    branches = [name.strip("*+ ") for name in stage.session.git("branch", "--list", "agent-*").splitlines()]
    assert len(branches) == 1
    assert f"note: a step left the place on the branch {branches[0]}, which is kept" in ended.err
    assert stage.session.git("show", f"{branches[0]}:wrong.txt") == "wrong\n"
    assert stage.untouched()


def test_a_commit_on_a_detached_head_comes_to_the_branch(stage: Stage) -> None:
    stage.workflow([fake("detaches-head")])
    assert told(by_name(stage.run("--json").json())["detaches-head"]) == GOOD
    assert stage.on_branch("detached.txt") == "x\n"
    assert stage.untouched()


def test_a_worktree_without_its_git_file_is_a_failure_that_says_so_and_keeps_the_files(stage: Stage) -> None:
    stage.workflow(
        [
            {"name": "before", "run": "echo kept > kept.txt"},
            fake("deletes-git-file", needs=["before"], retries=0),
            {"name": "after", "needs": ["deletes-git-file"], "run": "git status --porcelain && echo mended > mended.txt"},
        ]
    )
    ended = stage.run("--json")
    assert ended.code == 0, ended.err
    found = by_name(ended.json())
    assert told(found["deletes-git-file"]) == bad("failed")
    assert found["deletes-git-file"]["reason"] == "the worktree's `.git` file was removed"
    assert (stage.on_branch("kept.txt"), stage.on_branch("mended.txt")) == ("kept\n", "mended\n")
    assert stage.untouched()


def test_a_lock_that_an_agent_left_does_not_stop_the_commit(stage: Stage) -> None:
    stage.workflow([fake("leaves-index-lock"), {"name": "work", "needs": ["leaves-index-lock"], "run": "echo 1 > made.txt"}])
    assert told(by_name(stage.run("--json").json())["leaves-index-lock"]) == GOOD
    assert stage.on_branch("made.txt") == "1\n"
    assert stage.untouched()


def test_no_git_call_of_ours_executes_what_an_agent_planted(stage: Stage) -> None:
    stage.workflow([fake("plants-git-commands"), {"name": "work", "needs": ["plants-git-commands"], "run": "echo 1 > made.txt"}])
    ended = stage.run("--json")
    assert told(by_name(ended.json())["plants-git-commands"]) == GOOD
    assert stage.session.flow("status", "last").code == 0
    assert stage.on_branch("made.txt") == "1\n"
    assert list(stage.session.home.parent.rglob("PWNED")) == []


# ---- fix until the tests pass ----


def repositories() -> list[str]:
    return sorted(path.stem for path in (CASES / "repos").glob("*.json"))


@pytest.mark.parametrize("name", repositories())
def test_the_tests_of_a_repository_decide_on_which_attempt_it_is_fixed(stage: Stage, name: str) -> None:
    case = cases(f"repos/{name}.json")
    for path, text in case["files"].items():
        file = stage.session.path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    stage.session.git("add", "-A")
    stage.session.git("commit", "-q", "-m", "the bug")
    patch = stage.session.home / "solution.patch"
    patch.write_text(case["solution_patch"])
    number = 2 + len(name) % 2
    env = {"FAKE_AGENT_PATCH": str(patch), "FAKE_AGENT_ATTEMPT": str(number), "FAKE_AGENT_STATE": str(stage.session.home / "calls")}
    step = fake("fixes-on-attempt", env=env, verify=case["test_command"], retries=number - 1, retry={"delay": "0s"}, on_failure="fail")
    stage.workflow([step])
    ended = stage.run("--json")
    assert ended.code == 0, ended.err
    attempts = by_name(ended.json())["fixes-on-attempt"]["attempts"]
    assert [attempt["error_kind"] for attempt in attempts] == [*["failed"] * (number - 1), None]
    assert (stage.session.home / "calls").read_text() == str(number)
    assert f"verify `{case['test_command']}` ended with exit code" in attempts[0]["error"]


def test_an_agent_that_goes_back_and_forth_is_stopped_at_a_state_seen_before(stage: Stage) -> None:
    env = {"FAKE_AGENT_STATE": str(stage.session.home / "calls")}
    again = {"recovery_prompt": "again", "recoveries": 9, "retries": 0, "on_failure": "fail"}
    stage.workflow([fake("goes-back-and-forth", env=env, verify="false", **again)])
    ended = stage.run("--json")
    step = by_name(ended.json())["goes-back-and-forth"]
    assert (ended.code, step["status"], len(step["attempts"])) == (1, "failed", 3)
    assert step["reason"].endswith("no progress: this state was seen before")
