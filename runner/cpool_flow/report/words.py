"""Times, money and texts as a report says them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from cpool_flow.model import duration_text

Document = Mapping[str, Any]
MARKS = {
    "success": "✔",
    "failed": "✘",
    "cancelled": "⊘",
    "skipped": "↷",
    "waiting": "◔",
    "running": "▶",
    "interrupted": "⚡",
    "ready": "○",
    "pending": "○",
}


def took(seconds: float) -> str:
    """A time that was measured: `0.3s`, `2m10s`."""
    return f"{seconds:.1f}s" if seconds < 59.95 else duration_text(round(seconds))


@lru_cache(maxsize=65_536)
def seconds(moment: str) -> float:
    """A time of a document as seconds since the epoch."""
    return datetime.fromisoformat(moment).timestamp()


def moment(at: str | float | None) -> str:
    """A time of a document, or seconds since the epoch, to the second: `2027-01-05 10:00:00 UTC`."""
    if at is None:
        return ""
    when = datetime.fromtimestamp(at, UTC) if isinstance(at, float) else datetime.fromisoformat(at)
    return f"{when:%Y-%m-%d %H:%M:%S} UTC"


def span(attempts: Iterable[Document]) -> float | None:
    """Seconds from the first start to the last end; None where nothing has ended."""
    starts, ends = [], []
    for attempt in attempts:
        starts.append(attempt["started_at"])
        if attempt["ended_at"] is not None:
            ends.append(attempt["ended_at"])
    return seconds(max(ends)) - seconds(min(starts)) if ends else None  # ISO times of one zone are in the order of their text


def own_time(task: Document) -> str:
    """How long a step or item took with all that is in it; empty where nothing has ended."""
    attempts = task["attempts"]
    if len(attempts) == 1 and not task["items"] and "steps" not in task:  # as nearly all are
        ended = attempts[0]["ended_at"]
        return took(seconds(ended) - seconds(attempts[0]["started_at"])) if ended else ""
    lasted = span(all_attempts(task))
    return "" if lasted is None else took(lasted)


def all_attempts(task: Document) -> Iterable[Document]:
    """The attempts of a step or item, and those of what is in it."""
    yield from task["attempts"]
    for item in task["items"]:
        yield from all_attempts(item)
    for steps in (*task.get("earlier_rounds", ()), task.get("steps", ())):
        for step in steps:
            yield from all_attempts(step)


def questions(tasks: Iterable[Document], around: str = "") -> Iterator[tuple[str, str]]:
    """What persons are asked and have not answered, with the path of the step or item that asks."""
    for task in tasks:
        path = task["name"] if "item" in task else f"{around}{task['name']}"
        if task["status"] == "waiting" and task.get("question"):
            yield path, task["question"]
        yield from questions([*task["items"], *task.get("steps", ())], f"{path}/")


def money(document: Document, tasks: Iterable[Document] | None = None) -> str:
    """What a run, step or item has cost; empty where no agent was at work. `tasks`: the steps of a run."""
    works = (document,) if tasks is None else tasks
    if not any(attempt["agent"] for task in works for attempt in all_attempts(task)):
        return ""
    if document["cost_usd"] is None:
        known = document.get("cost_at_least_usd")
        return f"at least {dollars(known)}" if known else "cost unknown"
    return dollars(document["cost_usd"])


def dollars(amount: float) -> str:
    return f"${amount:.4f}" if 0 < amount < 0.01 else f"${amount:.2f}"


def as_text(value: Any) -> str:
    """A value as people read it: text as it is, anything else as JSON, a list or mapping on several lines."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2) if isinstance(value, (list, dict)) else json.dumps(value)


def in_one_line(value: Any) -> str:
    """The same, with JSON on one line."""
    if type(value) is int:  # as items often are
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def first_line(text: str, most: int = 300) -> str:
    """The first line, cut where it is long."""
    line = text.strip().split("\n", 1)[0]
    return line if len(line) <= most else f"{line[:most]}…"


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 item`, `5,000 items`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
