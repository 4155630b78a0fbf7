"""`list`, `show`, and the command without a name: what can be run here, and from where it comes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from cpool_flow import catalog, library
from cpool_flow.catalog import Entry
from cpool_flow.cli.project import project_directory, searched
from cpool_flow.errors import InvalidInput, printable


@click.command("list", short_help="Show which workflows and skills are found, and from where.")
@click.argument("kind", type=click.Choice(["workflows", "skills"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def list_command(project: str | None, kind: str | None, as_json: bool) -> int:
    """Show which workflows and skills are found, from where, and what overrides what."""
    directory = project_directory(project)
    found: dict[str, list[Entry]] = {}
    if kind != "skills":
        named = catalog.entries(library.listing("workflow", searched("workflow", directory)))
        here = [entry for entry in catalog.workflows_here(directory, ()) if entry.found.source == "file"]
        found["workflows"] = [*here, *named]
    if kind != "workflows":
        found["skills"] = catalog.entries(library.listing("skill", searched("skill", directory)))
    if as_json:
        print(json.dumps({name: [_document(entry) for entry in entries] for name, entries in found.items()}, ensure_ascii=False))
        return 0
    for name, entries in found.items():
        print(f"{name}:")
        for entry in entries:
            print(f"  {_line(entry)}")
    return 0


@click.command("show", short_help="Show one workflow or skill: its arguments, what it overrides.")
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def show_command(project: str | None, name: str, as_json: bool) -> int:
    """Show one workflow or skill by name or path."""
    entry = _find(project_directory(project), name)
    if as_json:
        print(json.dumps(_document(entry), ensure_ascii=False))
        return 0
    print(f"{entry.found.kind} {entry.found.name} ({entry.found.source}: {entry.found.path})")
    for other in entry.found.overrides:
        print(f"  overrides the one from {other.source}: {other.path}")
    print(f"  {printable(entry.problem or entry.description)}")
    for argument, declaration in entry.arguments.items():
        print(f"  --arg {argument}=…  {printable(_declared(declaration))}")
    return 0


def show_all(project: str | None) -> None:
    """What can be run here, for `cpool-flow` alone."""
    directory = project_directory(project)
    here = catalog.workflows_here(directory, searched("workflow", directory))
    for entry in here:
        print(_line(entry))
    if not here:
        print(f"no workflows in {directory}", file=sys.stderr)
        print("try: cpool-flow run hello · write one: cpool-flow init · all commands: cpool-flow --help", file=sys.stderr)
        return
    print(f"run one: cpool-flow run {_called(here[0])}{_required(here[0].arguments)}", file=sys.stderr)


def _find(directory: Path, name: str) -> Entry:
    try:
        return catalog.entry(library.find_workflow(name, Path.cwd(), searched("workflow", directory)))
    except InvalidInput as error:
        skills = library.listing("skill", searched("skill", directory))
        for found in skills:
            if found.name == name:
                return catalog.entry(found)
        raise error


def _line(entry: Entry) -> str:
    text = f"cannot be read: {entry.problem}" if entry.problem else entry.description
    arguments = " ".join(
        f"{name}={'…' if _is_required(declaration) else declaration.get('default')}" for name, declaration in entry.arguments.items()
    )
    overrides = f" (overrides {', '.join(other.source for other in entry.found.overrides)})" if entry.found.overrides else ""
    return printable(f"{_called(entry):<24} {arguments}{'  ' if arguments else ''}{text} [{entry.found.source}]{overrides}")


def _called(entry: Entry) -> str:
    """How it is named on a command line."""
    return entry.found.path.name if entry.found.source == "file" else entry.found.name


def _required(arguments: Mapping[str, Mapping[str, Any]]) -> str:
    return "".join(f" --arg {name}=…" for name, declaration in arguments.items() if _is_required(declaration))


def _is_required(declaration: Mapping[str, Any]) -> bool:
    return "default" not in declaration and declaration.get("required") is not False


def _declared(declaration: Mapping[str, Any]) -> str:
    kind = declaration.get("type") or ("one of " + ", ".join(map(str, declaration["enum"])) if "enum" in declaration else "any value")
    notes: Sequence[str] = (
        "required" if _is_required(declaration) else f"default {json.dumps(declaration.get('default'))}",
        str(declaration.get("description") or ""),
    )
    return "  ".join(note for note in (str(kind), *notes) if note)


def _document(entry: Entry) -> dict[str, Any]:
    return {
        "kind": entry.found.kind,
        "name": entry.found.name,
        "path": str(entry.found.path),
        "source": entry.found.source,
        "overrides": [{"source": other.source, "path": str(other.path)} for other in entry.found.overrides],
        "description": entry.description,
        "args": {name: dict(declaration) for name, declaration in entry.arguments.items()},
        "problem": entry.problem,
    }
