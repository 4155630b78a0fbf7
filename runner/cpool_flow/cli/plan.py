"""`plan`: what would run and where each value comes from. Starts nothing, writes nothing."""

from __future__ import annotations

import json
import os
from typing import Any

import click

from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import places, project_directory
from cpool_flow.cli.run import _warn
from cpool_flow.errors import InvalidInput, printable
from cpool_flow.executor.outcome import seconds_text
from cpool_flow.plan import PlannedStep


@click.command("plan", short_help="Show what would run and where each value comes from.")
@click.argument("workflow", metavar="FILE|NAME")
@click.option("-a", "--arg", "arguments", multiple=True, metavar="K=V", help="An argument: K=TEXT, K=@FILE, K:=JSON.")
@click.option("--args-file", metavar="FILE", help="Arguments from a YAML or JSON file.")
@click.option("--format", "form", type=click.Choice(["text", "json", "mermaid", "dot"]), default="text", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--diff", hidden=True, metavar="FILE|RUN")
@click.pass_obj
def plan_command(
    project: str | None, workflow: str, arguments: tuple[str, ...], args_file: str | None, form: str, as_json: bool, diff: str | None
) -> int:
    """Show what would run: steps, needs, agents, limits, and texts as far as they are known before the start."""
    from cpool_flow import start

    if diff is not None or form in ("mermaid", "dot"):
        raise InvalidInput(
            f"`{'--diff' if diff is not None else f'--format {form}'}` is not supported by this version", help="use --format text or json"
        )
    directory = project_directory(project)
    options = start.Options(arguments=arguments, args_file=args_file)
    prepared = start.prepare(workflow, directory, places(directory), options, os.environ, starting=False)
    document = plan_document(prepared)
    if form == "json" or as_json:
        print_json(document)
        return 0
    _warn(prepared.warnings, quiet=False)
    for line in text_lines(document):
        print(printable(line))
    return 0


def plan_document(prepared: Any) -> dict[str, Any]:
    """The plan as data: what a start would do with these arguments."""
    from cpool_flow.preview import Preview

    inputs = prepared.inputs
    preview = Preview(inputs)
    return {
        "workflow": inputs.main.name,
        "file": inputs.main.file,
        "args": {name: {"value": value, "source": preview.source(name)} for name, value in inputs.args.items()},
        "slots": inputs.slots,
        "timeout_seconds": inputs.timeout_seconds,
        "isolation": prepared.isolation.kind,
        "place": prepared.isolation.text,
        "base": prepared.place.base,
        "secrets": list(inputs.secrets),
        "steps": [_step_document(step, preview) for step in inputs.plan],
    }


def _step_document(step: PlannedStep, preview: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": step.name,
        "kind": step.step.kind,
        "phase": step.phase,
        "needs": list(step.needs),
        "join": step.join,
        "when": step.step.when,
        "foreach": preview.foreach(step),
        "text": preview.text(step),
        "timeout_seconds": step.timeout_seconds,
        "idle_timeout_seconds": step.idle_timeout_seconds,
        "retries": step.retries,
        "recoveries": step.recoveries,
        "on_failure": step.on_failure,
        "effects": step.effects,
        "takes_slot": step.takes_slot,
        "secrets": list(step.step.secrets or ()),
        "verify": step.step.verify,
    }
    if step.agent is not None:
        document["agent"] = preview.agent(step)
    return document


def text_lines(document: dict[str, Any]) -> list[str]:
    lines = [f"{document['workflow']} · {document['slots']} slots · {document['place']}"]
    if document["timeout_seconds"]:
        lines.append(f"  timeout {seconds_text(document['timeout_seconds'])}")
    for name, argument in document["args"].items():
        lines.append(f"  {name} = {json.dumps(argument['value'], ensure_ascii=False)[:200]} ({argument['source']})")
    for number, step in enumerate(document["steps"], 1):
        lines += _step_lines(number, step)
    return lines


def _step_lines(number: int, step: dict[str, Any]) -> list[str]:
    after = (
        f" after {', '.join(step['needs'])}{'' if step['join'] == 'success' else ' (join: ' + step['join'] + ')'}" if step["needs"] else ""
    )
    phase = " · finally" if step["phase"] == "finally" else ""
    lines = [f"{number}. {step['name']} ({step['kind']}){after}{phase}"]
    if step["when"] is not None:
        lines.append(f"     when: {step['when']}")
    if step["foreach"] is not None:
        lines.append(f"     foreach: {step['foreach']}")
    lines += [f"     | {line}" for line in step["text"].rstrip("\n").split("\n")[:20]]
    for name, value in step.get("agent", {}).items():
        lines.append(f"     {name}: {value['value']} ({value['source']})")
    limits = [f"timeout {seconds_text(step['timeout_seconds'])}"]
    if step["idle_timeout_seconds"]:
        limits.append(f"idle {seconds_text(step['idle_timeout_seconds'])}")
    limits += [f"{step[key]} {key}" for key in ("retries", "recoveries") if step[key]]
    return [*lines, f"     {' · '.join(limits)}"]
