"""A run as Markdown for the summary page of a GitHub Actions job: a table of steps, cost, the graph, what failed, the outputs.

Pure: made from the document of `status --json` and that of the plan. Text of agents and commands stays text: nothing in it is markup,
a link or a mention.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from cpool_flow.drawing import mermaid
from cpool_flow.errors import printable
from cpool_flow.model import duration_text

Document = Mapping[str, Any]
MARKS = {"success": "✅", "failed": "❌", "cancelled": "🚫", "skipped": "⏭️", "waiting": "✋", "running": "▶️"}
# GitHub draws no larger graph.
MOST_DRAWN_CHARACTERS = 45_000
MOST_DRAWN_EDGES = 480
FEWEST_CHARACTERS_OF_A_STEP = 10
TOO_LARGE = "The graph of the steps is too large to be drawn here: `cpool-flow plan FILE --format dot` has it."
MOST_CELL_CHARACTERS = 300
MOST_TEXT_CHARACTERS = 20_000
# What could be markup, or at its place a link, a mention or a reference; and what could begin a list, a heading or a rule.
_MARKUP = re.compile(r"[\\`*_\[\]<>|&~$]|:(?=//)|@(?=\w)|#(?=\w)|(?<=www)\.", re.IGNORECASE)
_BEGINNING = re.compile(r"(?:[0-9]+(?=[.)]))|(?=[-+=#])")


def report(run: Document, plan: Document | None, limit_bytes: int | None = None) -> str:
    """The report in Markdown; without `plan` nothing is drawn. With a limit it is cut to so many bytes of UTF-8, and says so."""
    sections = [heading(run), *([graph(plan, run)] if plan is not None else []), *failures(run["steps"]), *outputs(run["outputs"])]
    rows = list(step_rows(run["steps"], run["branch"]))
    whole = _joined(sections, [*TABLE_HEAD, *rows])
    if limit_bytes is None or _size(whole) <= limit_bytes:
        return whole
    return _cut(run, sections, rows, limit_bytes)


def heading(run: Document) -> str:
    """Name, status, time and cost."""
    parts = [f"{MARKS.get(run['status'], '')} **{run['status']}**", f"run `{run['run_id']}`"]
    if run["duration_seconds"] is not None:
        parts.append(_took(run["duration_seconds"]))
    parts.append(_cost(run["cost_usd"], (attempt for step in run["steps"] for attempt in _attempts(step))) or "no cost")
    parts += [f"branch `{run['branch']}`"] if run["branch"] else []
    error = f"\n\n{plain(run['error'])}" if run["error"] else ""
    return f"## {plain(run['workflow'] or 'workflow')}\n\n{' · '.join(part for part in parts if part)}{error}"


TABLE_HEAD = ("| step | status | attempts | time | cost | |", "| --- | --- | --- | --- | --- | --- |")


def step_rows(steps: Iterable[Document], branch: str | None = None, around: str = "") -> Iterator[str]:
    """A row of the table for each step, below it those of the steps in it and of the items that did not succeed. `branch`: where their
    work is; who has another one names it."""
    for step in steps:
        yield _row(step, f"{around}{step['name']}", branch)
        yield from step_rows(step.get("steps", ()), step.get("branch", branch), f"{around}{step['name']}/")
        for item in step["items"]:
            if item["status"] not in ("success", "skipped"):
                yield _row(item, item["name"], branch)
                yield from step_rows(item.get("steps", ()), item.get("branch", branch), f"{item['name']}/")


def may_be_drawn(run: Document) -> bool:
    """Whether `graph` need be asked: not of so many steps that their names alone are too much."""
    return len(run["steps"]) * FEWEST_CHARACTERS_OF_A_STEP <= MOST_DRAWN_CHARACTERS


def graph(plan: Document, run: Document) -> str:
    """The steps as GitHub draws them, with what became of them."""
    drawn = mermaid(plan, {step["name"]: step["status"] for step in run["steps"]})
    if len(drawn) > MOST_DRAWN_CHARACTERS or drawn.count("->") > MOST_DRAWN_EDGES:
        return TOO_LARGE
    return f"```mermaid\n{drawn}```"


def failures(steps: Iterable[Document]) -> Iterator[str]:
    """What the failed steps say, each folded."""
    for step in _innermost(steps):
        text = str(step.get("error") or next((each["error"] for each in reversed(step["attempts"]) if each["error"]), None) or "")
        if step["status"] == "failed" and text:
            yield _folded(f"<b>{in_html(step['name'])}</b> {in_html(_one_line(step['reason'] or ''))}", text)


def outputs(values: Mapping[str, Any]) -> Iterator[str]:
    """The outputs of the workflow, each folded."""
    for name, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)
        yield _folded(f"output <b>{in_html(name)}</b>", text)


def plain(text: str) -> str:
    """One line of text of which Markdown makes nothing: no markup, link, mention or image. It can still be read as it is."""
    line = printable(" ".join(text.split()))
    begins = _BEGINNING.match(line)
    if begins is None:
        return _escaped(line)
    at = begins.end()
    return f"{line[:at]}\\{line[at]}{_escaped(line[at + 1 :])}"


def _escaped(text: str) -> str:
    return _MARKUP.sub(lambda found: f"\\{found[0]}", text)


def in_html(text: str) -> str:
    """One line of text between tags, where Markdown is not read."""
    return html.escape(printable(" ".join(text.split())), quote=False)


def fenced(text: str) -> str:
    """Text of several lines in a fence that is longer than any in it."""
    lines = [printable(line.replace("\t", "    ")) for line in text.rstrip("\n").split("\n")]
    shown = "\n".join(lines)
    longest = max((len(found) for found in re.findall("`{3,}", shown)), default=2)
    fence = "`" * (longest + 1)
    return f"{fence}text\n{shown}\n{fence}"


def _innermost(steps: Iterable[Document]) -> Iterator[Document]:
    for step in steps:
        inside = list(_innermost([*step.get("steps", ()), *step["items"]]))
        failed = [each for each in inside if each["status"] == "failed"]
        yield from failed or [step]


def _folded(title: str, text: str) -> str:
    cut = (
        text
        if len(text) <= MOST_TEXT_CHARACTERS
        else f"{text[:MOST_TEXT_CHARACTERS]}\n… {len(text) - MOST_TEXT_CHARACTERS:,} more characters"
    )
    return f"<details><summary>{title}</summary>\n\n{fenced(cut)}\n\n</details>"


def _row(step: Document, name: str, branch: str | None) -> str:
    attempts = list(_attempts(step))
    # `name` holds names of steps and numbers only.
    own = step.get("branch", branch)
    why = [part for part in (_reason(step), f"branch `{own}`" if own not in (None, branch) else "") if part]
    cells = [f"`{name}`", _status(step), str(len(attempts) or ""), _time(attempts), _cost(step["cost_usd"], attempts), " · ".join(why)]
    return f"| {' | '.join(cells)} |"


def _status(step: Document) -> str:
    done = sum(item["status"] == "success" for item in step["items"])
    return f"{MARKS.get(step['status'], '')} {step['status']}{f' {done}/' + str(len(step['items'])) if step['items'] else ''}".strip()


def _reason(step: Document) -> str:
    return plain(_one_line(step["reason"])) if step["reason"] else ""


def _one_line(text: str) -> str:
    line = text.split("\n", 1)[0]
    return line if len(line) <= MOST_CELL_CHARACTERS else f"{line[:MOST_CELL_CHARACTERS]}…"


def _attempts(step: Document) -> Iterator[Document]:
    yield from step["attempts"]
    for inside in (*step["items"], *step.get("steps", ())):
        yield from _attempts(inside)


def _time(attempts: Sequence[Document]) -> str:
    """From the first start to the last end."""
    starts = [attempt["started_at"] for attempt in attempts if attempt["started_at"]]
    ends = [attempt["ended_at"] for attempt in attempts if attempt["ended_at"]]
    if not starts or not ends:
        return ""
    return _took((datetime.fromisoformat(max(ends)) - datetime.fromisoformat(min(starts))).total_seconds())


def _took(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 59.95 else duration_text(seconds)


def _cost(cost_usd: float | None, attempts: Iterable[Document]) -> str:
    """Empty where no agent was at work."""
    if not any(attempt["agent"] for attempt in attempts):
        return ""
    return "cost unknown" if cost_usd is None else f"${cost_usd:.2f}"


def _joined(sections: Sequence[str], table: Sequence[str]) -> str:
    first, *rest = sections
    return "\n\n".join([first, "\n".join(table), *rest]) + "\n"


def _cut(run: Document, sections: Sequence[str], rows: Sequence[str], limit_bytes: int) -> str:
    """As much as fits: first the heading, then rows, those of failed steps before others, then the other sections in their order."""
    note = f"\n\n_Cut: the whole report is in the folder of the run `{run['run_id']}`._\n"
    left = limit_bytes - _size(sections[0]) - _size("\n".join(TABLE_HEAD)) - _size(note) - 8
    if left < 0:
        return note.strip()[: max(0, limit_bytes)]
    by_weight = sorted(range(len(rows)), key=lambda number: MARKS["failed"] not in rows[number])
    chosen = set(_fitting(((number, rows[number]) for number in by_weight), left))
    left -= sum(_size(rows[number]) + 1 for number in chosen)
    kept = set(_fitting(enumerate(sections[1:], 1), left - 2))
    table = [*TABLE_HEAD, *(row for number, row in enumerate(rows) if number in chosen)]
    return _joined([sections[0], *(section for number, section in enumerate(sections) if number in kept)], table).rstrip("\n") + note


def _fitting(parts: Iterable[tuple[int, str]], left: int) -> Iterator[int]:
    for number, part in parts:
        left -= _size(part) + 2
        if left < 0:
            return
        yield number


def _size(text: str) -> int:
    return len(text.encode("utf-8", "replace"))
