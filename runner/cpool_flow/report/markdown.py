"""The report as Markdown: what GitHub shows in a summary of a job, and below it what a person needs who was not there."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from cpool_flow import step_summary
from cpool_flow.plan import Plan, PlannedStep
from cpool_flow.report.content import Report
from cpool_flow.report.words import first_line, in_one_line, moment, questions
from cpool_flow.step_summary import fenced, plain

JsonObject = dict[str, Any]
MOST_FAILURES = 50


def markdown(report: Report) -> str:
    """The whole text."""
    return "\n\n".join(_sections(report)) + "\n"


def drawn_plan(plan: Plan) -> JsonObject:
    """The plan as far as it is drawn."""
    return {"steps": [_drawn(step) for step in plan]}


def _sections(report: Report) -> Iterator[str]:
    run = report.run | {"status": report.status}
    yield step_summary.heading(run)
    yield "\n".join(f"* {fact}" for fact in _facts(report))
    yield "\n".join([*step_summary.TABLE_HEAD, *step_summary.step_rows(run["steps"], run["branch"])])
    yield step_summary.graph(drawn_plan(report.plan), run) if step_summary.may_be_drawn(run) else step_summary.TOO_LARGE
    yield from islice(step_summary.failures(run["steps"]), MOST_FAILURES)
    yield from step_summary.outputs(run["outputs"])
    for path, question in islice(questions(run["steps"]), MOST_FAILURES):
        yield f"`{path}` asks:\n\n{fenced(question)}"
    if report.notes:
        yield "\n".join(f"* note: {plain(note)}" for note in report.notes)
    if report.commands:
        yield "### What next"
        yield fenced("\n".join(f"{command:<50} # {what}" for what, command in report.commands))


def _facts(report: Report) -> Iterator[str]:
    run = report.run
    yield f"run `{run['run_id']}` ({run['name']})"
    yield f"began {moment(run['started_at'])}" + (f", ended {moment(run['ended_at'])}" if run["ended_at"] else "")
    for name, value in run["args"].items():
        yield f"argument {plain(name)}: {plain(first_line(in_one_line(value)))}"


def _drawn(step: PlannedStep) -> JsonObject:
    written = step.step
    document: JsonObject = {
        "name": step.name,
        "kind": written.result_kind,
        "phase": step.phase,
        "needs": list(step.needs),
        "foreach": True if step.fans_out else None,
    }
    if written.repeat is not None:
        document["repeat"] = {"max": written.repeat.max}
    inner = list(step.inner or ())
    if written.repeat is not None and [each.name for each in inner] == [step.name] and written.steps is None:
        inner = list(inner[0].inner or ())  # a loop over one step holds that step
    if inner:
        document["steps"] = [_drawn(inside) for inside in inner]
    return document
