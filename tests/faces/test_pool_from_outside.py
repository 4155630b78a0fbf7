"""The run of a Python pool that is kept in a store, as the command line sees it: while it works, after a crash, at its end."""

from __future__ import annotations

import subprocess
import sys

import pytest
from session import Session

from survivors import eventually

ANSWERS = """\
steps:
  second: [{hang: true}, {answer: second done, cost_usd: 0.5}]
default: {answer: well, cost_usd: 0.25}
"""
KILLED = """\
import asyncio, os
from cpool_flow import Pool

async def function(call):
    return call.prompt

async def main():
    agent = AGENT
    async with Pool(slots=1, agent=agent, config={"script": "answers.yaml"}, store=".", run_id="night", context={"k": "v"}) as pool:
        await pool.run("first", name="first")
        pool.submit("second", name="second")
        pool.chain(["third", {"name": "say", "run": "echo hi"}], name="chain")
        async for event in pool.events("second"):
            if event.kind == "AttemptStarted":
                os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def _killed(session: Session, agent: str) -> None:
    session.file("answers.yaml", ANSWERS)
    session.file("night.py", KILLED.replace("AGENT", agent))
    assert session.program(sys.executable, "night.py").code == -9


@pytest.fixture
def killed(session: Session) -> Session:
    _killed(session, '"scripted"')
    return session


def test_resume_does_what_a_killed_pool_had_left(killed: Session) -> None:
    assert killed.flow("status", "night").out.splitlines()[-1].endswith("go on: cpool-flow resume night")
    resumed = killed.flow("resume", "night")
    assert (resumed.code, resumed.err.splitlines()[-1].split(" · ")[:2]) == (0, ["success", "3/3 steps"])
    document = killed.status("night")
    assert [(step["name"], step["status"], len(step["attempts"])) for step in document["steps"]] == [
        ("first", "success", 1),
        ("second", "success", 2),
        ("chain", "success", 0),
    ]
    assert (document["status"], document["cost_at_least_usd"]) == ("success", 1.0)
    assert killed.flow("logs", "night", "chain/say").out == "── chain/say attempt 1\nhi\n"
    assert killed.flow("explain", "night", "second").code == 0
    assert "`chain/say`" in killed.flow("report", "night").out
    assert 's_first("first · prompt")' in killed.flow("report", "night").out
    assert killed.flow("runs", "--json").json()["runs"][0]["status"] == "success"
    again = killed.flow("resume", "night")
    assert (again.code, again.err) == (0, "nothing to do: run night has succeeded\n")


def test_cancel_ends_a_killed_pool(killed: Session) -> None:
    assert killed.flow("cancel", "night").code == 0
    assert [(step["name"], step["status"]) for step in killed.status("night")["steps"]] == [
        ("first", "success"),
        ("second", "cancelled"),
        ("chain", "cancelled"),
    ]
    assert killed.flow("resume", "night").code == 0  # what was cancelled is done after all
    assert killed.status("night")["status"] == "success"


@pytest.mark.parametrize("command", [("rerun", "night"), ("rerun", "night", "--from", "second"), ("test", "--init", "night")])
def test_what_a_program_gave_to_a_pool_cannot_be_done_again_without_it(killed: Session, command: tuple[str, ...]) -> None:
    before = list((killed.path / ".cpool" / "runs").iterdir())
    refused = killed.flow(*command)
    assert (refused.code, refused.err.splitlines()[0]) == (2, "error: run `night` is that of a pool: a program gave it its work, no file")
    assert list((killed.path / ".cpool" / "runs").iterdir()) == before


@pytest.mark.parametrize("options", [(), ("--detach",), ("--json",)])
def test_a_pool_whose_agent_was_a_function_is_gone_on_with_by_its_program_alone(session: Session, options: tuple[str, ...]) -> None:
    _killed(session, "function")
    refused = session.flow("resume", "night", *options)
    assert refused.code == 2
    assert refused.err == (
        "error: the agent of the pool `night` was a function of a Python program\n"
        'help: go on with it there: `Pool(agent=…, store=…, resume="night")`\n'
    )
    assert session.flow("cancel", "night").code == 0
    assert session.status("night")["status"] == "cancelled"
    assert session.flow("logs", "night").code == session.flow("report", "night").code == session.flow("runs").code == 0


def test_credentials_are_masked_where_a_resume_works_on_a_pool(session: Session) -> None:
    session.file(
        "night.py",
        KILLED.replace("AGENT", '"command"')
        .replace('"script": "answers.yaml"', '"command": ["sh", "-c", "test -e go || sleep 100; env | grep ANTHROPIC"]')
        .replace('await pool.run("first", name="first")', "pass"),
    )
    key = "sk-secret-of-mine"
    environment = "import os\nos.environ['ANTHROPIC_API_KEY'] = ''\n"
    session.file("night.py", environment + (session.path / "night.py").read_text())
    assert session.program(sys.executable, "night.py").code == -9
    session.file("go", "")
    session.flow("resume", "night", ANTHROPIC_API_KEY=key)
    for path in (session.path / ".cpool").rglob("*"):
        assert not path.is_file() or key.encode() not in path.read_bytes(), path


LIVING = """\
import asyncio, pathlib
from cpool_flow import Pool
from cpool_flow.pool import PoolIsClosed

async def hangs(call):
    await asyncio.sleep(1000)

async def main():
    async with Pool(slots=1, agent=hangs, store=".", run_id="living") as pool:
        task = pool.submit("work")
        async for event in task.events():
            if event.kind == "AttemptStarted":
                pathlib.Path("begun").touch()
        result = await task
        print(result.status, "·", result.reason)
        later = await pool.run("more")
        print(later.status, "·", later.reason)

asyncio.run(main())
"""


def test_a_pool_that_works_is_seen_and_cancelled_from_outside(session: Session) -> None:
    session.file("living.py", LIVING)
    with open(session.home / "out.txt", "wb") as out:
        program = subprocess.Popen([sys.executable, "living.py"], cwd=session.path, env=session.environment, stdout=out)
    assert eventually((session.path / "begun").exists)
    assert session.status("living")["steps"][0]["status"] == "running"
    busy = session.flow("resume", "living")
    assert (busy.code, "is being worked on by process" in busy.err) == (2, True)
    assert session.flow("cancel", "living").code == 0
    assert program.wait(30) == 0
    assert session.status("living")["status"] == "cancelled"
    reason = "cancelled by `cpool-flow cancel`"
    assert (session.home / "out.txt").read_text() == f"cancelled · {reason}\ncancelled · {reason}\n"
