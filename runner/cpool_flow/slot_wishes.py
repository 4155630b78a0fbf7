"""Which runs of a family wait for a slot, and how many each has: a slot that becomes free goes to the one with the fewest.

A wish is a file that is written again while its run asks, several times a second; one that is not has no weight after a moment, however
its run has ended. Knows no slots. Where nobody has ever waited nothing is read.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

FOLDER = "wishes"
# How long a wish counts that is not renewed. An engine asks again several times as often.
FRESH_SECONDS = 1.0


class Wishes:
    """The wishes of a family of runs, as one of them sees them."""

    def __init__(self, slots: Path) -> None:
        """`slots`: the folder of the slots that they share."""
        self._folder = slots / FOLDER
        self._own = self._folder / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._waits = False

    def wait(self, busy: int) -> None:
        """This run, which has `busy` slots, wants one more. Raises OSError."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._own.write_text(str(busy))
        self._waits = True

    def withdraw(self) -> None:
        """It has got what it wanted."""
        if self._waits:
            self._own.unlink(missing_ok=True)
            self._waits = False

    def come_first(self, busy: int) -> bool:
        """Whether another run waits that has fewer than `busy` slots. Raises OSError."""
        if busy == 0 or not self._folder.exists():
            return False
        oldest = time.time() - FRESH_SECONDS
        with os.scandir(self._folder) as entries:
            return any(_busy(entry, oldest) < busy for entry in entries if entry.name != self._own.name)


def _busy(entry: os.DirEntry[str], oldest: float) -> float:
    """How many slots a waiting run has; without end for one that waits no more."""
    with suppress(OSError, ValueError):
        if entry.stat().st_mtime >= oldest:
            return int(Path(entry.path).read_text())
    return float("inf")
