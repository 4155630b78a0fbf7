"""What tasks leave behind: processes whose parent has ended and that came to us, and which task each belongs to.

On Linux the coordinator is the child subreaper, so everything that a task starts stays below it and nothing has to be searched
for. Elsewhere this sees nothing. Knows nothing of asyncio, pipes or verdicts, and never reaps a process that somebody waits for.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Protocol

from cpool_flow.descendants import Entry, Table, below, entry, kill, marks, outputs, table

_PR_SET_CHILD_SUBREAPER = 36
_PATIENCE_SECONDS = 2.0


class Task(Protocol):
    """Who may have started an orphan. `pid` is also its session."""

    @property
    def pid(self) -> int: ...
    @property
    def mark(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def idle(self) -> bool: ...
    def outputs(self) -> set[str]: ...


class Orphans:
    """One per coordinator process. An orphan whose task cannot be told is laid to every task that ran, and was not idle, when it was
    first seen."""

    def __init__(self) -> None:
        self.shared = False  # this process has children of others too: only what can be told to be a task's is taken for one
        self.waited: set[int] = set()  # children whose exit status somebody is waiting for
        self._tasks: dict[int, Task] = {}
        self._suspects: dict[int, set[Task]] = {}
        self._sessions: dict[int, Task | None] = {}
        self._session = 0
        self._children = -1
        self._users = 0

    def open(self) -> None:
        """From now on orphans come to us."""
        self._users += 1
        if self._users == 1:
            self._session = os.getsid(0)
            with contextlib.suppress(OSError):  # a kernel without that file, or no /proc
                # Orphans come to the first thread. None of the list vanishes while it is read: only we reap them.
                self._children = os.open(f"/proc/self/task/{os.getpid()}/children", os.O_RDONLY)
            _adopt(True)

    def close(self) -> None:
        self._users -= 1
        if self._users == 0:
            _adopt(False)
            if self._children >= 0:
                os.close(self._children)
                self._children = -1

    @property
    def seen(self) -> bool:
        """Whether orphans can be found here at all."""
        return sys.platform == "linux"

    def begin(self, task: Task) -> None:
        self.waited.add(task.pid)
        self._tasks[task.pid] = task

    def over(self, task: Task) -> None:
        """What the task may have left is from now on laid to the others only."""
        self._tasks.pop(task.pid, None)
        for suspects in self._suspects.values():
            suspects.discard(task)

    def look(self) -> None:
        """Find what has come to us since the last look, and reap what has ended. About 5 µs where there is nothing."""
        strangers = self._read_children() - self.waited
        for pid in strangers:
            process = entry(pid)
            if process is None or process.session == self._session:
                continue  # no task can come back to our own session: it is someone else's child
            if process.zombie:
                if not self.shared or pid in self._suspects:
                    self._reap(pid)
            elif pid not in self._suspects:
                suspected = self._suspected(process)
                if suspected or not self.shared:
                    self._suspects[pid] = suspected
        if self._suspects:
            for pid in self._suspects.keys() - strangers:
                del self._suspects[pid]

    def left_by(self, task: Task | None) -> set[int]:
        """The orphans that nobody but this task can have left; with None those that no running task has left."""
        wanted = {task} if task is not None else set()
        return {pid for pid, suspects in self._suspects.items() if suspects == wanted}

    def members(self, task: Task, processes: Table) -> set[int]:
        """Everything that lives of the task: its first process, what it left, and what descends from them."""
        self.look()
        first = {task.pid} if task.running else set()
        return below(processes, first | self.left_by(task))

    def end_unclaimed(self) -> None:
        """KILL what no running task has left."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        self.look()
        while self.left_by(None) and time.monotonic() < deadline:
            kill(lambda processes: below(processes, self.left_by(None)))
            time.sleep(0.002)
            self.look()

    def sessions(self) -> set[int]:
        """Look at the descendants of all tasks; the sessions that they opened for themselves. What leaves later is known by them."""
        self.look()
        processes = table()
        found: dict[int, Task | None] = {}
        roots = [(pid, {task}) for pid, task in self._tasks.items()] + list(self._suspects.items())
        for root, suspects in roots:
            task = next(iter(suspects)) if len(suspects) == 1 else None
            found.update((processes[pid].session, task) for pid in below(processes, [root]) if pid in processes)
        for known in (self._session, *self._tasks):
            found.pop(known, None)
        self._sessions = found
        return set(found)

    def _suspected(self, process: Entry) -> set[Task]:
        task = self._tasks.get(process.session)
        if task is None:
            carried = marks(process.pid)
            task = next((task for task in self._tasks.values() if task.mark in carried), None)
        if task is None:
            task = self._sessions.get(process.session)
        if task is None:
            held = outputs(process.pid)
            task = next((task for task in self._tasks.values() if held & task.outputs()), None)
        if task is not None:
            return {task}
        if self.shared:
            return set()
        return {task for task in self._tasks.values() if not task.idle} or set(self._tasks.values())

    def _read_children(self) -> set[int]:
        if self._children < 0:
            me = os.getpid()
            return {process.pid for process in table().values() if process.parent == me}
        data = part = os.pread(self._children, 65536, 0)
        while part:
            part = os.pread(self._children, 65536, len(data))
            data += part
        return set(map(int, data.split()))

    def _reap(self, pid: int) -> None:
        self._suspects.pop(pid, None)
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            return


def _adopt(wanted: bool) -> None:
    """Be the parent of our orphaned descendants, or no longer."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0)
