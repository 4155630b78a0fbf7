"""Processes: started in a session of their own, watched by the loop, and ended with everything that they started.

Knows nothing of steps, agents, journals or secrets. The only importer of `subprocess`. Linux; on macOS what leaves its
process group is not found. All of it belongs to one thread, that of the running asyncio loop (`run_to_end` may be called from any).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Coroutine, Mapping

from cpool_flow.dataclass import dataclass
from cpool_flow.descendants import MARK, kill, resident_bytes, signal_all, table
from cpool_flow.errors import OperationFailed, printable
from cpool_flow.guardian import Guardian
from cpool_flow.orphans import Orphans
from cpool_flow.streams import Sink, Streams

Ladder = tuple[tuple[int, float], ...]  # signals to the group, each with the seconds to wait for the end of all

TERM_LADDER: Ladder = ((signal.SIGTERM, 10.0),)
KILL_LADDER: Ladder = ()

_SETTLE_SECONDS = 0.5  # what a task leaves may end by itself: the `tee` of a pipe, a shell's last child
_LOOK_SECONDS = 1.0
_UNKILLABLE_SECONDS = 10.0
_GUARDIAN_SECONDS = 0.1  # before another takes the place of one that died

_orphans = Orphans()  # they come to this operating system process, whoever started them


def _nothing() -> None:
    return None


@dataclass(frozen=True, slots=True)
class Command:
    """What to start. `environment` is the whole of it; a name without a slash is looked up on its PATH.

    `stdin` is written and then closed; None is /dev/null; with `keep_stdin` it stays open for `Process.write`.
    """

    argv: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    stdin: bytes | None = None
    keep_stdin: bool = False


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended: by an exit code or by a signal; neither: it could not be ended.

    `unkillable`: what is left because we were not allowed (another user's) or not able (stuck in the kernel) to end it.
    """

    code: int | None
    signal: int | None
    timed_out: bool = False
    unkillable: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    code: int
    stdout: bytes
    stderr: bytes


class ProcessNotStarted(OperationFailed):
    """The program does not exist, may not be executed, or its folder is missing. Nothing runs. No argument is in the text."""


class Process:
    """A running command. Made by `Processes.spawn`."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, streams: Streams, over: Callable[[Process], None]) -> None:
        self.pid = popen.pid
        self.mark = mark
        self.running = True  # the first process; what it started may live a moment longer
        self.idle = False  # it waits for more standard input and does nothing: what appears meanwhile is laid to others
        self._popen = popen
        self._streams = streams
        self._over = over
        self._loop = asyncio.get_running_loop()
        self._unwatch: Callable[[], None] = _nothing
        self._timer: asyncio.TimerHandle | None = None
        self._timed_out = self._killed = False
        self._patience_seconds = _SETTLE_SECONDS
        self._tasks: set[asyncio.Task[object]] = set()
        self._waiters: list[asyncio.Future[None]] = []
        self._exit: Exit | None = None
        self._failure: Exception | None = None

    async def wait(self) -> Exit:
        """Until the process and all that it started have ended and their output was read. Raises what a reader of chunks raised.

        To cancel this wait leaves the process alone.
        """
        if self._exit is None:
            waiter = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter
        if self._failure is not None:
            raise self._failure
        assert self._exit is not None
        return self._exit

    async def stop(self, ladder: Ladder = TERM_LADDER) -> Exit:
        """End it: each signal of the ladder to its group with time to follow, then KILL to all that descends from it, wherever it is.

        May be called again while it runs: the less patient ladder wins.
        """
        for number, seconds in ladder:
            if self._exit is not None:
                break
            self._patience_seconds = max(self._patience_seconds, seconds)
            self._signal_group(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.wait()
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNKILLABLE_SECONDS):
                return await self.wait()
        self._finish()
        return await self.wait()

    def kill(self) -> None:
        """KILL the process and all that descends from it, now. `wait` tells when it is over."""
        if self._exit is None:
            self._killed = True
            kill(lambda processes: _orphans.members(self, processes))
            self._signal_group(signal.SIGKILL)

    def write(self, data: bytes) -> None:
        """Hand bytes to its standard input (`keep_stdin`). Never blocks; what nobody reads any more is dropped."""
        self._streams.write(data)

    def close_stdin(self) -> None:
        """End its standard input after what was written."""
        self._streams.close_stdin()

    @property
    def last_output(self) -> float:
        """When it last wrote to a pipe (or was started), by the loop's clock."""
        return self._streams.last_output

    def outputs(self) -> set[str]:
        """Its standard output and error as /proc names them."""
        return self._streams.links()

    def started(self) -> set[int]:
        """What lives of all that it has started, besides itself; a whole look at the machine. Always empty where that cannot be seen."""
        processes = table()  # before the look at orphans: what leaves its parent in between is then seen as one
        return {pid for pid in _orphans.members(self, processes) - {self.pid} if pid not in processes or not processes[pid].zombie}

    def left_over(self) -> bool:
        """Whether something has come to us that only it can have left. Cheap."""
        return bool(self._left())

    @property
    def resident_bytes(self) -> int:
        """The memory that the first process holds; 0 where that cannot be seen."""
        return resident_bytes(self.pid) if self.running else 0

    # For `Processes` only, from here on.

    def begin(self, timeout_seconds: float | None, ladder: Ladder) -> None:
        _orphans.begin(self)
        self._unwatch = _watch(self._loop, self._popen, self._first_ended)
        self._streams.attach(self._loop, self._reader_failed)
        if timeout_seconds is not None:
            self._timer = self._loop.call_later(timeout_seconds, self._time_out, ladder)

    def end_now(self) -> None:
        """KILL and wait, without the loop."""
        self._unwatch()
        deadline = time.monotonic() + _UNKILLABLE_SECONDS
        while (self._popen.poll() is None or self._left()) and time.monotonic() < deadline:
            self.kill()
            time.sleep(0.002)
        self.running = self._popen.returncode is None
        self._finish()

    def _time_out(self, ladder: Ladder) -> None:
        self._timed_out = self.running
        self._do(self.stop(ladder))

    def _do(self, work: Coroutine[object, object, object]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(lambda task: task.cancelled() or task.exception())  # a failure is told to those who wait

    def _signal_group(self, number: int) -> None:
        if self.running:  # not reaped, so the number is still its own
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def _reader_failed(self, error: Exception) -> None:
        self._failure = error
        self.kill()

    def _first_ended(self) -> None:
        if not _orphans.seen:
            self._signal_group(signal.SIGKILL)
        self.running = False
        _orphans.waited.discard(self.pid)
        if self._left():
            self._do(self._clear())
        else:
            self._finish()

    async def _clear(self) -> None:
        """What the first process left may settle, then gets a TERM and time, then KILL."""
        try:
            if await self._left_after(_SETTLE_SECONDS):
                signal_all(_orphans.members(self, table()), signal.SIGTERM)
                if await self._left_after(self._patience_seconds):
                    self.kill()
                    await self._left_after(_UNKILLABLE_SECONDS)
        finally:
            self._finish()

    async def _left_after(self, seconds: float) -> bool:
        pause, deadline = 0.001, self._loop.time() + seconds
        while self._left():
            if self._loop.time() > deadline:
                return True
            await asyncio.sleep(pause)
            pause = min(2 * pause, 0.05)
            if self._killed:
                self.kill()
        return False

    def _left(self) -> set[int]:
        _orphans.look()
        return _orphans.left_by(self)

    def _finish(self) -> None:
        if self._exit is not None:
            return
        self._streams.finish()
        if self._timer is not None:
            self._timer.cancel()
        self._exit = self._how()
        _orphans.over(self)
        self._over(self)
        for waiter in self._waiters:
            if not waiter.done() and not self._loop.is_closed():
                waiter.set_result(None)

    def _how(self) -> Exit:
        left = tuple(sorted(_orphans.left_by(self) | ({self.pid} if self.running else set())))
        code = self._popen.returncode
        if code is None or code >= 0:
            return Exit(code, None, self._timed_out, left)
        return Exit(None, -code, self._timed_out, left)


class Processes:
    """All processes of one coordinator. As a context manager: at its end nothing of them is left.

    `mark` names this coordinator (run id and random text, without `,`; a new one for each) and is in CPOOL_MARK of every process.
    `folder` is the run's: an orphan that writes its output there is found also where it has hidden its environment.
    `shared`: this operating system process is not ours alone, other parts of it start processes too and wait for them.
    """

    def __init__(self, mark: str, folder: str = "", *, shared: bool = False) -> None:
        _orphans.shared = shared
        outer = os.environ.get(MARK)
        self._prefix = f"{outer},{mark}." if outer else f"{mark}."
        self._guardian = Guardian(mark, os.path.realpath(folder) if folder else "", _launch_guardian)
        self._live: dict[int, Process] = {}
        self._count = 0
        self._null = -1
        self.known_sessions: set[int] = set()  # that tasks have opened for themselves, when they were last looked for
        self._looking: asyncio.TimerHandle | None = None

    def __enter__(self) -> Processes:
        heed_children()
        self._null = os.open(os.devnull, os.O_RDWR)
        _orphans.open()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def spawn(
        self,
        command: Command,
        *,
        stdout: Sink = None,
        stderr: Sink = None,
        timeout_seconds: float | None = None,
        ladder: Ladder = TERM_LADDER,
    ) -> Process:
        """Start it; when this returns the process exists. After `timeout_seconds` it is stopped by the ladder.

        A reader of chunks is called in the loop, in order, and must not block. Raises ProcessNotStarted, OperationFailed (a sink).
        """
        loop = asyncio.get_running_loop()
        self._guardian.start()
        self._count += 1
        mark = f"{self._prefix}{self._count}"
        with self._streams(command, stdout, stderr) as streams:
            popen = _start(command, {**command.environment, MARK: mark}, *streams.theirs)
        self._guardian.begin(popen.pid)
        process = self._live[popen.pid] = Process(popen, mark.rpartition(",")[2], streams, self._over)
        process.begin(timeout_seconds, ladder)
        if self._looking is None:
            self._looking = loop.call_later(_LOOK_SECONDS, self._look, loop)
        return process

    @property
    def sees_descendants(self) -> bool:
        """Whether it can be told here what a process has started, while that process lives on."""
        return _orphans.seen

    def close(self) -> None:
        """KILL all that still runs and wait for its end. Safe to call twice, and after the loop has gone."""
        if self._null < 0:
            return
        for process in list(self._live.values()):
            process.end_now()
        _orphans.end_unclaimed()
        if self._looking is not None:
            self._looking.cancel()
        self._guardian.stop()
        _orphans.close()
        os.close(self._null)
        self._null = -1

    def _streams(self, command: Command, stdout: Sink, stderr: Sink) -> Streams:
        try:
            return Streams(self._null, command.stdin, command.keep_stdin, stdout, stderr)
        except OSError as error:
            raise OperationFailed(f"cannot open the output of `{printable(command.argv[0])}`: {error.strerror}") from None

    def _over(self, process: Process) -> None:
        del self._live[process.pid]
        self._guardian.over(process.pid)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        began = time.monotonic()
        self.known_sessions = sessions = _orphans.sessions()
        self._guardian.also(sessions)
        pause = max(_LOOK_SECONDS, 50 * (time.monotonic() - began))
        self._looking = loop.call_later(pause, self._look, loop) if self._live or sessions else None


def heed_children() -> None:
    """Where it was inherited that the ends of children are ignored, every exit would look like success. Only the main thread can mend that."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def run_to_end(command: Command, *, timeout_seconds: float | None = None) -> Completed:
    """Run a command of our own (git) and wait for it, in any thread. Not guarded: for what is short and ends by itself.

    Raises ProcessNotStarted; OperationFailed when it had to be killed after the time-out.
    """
    popen = _start(command, command.environment, *(subprocess.PIPE,) * 3)
    _orphans.waited.add(popen.pid)
    try:
        stdout, stderr = popen.communicate(command.stdin or b"", timeout_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(popen.pid, signal.SIGKILL)
        popen.communicate()
        raise OperationFailed(f"`{command.argv[0]}` did not end within {timeout_seconds:g} s") from None
    finally:
        _orphans.waited.discard(popen.pid)
    return Completed(popen.returncode, stdout, stderr)


def start_detached(argv: tuple[str, ...], log: str, directory: str, environment: Mapping[str, str]) -> int:
    """Start a program that outlives us, in a session of its own and with its output in a file. Returns its process id."""
    with open(os.devnull, "rb") as nothing, open(log, "ab") as output:
        return _start(Command(argv, directory, environment), environment, nothing.fileno(), output.fileno(), output.fileno()).pid


def _launch_guardian(argv: list[str], pipe: int, died: Callable[[], None]) -> Callable[[], None]:
    """Start it with the pipe as its standard input; what is returned kills it."""
    # A minimal environment: no secret, and of the marks only those of runs around this one.
    environment = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", MARK) if name in os.environ}
    popen = _start(Command(tuple(argv), "/", environment), environment, pipe, subprocess.DEVNULL, subprocess.DEVNULL)
    loop = asyncio.get_running_loop()
    _orphans.waited.add(popen.pid)

    def died_unasked() -> None:
        _orphans.waited.discard(popen.pid)
        loop.call_later(_GUARDIAN_SECONDS, died)

    def end() -> None:
        unwatch()
        popen.kill()
        popen.wait()
        _orphans.waited.discard(popen.pid)

    unwatch = _watch(loop, popen, died_unasked)
    return end


def _watch(loop: asyncio.AbstractEventLoop, popen: subprocess.Popen[bytes], ended: Callable[[], None]) -> Callable[[], None]:
    """Reap the process when it ends, then call `ended` in the loop. What is returned stops the watching; safe to call twice."""
    try:
        pidfd = os.pidfd_open(popen.pid)
    except (AttributeError, OSError):
        return _watch_in_thread(loop, popen, ended)
    watched = [pidfd]

    def unwatch() -> None:
        if watched:
            if not loop.is_closed():
                loop.remove_reader(pidfd)
            os.close(watched.pop())

    def readable() -> None:
        unwatch()
        popen.poll()
        ended()

    loop.add_reader(pidfd, readable)
    return unwatch


def _watch_in_thread(loop: asyncio.AbstractEventLoop, popen: subprocess.Popen[bytes], ended: Callable[[], None]) -> Callable[[], None]:
    """The same where there is no pidfd (macOS, Linux before 5.3)."""
    wanted = [ended]

    def wait() -> None:
        popen.wait()
        with contextlib.suppress(RuntimeError):  # the loop has gone
            loop.call_soon_threadsafe(lambda: [ended() for ended in wanted])

    threading.Thread(target=wait, daemon=True).start()
    return wanted.clear


def _start(command: Command, environment: Mapping[str, str], stdin: int, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    # A session of its own is a group that nothing can join, and has no terminal on which to ask for a password.
    try:
        return subprocess.Popen(
            command.argv,
            executable=_program(command.argv[0], environment.get("PATH", "")),
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            cwd=command.directory,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise ProcessNotStarted(_reason(command, error)) from None


def _program(name: str, path: str) -> str | None:
    """Where the system would find it on this PATH; None: the system shall look itself. We wait while it does, and every folder that it
    tries in vain costs as much as ten that we ask."""
    if "/" in name:
        return None
    for folder in path.split(os.pathsep):
        if not folder.startswith("/"):
            return None  # relative to the command's own folder
        program = f"{folder}/{name}"
        if os.access(program, os.X_OK):
            return program if os.path.isfile(program) else None
    return None


def _reason(command: Command, error: Exception) -> str:
    """Why it did not start and what to do. Of the command line only the program's name is told."""
    program, directory = printable(command.argv[0]), printable(command.directory)
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.E2BIG:
        return f"the arguments or environment of `{program}` are larger than the system takes: hand the value over by `stdin:` or `{{{{ x | file }}}}`"
    if number is None:
        return f"cannot start `{program}`: an argument or a variable of its environment holds a NUL character or has no valid name"
    if not os.path.isdir(command.directory):
        return f"cannot start `{program}`: its folder `{directory}` does not exist"
    path = os.path.join(command.directory, command.argv[0])
    if number == errno.ENOENT and "/" not in command.argv[0]:
        return f"`{program}` was not found on the PATH: install it, or write its path"
    if number == errno.ENOENT and os.path.exists(path):
        return f"cannot start `{program}`: the interpreter that its `#!` line names does not exist"
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"`{program}` does not exist in `{directory}`"
    if number == errno.EACCES:
        return f"`{program}` may not be executed: is it a program, and is its executable bit set (`chmod +x`)?"
    if number == errno.ENOEXEC:
        return f"`{program}` is no program for this system and has no `#!` line: name its interpreter, as in `[bash, {program}]`"
    return f"cannot start `{program}`: {os.strerror(number or 0)}"
