"""`status --watch`: a run that another process works on, followed as where it was started."""

from __future__ import annotations

import signal
import sys

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
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the terminal is left as it was
    run = history.Watched(folder)
    try:
        _follow(run, progress)
    except KeyboardInterrupt:
        progress.take()
        print(f"the run goes on · stop it: cpool-flow cancel {folder.run_id}", file=sys.stderr)
        raise
    finally:
        progress.take()
        progress.close()
        run.close()


def _follow(run: history.Watched, progress: Progress) -> None:
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
        pause(PAUSE_SECONDS)
