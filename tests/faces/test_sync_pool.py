"""The pool without a loop: from one thread, from several, and from places where nobody can wait for it."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pools import ROOT, Agent, echo

from cpool_flow.errors import InvalidInput
from cpool_flow.pool import Answer, Call, Pool, PoolIsClosed, SyncPool
from survivors import eventually

pytestmark = pytest.mark.usefixtures("own_home")


def sync_pool(here: Path, agent: object = echo, slots: int = 2) -> SyncPool:
    return Pool.sync(slots=slots, agent=agent, directory=here, project=here)


def test_several_threads_share_one_pool(here: Path) -> None:
    with sync_pool(here) as pool, ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda n: pool.run(f"t{n}").text, range(40)))
        summaries = list(threads.map(lambda _: pool.drain(), range(3)))
    assert texts == [f"t{n}" for n in range(40)]
    assert [each.succeeded_tasks for each in summaries] == [40] * 3


def test_a_task_is_given_by_one_thread_and_waited_for_by_another(here: Path) -> None:
    agent = Agent("one", held=True)
    with sync_pool(here, agent) as pool, ThreadPoolExecutor(1) as threads:
        task = pool.submit("x", name="mine")
        assert (task.id, task.done) == ("mine", False)
        with pytest.raises(TimeoutError):
            task.result(timeout_seconds=0.01)
        waiting = threads.submit(task.result)
        agent.go.release()
        assert waiting.result().text == "one"
        assert (task.done, task.cancel()) == (True, False)
    assert task.result().text == "one"


def test_a_task_can_be_cancelled_from_anywhere(here: Path) -> None:
    with sync_pool(here, Agent(held=True)) as pool:
        task = pool.submit("x")
        assert task.cancel()
        assert task.result().status == "cancelled"


def test_it_works_where_a_loop_runs_already(here: Path) -> None:
    async def blocked() -> str:
        with sync_pool(here) as pool:
            return pool.run("x").text

    assert asyncio.run(blocked()) == "x"


def test_outside_of_its_block_it_takes_nothing(here: Path) -> None:
    pool = sync_pool(here)
    with pytest.raises(PoolIsClosed, match="not entered yet"):
        pool.run("x")
    with pool:
        pool.run("x")
    for call in (lambda: pool.run("x"), lambda: pool.submit("x"), pool.drain, pool.__enter__):
        with pytest.raises(PoolIsClosed):
            call()
    assert pool.status().succeeded_tasks == 1


def test_settings_that_are_wrong_leave_no_thread(here: Path) -> None:
    before = threading.active_count()
    with pytest.raises(InvalidInput, match="`tags` is a list of texts"), Pool.sync(tags="night"):
        pass
    assert threading.active_count() == before


def test_a_function_that_waits_for_its_own_pool_is_told_so(here: Path) -> None:
    async def agent(call: Call) -> Answer:
        return Answer(pool.run("inner").text)

    with sync_pool(here, agent) as pool:
        assert "cannot wait for its own pool" in pool.run("outer").reason


def test_the_error_of_the_block_is_the_one_that_is_raised(here: Path) -> None:
    tasks = []

    def broken() -> None:
        with sync_pool(here, Agent(held=True)) as pool:
            tasks.append(pool.submit("x"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        broken()
    assert tasks[0].result().status == "cancelled"


def test_a_program_that_was_started_with_ended_children_ignored_sees_how_its_agents_ended(here: Path) -> None:
    (here / "program.py").write_text(
        "import signal\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "from cpool_flow import Pool\n"
        "with Pool.sync(slots=1, agent='command', config={'command': ['sh', '-c', 'echo x; exit 3']}) as pool:\n"
        "    print(pool.run('x', retries=0).error_kind)\n"
    )
    ran = subprocess.run(
        [sys.executable, "program.py"], cwd=here, env={"PYTHONPATH": str(ROOT / "runner"), "PATH": "/usr/bin:/bin", "HOME": str(here)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (ran.stdout, ran.returncode) == ("failed\n", 0), ran.stderr


def test_ctrl_c_cancels_what_is_waited_for_and_leaves_nothing(here: Path) -> None:
    program = here / "program.py"
    program.write_text(
        "import sys\n"
        "from cpool_flow import Pool\n"
        "with Pool.sync(slots=1, agent='command', config={'command': ['sh', '-c', 'echo $$ > pid; exec sleep 600']}) as pool:\n"
        "    print('ready', flush=True)\n"
        "    pool.run('x')\n"
    )
    running = subprocess.Popen(
        [sys.executable, program], cwd=here, env={"PYTHONPATH": str(ROOT / "runner"), "PATH": "/usr/bin:/bin", "HOME": str(here)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert running.stdout is not None
    assert running.stdout.readline() == "ready\n"
    assert eventually(lambda: (here / "pid").exists() and (here / "pid").read_text() != "")
    running.send_signal(signal.SIGINT)
    _, shown = running.communicate(timeout=60)
    assert shown.rstrip().endswith("KeyboardInterrupt")
    assert not Path(f"/proc/{(here / 'pid').read_text().strip()}").exists()
