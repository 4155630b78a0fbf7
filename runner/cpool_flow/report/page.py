"""The report as one HTML file: nothing in it is fetched, and nothing in it runs but our own script.

Styles and scripts are handed in as text. A Content-Security-Policy names them by their hash and allows nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from markupsafe import Markup

from cpool_flow.dataclass import dataclass
from cpool_flow.report.content import Report
from cpool_flow.report.graph_section import graph, graph_data, is_drawable
from cpool_flow.report.markup import element, island, joined
from cpool_flow.report.overview import Line, overview
from cpool_flow.report.steps_section import element_code, log_block, status_badge, steps_list, text_block
from cpool_flow.report.timeline_section import timeline
from cpool_flow.report.words import MARKS, as_text, first_line, moment, money, questions, took

Document = Mapping[str, Any]
MOST_FAILURES = 50
LAST_LINES_CHARACTERS = 4000


@dataclass(frozen=True)
class Assets:
    """What the page is dressed with: the style sheet, and the scripts in their order."""

    style: str
    scripts: tuple[str, ...]


def page(report: Report, assets: Assets) -> str:
    """The whole file."""
    run = report.run
    lines = overview(report.plan, run["steps"])
    drawn = is_drawable(lines)
    scripts = assets.scripts if drawn else ()
    body = element("body", _head(report), element("main", *_sections(report, lines)), _foot(report), *_scripts(lines, scripts))
    name = f"{MARKS.get(report.status, '')} {run['workflow'] or 'run'} · {run['run_id']}"
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        _meta(http_equiv="Content-Security-Policy", content=policy(assets.style, scripts)),
        _meta(name="viewport", content="width=device-width, initial-scale=1"),
        _meta(name="color-scheme", content="light dark"),
        _meta(name="referrer", content="no-referrer"),
        _meta(name="generator", content=f"cpool-flow {report.version}"),
        element("title", first_line(name)),
        element("style", Markup(assets.style)),
    )
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def policy(style: str, scripts: Iterable[str]) -> str:
    """The Content-Security-Policy of the page."""
    allowed = " ".join(_hash(script) for script in scripts) or "'none'"
    return f"default-src 'none'; style-src {_hash(style)}; script-src {allowed}; base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _meta(**attributes: str) -> Markup:
    return Markup(str(element("meta", **attributes)).removesuffix("</meta>"))


def _scripts(lines: list[Line], scripts: tuple[str, ...]) -> Iterator[Markup]:
    if scripts:
        yield element("script", island({"steps": graph_data(lines)}), type="application/json", id="data")
        yield from (element("script", Markup(script)) for script in scripts)


def _head(report: Report) -> Markup:
    run = report.run
    verdict = element(
        "p", status_badge(report.status), element("span", run["error"], class_="reason") if run["error"] else None, class_="verdict"
    )
    facts = element("dl", *(part for name, value in _facts(report) for part in (element("dt", name), element("dd", value))))
    return element("header", element("h1", run["workflow"] or "run"), verdict, facts)


def _facts(report: Report) -> Iterator[tuple[str, Markup | str]]:
    run = report.run
    yield "run", joined(element_code(run["run_id"]), f" ({run['name']})" if run["name"] else None)
    yield "began", moment(run["started_at"])
    if run["ended_at"]:
        yield "ended", f"{moment(run['ended_at'])}, after {took(run['duration_seconds'])}"
    steps = run["steps"]
    yield "steps", f"{sum(step['status'] == 'success' for step in steps):,} of {len(steps):,} succeeded"
    cost = money(run, steps)
    if cost:
        limit = run.get("budget_usd")
        yield "cost", cost if limit is None else f"{cost} of ${limit:.2f}"
    for name in ("branch", "base", "directory"):
        if run[name]:
            yield name, element_code(run[name])
    for limit in run["limits"]:
        yield "waits for", f"{limit['agent']} is at its usage limit, resumes {moment(limit['resumes_at'])}"
    if run["tags"]:
        yield "tags", ", ".join(run["tags"])


def _sections(report: Report, lines: list[Line]) -> Iterator[Markup]:
    run = report.run
    asked = list(_questions(run["steps"]))
    if asked:
        yield _section("questions", "What is asked", *asked[:MOST_FAILURES])
    if report.commands:
        rows = [element("li", f"{what}: ", element_code(command)) for what, command in report.commands]
        yield _section("next", "What next", element("ul", *rows))
    failures = list(_failures(run["steps"]))
    if failures:
        yield _section("failures", "What failed", *failures[:MOST_FAILURES], _more(len(failures) - MOST_FAILURES))
    if report.notes:
        yield _section("notes", "Notes", element("ul", *(element("li", note) for note in report.notes)))
    if run["outputs"]:
        yield _section("outputs", "Outputs", *_values(run["outputs"]))
    yield _section("graph", "Graph", graph(lines))
    drawn = timeline(lines, report.made_at)
    if drawn is not None:
        yield _section("timeline", "Time line", drawn)
    yield _section("steps", "Steps", steps_list(run["steps"]), *(log_block(log, "log of `setup`") for log in report.setup_logs))
    if run["args"]:
        yield _section("arguments", "Arguments", *_values(run["args"]))


def _section(name: str, title: str, *content: Markup | None) -> Markup:
    return element("section", element("h2", title), *content, id=name)


def _more(count: int) -> Markup | None:
    return element("p", f"… and {count:,} more", class_="note") if count > 0 else None


def _values(values: Document) -> Iterator[Markup]:
    for name, value in values.items():
        shown = as_text(value)
        if "\n" in shown or len(shown) > 100:
            yield element(
                "details", element("summary", element("b", name)), text_block(shown), class_="value", open="" if len(shown) < 2000 else None
            )
        else:
            yield element("p", element("b", name), " = ", element_code(shown))


def _questions(steps: Iterable[Document]) -> Iterator[Markup]:
    for path, question in questions(steps):
        yield element("div", element("p", element("b", path)), text_block(question, most=LAST_LINES_CHARACTERS), class_="asked")


def _failures(steps: Iterable[Document]) -> Iterator[Markup]:
    """What the failed steps say: the innermost, for a group has failed because of a step in it."""
    for path, task in failed(steps):
        error = failure_text(task)
        head, _, last = error.partition("\n")
        block = text_block(last.strip("\n"), most=LAST_LINES_CHARACTERS, end=True) if last.strip() else None
        yield element(
            "div",
            element("p", status_badge(task["status"]), element("b", path), element("span", task["reason"] or head, class_="reason")),
            block,
            class_="failure",
        )


def failed(tasks: Iterable[Document], around: str = "") -> Iterator[tuple[str, Document]]:
    """The innermost failed steps and items, with their paths."""
    for task in tasks:
        if task["status"] == "failed":
            path = task["name"] if "item" in task else f"{around}{task['name']}"
            inside = [*failed(task["items"]), *failed(task.get("steps", ()), f"{path}/")]
            yield from inside or [(path, task)]


def failure_text(task: Document) -> str:
    """Why a step or item failed, with the end of its output."""
    return str(task.get("error") or next((attempt["error"] for attempt in reversed(task["attempts"]) if attempt["error"]), None) or "")


def _foot(report: Report) -> Markup:
    return element(
        "footer", f"Made by cpool-flow {report.version} at {moment(report.made_at)} from the journal of run {report.run['run_id']}."
    )
