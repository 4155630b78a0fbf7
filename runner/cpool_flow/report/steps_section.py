"""The steps of a run in HTML: each can be opened, down to its attempts and the ends of its logs. Works without a script.

Of very many steps or items those are shown whole that did not succeed; the others are rows of a table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from cpool_flow.errors import printable_lines
from cpool_flow.report.markup import element, joined
from cpool_flow.report.words import (
    MARKS,
    as_text,
    counted,
    first_line,
    in_one_line,
    moment,
    money,
    own_time,
    seconds,
    took,
)

Document = Mapping[str, Any]
MOST_WHOLE = 300
MOST_TEXT_CHARACTERS = 20_000
MOST_ATTEMPTS = 50
MOST_CELL_CHARACTERS = 160
_WELL = ("success", "skipped", "pending", "ready")


def steps_list(steps: Sequence[Document], around: str = "") -> Markup:
    """The steps one below the other. `around`: the path of what they are in, with its slash; items have no path of their own."""
    return joined(*_siblings(steps, lambda step: _whole(step, str(step["name"]), f"{around}{step['name']}")))


@cache
def status_badge(status: str) -> Markup:
    """A status as a mark and a word."""
    return element("span", element("span", MARKS.get(status, ""), aria_hidden="true"), f" {status}", class_=f"badge {status}")


def text_block(content: str, *, most: int = MOST_TEXT_CHARACTERS, end: bool = False) -> Markup:
    """Text of several lines, cut where it is long, with a note."""
    shown = content[-most:] if end else content[:most]
    left_out = len(content) - len(shown)
    note = element("p", f"… {left_out:,} more characters", class_="note") if left_out else None
    block = element("pre", shown, tabindex=0)
    return joined(note, block) if end else joined(block, note)


def anchor(path: str) -> str:
    """The id of a step's element. Names of steps are `[a-z][a-z0-9_-]*`."""
    return f"step.{path.replace('/', '.')}"


def _siblings(tasks: Sequence[Document], whole: Callable[[Document], Markup]) -> Iterator[Markup]:
    if len(tasks) <= MOST_WHOLE:
        yield from (whole(task) for task in tasks)
        return
    bad = [task for task in tasks if task["status"] not in _WELL]
    yield from (whole(task) for task in bad[:MOST_WHOLE])
    rest = [task for task in tasks if task["status"] in _WELL] + bad[MOST_WHOLE:]
    yield element("details", element("summary", _tally(rest)), _table(rest), class_="many")


def _tally(tasks: Iterable[Document]) -> str:
    counts = Counter(task["status"] for task in tasks)
    return ", ".join(f"{count:,} {status}" for status, count in counts.most_common())


def _table(tasks: Iterable[Document]) -> Markup:
    """A row for each: made by hand, for there are thousands."""
    rows = "".join(map(_row, tasks))
    head = "<thead><tr><th>name<th>status<th class='number'>time<th>item<th>output</thead>"
    return Markup(f"<div class='scroll'><table>{head}<tbody>{rows}</tbody></table></div>")


def _row(task: Document) -> str:
    item = _cell(in_one_line(task["item"])) if "item" in task else ""
    output = _cell(task["output"] or "") if not task["items"] else counted(len(task["items"]), "item")
    status = task["status"]
    return (
        f"<tr><td>{escape(task['name'])}<td class='{status}'>{status}"
        f"<td class='number'>{own_time(task)}<td class='text'>{item}<td class='text'>{output}"
    )


def _cell(value: str) -> str:
    if value.isalnum() and len(value) <= MOST_CELL_CHARACTERS:
        return value
    return escape(printable_lines(value if len(value) <= MOST_CELL_CHARACTERS else f"{value[:MOST_CELL_CHARACTERS]}…"))


def _whole(task: Document, name: str, path: str | None) -> Markup:
    """A step or item that can be opened. Open at once where it failed, and nothing in it says why."""
    summary = element("summary", status_badge(task["status"]), element("b", name), *_facts(task))
    return element("details", summary, element("div", *_inside(task, path)), id=anchor(path) if path else None, class_="step")


def _facts(task: Document) -> Iterator[Markup]:
    attempts = len(task["attempts"])
    facts = [
        task["kind"],
        _of_items(task["items"]),
        counted(task["rounds"], "round") if task.get("rounds", 0) > 1 else "",
        counted(attempts, "attempt") if attempts > 1 else "",
        own_time(task),
        money(task),
    ]
    yield from (element("span", fact, class_="fact") for fact in facts if fact)
    if "item" in task:
        yield element("span", first_line(in_one_line(task["item"]), 80), class_="fact item")
    if task["reason"]:
        yield element("span", first_line(task["reason"], 200), class_="reason")


def _of_items(items: Sequence[Document]) -> str:
    done = sum(item["status"] == "success" for item in items)
    return f"{done:,} of {counted(len(items), 'item')}" if items else ""


def _inside(task: Document, path: str | None) -> Iterator[Markup]:
    if task.get("phase") == "finally":
        yield element("p", "runs at the end, whatever happened", class_="note")
    if task.get("error") and task["error"] not in (attempt["error"] for attempt in task["attempts"]):
        yield _titled("error", text_block(task["error"], end=True))
    if task.get("question"):
        yield _titled("question", text_block(task["question"]))
    yield from _output(task)
    if task["attempts"]:
        yield _titled("attempts", _attempts(task["attempts"]))
        yield from _logs(task["attempts"])
    if task["items"]:
        items = joined(*_siblings(task["items"], lambda item: _whole(item, item["name"], None)))
        yield element("details", element("summary", f"items: {_tally(task['items'])}"), items, class_="items")
    for number, steps in enumerate(task.get("earlier_rounds", ()), 1):
        yield element("details", element("summary", f"round {number}"), _steps_in(steps, None), class_="items")
    if task.get("steps"):
        if task.get("earlier_rounds"):
            yield element("p", f"round {len(task['earlier_rounds']) + 1}", class_="note")
        yield _steps_in(task["steps"], path)


def _steps_in(steps: Sequence[Document], path: str | None) -> Markup:
    if path is None:
        return joined(*_siblings(steps, lambda step: _whole(step, step["name"], None)))
    return steps_list(steps, f"{path}/")


def _output(task: Document) -> Iterator[Markup]:
    if task["output"]:
        yield _titled("output", text_block(task["output"]))
    elif task.get("output_file"):
        yield _titled("output", element("p", f"{task['output_bytes']:,} bytes in ", element_code(task["output_file"])))
    if task["vars"]:
        yield _titled("variables", text_block(as_text(task["vars"])))
    if task.get("artifacts"):
        files = [element("li", element_code(str(path))) for path in task["artifacts"]]
        yield _titled("artifacts", element("ul", *files))
    if task["commit"]:
        yield element("p", "commit ", element_code(task["commit"]))


def element_code(content: str) -> Markup:
    """A path, a command, an id."""
    return element("code", content)


def _titled(title: str, content: Markup) -> Markup:
    return joined(element("h4", title), content)


def _attempts(attempts: Sequence[Document]) -> Markup:
    shown = attempts[-MOST_ATTEMPTS:]
    heads = ("", "status", "began", "time", "slot", "agent", "turns", "cost", "exit code")
    head = element("tr", *(element("th", name, scope="col") for name in heads))
    rows = [element("tr", *(element("td", cell) for cell in _attempt(attempt))) for attempt in shown]
    note = (
        element("p", f"{len(attempts) - len(shown)} earlier attempts are not shown", class_="note") if len(attempts) > len(shown) else None
    )
    return joined(note, element("div", element("table", element("thead", head), element("tbody", *rows)), class_="scroll"))


def _attempt(attempt: Document) -> tuple[Markup | str, ...]:
    ended = attempt["ended_at"]
    kind = f" ({attempt['kind']})" if attempt["kind"] != "normal" else ""
    error_kind = attempt["error_kind"]
    agent = " · ".join(filter(None, (attempt["agent"], attempt["model"])))
    return (
        f"{attempt['number']}{kind}",
        joined(status_badge(attempt["status"]), f" {error_kind}" if error_kind not in (None, attempt["status"]) else None),
        moment(attempt["started_at"]),
        took(seconds(ended) - seconds(attempt["started_at"])) if ended else "",
        attempt["slot"] or "",
        agent,
        "" if attempt["turns"] is None else str(attempt["turns"]),
        _attempt_cost(attempt),
        "" if attempt["exit_code"] is None else str(attempt["exit_code"]),
    )


def _attempt_cost(attempt: Document) -> str:
    return money({"cost_usd": attempt["cost_usd"], "attempts": [attempt], "items": []}) if attempt["ended_at"] else ""


def _logs(attempts: Sequence[Document]) -> Iterator[Markup]:
    for attempt in attempts[-MOST_ATTEMPTS:]:
        if attempt["error"]:
            title = f"why attempt {attempt['number']} ended as {attempt['error_kind']}"
            yield element("details", element("summary", title), text_block(attempt["error"], end=True), class_="log")
        for log in attempt.get("log_ends", ()):
            yield log_block(log, f"log of attempt {attempt['number']}{' · verify' if log['is_verify'] else ''}")


def log_block(log: Document, title: str) -> Markup:
    """The end of a log, and where the whole is."""
    cut = (
        f"the last {len(log['text'].encode('utf-8', 'replace')):,} of {log['bytes']:,} bytes; the whole is "
        if log["cut"]
        else "the whole: "
    )
    note = element("p", cut, element_code(log["file"]), class_="note")
    return element("details", element("summary", title), note, text_block(log["text"], end=True), class_="log")
