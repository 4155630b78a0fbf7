from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import psutil
import pytest

from cpool_flow.errors import OperationFailed
from cpool_flow.process import KILL_LADDER, Command, Exit, Process, Processes, ProcessNotStarted, run_to_end
from survivors import alive, eventually, pid_in, survivors

MARK = f"test-{os.getpid()}"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only the process group is seen here")


def command(*argv: str, **options: Any) -> Command:
    return Command(argv, options.pop("directory", "/"), options.pop("environment", dict(os.environ)), **options)


def shell(script: str, **options: Any) -> Command:
    return command("bash", "-c", script, **options)


def python(program: str, *arguments: str, **options: Any) -> Command:
    return command(sys.executable, "-c", program, *arguments, **options)


def with_processes(story: Callable[[Processes], Coroutine[Any, Any, Any]]) -> Any:
    with Processes(MARK) as processes:
        result = asyncio.run(story(processes))
    assert survivors(MARK) == []
    return result


def run(what: Command, **options: Any) -> Exit:
    async def story(processes: Processes) -> Exit:
        return await processes.spawn(what, **options).wait()

    exit: Exit = with_processes(story)
    return exit


def output_of(what: Command) -> bytes:
    chunks: list[bytes] = []
    run(what, stdout=chunks.append)
    return b"".join(chunks)


# How it ends and what it gets


def test_an_exit_code_and_a_signal_are_told_apart() -> None:
    assert run(command("true")) == Exit(0, None)
    assert run(shell("exit 7")) == Exit(7, None)
    assert run(shell("kill -SEGV $$")) == Exit(None, signal.SIGSEGV)


def test_output_is_appended_to_files_or_handed_on_in_chunks(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("before\n")
    errors: list[bytes] = []
    run(shell("echo out; echo err >&2"), stdout=file, stderr=errors.append)
    assert file.read_text() == "before\nout\n"
    assert errors == [b"err\n"]


def test_standard_input_is_what_was_given_then_its_end_or_nothing_at_all() -> None:
    assert output_of(command("cat", stdin=b"hello")) == b"hello"
    assert output_of(command("cat")) == b""
    assert output_of(command("cat", stdin=b"")) == b""


def test_ten_megabytes_of_input_go_through_and_to_a_process_that_never_reads_them_too() -> None:
    assert output_of(command("wc", "-c", stdin=b"x" * 10_000_000)).strip() == b"10000000"
    assert run(command("true", stdin=b"x" * 10_000_000)) == Exit(0, None)
    assert run(shell("exec <&-; sleep 0.1", stdin=b"x" * 10_000_000)) == Exit(0, None)


def test_a_conversation_over_an_open_standard_input() -> None:
    async def story(processes: Processes) -> list[bytes]:
        lines: asyncio.Queue[bytes] = asyncio.Queue()
        process = processes.spawn(command("cat", stdin=b"one", keep_stdin=True), stdout=lines.put_nowait)
        heard = [await lines.get()]
        process.write(b"two")
        heard.append(await lines.get())
        assert process.running
        process.close_stdin()
        assert await process.wait() == Exit(0, None)
        process.write(b"nobody hears this")
        return heard

    assert with_processes(story) == [b"one", b"two"]


def test_the_environment_is_the_given_one_and_the_mark() -> None:
    shown = output_of(command("/usr/bin/env", environment={"A": "1"})).decode().split("\n")
    assert shown == ["A=1", f"CPOOL_MARK={MARK}.1", ""]


def test_inside_of_an_outer_run_both_marks_are_carried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CPOOL_MARK", "outer.3")
    assert output_of(command("/usr/bin/env", environment={})).decode() == f"CPOOL_MARK=outer.3,{MARK}.1\n"


def test_a_program_is_looked_up_on_the_path_of_its_own_environment(tmp_path: Path) -> None:
    tool = tmp_path / "a tool"
    tool.write_text("#!/bin/sh\necho mine in $(pwd -P)\n")
    tool.chmod(0o755)
    here = tmp_path.resolve()
    assert (
        output_of(command("a tool", directory=str(here), environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})) == f"mine in {here}\n".encode()
    )


def test_it_has_a_session_of_its_own_no_terminal_and_no_file_of_ours(tmp_path: Path) -> None:
    leaked = os.open(tmp_path / "lock", os.O_CREAT | os.O_RDWR)
    os.set_inheritable(leaked, True)
    program = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0)); print(sorted(map(int, os.listdir('/proc/self/fd')))[:4])"
    shown = output_of(python(program))
    os.close(leaked)
    assert shown == b"True\n[0, 1, 2, 3]\n"


def test_a_hundred_processes_leave_no_file_open_here() -> None:
    async def story(processes: Processes) -> None:
        async def one() -> None:
            await processes.spawn(command("cat", stdin=b"x"), stdout=len, stderr=len).wait()

        for _ in range(20):
            await asyncio.gather(*(one() for _ in range(5)))

    with_processes(story)
    before = len(os.listdir("/proc/self/fd"))
    with_processes(story)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_exit_code_is_right_where_our_parent_ignored_the_end_of_children() -> None:
    program = """
import asyncio, os, signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
from cpool_flow.process import Command, Processes
async def story():
    return await processes.spawn(Command(("false",), "/", os.environ)).wait()
with Processes("ignored") as processes:
    print(asyncio.run(story()).code)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, env=with_package(), check=True).stdout == b"1\n"


def with_package() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "runner")}


# What does not start


@pytest.mark.parametrize(
    ("what", "says"),
    [
        (command("no-such-program-here"), "was not found on the PATH"),
        (command("./no-such-file"), "`./no-such-file` does not exist in `/`"),
        (command("true", directory="/no/such/folder"), "its folder `/no/such/folder` does not exist"),
        (command("true", directory="/etc/passwd"), "its folder `/etc/passwd` does not exist"),
        (command("/etc"), "may not be executed"),
        (command("/etc/passwd"), "may not be executed"),
        (command("true", "x" * 3_000_000), "larger than the system takes"),
        (command("true", "a\0b"), "NUL"),
        (command("true", environment={"A=B": "C"}), "no valid name"),
        (command("no-such\x1b[31m"), r"`no-such\\x1b\[31m` was not found"),
    ],
)
def test_what_does_not_start_says_why_and_leaves_no_file_open(what: Command, says: str) -> None:
    async def story(processes: Processes) -> None:
        await processes.spawn(command("true")).wait()
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ProcessNotStarted, match=says) as error:
            processes.spawn(what, stdout=len, stderr=len)
        assert "xxxx" not in str(error.value)
        assert len(os.listdir("/proc/self/fd")) == before

    with_processes(story)


def test_a_script_without_an_interpreter_does_not_start_and_says_so(tmp_path: Path) -> None:
    bare, broken = tmp_path / "bare", tmp_path / "broken"
    bare.write_text("echo hello\n")
    broken.write_text("#!/no/such/interpreter\n")
    for script in (bare, broken):
        script.chmod(0o755)
    with pytest.raises(ProcessNotStarted, match="no `#!` line"):
        run(command("./bare", directory=str(tmp_path)))
    with pytest.raises(ProcessNotStarted, match="the interpreter"):
        run(command("./broken", directory=str(tmp_path)))


def test_an_output_that_cannot_be_opened_is_no_fault_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(OperationFailed, match="cannot open the output of `true`") as error:
        run(command("true"), stdout=len, stderr=tmp_path / "no" / "folder")
    assert not isinstance(error.value, ProcessNotStarted)


# What it leaves behind


DAEMON = """
import os, sys, time, signal
wipe, hold, file = sys.argv[1:4]
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.signal(signal.SIGHUP, signal.SIG_IGN)
if hold == "no":
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2): os.dup2(null, number)
program = f"import os, time; open({file!r}, 'w').write(str(os.getpid()) + chr(10)); time.sleep(1000)"
argv = [sys.executable, "-c", program]
os.execve(sys.executable, argv, {} if wipe == "yes" else os.environ)
"""


@linux
@pytest.mark.parametrize("hold", ["yes", "no"])
@pytest.mark.parametrize("wipe", ["yes", "no"])
def test_a_daemon_that_ignores_term_is_gone_when_its_task_is_over(tmp_path: Path, wipe: str, hold: str) -> None:
    file = tmp_path / "pid"
    script = f'"$@"; until [ -s {file} ]; do sleep 0.01; done; echo done'
    argv = ("bash", "-c", script, "-", sys.executable, "-c", DAEMON, wipe, hold, str(file))

    async def story(processes: Processes) -> tuple[Exit, bool, bytes]:
        chunks: list[bytes] = []
        exit = await processes.spawn(command(*argv), stdout=chunks.append).wait()
        return exit, alive(pid_in(file)), b"".join(chunks)

    assert with_processes(story) == (Exit(0, None), False, b"done\n")


@pytest.mark.parametrize("background", ["sleep 1000 &", "(trap '' TERM; while :; do sleep 1000; done) &", "(sleep 1000 & sleep 1000) &"])
def test_what_runs_on_in_the_background_is_gone_when_its_task_is_over(background: str) -> None:
    async def story(processes: Processes) -> list[str]:
        assert (await processes.spawn(shell(f"{background} exit 3"), stdout=len).wait()).code == 3
        return survivors(MARK)

    assert with_processes(story) == []


def test_a_last_child_that_ends_by_itself_is_waited_for_with_its_output() -> None:
    assert output_of(shell("exec > >(sleep 0.1; tr a-z A-Z); echo late")) == b"LATE\n"


def test_what_is_left_gets_a_term_before_the_kill(tmp_path: Path) -> None:
    file = tmp_path / "said"
    run(shell(f"(trap 'echo bye > {file}; exit' TERM; echo ready; while :; do sleep 0.01; done) & read -r line < <(sleep 0.2; echo x)"))
    assert file.read_text() == "bye\n"


def test_no_zombie_stays() -> None:
    async def story(processes: Processes) -> list[int]:
        await processes.spawn(shell("(sleep 0.01 & sleep 0.02 & sleep 1000 &) & exit 0")).wait()
        return [child.pid for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE]

    assert with_processes(story) == []


def test_a_process_that_closes_its_output_is_not_over_before_it_has_ended(tmp_path: Path) -> None:
    file = tmp_path / "worked"
    run(shell(f"exec >&- 2>&-; sleep 0.2; touch {file}"), stdout=len, stderr=len)
    assert file.exists()


@linux
def test_a_daemon_that_hides_whose_it_is_is_laid_to_the_task_that_ran_and_to_no_process_that_was_idle(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    script = f'"$@"; until [ -s {file} ]; do sleep 0.01; done'

    async def story(processes: Processes) -> None:
        waiting = processes.spawn(command("cat", keep_stdin=True), stdout=len)
        waiting.idle = True
        await processes.spawn(command("bash", "-c", script, "-", sys.executable, "-c", DAEMON, "yes", "no", str(file)), stdout=len).wait()
        assert not alive(pid_in(file))
        assert waiting.running
        assert not waiting.left_over()
        waiting.close_stdin()
        assert await waiting.wait() == Exit(0, None)

    with_processes(story)


@linux
@pytest.mark.parametrize("left", ["sleep 1000 &", "setsid sleep 1000 & sleep 0.05;", "(setsid sleep 1000 &) & sleep 0.05;"])
def test_what_a_process_has_started_can_be_told_while_it_lives(left: str) -> None:
    async def story(processes: Processes) -> None:
        said: list[bytes] = []
        process = processes.spawn(shell(f"echo up; read -r; {left} echo did; read -r", keep_stdin=True), stdout=said.append)
        for step, (line, found) in enumerate([(b"up\n", 0), (b"did\n", 1)]):
            while not b"".join(said).endswith(line):
                await asyncio.sleep(0.005)
            assert len(process.started()) == found
            assert process.resident_bytes > 0
            if step == 0:
                process.write(b"\n")
        await process.stop(KILL_LADDER)

    with_processes(story)


@linux
@pytest.mark.parametrize(("wipe", "hold"), [("no", "no"), ("yes", "yes")])
def test_the_daemon_of_a_task_that_runs_on_is_spared_when_another_task_ends(tmp_path: Path, wipe: str, hold: str) -> None:
    async def story(processes: Processes) -> None:
        mine, other = tmp_path / "mine", tmp_path / "other"
        tasks = []
        for file, end in ((mine, "echo over"), (other, "sleep 1000")):
            script = f'"$@"; until [ -s {mine} -a -s {other} ]; do sleep 0.01; done; {end}'
            tasks.append(
                processes.spawn(command("bash", "-c", script, "-", sys.executable, "-c", DAEMON, wipe, hold, str(file)), stdout=len)
            )
        await tasks[0].wait()
        assert not alive(pid_in(mine))
        assert alive(pid_in(other))
        await tasks[1].stop(KILL_LADDER)
        assert not alive(pid_in(other))

    with_processes(story)


@linux
def test_a_daemon_that_hides_from_all_is_gone_when_all_that_may_have_left_it_are_over(tmp_path: Path) -> None:
    async def story(processes: Processes) -> None:
        file = tmp_path / "pid"
        script = f'"$@"; until [ -s {file} ]; do sleep 0.01; done'
        other = processes.spawn(command("sleep", "1000"))
        await processes.spawn(command("bash", "-c", script, "-", sys.executable, "-c", DAEMON, "yes", "no", str(file))).wait()
        assert alive(pid_in(file))
        await processes.spawn(command("true")).wait()
        assert alive(pid_in(file))
        await other.stop(((signal.SIGTERM, 0.1),))
        assert not alive(pid_in(file))

    with_processes(story)


@linux
def test_a_session_seen_below_its_task_is_known_when_it_is_orphaned(tmp_path: Path) -> None:
    async def story(processes: Processes) -> None:
        file, other = tmp_path / "pid", processes.spawn(command("sleep", "1000"))
        script = f"env -i setsid sh -c 'echo $$ > {file}; exec sleep 1000' & read -r; exit 0"
        process = processes.spawn(shell(script, keep_stdin=True))
        pid = pid_in(file)
        while pid not in processes.known_sessions:
            await asyncio.sleep(0.05)
        process.close_stdin()
        await process.wait()
        assert not alive(pid)
        assert other.running

    with_processes(story)


def test_the_children_of_others_in_this_process_are_left_alone() -> None:
    theirs = subprocess.Popen(["sleep", "1000"])
    ended = subprocess.Popen(["sh", "-c", "exit 5"])
    run(shell("sleep 1000 & exit 0"))
    assert theirs.poll() is None
    assert ended.wait() == 5
    theirs.kill()
    theirs.wait()


# Stopping


async def started(processes: Processes, what: Command) -> Process:
    """Start it and wait for the first that it says."""
    said = asyncio.Event()
    process = processes.spawn(what, stdout=lambda _: said.set())
    await said.wait()
    return process


def test_a_stop_asks_by_the_ladder_and_takes_what_the_process_makes_of_it(tmp_path: Path) -> None:
    async def story(processes: Processes) -> Exit:
        script = "trap 'echo INT >> log' INT; trap 'echo TERM >> log; exit 4' TERM; echo ready; while :; do sleep 0.01; done"
        process = await started(processes, shell(script, directory=str(tmp_path)))
        return await process.stop(((signal.SIGINT, 0.3), (signal.SIGTERM, 60)))

    assert with_processes(story) == Exit(4, None)
    assert (tmp_path / "log").read_text() == "INT\nTERM\n"


def test_who_ignores_all_is_killed_with_all_that_he_started_wherever_it_is(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    program = f"""
import os, signal, subprocess, sys, time
for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["env", "-i", "setsid", "sh", "-c", "echo $$ > {file}; exec sleep 1000"])
while not os.path.exists({str(file)!r}): time.sleep(0.01)
print("ready", flush=True)
time.sleep(1000)
"""

    async def story(processes: Processes) -> tuple[Exit, bool]:
        process = await started(processes, python(program))
        exit = await process.stop(((signal.SIGTERM, 0.1),))
        return exit, alive(pid_in(file))

    assert with_processes(story) == (Exit(None, signal.SIGKILL), False)


def test_children_have_the_grace_too_when_their_parent_goes_at_once(tmp_path: Path) -> None:
    child = "trap 'sleep 0.8; echo cleaned > log; exit' TERM; echo ready; while :; do sleep 0.01; done"

    async def story(processes: Processes) -> Exit:
        process = await started(processes, command("sh", "-c", f'sh -c "{child}" & wait', directory=str(tmp_path)))
        return await process.stop(((signal.SIGTERM, 60),))

    assert with_processes(story).signal == signal.SIGTERM
    assert (tmp_path / "log").read_text() == "cleaned\n"


@linux
@pytest.mark.parametrize("wipe", ["", "env -i PATH=$PATH setsid"])
def test_who_starts_another_of_itself_whenever_it_can_does_not_get_away(tmp_path: Path, wipe: str) -> None:
    script = tmp_path / "again"
    script.write_text(
        f'#!/bin/bash\ntrap "" TERM\necho $$ >> log\n[ $(wc -l < log) -gt 400 ] && exec sleep 1000\n{wipe} ./again &\n{wipe} ./again &\nsleep 0.05\n'
    )
    script.chmod(0o755)

    async def story(processes: Processes) -> list[int]:
        process = processes.spawn(command("./again", directory=str(tmp_path)))
        while not (tmp_path / "log").exists() or len((tmp_path / "log").read_text().split()) < 20:
            await asyncio.sleep(0.01)
        await process.stop(((signal.SIGTERM, 0.05),))
        return [int(pid) for pid in (tmp_path / "log").read_text().split()]

    pids = with_processes(story)
    assert [pid for pid in pids if alive(pid)] == []
    said = len((tmp_path / "log").read_text())
    time.sleep(0.2)
    assert len((tmp_path / "log").read_text()) == said


def test_a_second_less_patient_stop_wins() -> None:
    async def story(processes: Processes) -> tuple[Exit, Exit]:
        process = await started(processes, shell("trap '' TERM; echo ready; while :; do sleep 0.01; done"))
        patient = asyncio.create_task(process.stop(((signal.SIGTERM, 1000),)))
        await asyncio.sleep(0)
        return await process.stop(KILL_LADDER), await patient

    assert with_processes(story) == (Exit(None, signal.SIGKILL),) * 2


def test_to_stop_what_has_ended_tells_how_it_ended() -> None:
    async def story(processes: Processes) -> Exit:
        process = processes.spawn(shell("exit 6"))
        await process.wait()
        return await process.stop()

    assert with_processes(story) == Exit(6, None)


def test_a_process_that_takes_too_long_is_stopped_and_one_that_does_not_is_not() -> None:
    assert run(command("sleep", "1000"), timeout_seconds=0.1) == Exit(None, signal.SIGTERM, timed_out=True)
    assert run(shell("trap '' TERM; sleep 1000 & wait; wait"), timeout_seconds=0.2, ladder=((signal.SIGTERM, 0.1),)).timed_out
    assert run(command("true"), timeout_seconds=1000) == Exit(0, None)


def test_to_give_up_waiting_leaves_the_process_alone() -> None:
    async def story(processes: Processes) -> Exit:
        process = processes.spawn(shell("read -r; exit 2", keep_stdin=True))
        impatient = asyncio.create_task(process.wait())
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        assert process.running
        process.close_stdin()
        return await process.wait()

    assert with_processes(story) == Exit(2, None)


def test_what_a_reader_of_chunks_raises_ends_the_process_and_comes_to_who_waits() -> None:
    def disk_full(_: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(shell("echo x; sleep 1000"), stdout=disk_full)


def test_at_the_end_of_all_nothing_runs_on(tmp_path: Path) -> None:
    async def story(processes: Processes) -> list[Process]:
        return [
            await started(processes, shell("trap '' TERM; setsid sleep 1000 & echo ready; while :; do sleep 1; done")) for _ in range(3)
        ]

    with Processes(MARK) as processes:
        running = asyncio.run(story(processes))
        assert len(survivors(MARK)) >= 6
    assert survivors(MARK, *(process.pid for process in running)) == []
    processes.close()


def test_the_end_inside_of_the_loop_is_told_to_those_who_wait() -> None:
    async def story() -> Exit:
        with Processes(MARK) as processes:
            process = processes.spawn(command("sleep", "1000"))
            waiting = asyncio.create_task(process.wait())
            await asyncio.sleep(0)
        return await waiting

    assert asyncio.run(story()) == Exit(None, signal.SIGKILL)


# Much output


def test_two_hundred_megabytes_go_through_a_pipe_in_flat_memory() -> None:
    program = f"""
import asyncio, os, resource, sys
from cpool_flow.process import Command, Processes
total = 0
def count(chunk):
    global total
    total += len(chunk)
async def story():
    await processes.spawn(Command(("true",), "/", os.environ)).wait()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    await processes.spawn(Command(("sh", "-c", "head -c 100000000 /dev/zero; head -c 100000000 /dev/zero >&2"), "/", os.environ), stdout=count, stderr=count).wait()
    print(total, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
with Processes({MARK!r}) as processes:
    asyncio.run(story())
"""
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, env=with_package(), check=True).stdout.split()
    assert shown[0] == b"200000000"
    assert int(shown[1]) < 4000  # kB


def test_a_writer_that_is_not_ours_cannot_keep_the_end_open() -> None:
    ours, theirs = os.pipe()
    holder: list[subprocess.Popen[bytes]] = []

    async def story(processes: Processes) -> Exit:
        chunks: list[bytes] = []
        process = processes.spawn(shell("echo $$; read -r", keep_stdin=True), stdout=chunks.append)
        while not chunks:
            await asyncio.sleep(0.01)
        with open(f"/proc/{process.pid}/fd/1", "wb") as pipe:  # a process of somebody else writes to it for ever
            holder.append(subprocess.Popen(["yes"], stdout=pipe))
        process.close_stdin()
        return await process.wait()

    assert with_processes(story).code == 1
    holder[0].kill()
    holder[0].wait()
    os.close(ours)
    os.close(theirs)


# Commands of our own


def test_a_command_of_our_own_is_run_to_its_end_in_any_thread() -> None:
    done = run_to_end(shell("cat; echo err >&2; exit 3", stdin=b"in"))
    assert (done.code, done.stdout, done.stderr) == (3, b"in", b"err\n")

    async def story(processes: Processes) -> int:
        working = asyncio.gather(*(asyncio.to_thread(run_to_end, shell("sleep 0.1; exit 4")) for _ in range(4)))
        while not working.done():
            await processes.spawn(command("true")).wait()
        return sum(done.code for done in await working)

    assert with_processes(story) == 16


def test_a_command_of_our_own_that_hangs_is_killed() -> None:
    with pytest.raises(OperationFailed, match=r"`sh` did not end within 0.2 s"):
        run_to_end(command("sh", "-c", "sleep 1000; exit 1"), timeout_seconds=0.2)
    with pytest.raises(ProcessNotStarted):
        run_to_end(command("no-such-program-here"))


def test_nothing_of_these_tests_is_left() -> None:
    assert eventually(lambda: not survivors(MARK))
