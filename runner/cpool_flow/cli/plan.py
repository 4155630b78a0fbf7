"""`plan`: what would run and where each value comes from. Starts nothing, writes nothing."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpool_flow import library
from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run, places, project_directory
from cpool_flow.cli.run import argument_option, show_warnings
from cpool_flow.errors import InvalidInput, Problem, printable

JsonObject = dict[str, Any]


@click.command("plan", short_help="Show what would run and where each value comes from.")
@click.argument("workflow", metavar="FILE|NAME", shell_complete=completing.workflows)
@argument_option
@click.option("--args-file", metavar="FILE", shell_complete=completing.files, help="Arguments from a YAML or JSON file.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "mermaid", "dot"]),
    default="text",
    show_default=True,
    help="How the plan is shown; mermaid and dot are drawings.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--diff",
    metavar="FILE|RUN",
    shell_complete=completing.files,
    help="What is different from another file, or from what a run was started with.",
)
@click.pass_obj
def plan_command(
    project: str | None, workflow: str, arguments: tuple[str, ...], args_file: str | None, form: str, as_json: bool, diff: str | None
) -> int:
    """Show what would run: steps, needs, agents, limits, and texts as far as they are known before the start.

    \b
    cpool-flow plan review.yaml --arg pr=42
    cpool-flow plan review.yaml --arg pr=42 --diff last
    """
    form = "json" if as_json else form
    document, warnings = _planned(workflow, arguments, args_file, project)
    if diff is not None:
        _print_difference(_other(diff, arguments, args_file, project), document, form)
    elif form == "json":
        print_json(document)
    elif form in ("mermaid", "dot"):
        from cpool_flow.drawing import dot, mermaid

        print(mermaid(document) if form == "mermaid" else dot(document), end="")
    else:
        from cpool_flow.cli.plan_text import text_lines

        show_warnings(warnings, quiet=False)
        for line in text_lines(document):
            print(printable(line))
    return 0


def _planned(
    workflow: str, arguments: tuple[str, ...], args_file: str | None, project: str | None
) -> tuple[JsonObject, tuple[Problem, ...]]:
    from cpool_flow import start
    from cpool_flow.github_event import current_event
    from cpool_flow.plan_document import plan_document

    directory = project_directory(project)
    options = start.Options(
        arguments=arguments, args_file=args_file, project_named=project is not None, places_of=places, event=current_event(os.environ)
    )
    prepared = start.prepare(workflow, directory, places(directory), options, os.environ, starting=False)
    return plan_document(prepared.inputs, prepared.isolation.text, prepared.place.base), prepared.warnings


# ---- the difference -----------------------------------------------------------------------------------------


def _other(named: str, arguments: tuple[str, ...], args_file: str | None, project: str | None) -> JsonObject:
    """The plan of another file, with the same arguments, or of a run as it was started. Raises InvalidInput."""
    if "/" in named or named.endswith(library.SUFFIXES) or Path(named).is_file():
        return _planned(named, arguments, args_file, project)[0]
    from cpool_flow import history
    from cpool_flow.plan_document import plan_document

    run = history.read(find_run(project, named))
    place = run.state.place
    return plan_document(run.inputs, place.note if place else "", place.base if place else None)


def _print_difference(before: JsonObject, after: JsonObject, form: str) -> None:
    if form not in ("text", "json"):
        raise InvalidInput(f"`--diff` has no `--format {form}`", help="use --format text or json")
    if form == "json":
        print_json(difference(before, after))
        return
    from cpool_flow.cli.plan_text import text_lines

    texts = (list(text_lines(before, most=None)), list(text_lines(after, most=None)), before["file"], after["file"])
    shown = list(difflib.unified_diff(*texts, lineterm="", n=2))
    for line in shown or ["no difference"]:
        print(printable(line))


def difference(before: JsonObject, after: JsonObject) -> JsonObject:
    """Which steps came and went, and which keys of the others, and of the workflow itself, are not what they were."""
    old, new = dict(_by_id(before["steps"])), dict(_by_id(after["steps"]))
    changed = {name: _changed_keys(old[name], new[name]) for name in new if name in old}
    return {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [{"name": name, "keys": keys} for name, keys in changed.items() if keys],
        "workflow": [key for key in _changed_keys(before, after) if key != "file"],
    }


def _by_id(steps: list[JsonObject], around: str = "") -> Iterator[tuple[str, JsonObject]]:
    for step in steps:
        name = f"{around}{step['name']}"
        yield name, step
        yield from _by_id(step.get("steps", []), f"{name}/")


def _changed_keys(old: JsonObject, new: JsonObject) -> list[str]:
    old, new = {**old, **old["more"]}, {**new, **new["more"]}
    return [key for key in {**old, **new} if key not in ("steps", "more") and old.get(key) != new.get(key)]
