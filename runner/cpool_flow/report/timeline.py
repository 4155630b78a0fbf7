"""When attempts were at work, on a scale from 0 to 100. A long time in which nothing ran (a night, a wait for a person) is cut short."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import pairwise

from cpool_flow.dataclass import dataclass

# A pause is cut where it is longer than this part of all the time at work.
LONG_PAUSE = 0.5
SHORTEST_CUT_SECONDS = 60.0
WIDTH_OF_A_CUT = 4.0


@dataclass(frozen=True)
class Pause:
    """A pause that was cut: where it begins and ends on the scale, and how long it was."""

    start: float
    end: float
    seconds: float


class Scale:
    """Seconds since the epoch → 0 to 100."""

    def __init__(self, times: Iterable[tuple[float, float]]) -> None:
        """`times`: from when to when somebody was at work. At least one."""
        busy = list(_joined(times))
        self.began, self.ended = busy[0][0], busy[-1][1]
        total = sum(end - start for start, end in busy)
        gaps = [(before[1], after[0]) for before, after in pairwise(busy)]
        cut = [gap for gap in gaps if gap[1] - gap[0] > max(SHORTEST_CUT_SECONDS, LONG_PAUSE * total)]
        shown = max(self.ended - self.began - sum(end - start for start, end in cut), 0.001)
        width = min(WIDTH_OF_A_CUT, 40.0 / len(cut)) if cut else 0.0
        self._each = (100.0 - width * len(cut)) / shown  # of a second
        self._moments, self._places = [self.began], [0.0]
        for start, end in cut:
            place = self._places[-1] + (start - self._moments[-1]) * self._each
            self._moments += [start, end]
            self._places += [place, place + width]
        self._moments.append(self.ended)
        self._places.append(100.0)
        self.pauses = [
            Pause(self._places[number], self._places[number + 1], self._moments[number + 1] - self._moments[number])
            for number in range(1, 2 * len(cut), 2)
        ]

    def place(self, moment: float) -> float:
        """Where a moment is."""
        if moment <= self.began:
            return 0.0
        if moment >= self.ended:
            return 100.0
        number = bisect_right(self._moments, moment) - 1
        start, end = self._moments[number], self._moments[number + 1]
        part = (moment - start) / (end - start) if end > start else 0.0
        return self._places[number] + part * (self._places[number + 1] - self._places[number])


def _joined(times: Iterable[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """The times in order, those that touch made one."""
    ordered = sorted(times)
    start, end = ordered[0]
    for next_start, next_end in ordered[1:]:
        if next_start > end:
            yield start, end
            start, end = next_start, next_end
        end = max(end, next_end)
    yield start, end
