"""The time line of a run in HTML: a row for each step of the plan, a bar for each attempt. Works without a script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from markupsafe import Markup

from cpool_flow.report.markup import element, joined
from cpool_flow.report.overview import Line
from cpool_flow.report.steps_section import anchor
from cpool_flow.report.timeline import Scale
from cpool_flow.report.words import counted, seconds, span, took

Document = dict[str, Any]
MOST_ROWS = 300
# More bars than these in a row are drawn together, where they are next to each other.
MOST_BARS = 150
NARROWEST = 0.35
_WORST_LAST = ("success", "cancelled", "running", "failed")


def timeline(lines: Sequence[Line], now: float) -> Markup | None:
    """The time line; None where nothing has begun. `now`: the end of what still runs, in seconds since the epoch."""
    rows = [line for top in lines for line in top.everything() if line.attempts]
    times = [_times(attempt, now) for line in rows for attempt in line.attempts]
    if not times:
        return None
    scale = Scale(times)
    shown = [_row(line, scale, now) for line in rows[:MOST_ROWS]]
    note = element("p", f"… and {counted(len(rows) - MOST_ROWS, 'more step')}", class_="note") if len(rows) > MOST_ROWS else None
    return joined(element("div", _axis(scale), *shown, class_="timeline"), _pauses(scale), note)


def _row(line: Line, scale: Scale, now: float) -> Markup:
    lasted = span(line.attempts)
    facts = " · ".join(
        filter(None, ["" if lasted is None else took(lasted), counted(len(line.attempts), "attempt") if len(line.attempts) > 1 else ""])
    )
    name = element("a", line.path, href=f"#{anchor(line.path)}")
    bars = joined(*_marks(scale), *_bars(line.attempts, scale, now))
    drawing = element("svg", bars, width="100%", height=18, role="img", aria_label=f"{line.path}: {facts or 'running'}")
    return element("div", element("div", name, element("span", facts, class_="fact"), class_="label"), drawing, class_="row")


def _bars(attempts: Sequence[Document], scale: Scale, now: float) -> Iterator[Markup]:
    if len(attempts) > MOST_BARS:
        yield from (_bar(start, end, status, None) for start, end, status in _together(attempts, scale, now))
        return
    for attempt in attempts:
        start, end = (scale.place(at) for at in _times(attempt, now))
        began, ended = _times(attempt, now)
        slot = f" · {attempt['slot']}" if attempt["slot"] else ""
        recovery = " (recovery)" if attempt["kind"] == "recovery" else ""
        yield _bar(
            start,
            end,
            attempt["status"],
            f"attempt {attempt['number']}{recovery}: {attempt['error_kind'] or attempt['status']} · {took(ended - began)}{slot}",
        )


def _bar(start: float, end: float, status: str, title: str | None) -> Markup:
    width = max(end - start, NARROWEST)
    place = min(start, 100.0 - width)
    inside = element("title", title) if title else None
    return element("rect", inside, x=f"{place:.2f}%", y=2, width=f"{width:.2f}%", height=14, rx=2, class_=status)


def _together(attempts: Iterable[Document], scale: Scale, now: float) -> Iterator[tuple[float, float, str]]:
    """From where to where anything ran, cut into pieces of which each has the worst status in it."""
    worst: dict[int, int] = {}
    for attempt in attempts:
        start, end = (scale.place(at) for at in _times(attempt, now))
        weight = _WORST_LAST.index(attempt["status"])
        for piece in range(int(start / NARROWEST), int(end / NARROWEST) + 1):
            worst[piece] = max(weight, worst.get(piece, 0))
    first = last = None
    for piece in sorted(worst):
        if first is not None and last is not None and (piece != last + 1 or worst[piece] != worst[first]):
            yield first * NARROWEST, (last + 1) * NARROWEST, _WORST_LAST[worst[first]]
            first = None
        first, last = piece if first is None else first, piece
    if first is not None and last is not None:
        yield first * NARROWEST, (last + 1) * NARROWEST, _WORST_LAST[worst[first]]


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


def _times(attempt: Document, now: float) -> tuple[float, float]:
    start = seconds(attempt["started_at"])
    return start, max(start, now if attempt["ended_at"] is None else seconds(attempt["ended_at"]))
