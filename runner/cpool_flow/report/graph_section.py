"""The graph of a run's steps: data for the script that draws it, and the same as a list for who has none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from cpool_flow.report.markup import element, joined
from cpool_flow.report.overview import Line
from cpool_flow.report.steps_section import anchor, status_badge
from cpool_flow.report.words import counted, span, took

# A larger graph is only a list: no browser lays it out while somebody waits, and nobody reads it.
MOST_NODES = 250
MOST_EDGES = 600
MOST_LISTED = 1000


def graph(lines: Sequence[Line]) -> Markup:
    """The place for the drawing, and the list."""
    listed = _list(lines, [MOST_LISTED])
    if not is_drawable(lines):
        count = sum(1 for top in lines for _ in top.everything())
        return joined(element("p", f"{counted(count, 'step')}: too many to be drawn", class_="note"), listed)
    return joined(
        element("div", id="drawing", class_="scroll", tabindex=0, hidden=""),
        element("details", element("summary", "as a list"), listed, id="listed", open=""),
    )


def is_drawable(lines: Sequence[Line]) -> bool:
    every = [line for top in lines for line in top.everything()]
    return len(every) <= MOST_NODES and sum(len(line.needs) for line in every) <= MOST_EDGES


def graph_data(lines: Sequence[Line]) -> list[dict[str, Any]]:
    """What the script needs. Names of steps, words and numbers only."""
    return [
        {
            "name": line.name,
            "kind": line.kind,
            "status": line.status,
            "detail": detail(line),
            "needs": list(line.needs),
            "finally": line.is_finally,
            "many": line.fans_out,
            "anchor": anchor(line.path),
            "steps": graph_data(line.inside),
        }
        for line in lines
    ]


def detail(line: Line) -> str:
    """How often, how much of it well, how long."""
    total = line.counts.total()
    done = f"{line.counts['success']:,} of {total:,}" if line.fans_out or total > 1 else ""
    lasted = span(line.all_attempts())
    loop = f"at most {counted(line.rounds, 'round')}" if line.rounds else ""
    return " · ".join(filter(None, ["" if line.kind == "run" else line.kind, done, loop, "" if lasted is None else took(lasted)]))


def _list(lines: Sequence[Line], left: list[int]) -> Markup:
    entries = []
    for line in lines:
        left[0] -= 1
        if left[0] < 0:
            entries.append(element("li", "…"))
            break
        after = f"after {', '.join(line.needs)}" if line.needs else "at the end" if line.is_finally else "at once"
        inside = _list(line.inside, left) if line.inside else None
        name = element("a", line.name, href=f"#{anchor(line.path)}")
        entries.append(
            element(
                "li",
                status_badge(line.status),
                name,
                *(element("span", fact, class_="fact") for fact in (detail(line), after) if fact),
                inside,
            )
        )
    return element("ol", *entries, class_="plan")
