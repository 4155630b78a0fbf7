"""A run for people at a terminal: the live view while it works, then what plain progress says at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from cpool_flow import events
from cpool_flow.cli.progress import PlainProgress
from cpool_flow.journal import Recorded
from cpool_flow.live.area import Area
from cpool_flow.live.picture import picture
from cpool_flow.live.words import LastWords
from cpool_flow.state import State

# How often it looks whether something is to be drawn anew, in seconds, and the most of a core that it takes for that.
REFRESH_SECONDS = 0.2
MOST_OF_A_CORE = 0.05
# What is said in lines that stay, besides the tree.
_KEPT = (
    *(events.RunStopping, events.Noted, events.DecisionNeeded, events.SetupFinished, events.ApprovalRequested, events.SlotQuarantined),
    *(events.TurnAwaited, events.TurnCame),
)


class LiveProgress:
    """Follows a run. `logs`: where its attempts write. `clock` is in seconds since the epoch, `cpu` in seconds of work done.

    After `take` the terminal is somebody else's, until `give`. `asks`: whether that somebody asks what the run asks of persons.
    """

    heartbeat_seconds = REFRESH_SECONDS

    def __init__(
        self,
        logs: Path,
        stream: TextIO = sys.stderr,
        *,
        asks: bool = False,
        clock: Callable[[], float] = time.time,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._plain = PlainProgress(stream)
        self._area = Area(stream)
        self._said = LastWords(logs)
        self._asks = asks
        self._clock = clock
        self._cpu = cpu
        self._rest_until = 0.0
        self._taken = False

    def head(self, state: State, *, resumed: bool = True) -> None:
        """The first line, which stays."""
        self._plain.head(state, resumed=resumed)

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        """Keep what has to be read. The rest is seen when the view is drawn the next time."""
        for entry in recorded:
            if isinstance(entry.event, _KEPT) and not (self._asks and isinstance(entry.event, events.ApprovalRequested)):
                line = self._plain.line(entry.event, entry.at, state)
                if line:
                    self.say(line)

    def heartbeat(self, state: State) -> None:
        """Draw the view anew, if it has changed and the last time was long enough ago."""
        now = self._clock()
        if self._taken or now < self._rest_until:
            return
        before = self._cpu()
        self._draw(state, now)
        self._rest_until = now + (self._cpu() - before) / MOST_OF_A_CORE

    def summary(self, state: State) -> None:
        """The tree as it ended, and below it the last lines."""
        self.give()
        if state.started_at:
            self._draw(state, state.ended_at or self._clock(), last=True)
        self.close()
        self._plain.summary(state)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._area.above(f"\n{text}" if self._taken else text)
        if self._taken:
            self._area.clear()

    def take(self) -> None:
        """Somebody else prints and reads now."""
        self._taken = True
        self._area.clear()

    def give(self) -> None:
        """The terminal is the view's again."""
        self._taken = False

    def close(self) -> None:
        """The terminal as it was. May be called twice."""
        self._area.close()

    def _draw(self, state: State, now: float, *, last: bool = False) -> None:
        columns, lines = self._area.size()
        # One column and one line are left free: a terminal may move on by itself where they are full.
        self._area.draw(picture(state, now, max(columns - 1, 1), max(lines - 1, 1), self._said, last=last), patient=last)
