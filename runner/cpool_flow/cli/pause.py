"""Waiting between two looks at a run that goes on."""

from __future__ import annotations

import select
import sys


def pause(seconds: float) -> None:
    """Wait. Raises BrokenPipeError at once where whoever reads our stdout has gone, as in `cpool-flow logs -f | head -n 1`."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    if poll.poll(seconds * 1000):
        raise BrokenPipeError
