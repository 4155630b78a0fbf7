"""Any program as an agent: prompt in, answer out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cpool_flow.agents.command import Command, CommandReader
from cpool_flow.agents.protocol import AgentResult, Ending
from cpool_flow.errors import InvalidInput


def run(folder: Path, *command: str, prompt: str = "the prompt", **more: Any) -> AgentResult:
    place = folder / "place"
    place.mkdir(exist_ok=True)
    config = {"command": list(command), **more.pop("config", {})}
    watching = {key: more.pop(key) for key in ("stop_when", "idle_seconds") if key in more}
    return Attempt(Command(), request(place, prompt, config=config, **more), **watching).run()


def test_the_prompt_is_on_stdin_and_stdout_is_the_answer(tmp_path: Path) -> None:
    found = run(tmp_path, "cat", prompt="  line one\nline two ü\n\n")
    assert (found.kind, found.answer, found.cost_usd, found.turns) == (None, "line one\nline two ü", None, None)


def test_an_exit_code_is_a_failure_with_the_words_of_stderr(tmp_path: Path) -> None:
    found = run(tmp_path, "sh", "-c", "echo half; echo why >&2; exit 3")
    assert (found.kind, found.error, found.answer) == ("failed", "the agent ended with exit code 3: why", "half")


def test_a_death_by_signal_is_lost(tmp_path: Path) -> None:
    assert run(tmp_path, "sh", "-c", "kill -9 $$").kind == "lost"


def test_an_empty_answer_is_a_failure(tmp_path: Path) -> None:
    assert run(tmp_path, "true").error == "the answer is empty"


def test_a_program_that_does_not_read_its_prompt_is_no_problem(tmp_path: Path) -> None:
    assert run(tmp_path, "echo", "hi", prompt="x" * 1_000_000).answer == "hi"


def test_bytes_that_are_no_text_are_replaced(tmp_path: Path) -> None:
    assert run(tmp_path, "printf", r"a\377b").answer == "a\ufffdb"


def test_stopping_is_the_verdict(tmp_path: Path) -> None:
    assert run(tmp_path, "sleep", "300", idle_seconds=0.2).kind == "timeout"
    started = tmp_path / "place" / "started"
    assert run(tmp_path, "sh", "-c", "touch started; exec sleep 300", stop_when=started.exists).kind == "cancelled"


def test_its_environment_is_scrubbed(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/h", "LC_ALL": "C", "SOME_SECRET": "s", "ANTHROPIC_API_KEY": "k"}
    found = run(
        tmp_path,
        "env",
        environment=environment,
        step_environment={"DECLARED": "step"},
        config={"env": {"DECLARED": "config", "CONFIGURED": "too"}},
        system_prompt="Be brief.",
    )
    lines = set(found.answer.splitlines())
    assert {"HOME=/h", "LC_ALL=C", "DECLARED=step", "CONFIGURED=too", "CPOOL_SYSTEM_PROMPT=Be brief."} <= lines
    assert not [line for line in lines if line.startswith(("SOME_SECRET", "ANTHROPIC"))]


def test_a_missing_program_is_known_before_the_run(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"]}
    with pytest.raises(InvalidInput, match="`no-such-agent` was not found"):
        Command().check(request(tmp_path, config={"command": ["no-such-agent"]}).config, environment)
    with pytest.raises(InvalidInput, match="needs `command`"):
        Command().check(request(tmp_path).config, environment)
    for unknown in ("./agent.sh", "{{ args.agent }}", "cat"):
        Command().check(request(tmp_path, config={"command": [unknown]}).config, environment)


@pytest.mark.parametrize(("text", "message"), [("a\0b", "NUL"), ("\ud800", "surrogate"), ("x" * 200_000, "200,000 bytes")])
def test_what_the_system_does_not_take_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        Command().prepare(request(tmp_path, config={"command": ["cat", text]}))
    with pytest.raises(InvalidInput, match="`LONG`"):
        Command().prepare(request(tmp_path, config={"command": ["cat"]}, step_environment={"LONG": text + "x" * 200_000}))


def test_an_answer_without_end_is_not_kept() -> None:
    reader = CommandReader()
    for _ in range(80):
        reader.feed(b"x" * (1 << 20))
    found = reader.finish(Ending(exit_code=0, now=0.0))
    assert (found.kind, found.error, len(found.answer)) == ("failed", "the answer is longer than 16 MB", (15 << 20) + 14)
