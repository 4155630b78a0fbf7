"""The live view: how much of one core it takes at 50 events a second, on a terminal of 50 lines. `python benchmarks/live.py`."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from measure import Folder, absolute

from cpool_flow import events, plan
from cpool_flow.journal import Recorded
from cpool_flow.live.progress import REFRESH_SECONDS, LiveProgress
from cpool_flow.model import Workflow
from cpool_flow.state import State

SLOTS, SECONDS, EVENTS_A_SECOND = 40, 20, 50


def view_row(steps: int) -> None:
    """Attempts that end and start again, each of which prints, in virtual seconds; and the work of the view in them."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    threading.Thread(target=_read, args=(ours,), daemon=True).start()
    with Folder() as folder, os.fdopen(theirs, "w") as terminal:
        now = 0.0
        view = LiveProgress(Path(folder.path), terminal, clock=lambda: now)
        state = _state(steps)
        spent = 0.0
        for turn, fact in enumerate(_facts()):
            now = turn / EVENTS_A_SECOND
            state.apply(fact, now)
            Path(folder.path, f".slot-{turn % SLOTS + 1}.out").write_text(f"line {turn}\n")
            before = time.thread_time()
            view.follow([Recorded(turn, now, fact)], state)
            if turn % round(REFRESH_SECONDS * EVENTS_A_SECOND) == 0:
                view.heartbeat(state)
            spent += time.thread_time() - before
        view.close()
    absolute(f"live view of {steps} steps at 50 events a second", spent / SECONDS, 0.05, "cores")


def _state(steps: int) -> State:
    workflow = {"steps": [{"name": f"s{number}", "run": "x", "needs": []} for number in range(steps)]}
    state = State(plan.build(Workflow.model_validate(workflow)))
    state.apply(events.RunCreated("r", "n", "w", "w.yaml", "/", "m", SLOTS, "none"), 0.0)
    for number in range(steps):
        state.apply(events.StepOpened(f"s{number}"), 0.0)
    for number in range(SLOTS):
        state.apply(_started(number, 1), 0.0)
    return state


def _facts() -> Iterator[events.Event]:
    for turn in range(SECONDS * EVENTS_A_SECOND // 2):
        task, number = turn % SLOTS, turn // SLOTS + 1
        yield events.AttemptFinished(f"s{task}", number, "failed")
        yield _started(task, number + 1)


def _started(task: int, number: int) -> events.AttemptStarted:
    return events.AttemptStarted(f"s{task}", number, slot=f"slot-{task + 1}", log=f"s{task}.{number}.log")


def _read(terminal: int) -> None:
    while True:
        try:
            os.read(terminal, 65536)
        except OSError:
            return


if __name__ == "__main__":
    for count in (50, 500, 10_000):
        view_row(count)
