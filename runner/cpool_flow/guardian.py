"""Ends what is left of a run when its coordinator has died: a small process beside it, and the coordinator's end of the pipe to it.

Through the pipe the guardian is told the sessions that start (`+PID`) and that are over (`-PID`). At its end the coordinator is gone and nobody
else will end them. Knows nothing of workflows, journals or locks, and holds no file, folder or terminal of the user.
The process imports this without site: nothing beyond os, signal, sys and time.
"""

from __future__ import annotations

import os
import signal
import sys
import time

from cpool_flow.descendants import Table, below, entry, kill, marked, outputs, table

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_BATCH_SECONDS = 0.02  # wake at most this often: telling costs the coordinator a write, and no core
_PATIENCE_SECONDS = 30.0
_HANDED = "handed"  # as `run_folder.py` has it, which this does not import


class Guardian:
    """The coordinator's side. `launch(argv, stdin, died)` starts the process and returns what kills it."""

    def __init__(self, mark: str, folder: str, launch: Callable[[list[str], int, Callable[[], None]], Callable[[], None]]) -> None:
        root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        program = f"import sys; sys.path.append({root!r}); from cpool_flow.guardian import main; main()"
        self._argv = [sys.executable, "-I", "-S", "-c", program, mark, folder]
        self._launch = launch
        self._end: Callable[[], None] | None = None
        self._pipe = -1
        self._tasks: set[int] = set()
        self._others: set[int] = set()
        self._unsent = bytearray()
        self._stopped = False

    def start(self) -> None:
        """Start it unless it runs. It is not waited for: what it is told waits in the pipe."""
        if self._end is not None or self._stopped:
            return
        theirs, self._pipe = os.pipe()
        os.set_blocking(self._pipe, False)
        try:
            self._end = self._launch(self._argv, theirs, self._died)
        finally:
            os.close(theirs)
        self._tell(b"".join(b"+%d\n" % session for session in self._tasks | self._others))

    def begin(self, session: int) -> None:
        self._tasks.add(session)
        self._tell(b"+%d\n" % session)

    def over(self, session: int) -> None:
        self._tasks.discard(session)
        self._tell(b"-%d\n" % session)

    def also(self, sessions: set[int]) -> None:
        """The sessions that tasks have opened for themselves, as they were found last."""
        new, gone = sessions - self._others, self._others - sessions - self._tasks
        self._others = sessions
        self._tell(b"".join([b"+%d\n" % session for session in new] + [b"-%d\n" % session for session in gone]))

    def stop(self) -> None:
        """Nothing is left to guard. It is killed: it may be still on its way up, and has nothing to lose."""
        self._stopped = True
        if self._end is not None:
            self._end()
            self._forget()

    def _tell(self, lines: bytes) -> None:
        self._unsent += lines
        try:
            del self._unsent[: os.write(self._pipe, self._unsent)]
        except OSError:  # full: it goes with the next; broken: its death is noticed, and the next guardian is told all
            return

    def _died(self) -> None:
        if self._end is not None:
            self._forget()
            self.start()

    def _forget(self) -> None:
        os.close(self._pipe)
        self._unsent.clear()
        self._end, self._pipe = None, -1


def sweep(mark: str) -> int:
    """KILL everything on this machine that still carries the mark of a run, with its descendants; the number of those killed.

    For a run whose coordinator and guardian are both dead. The mark holds random text, so whoever carries it descends from the run
    (or is another user's, and then the kernel refuses the signal). Never kills the caller or an ancestor of it.
    """
    spared = _ancestors(os.getpid())
    return _end(lambda processes: below(processes, (pid for pid in processes if marked(pid, mark))) - spared)


def main() -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    mark, folder = sys.argv[1:3]
    sessions = _listen(0)
    handed = _handed(folder)  # before anything is ended: a resume may be quick, and its agents are handed files of their own
    _end(lambda processes: _survivors(processes, sessions, mark, folder))
    for path in handed:
        try:
            os.unlink(path)
        except OSError:
            continue


def _handed(folder: str) -> list[str]:
    """The files that agents were handed: there may be secrets in them, and nobody reads them any more."""
    within = os.path.join(folder, _HANDED)
    try:
        return [os.path.join(within, name) for name in os.listdir(within)]
    except OSError:
        return []


def _listen(pipe: int) -> dict[int, int]:
    """Read until the coordinator is gone; the sessions that are not over, with the start of their first process (0: it was gone already)."""
    sessions: dict[int, int] = {}
    rest = b""
    while data := os.read(pipe, 65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if line[:1] == b"+":
                sessions.setdefault(int(line[1:]), -1)
            else:
                sessions.pop(int(line[1:]), None)
        for pid in [pid for pid, started in sessions.items() if started < 0]:
            first = entry(pid)
            sessions[pid] = first.started if first else 0
        time.sleep(_BATCH_SECONDS)
    return sessions


def _survivors(processes: Table, sessions: dict[int, int], mark: str, folder: str) -> set[int]:
    def reused(pid: int) -> bool:  # a session's number is taken again only after all of the session have ended
        first = processes.get(pid)
        return first is not None and first.started != sessions[pid]

    ours = {session for session in sessions if not reused(session)}
    reaper = os.getppid()  # the coordinator's orphans and its guardian have come to the same parent
    found = {
        process.pid
        for process in processes.values()
        if process.session in ours
        or marked(process.pid, mark)
        or (folder and process.parent == reaper and any(path.startswith(folder + "/") for path in outputs(process.pid)))
    }
    return below(processes, found) - {os.getpid()}


def _end(find: Callable[[Table], set[int]]) -> int:
    """Kill until nothing is left; what cannot be killed (root's, or stuck in the kernel) is given up in the end."""
    killed: set[int] = set()
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        found = kill(find)
        if not found:
            break
        killed |= found
        time.sleep(_BATCH_SECONDS)
    return len(killed)


def _ancestors(pid: int) -> set[int]:
    processes = table()
    found: set[int] = set()
    while pid in processes and pid not in found:
        found.add(pid)
        pid = processes[pid].parent
    return found
