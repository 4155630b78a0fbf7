"""`status --watch`: a run that another process works on, followed as where it was started."""

from __future__ import annotations

import signal
import sys
from types import FrameType

from cpool_flow import history
from cpool_flow.cli.follower import Progress, follower
from cpool_flow.cli.pause import pause
from cpool_flow.cli.progress import PlainProgress
from cpool_flow.journal import is_alive
from cpool_flow.run_folder import RunFolder

PAUSE_SECONDS = 0.1


def watch_run(folder: RunFolder) -> None:
    """Tell of the run on stderr until it has ended, or nobody works on it any more. Ctrl-C ends the watching alone."""
    progress = follower(folder, "auto")
    rests = Rests()
    before = {number: signal.signal(number, rests.hear) for number in (signal.SIGINT, signal.SIGTERM)}
    run = history.Watched(folder)
    try:
        _follow(run, progress, rests)
    except KeyboardInterrupt:
        progress.take()
        print(f"the run goes on · stop it: cpool-flow cancel {folder.run_id}", file=sys.stderr)
        raise
    finally:
        progress.take()
        progress.close()
        run.close()
        for number, handler in before.items():
            signal.signal(number, handler)


class Rests:
    """Where a signal ends the watching: between two drawings. What is half drawn could not be taken away again."""

    def __init__(self) -> None:
        self._come = 0
        self._resting = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """A signal has come. One that comes a second time does not wait."""
        if self._resting or self._come:
            _leave(number)
        self._come = number

    def rest(self) -> None:
        """Wait a moment. Raises KeyboardInterrupt or SystemExit where a signal has come before, or comes now."""
        self._resting = True
        try:
            if self._come:
                _leave(self._come)
            pause(PAUSE_SECONDS)
        finally:
            self._resting = False


def _leave(number: int) -> None:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    sys.exit(128 + number)


def _follow(run: history.Watched, progress: Progress, rests: Rests) -> None:
    run.read_on()
    if run.state.finished or not is_alive(run.folder.path):
        return
    progress.head(run.state, resumed=False)
    if isinstance(progress, PlainProgress):
        progress.tell_of_now(run.state)
    while True:
        alive = is_alive(run.folder.path)
        if run.has_more:
            progress.follow(run.read_on(), run.state)
        progress.heartbeat(run.state)
        if run.state.finished or not alive:
            return
        rests.rest()
