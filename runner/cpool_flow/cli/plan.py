"""`plan`: what would run and where each value comes from. Starts nothing, writes nothing."""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from cpool_flow import library
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import find_run, places, project_directory
from cpool_flow.cli.run import _warn
from cpool_flow.drawing import dot, mermaid
from cpool_flow.errors import InvalidInput, Problem, printable
from cpool_flow.executor.outcome import seconds_text
from cpool_flow.plan_document import plan_document
from cpool_flow.slots import UNNAMED
from cpool_flow.spending import dollars

JsonObject = dict[str, Any]
SHOWN_LINES = 20


@click.command("plan", short_help="Show what would run and where each value comes from.")
@click.argument("workflow", metavar="FILE|NAME")
@click.option("-a", "--arg", "arguments", multiple=True, metavar="K=V", help="An argument: K=TEXT, K=@FILE, K:=JSON.")
@click.option("--args-file", metavar="FILE", help="Arguments from a YAML or JSON file.")
@click.option("--format", "form", type=click.Choice(["text", "json", "mermaid", "dot"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--diff", metavar="FILE|RUN", help="What is different from another file, or from what a run was started with.")
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
        print(mermaid(document) if form == "mermaid" else dot(document), end="")
    else:
        _warn(warnings, quiet=False)
        for line in text_lines(document):
            print(printable(line))
    return 0


def _planned(
    workflow: str, arguments: tuple[str, ...], args_file: str | None, project: str | None
) -> tuple[JsonObject, tuple[Problem, ...]]:
    from cpool_flow import start
    from cpool_flow.github_event import current_event

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

    run = history.read(find_run(project, named))
    place = run.state.place
    return plan_document(run.inputs, place.note if place else "", place.base if place else None)


def _print_difference(before: JsonObject, after: JsonObject, form: str) -> None:
    if form not in ("text", "json"):
        raise InvalidInput(f"`--diff` has no `--format {form}`", help="use --format text or json")
    if form == "json":
        print_json(difference(before, after))
        return
    texts = (list(text_lines(before)), list(text_lines(after)), before["file"], after["file"])
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
    return [key for key in {**old, **new} if key != "steps" and old.get(key) != new.get(key)]


# ---- text ---------------------------------------------------------------------------------------------------


def text_lines(document: JsonObject) -> Iterator[str]:
    """The plan as people read it."""
    yield f"{document['workflow']} · {_counted(document['slots'], 'slot', 'slots')} · {document['place']}"
    named = [name for name in document["slot_names"] if not name.startswith(UNNAMED)]
    if named or document["slots_source"] == "pool":
        yield f"  slots: {', '.join(document['slot_names'])} ({document['slots_source']})"
    if document["timeout_seconds"]:
        yield f"  timeout {seconds_text(document['timeout_seconds'])}"
    for name, argument in document["args"].items():
        yield f"  {name} = {json.dumps(argument['value'], ensure_ascii=False)[:200]} ({argument['source']})"
    yield from _money_lines(document["worst_case_usd"], document["budget_usd"])
    yield from _steps_lines(document["steps"], "", "")


def _money_lines(worst: float | None, budget: float | None) -> Iterator[str]:
    if worst:
        yield f"  spends at most {dollars(worst)} ({'the budget' if worst == budget else '`max_budget_usd` of all attempts'})"
    elif budget is not None and worst is None:
        yield f"  budget {dollars(budget)}; not every agent can be told where to stop"


def _steps_lines(steps: list[JsonObject], numbers: str, indent: str) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        yield f"{indent}{numbers}{number}. {_title(step)}"
        for line in _step_lines(step):
            yield f"{indent}     {line}"
        yield from _steps_lines(step.get("steps", []), f"{numbers}{number}.", f"{indent}   ")


def _title(step: JsonObject) -> str:
    join = "" if step["join"] == "success" else f" (join: {step['join']})"
    after = f" after {', '.join(step['needs'])}{join}" if step["needs"] else ""
    return f"{step['name']} ({step['kind']}){after}{' · finally' if step['phase'] == 'finally' else ''}"


def _step_lines(step: JsonObject) -> Iterator[str]:
    for key in ("when", "foreach", "matrix", "filter", "limit", "max_parallel"):
        if step.get(key) is not None:
            yield f"{key}: {_shown(step[key])}"
    if "repeat" in step:
        yield f"repeat: at most {step['repeat']['max']} rounds, until {_shown(step['repeat']['until'])}"
    if step["text"]:
        yield from (f"| {line}".rstrip() for line in step["text"].rstrip("\n").split("\n")[:SHOWN_LINES])
    yield from (f"env {name}: {value}" for name, value in step.get("env", {}).items())
    if step.get("verify"):
        commands = [step["verify"]] if isinstance(step["verify"], str) else step["verify"]
        yield f"verify: {'; '.join(command.strip() for command in commands)}"
    if step.get("slot") is not None:
        others = [name for name in step["slot_names"] or () if name != step["slot"]]
        yield f"slot: {step['slot']}" + (f" ({', '.join(step['slot_names'])})" if others else "")
    for name, value in step.get("agent", {}).items():
        yield from _setting_lines(name, value)
    if "timeout_seconds" in step:
        limits = [f"timeout {seconds_text(step['timeout_seconds'])}"]
        limits += [f"idle {seconds_text(step['idle_timeout_seconds'])}"] if step["idle_timeout_seconds"] else []
        limits += [_counted(step[key], one, key) for one, key in (("retry", "retries"), ("recovery", "recoveries")) if step[key]]
        yield " · ".join(limits)


def _setting_lines(name: str, value: JsonObject) -> Iterator[str]:
    """One setting in a line; one that merges by name in a line for each of its names."""
    if "sources" in value and "or" not in value:
        yield from (f"{name}.{inner}: {_shown(value['value'][inner])} ({layer})" for inner, layer in value["sources"].items())
        return
    found = [value, *value.get("or", ())]
    yield f"{name}: " + " or ".join(f"{_shown(each['value'])} ({each['source']})" for each in found)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
