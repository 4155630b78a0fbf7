from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cpool_flow.guardian import sweep
from survivors import alive, eventually, pid_in, survivors

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

COORDINATOR = """
import asyncio, json, os, sys
from cpool_flow.process import Command, Processes
mark, folder, commands = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
async def note_sessions():
    while not processes.known_sessions:
        await asyncio.sleep(0.02)
    open(folder + "/sessions seen", "w").close()
async def story():
    noting = asyncio.create_task(note_sessions())
    running = [processes.spawn(Command(tuple(command), "/", os.environ), stdout=folder + "/log") for command in commands]
    print("started", flush=True)
    for process in running:
        await process.wait()
with Processes(mark, folder) as processes:
    asyncio.run(story())
print("over", flush=True)
"""

DAEMON = """
import os, sys
wipe, file = sys.argv[1:3]
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
program = f"import os, time; open({file!r}, 'w').write(str(os.getpid()) + chr(10)); time.sleep(1000)"
os.execve(sys.executable, [sys.executable, "-c", program], {} if wipe == "yes" else os.environ)
"""

_count = iter(range(1000))


class Coordinator:
    """A process that runs commands as a run does."""

    def __init__(self, folder: Path, *commands: list[str], stdout: int = subprocess.PIPE) -> None:
        self.mark = f"guarded-{os.getpid()}-{next(_count)}"
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "runner")}
        argv = [sys.executable, "-c", COORDINATOR, self.mark, str(folder), json.dumps(commands)]
        self.popen = subprocess.Popen(argv, env=environment, stdout=stdout, start_new_session=True)
        if self.popen.stdout:
            assert self.popen.stdout.readline() == b"started\n"

    def guardian(self) -> int:
        """The pid of the guardian that looks after it."""
        found: list[int] = []

        def look() -> bool:
            found[:] = [child.pid for child in psutil.Process(self.popen.pid).children() if any(map(self._is_guardian, _arguments(child)))]
            return bool(found)

        assert eventually(look), "no guardian"
        return found[0]

    @staticmethod
    def _is_guardian(word: str) -> bool:
        return "cpool_flow.guardian" in word  # before it is executed it looks like the coordinator

    def killed(self) -> None:
        self.popen.kill()
        self.popen.wait()

    def nothing_left(self, *pids: int) -> bool:
        return eventually(lambda: not survivors(self.mark, *pids))


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


@pytest.fixture
def run(tmp_path: Path) -> Iterator[type[Coordinator]]:
    yield Coordinator
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(tmp_path) in " ".join(process.cmdline()) or f"guarded-{os.getpid()}-" in process.environ().get("CPOOL_MARK", ""):
                process.kill()


def up(guardian: int) -> bool:
    """Whether it has read what it was told, and so has its signals in order."""
    ignored = int(Path(f"/proc/{guardian}/status").read_text().split("SigIgn:")[1].split()[0], 16)
    return bool(ignored & 1 << signal.SIGTERM - 1)


@pytest.mark.parametrize(
    "script",
    [
        "sleep 1000",
        "trap '' TERM INT HUP; while :; do sleep 1000; done",
        "setsid sleep 1000 & sleep 1000",
        "env -i setsid sleep 1000 & sleep 1000",
        "(setsid sh -c 'sleep 1000 & sleep 1000' &); (sleep 1000 &) ; sleep 1000",
    ],
)
def test_nothing_outlives_a_coordinator_that_is_killed(run: type[Coordinator], tmp_path: Path, script: str) -> None:
    coordinator = run(tmp_path, ["bash", "-c", f"echo up > {tmp_path}/up; {script}"], ["sleep", "1000"])
    assert eventually(lambda: (tmp_path / "up").exists())
    below = [child.pid for child in psutil.Process(coordinator.popen.pid).children(recursive=True)]
    coordinator.killed()
    assert coordinator.nothing_left(*below)


@pytest.mark.parametrize("wipe", ["yes", "no"])
def test_a_daemon_does_not_outlive_a_coordinator_that_is_killed(run: type[Coordinator], tmp_path: Path, wipe: str) -> None:
    file = tmp_path / "pid"
    coordinator = run(tmp_path, ["sh", "-c", '"$@"; sleep 1000', "-", sys.executable, "-c", DAEMON, wipe, str(file)])
    pid = pid_in(file)
    coordinator.killed()
    assert coordinator.nothing_left(pid)


def test_what_was_started_a_moment_before_the_kill_is_ended_too(run: type[Coordinator], tmp_path: Path) -> None:
    for _ in range(5):
        coordinator = run(tmp_path, *[["sleep", "1000"]] * 20)
        coordinator.killed()  # the guardian may not be up yet: what it is told waits in the pipe
        assert coordinator.nothing_left()


def test_a_guardian_ends_when_nothing_is_left_to_guard(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["sleep", "1000"])
    guardian = coordinator.guardian()
    coordinator.killed()
    assert eventually(lambda: not alive(guardian))


def test_after_a_coordinator_that_ended_well_no_guardian_is_left(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.01; done"])
    guardian = coordinator.guardian()
    (tmp_path / "go").touch()
    assert coordinator.popen.stdout
    assert coordinator.popen.stdout.readline() == b"over\n"
    assert not alive(guardian)
    coordinator.popen.wait()


def test_a_guardian_holds_nothing_of_the_user_and_takes_no_signal(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["sleep", "1000"])
    guardian = coordinator.guardian()
    assert eventually(lambda: up(guardian))
    links = [os.readlink(f"/proc/{guardian}/fd/{number}") for number in os.listdir(f"/proc/{guardian}/fd")]
    assert [link for link in links if not link.startswith("pipe:")] == ["/dev/null", "/dev/null"]
    assert len(links) == 3
    assert os.readlink(f"/proc/{guardian}/cwd") == "/"
    assert os.getsid(guardian) == guardian
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        os.kill(guardian, number)
    coordinator.killed()
    assert coordinator.nothing_left()


def test_another_takes_the_place_of_a_guardian_that_is_killed(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["env", "-i", "sleep", "1000"])
    task = next(child.pid for child in psutil.Process(coordinator.popen.pid).children() if coordinator.mark not in _arguments(child))
    first = coordinator.guardian()
    os.kill(first, signal.SIGKILL)
    assert eventually(lambda: not alive(first))
    second = coordinator.guardian()
    assert eventually(lambda: up(second))
    coordinator.killed()
    assert coordinator.nothing_left(task)


def test_a_session_that_was_seen_while_the_coordinator_lived_is_found_without_any_other_trace(
    run: type[Coordinator], tmp_path: Path
) -> None:
    file = tmp_path / "pid"
    inner = f"echo $$ > {file}; sleep 3; exec sleep 1000"
    outer = f"env -i setsid sh -c '{inner}' >/dev/null 2>&1 & until [ -e {tmp_path}/go ]; do sleep 0.01; done; exec sleep 1000"
    coordinator = run(tmp_path, ["bash", "-c", f"({outer}) & sleep 1000"])
    pid = pid_in(file)
    assert eventually(lambda: (tmp_path / "sessions seen").exists())
    os.kill(psutil.Process(pid).ppid(), signal.SIGKILL)
    coordinator.killed()
    assert coordinator.nothing_left(pid)


def test_a_sweep_ends_what_a_dead_coordinator_and_its_dead_guardian_left(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["setsid", "sleep", "1000"], ["sh", "-c", "env -i setsid sleep 1000 & sleep 1000"])
    assert eventually(lambda: sum("sleep 1000" in line and "sh -c" not in line for line in survivors(coordinator.mark)) >= 3)
    os.kill(coordinator.popen.pid, signal.SIGSTOP)
    os.kill(coordinator.guardian(), signal.SIGKILL)
    coordinator.killed()
    assert len(survivors(coordinator.mark)) >= 3
    assert sweep(coordinator.mark) >= 3
    assert survivors(coordinator.mark) == []
    assert sweep(coordinator.mark) == 0


def test_a_sweep_spares_other_runs_and_the_one_who_sweeps(run: type[Coordinator], tmp_path: Path) -> None:
    coordinator = run(tmp_path, ["sleep", "1000"])
    assert sweep(coordinator.mark[:-1]) == 0
    program = f"from cpool_flow.guardian import sweep; print(sweep({coordinator.mark!r}))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "runner"), "CPOOL_MARK": f"{coordinator.mark}.99"}
    swept = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=True)
    assert swept.stdout == b"1\n"
    coordinator.popen.wait()


def test_a_reader_of_our_output_that_went_away_does_not_wait_for_the_guardian(run: type[Coordinator], tmp_path: Path) -> None:
    ours, theirs = os.pipe()
    coordinator = run(tmp_path, ["sleep", "1000"], stdout=theirs)
    os.close(theirs)
    guardian = coordinator.guardian()
    os.kill(guardian, signal.SIGSTOP)  # it is there, but must not hold the pipe
    coordinator.killed()
    while os.read(ours, 100):
        pass
    os.close(ours)
    os.kill(guardian, signal.SIGCONT)
    assert coordinator.nothing_left()


def test_an_inner_run_goes_with_the_outer_one(run: type[Coordinator], tmp_path: Path) -> None:
    file = tmp_path / "pid"
    inner_mark = f"guarded-{os.getpid()}-inner"
    inner = [sys.executable, "-c", COORDINATOR, inner_mark, str(tmp_path), json.dumps([["sh", "-c", f"echo $$ > {file}; sleep 1000"]])]
    coordinator = run(tmp_path, inner)
    pid = pid_in(file)
    coordinator.killed()
    assert coordinator.nothing_left(pid)
    assert eventually(lambda: not survivors(inner_mark))
