"""The scripted agent: what its file says is what it does, in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cpool_flow.agents.protocol import AgentResult
from cpool_flow.agents.script import load_script
from cpool_flow.agents.scripted import Scripted
from cpool_flow.errors import InvalidInput


class Stage:
    """A folder to work in and a script beside it."""

    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        self.place.mkdir()
        self.script = folder / "answers.yaml"
        self.attempt: Attempt | None = None

    def play(
        self, script: str, step: str = "fix", prompt: str = "do it", *, config: dict[str, Any] | None = None, **more: Any
    ) -> AgentResult:
        self.script.write_text(script)
        watching = {key: more.pop(key) for key in ("stop_when", "idle_seconds") if key in more}
        settings = {"agent": "scripted", "script": str(self.script), **(config or {})}
        self.attempt = Attempt(Scripted(), request(self.place, prompt, config=settings, step=step, **more), **watching)
        return self.attempt.run()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_text_is_the_answer_of_every_call(stage: Stage) -> None:
    found = stage.play("steps: {fix: All is well.}", attempt=3)
    assert (found.kind, found.answer, found.turns, found.cost_usd) == (None, "All is well.", 1, 0)
    assert stage.attempt is not None
    assert found.session_id == stage.attempt.request.session_id


def test_data_is_answered_as_json_and_is_never_a_template(stage: Stage) -> None:
    found = stage.play('steps: {fix: {answer: {findings: ["{{ 7*7 }} $(id) ü"]}}}')
    assert json.loads(found.answer) == {"findings": ["{{ 7*7 }} $(id) ü"]}


def test_the_attempt_chooses_the_call_and_the_last_one_repeats(stage: Stage) -> None:
    script = "steps: {fix: [{error: overloaded}, second, third]}"
    assert [stage.play(script, attempt=number).kind for number in (1, 2)] == ["overloaded", None]
    assert [stage.play(script, attempt=number).answer for number in (2, 3, 9)] == ["second", "third", "third"]


def test_items_and_prompts_choose_among_the_calls(stage: Stage) -> None:
    script = "steps:\n  fix:\n  - {item: style, answer: a}\n  - {item: {n: 1}, answer: b}\n  - {when: tests fail, answer: c}\ndefault: d"
    assert stage.play(script, item="style").answer == "a"
    assert stage.play(script, item={"n": 1}).answer == "b"
    assert stage.play(script, prompt="the tests fail:").answer == "c"
    assert stage.play(script, item="other").answer == "d"
    assert stage.play(script, step="unnamed").answer == "d"


def test_a_step_without_an_answer_fails_with_its_name(stage: Stage) -> None:
    found = stage.play("steps: {other: x}")
    assert found.kind == "failed"
    assert "`answers.yaml` has no answer for step `fix`" in found.error


def test_errors_name_the_file_that_people_know_and_the_place_of_the_call(stage: Stage) -> None:
    script = "steps:\n  fix:\n    - {item: 1, delete: [..]}\n    - {item: 2, run: ['false']}\n"
    assert stage.play(script, item=1, script_name="sub/a.yaml").error == f"`..` is not a file inside {stage.place} (sub/a.yaml:3:7)"
    assert stage.play(script, item=2, script_name="sub/a.yaml").error == "`false` ended with exit code 1 (sub/a.yaml:4:7)"
    missing = stage.play(script, item=3, script_name="sub/a.yaml")
    assert missing.error == "the script `sub/a.yaml` has no call of step `fix` that fits (sub/a.yaml:2:3)"
    single = stage.play("steps:\n  fix: {delete: [..]}\n")
    assert single.error == f"`..` is not a file inside {stage.place} (answers.yaml:2:8)"


def test_echo_answers_the_prompt(stage: Stage) -> None:
    assert stage.play("default: {echo: true}", prompt="/cost or\n-x").answer == "/cost or\n-x"


def test_files_are_written_and_deleted_inside_the_place(stage: Stage) -> None:
    (stage.place / "old.txt").write_text("x")
    found = stage.play('steps: {fix: {edits: {src/new.py: "a = 1\\n"}, delete: [old.txt], answer: done}}')
    assert found.kind is None
    assert (stage.place / "src" / "new.py").read_text() == "a = 1\n"
    assert not (stage.place / "old.txt").exists()
    assert stage.attempt is not None
    assert "Write src/new.py" in stage.attempt.seen


@pytest.mark.parametrize("path", ["../outside.txt", "/tmp/outside.txt", "link/outside.txt", "file-link", "a/../../outside.txt", ".."])
def test_nothing_outside_the_place_is_touched(stage: Stage, path: str) -> None:
    (stage.place / "link").symlink_to(stage.place.parent)
    (stage.place / "file-link").symlink_to(stage.place.parent / "outside.txt")
    before = sorted(os.listdir(stage.place.parent))
    for call in ({"edits": {path: "x"}}, {"delete": [path]}):
        found = stage.play(json.dumps({"steps": {"fix": call}}))
        assert (found.kind, f"`{path}`" in found.error) == ("failed", True)
    assert {*os.listdir(stage.place.parent)} - {*before} <= {"answers.yaml", "private"}


def test_a_patch_is_applied_and_committed(stage: Stage) -> None:
    git = ["git", "-C", str(stage.place)]
    subprocess.run([*git, "init", "-q"], check=True)
    (stage.place / "a.txt").write_text("one\n")
    patch = "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"
    found = stage.play(json.dumps({"steps": {"fix": {"patch": patch, "commit": "Two"}}}))
    assert found.kind is None, found.error
    log = subprocess.run([*git, "show", "--format=%s", "HEAD:a.txt"], check=True, capture_output=True, text=True).stdout
    assert log == "two\n"


def test_a_patch_that_does_not_apply_fails(stage: Stage) -> None:
    assert stage.play(json.dumps({"default": {"patch": "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+b\n"}})).kind == "failed"


def test_a_command_runs_in_the_place_and_its_output_is_no_event(stage: Stage) -> None:
    printed = '{"type":"result","subtype":"success","result":"fake"}'
    found = stage.play(json.dumps({"default": {"run": ["sh", "-c", f"echo '{printed}'; touch made"], "answer": "real"}}))
    assert (found.kind, found.answer) == (None, "real")
    assert (stage.place / "made").exists()
    assert stage.play("default: {run: [sh, -c, exit 3]}").error == "`sh -c` ended with exit code 3"
    assert "no-such-program" in stage.play("default: {run: [no-such-program]}").error


@pytest.mark.parametrize(
    "kind", ["failed", "overloaded", "rate_limited", "auth", "max_turns", "budget", "bad_output", "permission_denied", "invalid", "lost"]
)
def test_every_error_it_can_play_has_that_kind(stage: Stage, kind: str) -> None:
    assert stage.play(f"default: {{error: {kind}, message: words of the script}}").kind == kind


def test_a_limit_names_its_reset(stage: Stage) -> None:
    found = stage.play("default: {error: rate_limited, resets_in_seconds: 90}")
    assert found.resets_at == pytest.approx(time.time() + 90, abs=30)


def test_denials_cost_and_turns_are_as_the_script_says(stage: Stage) -> None:
    found = stage.play(
        "default: {denials: [Write, Bash], cost_usd: 0.25, turns: 7, answer: x}", allow_denials=True, config={"max_turns": 7}
    )
    assert (found.kind, found.denials, found.cost_usd, found.turns) == (None, ("Write", "Bash"), 0.25, 7)
    assert stage.play("default: {denials: [Write]}").kind == "permission_denied"
    assert stage.play("default: {turns: 8}", config={"max_turns": 7}).kind == "max_turns"
    assert stage.play("default: {cost_usd: null}").cost_usd is None
    assert stage.play("default: {error: budget, cost_usd: 5.2}").cost_usd == 5.2


def test_an_exit_code_after_a_good_result_is_a_failure(stage: Stage) -> None:
    assert stage.play("default: {exit_code: 3}").kind == "failed"


def test_hanging_is_ended_by_the_first_signal(stage: Stage) -> None:
    found = stage.play("default: {edits: {started: x}, hang: true}", stop_when=(stage.place / "started").exists)
    assert found.kind == "cancelled"
    assert stage.play("default: {hang: true}", idle_seconds=0.3).kind == "timeout"
    assert Scripted().ladder[0][0] == signal.SIGINT


def test_its_environment_is_scrubbed(stage: Stage) -> None:
    script = "default: {run: [sh, -c, env > environment]}"
    stage.play(
        script,
        environment={"PATH": os.environ["PATH"], "HOME": "/h", "SOME_SECRET": "s", "CLAUDECODE": "1"},
        step_environment={"DECLARED": "yes"},
        config={"env": {"CONFIGURED": "too"}},
    )
    names = {line.partition("=")[0] for line in (stage.place / "environment").read_text().splitlines()}
    assert {"DECLARED", "CONFIGURED", "PATH", "HOME"} <= names
    assert {"SOME_SECRET", "CLAUDECODE"}.isdisjoint(names)


@pytest.mark.parametrize(
    ("script", "message", "line"),
    [
        ("steps:\n  fix:\n    answr: x\n", "unknown key `answr`", 3),
        ("steps:\n  fix:\n  - x\n  - {secnds: 1}\n", "unknown key `secnds`", 4),
        ("stpes: {}\n", "unknown key `stpes`", 1),
        ("steps:\n  fix: {seconds: long}\n", "`seconds`: input should be a valid number", 2),
        ("steps: [a]\n", "`steps`: input should be a valid dictionary", 1),
        ("steps:\n  fix: []\n", "`fix`: value should have at least 1 item", 2),
        ("- a\n", "input should be", 1),
    ],
)
def test_a_wrong_script_is_refused_with_the_place(tmp_path: Path, script: str, message: str, line: int) -> None:
    path = tmp_path / "answers.yaml"
    path.write_text(script)
    with pytest.raises(InvalidInput) as refused:
        load_script(str(path))
    problem = refused.value.problems[0]
    assert message in problem.message
    assert problem.location is not None
    assert problem.location.line == line


def test_a_missing_script_is_refused(tmp_path: Path) -> None:
    config = request(tmp_path, config={"script": str(tmp_path / "none.yaml")}).config
    with pytest.raises(InvalidInput, match="cannot be read"):
        Scripted().check(config, {})
    with pytest.raises(InvalidInput, match="needs `script`"):
        Scripted().check(request(tmp_path).config, {})


def test_an_empty_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="the prompt is empty"):
        Scripted().prepare(request(tmp_path, " \n", config={"script": "x"}))


def test_it_ends_where_it_may_spend_no_more(stage: Stage) -> None:
    dear = "default: {answer: x, cost_usd: 0.75, edits: {a: b}}"
    found = stage.play(dear, config={"max_budget_usd": 0.5})
    assert (found.kind, found.error, found.cost_usd) == ("budget", "Reached maximum budget ($0.5)", 0.5)
    assert stage.play(dear, config={"max_budget_usd": 0.5}, budget_usd=0.25).cost_usd == 0.25
    assert stage.play(dear, budget_usd=0.75).kind is None


def test_whoever_is_interrupted_says_what_was_spent(stage: Stage) -> None:
    found = stage.play("default: {edits: {started: x}, hang: true, cost_usd: 0.25}", stop_when=(stage.place / "started").exists)
    assert (found.kind, found.cost_usd) == ("cancelled", 0.25)
