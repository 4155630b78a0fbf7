"""The time line of a run in HTML: a row for each step of the plan, a bar for each attempt. Works without a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from markupsafe import Markup

from cpool_flow.report.markup import element, joined
from cpool_flow.report.overview import Line
from cpool_flow.report.steps_section import anchor
from cpool_flow.report.timeline import Scale
from cpool_flow.report.words import counted, seconds, took

Document = dict[str, Any]
MOST_ROWS = 300
# More bars than these in a row are drawn together, where they are next to each other.
MOST_BARS = 150
NARROWEST = 0.35
_WORST_LAST = ("success", "cancelled", "running", "failed")


class _Bar(NamedTuple):
    """An attempt, and from when to when it was at work."""

    start: float
    end: float
    attempt: Document


def timeline(lines: Sequence[Line], now: float) -> Markup | None:
    """The time line; None where nothing has begun. `now`: the end of what still runs, in seconds since the epoch."""
    rows = [line for top in lines for line in top.everything() if line.attempts]
    if not rows:
        return None
    scale = Scale(_times(attempt, now) for line in rows for attempt in line.attempts)
    shown = [_row(line, [_Bar(*_times(attempt, now), attempt) for attempt in line.attempts], scale) for line in rows[:MOST_ROWS]]
    note = element("p", f"… and {counted(len(rows) - MOST_ROWS, 'more step')}", class_="note") if len(rows) > MOST_ROWS else None
    return joined(element("div", _axis(scale), *shown, class_="timeline"), _pauses(scale), note)


def _times(attempt: Document, now: float) -> tuple[float, float]:
    """From when to when it was at work."""
    start = seconds(attempt["started_at"])
    return start, max(start, now if attempt["ended_at"] is None else seconds(attempt["ended_at"]))


def _row(line: Line, bars: Sequence[_Bar], scale: Scale) -> Markup:
    lasted = max(bar.end for bar in bars) - min(bar.start for bar in bars)
    facts = " · ".join([took(lasted), *([counted(len(bars), "attempt")] if len(bars) > 1 else [])])
    name = element("a", line.path, href=f"#{anchor(line.path)}")
    drawn = _each(bars, scale) if len(bars) <= MOST_BARS else _together(bars, scale)
    drawing = element("svg", *_marks(scale), *drawn, width="100%", height=18, role="img", aria_label=f"{line.path}: {facts}")
    return element("div", element("div", name, element("span", facts, class_="fact"), class_="label"), drawing, class_="row")


def _each(bars: Iterable[_Bar], scale: Scale) -> Iterator[Markup]:
    for bar in bars:
        attempt = bar.attempt
        recovery = " (recovery)" if attempt["kind"] != "normal" else ""
        facts = [attempt["error_kind"] or attempt["status"], took(bar.end - bar.start), attempt["slot"], attempt["agent"]]
        title = element("title", f"attempt {attempt['number']}{recovery}: {' · '.join(filter(None, facts))}")
        yield _rectangle(scale.place(bar.start), scale.place(bar.end), attempt["status"], title)


def _together(bars: Iterable[_Bar], scale: Scale) -> Iterator[Markup]:
    """One bar for what is next to each other and alike: where several ran, the worst of them counts."""
    worst: dict[int, int] = {}
    for bar in bars:
        weight = _WORST_LAST.index(bar.attempt["status"])
        for piece in range(int(scale.place(bar.start) / NARROWEST), int(scale.place(bar.end) / NARROWEST) + 1):
            worst[piece] = max(weight, worst.get(piece, 0))
    pieces = sorted(worst)
    # A run of pieces without a gap keeps its distance to how many came before.
    runs = groupby(enumerate(pieces), lambda entry: (entry[1] - entry[0], worst[entry[1]]))
    for (_, weight), run in runs:
        numbers = [piece for _, piece in run]
        yield _rectangle(numbers[0] * NARROWEST, (numbers[-1] + 1) * NARROWEST, _WORST_LAST[weight])


def _rectangle(start: float, end: float, status: str, title: Markup | None = None) -> Markup:
    width = max(min(end, 100.0) - start, NARROWEST)
    place = min(start, 100.0 - width)
    return element("rect", title, x=f"{place:.2f}%", y=2, width=f"{width:.2f}%", height=14, rx=2, class_=status)


def _marks(scale: Scale) -> Iterator[Markup]:
    for pause in scale.pauses:
        yield element("rect", x=f"{pause.start:.2f}%", y=0, width=f"{pause.end - pause.start:.2f}%", height=18, class_="pause")


def _axis(scale: Scale) -> Markup:
    ends = joined(element("span", "0s"), element("span", took(scale.ended - scale.began)))
    return element("div", element("div", class_="label"), element("div", ends, class_="axis"), class_="row")


def _pauses(scale: Scale) -> Markup | None:
    if not scale.pauses:
        return None
    lengths = ", ".join(took(pause.seconds) for pause in scale.pauses[:10])
    return element("p", f"nothing ran for {lengths}: drawn shorter", class_="note")
