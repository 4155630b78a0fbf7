"""Watching a Python pool at work: what its agents say, how far a task is, and the records of `logging` (rows F5, F15, F16, F32, F37)."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pools import ROOT, Agent, ended, pool_in

from cpool_flow.pool import Answer, Call

pytestmark = pytest.mark.usefixtures("own_home")

# Prints what Claude Code prints: a text, a tool, and the rest when it is let.
TALKER = """#!/bin/bash
cat > /dev/null
echo '{"type": "system", "subtype": "init", "session_id": "s", "model": "m"}'
echo '{"type": "assistant", "message": {"id": "1", "content": [{"type": "text", "text": "I look.\\nThen I write."}], "usage": {"output_tokens": 5}}}'
echo '{"type": "assistant", "message": {"id": "2", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "ls"}}]}}'
until [ -e go ]; do sleep 0.01; done
echo '{"type": "assistant", "message": {"id": "3", "content": [{"type": "text", "text": "Done, hunter2hunter2."}]}}'
echo '{"type": "result", "subtype": "success", "is_error": false, "result": "Done.", "num_turns": 3, "total_cost_usd": 0.5, "session_id": "s", "usage": {"input_tokens": 3, "output_tokens": 9}}'
"""


def test_f5_f32_what_an_agent_says_is_told_while_it_works(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "bin").mkdir()
    (here / "bin" / "claude").write_text(TALKER)
    (here / "bin" / "claude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{here / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("POOL_SECRET", "hunter2hunter2")

    async def test() -> None:
        async with pool_in(here, "claude", secrets=["POOL_SECRET"]) as pool:
            all_events = pool.events()
            task = pool.submit("go", retries=0)
            said = []
            async for text in task.said():
                said.append(text)
                if text == "Bash ls":
                    assert (task.done, task.progress().said) == (False, "Bash ls")
                    (here / "go").touch()
            assert said == ["I look.\nThen I write.", "Bash ls", "Done, ***."]
            assert (await task).text == "Done."
        events = [event async for event in all_events if event.kind == "Said"]
        assert [(event.task, event.data) for event in events[:1]] == [
            ("task-1", {"task": "task-1", "number": 1, "text": "I look.\nThen I write."})
        ]

    ended(test())


def test_f5_a_function_says_what_it_does_and_each_step_is_told_apart(here: Path) -> None:
    async def agent(call: Call) -> str:
        call.say(f"on it: {call.prompt}")
        return call.prompt

    async def test() -> None:
        async with pool_in(here, agent) as pool:
            chain = pool.chain(["a", "{{ previous.output }}b"])
            other = pool.submit("c")
            told = [(event.data["task"], event.data["text"]) async for event in chain.events() if event.kind == "Said"]
            assert told == [("chain-1/step_1", "on it: a"), ("chain-1/step_2", "on it: ab")]
            assert (await other).ok
            with pytest.raises(TypeError):
                Call("p", "t", 1, None, ".", {}).say(3)  # type: ignore[arg-type]

    ended(test())


def test_f15_how_far_a_piece_of_work_is_can_be_asked_at_any_time(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            chain = pool.chain(["a", {"name": "b", "prompt": "b"}, {"name": "c", "run": "true"}])
            before = chain.progress()
            assert (before.status, dict(before.steps), before.ended_steps) == ("pending", {}, 0)
            await agent.begun.acquire()
            agent.release()
            await agent.begun.acquire()
            during = chain.progress()
            assert dict(during.steps) == {"step_1": "success", "b": "running", "c": "pending"}
            assert (during.running, during.ended_steps, during.total_steps, during.status) == (("b",), 1, 3, "running")
            agent.release()
            await chain
            after = chain.progress()
            assert (after.status, dict(after.steps), after.ended_steps) == ("success", dict.fromkeys(("step_1", "b", "c"), "success"), 3)
            assert after.to_dict() == {"status": "success", "steps": {"step_1": "success", "b": "success", "c": "success"}, "said": ""}
            single = pool.submit("one")
            single.cancel()
            await single
            assert (single.progress().status, dict(single.progress().steps)) == ("cancelled", {})

    ended(test())


def records(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str, str | None]]:
    own = [record for record in caplog.records if record.name == "cpool_flow.pool"]
    return [(record.levelname, record.event, record.getMessage(), record.task) for record in own]  # type: ignore[attr-defined]


def test_f37_what_happens_is_logged_with_its_facts(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def test() -> None:
        agent = Agent(Answer(error_kind="overloaded", error="busy"), Answer("well", cost_usd=0.25), Answer(denied_tools=("Bash",)))
        config: dict[str, Any] = {"model": "haiku", "mcp_servers": {"a": {"command": "x"}, "b": {"command": "y"}}}
        async with pool_in(here, agent, slots=1, run_id="night", config=config) as pool:
            await pool.run("x", effort="high", retries=1, retry={"delay": "0s"})
            await pool.run("y", name="denied")

    with caplog.at_level(logging.DEBUG, logger="cpool_flow"):
        ended(test())
    started = "{} starts on slot-1: agent function, model haiku, effort {}, 2 MCP servers"
    assert [(level, event, message) for level, event, message, _ in records(caplog)] == [
        ("DEBUG", "StepAdded", "task-1 was given to the pool"),
        ("DEBUG", "AttemptStarted", started.format("task-1, attempt 1,", "high")),
        ("WARNING", "AttemptFinished", "task-1, attempt 1: overloaded: busy"),
        ("INFO", "RetryScheduled", "task-1 is tried again: overloaded, retry 1 of 1"),
        ("DEBUG", "AttemptStarted", started.format("task-1, attempt 2,", "high")),
        ("DEBUG", "AttemptFinished", "task-1, attempt 2: success"),
        ("INFO", "TaskEnded", "task-1: success"),
        ("DEBUG", "StepAdded", "denied was given to the pool"),
        ("DEBUG", "AttemptStarted", started.format("denied, attempt 1,", "default")),
        (
            "WARNING",
            "AttemptFinished",
            "denied, attempt 1: permission_denied: the agent was refused a tool that it asked for: `Bash`",
        ),
        ("INFO", "TaskEnded", "denied: failed"),
    ]
    facts = vars(caplog.records[1])
    assert {key: facts[key] for key in ("run", "task", "slot", "agent", "model", "effort", "mcp_servers", "attempt")} == {
        "run": "night",
        "task": "task-1",
        "slot": "slot-1",
        "agent": "function",
        "model": "haiku",
        "effort": "high",
        "mcp_servers": 2,
        "attempt": 1,
    }
    assert (vars(caplog.records[5])["cost_usd"], vars(caplog.records[9])["denied_tools"]) == (0.25, ["Bash"])


def test_f37_a_quarantined_slot_and_a_usage_limit_are_warnings(here: Path, caplog: pytest.LogCaptureFixture) -> None:
    (here / "answers.yaml").write_text("steps:\n  limit: [{error: rate_limited, resets_in_seconds: 0.2}, well]\ndefault: {error: lost}\n")

    async def test() -> None:
        async with pool_in(here, "scripted", config={"script": "answers.yaml"}) as pool:
            assert (await pool.run("x", name="limit")).ok
            await pool.fan_out(list("abcdef"), retries=0)

    with caplog.at_level(logging.WARNING, logger="cpool_flow.pool"):
        ended(test())
    found = records(caplog)
    assert {level for level, *_ in found} == {"WARNING"}
    assert any(event == "AgentParked" and message.startswith("scripted is at its usage limit until ") for _, event, message, _ in found)
    assert any(event == "SlotQuarantined" and " is quarantined until " in message and "died" in message for _, event, message, _ in found)


def test_f37_who_configures_no_logging_sees_nothing(here: Path) -> None:
    program = """
import asyncio
from cpool_flow import Pool

async def agent(call):
    raise ValueError("no")

async def main():
    async with Pool(agent=agent) as pool:
        await pool.run("x")

asyncio.run(main())
"""
    environment = {"PYTHONPATH": str(ROOT / "runner"), "HOME": str(here), "PATH": "/usr/bin:/bin"}
    ran = subprocess.run([sys.executable, "-c", program], cwd=here, env=environment, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


def test_f15_events_of_a_task_come_to_its_end_without_anybody_who_reads_them(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            task = pool.submit("x")
            said = task.said()
            await task
            assert [text async for text in said] == []
            await asyncio.sleep(0)
            assert pool._listeners == []

    ended(test())
