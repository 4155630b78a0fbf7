"""`explain`: why a step of a run became what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run
from cpool_flow.errors import InvalidInput, did_you_mean, printable

if TYPE_CHECKING:
    from cpool_flow.history import Run


@click.command("explain", short_help="Say why a step became what it is.")
@click.argument("run", shell_complete=completing.runs)
@click.argument("step", shell_complete=completing.steps)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def explain_command(project: str | None, run: str, step: str, as_json: bool) -> int:
    """Say where each value in the texts of STEP came from, which rules ran, retried, skipped, failed or passed it, and what proves it.

    STEP is `review`, an item of it as `review[2]`, or a step within: `review[2]/fix`.

    \b
    cpool-flow explain last review
    cpool-flow explain last 'review[2]/fix' --json
    """
    from cpool_flow import history
    from cpool_flow.explain import explanation

    found = history.read(find_run(project, run))
    document = explanation(found, _subject(found, step), history.recorded(found.folder))
    if as_json:
        print_json(document)
        return 0
    for line in _lines(document):
        print(printable(line))
    return 0


def _subject(run: Run, name: str) -> Any:
    from cpool_flow.explain import Subject

    state = run.state
    if name in state.tasks:
        task = state.tasks[name]
        return Subject(state.steps[task.step], task)
    if name in state.steps:
        step = state.steps[name]
        return Subject(step, step.tasks[0] if step.tasks and not step.plan.fans_out else None)
    known = [*state.steps, *state.tasks]
    help = did_you_mean(name, known) or f"it has {', '.join(list(state.steps)[:20])}"
    raise InvalidInput(f"run `{run.folder.run_id}` has no step `{name[:80]}`", help=help)


def _lines(document: dict[str, Any]) -> Iterator[str]:
    reason = f", {document['reason']}" if document["reason"] else ""
    yield f"{document['step']} ({document['kind']}): {document['status']}{reason}"
    yield f"  {document['order']}"
    yield from _section("what happened", (f"{entry['at'][11:19]}  {entry['rule']}" for entry in document["rules"]))
    values = (f"{value['key']}: {value['name']} = {_value(value)}  ← {value['source']}" for value in document["values"])
    yield from _section("values", values)
    yield from _section("what proves its success", iter(document["evidence"]))


def _section(title: str, lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number == 0:
            yield f"{title}:"
        first, *rest = line.split("\n")
        yield f"  {first}"
        yield from (f"    {more}" for more in rest)


def _value(value: dict[str, Any]) -> str:
    return "…" if value["value"] is None else value["value"]
