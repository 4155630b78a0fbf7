"""What /proc says about processes (parents, sessions, marks, held files), and how a tree is ended without a race.

Knows nothing of tasks, runs or asyncio. Where there is no /proc (macOS) every question has an empty answer.
The guardian loads this too and must start fast: no import beyond os, signal and time.
"""

from __future__ import annotations

import os
import signal
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MARK = "CPOOL_MARK"  # the environment variable that all our processes carry: `RUN.TASK`, after those of outer runs and a comma


class Entry:
    """One process as it was when it was looked at. `started` (clock ticks since boot) tells a reused pid from the old one."""

    __slots__ = ("group", "parent", "pid", "session", "started", "zombie")

    def __init__(self, pid: int, stat: bytes) -> None:
        fields = stat[stat.rindex(b")") + 2 :].split()  # the name before it may hold anything
        self.pid = pid
        self.zombie = fields[0] in (b"Z", b"X")
        self.parent, self.group, self.session = int(fields[1]), int(fields[2]), int(fields[3])
        self.started = int(fields[19])


Table = dict[int, Entry]


def entry(pid: int) -> Entry | None:
    """The process with this pid, None where there is none."""
    try:
        return Entry(pid, _read(f"/proc/{pid}/stat"))
    except (OSError, ValueError):
        return None


def table() -> Table:
    """All processes of the machine; about 10 µs for each."""
    try:
        names = os.listdir("/proc")
    except OSError:
        return {}
    found = (entry(int(name)) for name in names if name[0] in "123456789")
    return {process.pid: process for process in found if process is not None}


def below(processes: Table, roots: Iterable[int]) -> set[int]:
    """The roots and everything that descends from them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    unseen = list(roots)
    while unseen:
        pid = unseen.pop()
        if pid not in found:
            found.add(pid)
            unseen += children.get(pid, ())
    return found


def marks(pid: int) -> tuple[str, ...]:
    """The marks in the environment with which the process was started, the innermost last; empty where it may not be read."""
    try:
        environment = _read(f"/proc/{pid}/environ")
    except OSError:
        return ()
    name = f"{MARK}=".encode()
    for variable in environment.split(b"\0"):
        if variable.startswith(name):
            return tuple(variable[len(name) :].decode("utf-8", "replace").split(","))
    return ()


def marked(pid: int, run: str) -> bool:
    """Whether a task of the run with this mark started the process, itself or through others."""
    return any(mark.rpartition(".")[0] == run for mark in marks(pid))


def outputs(pid: int) -> set[str]:
    """What its standard output and error are, as /proc names them: a path, or `pipe:[inode]`."""
    links = set()
    for number in (1, 2):
        try:
            links.add(os.readlink(f"/proc/{pid}/fd/{number}"))
        except OSError:
            continue
    return links


def resident_bytes(pid: int) -> int:
    """The memory that a process holds; 0 where it cannot be told."""
    try:
        return int(_read(f"/proc/{pid}/statm").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def signal_all(pids: Iterable[int], number: int) -> None:
    """Send a signal to each that is still there and ours to signal."""
    for pid in pids:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            continue


def kill(find: Callable[[Table], set[int]]) -> set[int]:
    """KILL all that `find` names in a table of processes, and return their pids.

    First all are frozen, and looked for again until there is nothing new: so none can fork behind our back, and parents
    still lead to their children. Only a storm of forks outruns that: after a second it is killed as far as it is known.
    """
    frozen: set[int] = set()
    deadline = time.monotonic() + 1
    while True:
        processes = table()
        new = {pid for pid in find(processes) if pid in processes and not processes[pid].zombie} - frozen
        signal_all(new, signal.SIGSTOP)
        frozen |= new
        if not new or time.monotonic() > deadline:
            break
    signal_all(frozen, signal.SIGKILL)
    return frozen


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        data = os.read(file, 65536)
        rest = data
        while len(rest) == 65536:
            rest = os.read(file, 65536)
            data += rest
        return data
    finally:
        os.close(file)
