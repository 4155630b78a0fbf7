"""What every adapter must do, whatever its CLI is called: one table of what each CLI prints, and one set of tests over all of them.

The CLI is a program of ours that prints a recording and then ends or misbehaves (`fake_cli.py`).
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cases import CASES, case_path, cases
from cpool_flow import agents
from cpool_flow.agents.protocol import AgentResult, Ending, private_files
from cpool_flow.errors import InvalidInput
from cpool_flow.executor.agent_lines import AgentLines
from cpool_flow.executor.work import Watch, Work
from cpool_flow.own_agent import OwnAgent
from cpool_flow.process import Command, Processes
from survivors import survivors

KEY = "sk-a-key-of-somebody"


@dataclass(frozen=True)
class Voice:
    """How one CLI speaks. `begin`: lines before its result; `end`: those that make it a success with the answer `done`."""

    begin: tuple[dict[str, Any], ...]
    end: tuple[dict[str, Any], ...]
    key: str
    # Whether an event of its own says that it is done. Without one, only the end of the process does.
    tells_its_end: bool = True
    silent: str = "timeout"
    recordings: dict[str, str] = field(default_factory=dict)


VOICES = {
    "claude": Voice(
        (
            {"type": "system", "subtype": "init", "session_id": "s", "model": "m"},
            {"type": "assistant", "message": {"id": "1", "content": [{"type": "text", "text": "hm"}]}},
        ),
        (
            {"type": "result", "subtype": "success", "is_error": False, "result": "done", "num_turns": 1, "session_id": "s", "usage": {"input_tokens": 9, "output_tokens": 3}},
        ),
        "ANTHROPIC_API_KEY",
        recordings={
            "claude-2.1.330-success": "success", "claude-2.1.330-tool-denied": "permission_denied", "claude-2.1.330-http-401-retries0": "auth",
            "claude-2.1.330-sub-rejected-5h": "rate_limited", "claude-2.1.330-http-529-retries0": "overloaded", "claude-2.1.330-empty-text": "failed",
            "claude-2.1.330-bad-flag": "invalid",
        },
    ),
    "codex": Voice(
        ({"type": "thread.started", "thread_id": "s"}, {"type": "turn.started"}),
        (
            {"type": "item.completed", "item": {"id": "1", "type": "agent_message", "text": "done"}},
            {"type": "turn.completed", "usage": {"input_tokens": 9, "output_tokens": 3}},
        ),
        "OPENAI_API_KEY",
        recordings={
            "codex-0.169.0-success": "success", "codex-0.169.0-http-401": "auth", "codex-0.169.0-usage-limit": "rate_limited",
            "codex-0.169.0-http-500": "overloaded", "codex-0.169.0-empty-text": "failed", "codex-0.169.0-badflag": "invalid",
        },
    ),
    "gemini": Voice(
        ({"type": "init", "session_id": "s", "model": "m"}, {"type": "message", "role": "user", "content": "x"}),
        (
            {"type": "message", "role": "assistant", "content": "done", "delta": True},
            {"type": "result", "status": "success", "stats": {"input_tokens": 9, "output_tokens": 3}},
        ),
        "GEMINI_API_KEY",
        recordings={
            "gemini-0.61.0-stream-success": "success", "gemini-0.61.0-tool-denied": "permission_denied", "gemini-0.61.0-http-401": "auth",
            "gemini-0.61.0-429-sj": "rate_limited", "gemini-0.61.0-cut": "overloaded", "gemini-0.61.0-empty": "failed",
            "gemini-0.61.0-badflag": "invalid",
        },
    ),
    "opencode": Voice(
        ({"type": "step_start", "sessionID": "s", "part": {}},),
        (
            {"type": "text", "sessionID": "s", "part": {"text": "done"}},
            {"type": "step_finish", "sessionID": "s", "part": {"reason": "stop", "cost": 0.5, "tokens": {"input": 9, "output": 3}}},
        ),
        "ANTHROPIC_API_KEY",
        # Of a server that refuses it says nothing on stdout: silence is a server that does not answer.
        silent="overloaded",
        recordings={
            "opencode-1.18.33-success": "success", "opencode-1.18.33-tool-ask": "permission_denied", "opencode-1.18.33-http-401": "auth",
            "opencode-1.18.33-empty": "failed", "opencode-1.18.33-badflag": "invalid",
        },
    ),
    "mycli": Voice(
        ({"kind": "start", "session": "s"},),
        ({"kind": "say", "text": "do"}, {"kind": "say", "text": "ne"}, {"kind": "end", "tokens": [9, 3], "cost": 0.5}),
        "MYCLI_KEY",
        tells_its_end=False,
    ),
}  # fmt: skip
OWN = OwnAgent.model_validate({
    "command": ["mycli"], "options": {"resume": ["--resume={}"], "fork": ["--fork={}"], "replace_system_prompt": ["{}"]},
    "output": "json_lines", "event_key": "kind", "answer": {"event": "say", "path": "text", "all": True}, "session_id": "session",
    "input_tokens": "tokens[0]", "output_tokens": "tokens[1]", "cost_usd": "cost", "credentials": ["MYCLI_KEY"],
    "install": "npm install -g mycli",
})  # fmt: skip


class Stage:
    """A folder with the CLI on its PATH, and one attempt there."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.voice = name, VOICES[name]
        self.adapter = agents.adapter_of(name, {"mycli": OWN})
        self.place = folder / "place"
        self.place.mkdir()
        self._play, self._saw = folder / "play.json", folder / "saw.json"
        program = folder / "bin" / name
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{Path(__file__).with_name("fake_cli.py")}" "$@"\n')
        program.chmod(0o755)
        self.environment = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(folder), self.voice.key: KEY, "SOME_TOKEN": "t"}
        self.attempt: Attempt | None = None

    def request(self, lines: list[str], then: str, errors: tuple[str, ...] = (), prompt: str = "do it", **more: Any) -> Any:
        play = {"stdout": lines, "stderr": errors, "then": then, "saw": str(self._saw)}
        self._play.write_text(json.dumps(play))
        step = {"FAKE_PLAY": str(self._play), **more.pop("step_environment", {})}
        return request(self.place, prompt, environment=self.environment, step_environment=step, **more)

    def play(self, lines: list[str], then: str = "exit 0", errors: tuple[str, ...] = (), **more: Any) -> AgentResult:
        watching = {key: more.pop(key) for key in ("stop_when", "idle_seconds", "grace_seconds") if key in more}
        self.attempt = Attempt(self.adapter, self.request(lines, then, errors, **more), **watching)
        return self.attempt.run()

    @property
    def begin(self) -> list[str]:
        return [json.dumps(line) for line in self.voice.begin]

    @property
    def good(self) -> list[str]:
        return [*self.begin, *(json.dumps(line) for line in self.voice.end)]

    @property
    def saw(self) -> dict[str, Any]:
        """How the CLI was called: `argv`, `stdin`, `environment`."""
        found = json.loads(self._saw.read_text())
        assert isinstance(found, dict)
        return found

    @property
    def started(self) -> Callable[[], bool]:
        return self._saw.exists


@pytest.fixture(params=VOICES)
def stage(request: Any, tmp_path: Path) -> Stage:
    return Stage(tmp_path, request.param)


def test_a_good_run_is_a_success_with_its_answer_its_session_and_its_tokens(stage: Stage) -> None:
    found = stage.play(stage.good)
    assert (found.kind, found.answer, found.session_id, found.error) == (None, "done", "s", "")
    assert (found.input_tokens, found.output_tokens) == (9, 3)
    # A CLI that reports no cost has an unknown one, which is not zero.
    assert found.cost_usd == {"opencode": 0.5, "mycli": 0.5}.get(stage.name)


def test_the_prompt_comes_on_stdin_whole_and_is_on_no_command_line(stage: Stage) -> None:
    prompt = "-x /etc/passwd ü " + "0123456789" * 20_000
    assert stage.play(stage.good, prompt=prompt).kind is None
    assert stage.saw["stdin"].strip() == prompt
    assert "0123456789" not in " ".join(stage.saw["argv"])


def test_a_prompt_is_never_a_command_of_the_cli(stage: Stage) -> None:
    stage.play(stage.good, prompt="/help me")
    if stage.name in ("claude", "gemini"):  # the others know no commands on stdin
        assert not stage.saw["stdin"].startswith("/")
    assert stage.saw["stdin"].strip() == "/help me"


def test_the_environment_holds_what_the_cli_needs_and_what_was_declared_and_nothing_else(stage: Stage) -> None:
    stage.play(stage.good, step_environment={"DECLARED": "yes"}, config={"env": {"CONFIGURED": "too"}})
    found = stage.saw["environment"]
    assert (found["DECLARED"], found["CONFIGURED"], found[stage.voice.key]) == ("yes", "too", KEY)
    assert "SOME_TOKEN" not in found
    assert stage.voice.key in stage.adapter.credentials  # so its value is masked
    assert KEY not in " ".join(stage.saw["argv"])


def test_the_system_prompt_reaches_the_cli(stage: Stage) -> None:
    for text in ("Shared context:\n- team: payments", "long " * 30_000):
        assert stage.play(stage.good, system_prompt=text).kind is None
        saw = stage.saw
        there = "\n".join([*saw["argv"], saw["stdin"], *_private(stage)])
        assert text[:25] in there or json.dumps(text[:25])[1:-1] in there


def _private(stage: Stage) -> list[str]:
    """What was handed over by file."""
    assert stage.attempt is not None
    assert stage.attempt.invocation is not None
    return [file.data.decode() for file in stage.attempt.invocation.files]


SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


@pytest.mark.parametrize("schema", [SCHEMA, {"type": "array", "items": {"const": "xyzzy"}}])
def test_a_schema_reaches_the_cli_by_its_flag_or_in_words(stage: Stage, schema: Any) -> None:
    stage.play(stage.good, schema=schema)
    saw = stage.saw
    there = "\n".join([*saw["argv"], saw["stdin"], *_private(stage)]).replace("\\", "")
    assert json.dumps(schema) in there
    by_flag = stage.adapter.capabilities.schema and schema is SCHEMA
    assert ("It must be valid against this JSON Schema" in there) == (not by_flag)


def test_private_files_are_gone_afterwards(stage: Stage) -> None:
    stage.play(stage.good, system_prompt="x " * 60_000, schema=SCHEMA, config={"replace_system_prompt": "y"})
    assert os.listdir(stage.place.parent / "private") == []


def test_lines_that_are_no_events_and_an_event_of_eight_megabytes_are_no_matter(stage: Stage) -> None:
    noise = ["warning: x", "{", "[1, 2]", '{"type": 7}', '{"type": "unheard-of", "value": "HUGE"}', "\x1b[31m\x00", ""]
    assert stage.play([*noise, *stage.good]).kind is None


@pytest.mark.parametrize("then", ["exit 0", "exit 1"])
def test_an_end_without_a_result_is_lost_whatever_the_exit_code(stage: Stage, then: str) -> None:
    found = stage.play(stage.begin, then, ("something broke",))
    assert found.kind == ("lost" if stage.voice.tells_its_end or then == "exit 0" else "failed")
    assert "something broke" in found.error


def test_a_death_by_signal_is_lost(stage: Stage) -> None:
    found = stage.play(stage.begin, "signal 9")
    assert (found.kind, "signal 9" in found.error) == ("lost", True)


def test_nothing_at_all_is_lost(stage: Stage) -> None:
    assert stage.play([]).kind == "lost"


def test_a_bad_end_after_a_good_result_is_a_failure(stage: Stage) -> None:
    assert stage.play(stage.good, "exit 3").kind == "failed"
    assert stage.play(stage.good, "signal 15").kind == ("failed" if stage.voice.tells_its_end else "lost")


def test_one_that_stays_after_its_result_is_ended_and_is_a_success(stage: Stage) -> None:
    if not stage.voice.tells_its_end:
        pytest.skip("nobody can tell that it is done")
    assert stage.play(stage.good, "hang", grace_seconds=0.1).kind is None
    assert stage.attempt is not None
    assert stage.attempt.ended_by_us


def test_silence_is_a_time_out_or_a_server_that_does_not_answer(stage: Stage) -> None:
    assert stage.play(stage.begin, "hang", idle_seconds=0.5).kind == stage.voice.silent


def test_a_cancel_is_a_cancel(stage: Stage) -> None:
    assert stage.play(stage.begin, "hang", stop_when=stage.started).kind == "cancelled"


def test_a_missing_program_is_known_beforehand_with_the_way_to_get_it(stage: Stage) -> None:
    with pytest.raises(InvalidInput) as refused:
        stage.adapter.check(stage.request([], "exit 0").config, {"PATH": "/nowhere"})
    assert f"`{stage.name}` was not found" in refused.value.problems[0].message
    assert "npm install -g" in (refused.value.problems[0].help or "")


def test_an_empty_prompt_is_refused_before_the_start(stage: Stage) -> None:
    with pytest.raises(InvalidInput, match="the prompt is empty"):
        stage.adapter.prepare(stage.request([], "exit 0", prompt=" \n"))


def test_a_session_is_gone_on_with_by_its_id(stage: Stage) -> None:
    stage.play(stage.good, resume="s", session_id="s")
    assert [word for word in stage.saw["argv"] if word in ("s", "--resume=s", "--session=s")]
    if stage.adapter.capabilities.fork:
        stage.play(stage.good, resume="s", session_id="another")
        assert [word for word in stage.saw["argv"] if "fork" in word]
    else:
        with pytest.raises(InvalidInput, match="copy of a session"):
            stage.adapter.prepare(stage.request([], "exit 0", resume="s", session_id="another"))


def test_nothing_that_the_cli_has_started_outlives_it(stage: Stage, tmp_path: Path) -> None:
    asked = stage.request(stage.good, "child")
    mark = f"conformance-{stage.name}-{os.getpid()}-{time.monotonic_ns()}"

    async def run() -> AgentResult:
        invocation, reader = stage.adapter.prepare(asked), stage.adapter.reader(asked)
        with Processes(mark) as processes, private_files(invocation):
            command = Command(invocation.argv, invocation.directory, invocation.environment, invocation.stdin)
            lines = AgentLines(lambda data: None, reader.feed)
            watch = Watch(60, lambda: reader.tool_running, lambda: reader.turn_over, reader.stopping, lambda: reader.futile)
            ended = await Work(processes, 60).run(command, lines, lambda data: None, ladder=stage.adapter.ladder, watch=watch)
            lines.end()
        return reader.finish(Ending(exit_code=ended.exit.code, signal=ended.exit.signal, now=time.time(), ended_by_us=ended.ended_by_us))

    assert asyncio.run(run()).kind is None
    assert survivors(mark) == []


RECORDINGS = [(name, recording, kind) for name, voice in VOICES.items() for recording, kind in voice.recordings.items()]


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
@pytest.mark.parametrize(("name", "recording", "kind"), RECORDINGS, ids=[recording for _, recording, _ in RECORDINGS])
def test_a_recording_that_is_played_has_its_verdict(tmp_path: Path, name: str, recording: str, kind: str) -> None:
    case = next(case for case in cases("agents/cases.json") if case["case"] == recording)
    streams = {key: (case_path("agents") / case[key]).read_text().splitlines() if case[key] else [] for key in ("stdout", "stderr")}
    found = Stage(tmp_path, name).play(streams["stdout"], f"exit {case['exit_code']}", tuple(streams["stderr"]))
    assert (found.kind or "success") == kind, found.error
