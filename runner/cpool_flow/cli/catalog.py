"""`list`, `show`, and the command without a name: what can be run here, and from where it comes."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cpool_flow import library
from cpool_flow.cli import completing
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.project import project_directory, searched
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, printable

if TYPE_CHECKING:
    from cpool_flow.catalog import Entry


@click.command("list", short_help="Show which workflows and skills are found, and from where.")
@click.argument("kind", type=click.Choice(["workflows", "skills"]), required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def list_command(project: str | None, kind: str | None, as_json: bool) -> int:
    """Show which workflows and skills are found, from where, and what overrides what.

    \b
    cpool-flow list
    cpool-flow list skills --json
    """
    from cpool_flow import catalog

    directory = project_directory(project)
    found: dict[str, list[Entry]] = {}
    if kind != "skills":
        places = searched("workflow", directory)
        files = [entry for entry in catalog.workflows_here(_folders(project, directory), places) if entry.found.source == "file"]
        found["workflows"] = [*files, *catalog.entries(library.listing("workflow", places))]
    if kind != "workflows":
        found["skills"] = catalog.entries(library.listing("skill", searched("skill", directory)))
    if as_json:
        print_json({name: [_document(entry) for entry in entries] for name, entries in found.items()})
        return 0
    for name, entries in found.items():
        print(f"{name}:")
        _print_columns([(f"  {_called(entry)}", _source(entry), _about(entry)) for entry in entries])
    return 0


@click.command("show", short_help="Show one workflow or skill: its arguments, what it overrides.")
@click.argument("name", shell_complete=completing.names)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def show_command(project: str | None, name: str, as_json: bool) -> int:
    """Show one workflow or skill by name or path.

    \b
    cpool-flow show hello
    cpool-flow show review.yaml
    """
    entry = _find(project_directory(project), name)
    if as_json:
        print_json(_document(entry))
        return 0
    if entry.problem:
        raise InvalidInput(f"`{_called(entry)}` cannot be read: {entry.problem}", help=f"cpool-flow validate {_called(entry)}")
    print(f"{entry.found.kind} {_called(entry)} ({_source(entry)})")
    print(f"  {printable(_about(entry))}")
    print(f"  {entry.found.path}")
    for other in entry.found.overrides:
        print(f"  in place of {other.path} ({other.source})")
    if entry.arguments:
        print("arguments:")
        _print_columns([(f"  {name}", _declared(declaration)) for name, declaration in entry.arguments.items()])
    print(f"use it: {_use(entry)}", file=sys.stderr)
    return 0


def show_all(project: str | None) -> None:
    """What can be run here, for `cpool-flow` alone."""
    from cpool_flow import catalog

    directory = project_directory(project)
    here = catalog.workflows_here(_folders(project, directory), searched("workflow", directory))
    if not here:
        print(f"no workflows in {directory}", file=sys.stderr)
        print("try: cpool-flow run hello · write one: cpool-flow init · all commands: cpool-flow --help", file=sys.stderr)
        return
    for entry in here:
        print(printable(_called(entry)))
        print(f"    {printable(_about(entry))}")
        _print_columns([(f"    {name}", _declared(declaration)) for name, declaration in entry.arguments.items()])
    runnable = next((entry for entry in here if not entry.problem), None)
    if runnable:
        print(f"run one: {_use(runnable)} · all commands: cpool-flow --help", file=sys.stderr)


def _folders(project: str | None, directory: Path) -> list[Path]:
    """Where files are workflows without a name: the top of the project, and this folder, if no other project is asked for."""
    return [directory] if project else list(dict.fromkeys([Path.cwd(), directory]))


def _find(directory: Path, name: str) -> Entry:
    from cpool_flow import catalog

    try:
        return catalog.entry(library.find_workflow(name, Path.cwd(), searched("workflow", directory)))
    except InvalidInput as error:
        skills = library.listing("skill", searched("skill", directory))
        for found in skills:
            if found.name == name:
                return catalog.entry(found)
        near = did_you_mean(name, [found.name for found in skills])
        if near is None or any(problem.hint for problem in error.problems):
            raise
        raise InvalidInput(Problem(str(error), hint=near, help="see `cpool-flow list`")) from None


def _print_columns(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(printable("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()))


def _called(entry: Entry) -> str:
    """How it is named on a command line: a file by its path from here, else by its name."""
    return os.path.relpath(entry.found.path) if entry.found.source == "file" else entry.found.name


def _source(entry: Entry) -> str:
    over = "".join(f", over {other.source}" for other in entry.found.overrides)
    return f"{entry.found.source}{over}"


def _about(entry: Entry) -> str:
    return f"cannot be read: {entry.problem}" if entry.problem else _one_line(entry.description) or "(no description)"


def _use(entry: Entry) -> str:
    """What to type, or to write into a step."""
    from cpool_flow.arguments import is_required

    required = [name for name, declaration in entry.arguments.items() if is_required(declaration)]
    if entry.found.kind == "workflow":
        return " ".join([f"cpool-flow run {shlex.quote(_called(entry))}", *(f"--arg {name}=…" for name in required)])
    given = ", ".join(f"{name}: …" for name in required)
    return f"skill: {entry.found.name}" + (f", with: {{{given}}}" if given else "")


def _declared(declaration: Mapping[str, Any]) -> str:
    """`integer, default 3: How many files at most.`"""
    from cpool_flow.arguments import allowed, is_required
    from cpool_flow.json_value import shown

    given = "" if "default" not in declaration else f", default {shown(declaration['default'])}"
    optional = "" if given or is_required(declaration) else ", may be left out"
    about = declaration.get("description")
    return f"{allowed(declaration)}{given}{optional}" + (f": {_one_line(about)}" if isinstance(about, str) else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())


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
