"""Looks over the whole machine for processes of a run, by mark and by parent. Shares no code with what it checks."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path

import psutil


def survivors(mark: str, *pids: int) -> list[str]:
    """What lives of the run with this mark, of these processes, and of everything below them; empty is good."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid in pids or _carries(process, mark):
                found[process.pid] = process
                found.update((child.pid, child) for child in process.children(recursive=True))
    return [f"{process.pid} {_line(process)}" for process in found.values() if alive(process.pid)]


def alive(pid: int) -> bool:
    """Whether the process runs. A zombie has ended: it waits for its parent only."""
    try:
        return psutil.Process(pid).status() not in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD)
    except psutil.Error:
        return False


def eventually(condition: Callable[[], object], seconds: float = 30) -> bool:
    """Whether the condition comes true within a generous time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def pid_in(file: Path) -> int:
    """The pid that a process has written to a file, waited for."""
    assert eventually(lambda: file.exists() and file.read_text().endswith("\n")), f"nothing wrote {file}"
    return int(file.read_text())


def _carries(process: psutil.Process, mark: str) -> bool:
    return any(part.startswith(f"{mark}.") for part in process.environ().get("CPOOL_MARK", "").split(","))


def _line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())[:200]
    except psutil.Error:
        return "?"
