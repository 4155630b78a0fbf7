"""What an agent prints is anybody's: long names, errors without end, lines without end, and a result before a Ctrl-C."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest
from agent_stage import Stage
from session import Session

from memory import measured
from survivors import eventually

PRELUDE = """
import json, os, sys, time

def event(**fields):
    print(json.dumps(fields), flush=True)

def result(text="done", **fields):
    good = {"subtype": "success", "is_error": False, "num_turns": 1, "total_cost_usd": 0.01, "usage": {"output_tokens": 5}}
    event(type="result", **{**good, "result": text, **fields})

"""


@pytest.fixture
def stage(session: Session) -> Stage:
    return Stage(session)


def play(stage: Stage, program: str, *, step: dict[str, Any] | None = None, **environment: str) -> dict[str, Any]:
    """The one step of a run whose agent is this program."""
    stage.program("claude", PRELUDE + program)
    stage.workflow([{"name": "act", "prompt": "do it", **(step or {})}], secrets=["TOKEN"], isolation="none")
    ended = stage.run("--json", TOKEN="hunter2-hunter2", **environment)
    assert "Traceback" not in ended.err
    found: dict[str, Any] = ended.json()["steps"][0]
    return found


def journal_bytes(stage: Stage) -> int:
    return sum(path.stat().st_size for path in stage.session.last_run().glob("journal.db*"))


def test_names_that_an_agent_gives_itself_are_short_and_show_no_secret(stage: Stage) -> None:
    names = 'event(type="system", subtype="init", session_id="id-" + os.environ["TOKEN"], model="m" * 1_000_000)\nresult()'
    step = play(stage, names, step={"secrets": ["TOKEN"]})
    (attempt,) = step["attempts"]
    assert attempt["session_id"] == "id-***"
    assert attempt["model"] == "m" * 200
    assert journal_bytes(stage) < 500_000


def test_an_error_without_end_is_one_line_and_its_last_4_kb(stage: Stage) -> None:
    error = '"first line\\n" + "".join(f"line {number}\\n" for number in range(100_000)) + "the last words"'
    step = play(stage, f'result({error}, is_error=True, subtype="error_during_execution")')
    text = step["attempts"][0]["error"]
    assert step["reason"] == "first line"
    assert text.startswith("act, attempt 1: first line\n")
    assert text.endswith("\nline 99999\nthe last words")
    assert 4000 < len(text.encode()) < 4200
    assert step["output_bytes"] > 1_000_000
    assert journal_bytes(stage) < 500_000


def test_an_error_of_one_line_without_end_is_cut(stage: Stage) -> None:
    step = play(stage, 'result("x" * 1_000_000, is_error=True, subtype="error_during_execution")')
    assert step["reason"] == "x" * 299 + "…"
    assert step["attempts"][0]["error"] == f"act, attempt 1: {step['reason']}\n{'x' * 4096}"


def test_a_short_error_is_told_once(stage: Stage) -> None:
    step = play(stage, 'result("no more disk", is_error=True, subtype="error_during_execution")')
    assert (step["reason"], step["attempts"][0]["error"]) == ("no more disk", "act, attempt 1: no more disk")


def test_the_last_words_on_stderr_come_with_a_lost_agent(stage: Stage) -> None:
    step = play(stage, 'sys.stderr.write("loading\\nsegmentation fault\\n"); sys.exit(3)', step={"retries": 0})
    assert step["reason"] == "the agent ended (exit code 3) without a result: segmentation fault"
    assert step["attempts"][0]["error"] == f"act, attempt 1: {step['reason']}\nloading\nsegmentation fault"


def test_a_line_without_end_is_no_event_and_fills_no_memory(stage: Stage) -> None:
    endless = 'for _ in range(100):\n    sys.stdout.write("x" * (1 << 20))\nsys.stdout.write("\\n")\nresult()'
    stage.program("claude", PRELUDE + endless)
    stage.workflow([{"name": "act", "prompt": "do it"}], isolation="none")
    command = stage.session.command("run", "flow.yaml", "--quiet")
    ended = measured(command, stage.session.path, stage.session.environment, stage.session.home)
    assert ended.code == 0
    assert ended.peak < 200 * 1024 * 1024
    assert (stage.session.last_run() / "logs" / "act.1.log").stat().st_size > 100 * (1 << 20)


def test_an_answer_of_a_command_without_end_is_refused_and_not_cut(stage: Stage) -> None:
    stage.program("chatter", 'import sys\nfor _ in range(17):\n    sys.stdout.write("x" * (1 << 20))\n')
    step = {"name": "act", "prompt": "do it", "config": {"agent": "command", "command": ["chatter"]}}
    stage.workflow([step], isolation="none")
    (attempt,) = stage.run("--json").json()["steps"][0]["attempts"]
    assert (attempt["error_kind"], attempt["error"]) == ("failed", "act, attempt 1: the answer is longer than 16 MB")


def test_a_ctrl_c_after_the_whole_result_does_not_take_it_back(stage: Stage) -> None:
    stage.program("claude", PRELUDE + 'result("the answer")\ntime.sleep(300)')
    stage.workflow([{"name": "act", "prompt": "do it"}], isolation="none")
    running = stage.session.start("run", "flow.yaml", "--run-id", "r1")
    said = stage.session.path / ".cpool" / "runs" / "r1" / "logs" / ".slot-1.out"
    assert eventually(lambda: said.exists() and b"the answer" in said.read_bytes())
    running.send_signal(signal.SIGINT)
    running.wait(60)
    step = stage.session.status("r1")["steps"][0]
    assert (step["status"], step["output"]) == ("success", "the answer")
    assert stage.survivors() == []


def test_a_ctrl_c_before_the_result_is_a_cancel_even_where_one_comes_after_it(stage: Stage) -> None:
    # The signal is waited for, not handled: a handler could come in the middle of the line that is printed before.
    late = (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, {2})\n"
        'event(type="system", subtype="init")\nsignal.sigwait({2})\nresult("late")\nos._exit(0)'
    )
    stage.program("claude", PRELUDE + late)
    stage.workflow([{"name": "act", "prompt": "do it"}], isolation="none")
    running = stage.session.start("run", "flow.yaml", "--run-id", "r1")
    said = stage.session.path / ".cpool" / "runs" / "r1" / "logs" / ".slot-1.out"
    assert eventually(lambda: said.exists() and b"init" in said.read_bytes())
    running.send_signal(signal.SIGINT)
    assert running.wait(60) == 130
    (attempt,) = stage.session.status("r1")["steps"][0]["attempts"]
    assert (attempt["error_kind"], attempt["exit_code"], attempt["cost_usd"]) == ("cancelled", 0, 0.01)


def test_the_schema_of_events_names_nothing_that_an_agent_could_break(stage: Stage) -> None:
    odd = 'event(type="system", subtype="init", session_id=7, model=["x"])\nresult(session_id={}, num_turns="many", modelUsage=3)'
    step = play(stage, odd)
    assert step["status"] == "success"
    assert json.dumps(step["attempts"][0]["turns"]) == "0"
