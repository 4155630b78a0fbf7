"""What can stand in a place of a command line, for the shell that completes it. Where that cannot be known, nothing is offered.

Reads names and journals, and no workflow file but the one whose arguments are asked for. Only names are offered that mean nothing to a
shell: what is completed is typed for the user.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING

from cpool_flow.errors import FlowError, printable

if TYPE_CHECKING:
    from click import Context, Parameter
    from click.shell_completion import CompletionItem

    from cpool_flow.journal import Journal

Complete = Callable[["Context", "Parameter", str], "list[CompletionItem]"]
# A name, and what is said beside it.
Names = Iterable[tuple[str, str]]

_PLAIN = re.compile(r"[\w@%+,./:=\[\]#-]+")
MOST_RUNS = 50
MOST_CHARACTERS = 80
DECISIONS = ("rerun", "skip", "fail")


def offered(known: Callable[[Context, str], Names]) -> Complete:
    """Of the names that are known, those that begin as the word that is there."""

    @wraps(known)
    def complete(context: Context, parameter: Parameter, word: str) -> list[CompletionItem]:
        from click.shell_completion import CompletionItem

        try:
            names = list(known(context, word))
        except (FlowError, OSError, ValueError):
            return []
        return [CompletionItem(name, help=_line(about)) for name, about in names if name.startswith(word) and _PLAIN.fullmatch(name)]

    return complete


def _line(about: str) -> str | None:
    return printable(" ".join(about.split()))[:MOST_CHARACTERS] or None


@offered
def runs(context: Context, word: str) -> Names:
    """`last`, the ids of the newest runs, and their short names where one is begun."""
    from cpool_flow import run_folder

    found = list(run_folder.all_runs(_project(context)))[::-1][:MOST_RUNS]
    if found:
        yield "last", "the newest run"
    for folder in found:
        yield folder.run_id, run_folder.short_name(folder.run_id)
    if word:
        for folder in found:
            yield run_folder.short_name(folder.run_id), folder.run_id


@offered
def steps(context: Context, word: str) -> Names:
    """The steps of the run that was named before; their items and what is within where one is begun."""
    from cpool_flow import events

    seen: dict[str, None] = {}
    for event in _events(context):
        if isinstance(event, (events.StepOpened, events.StepClosed)):
            seen[event.step] = None
        elif isinstance(event, (events.AttemptStarted, events.RoundStarted, events.ApprovalRequested)):
            seen[event.task] = None
    within = any(mark in word for mark in "[/#")
    return ((name, "") for name in seen if within or not any(mark in name for mark in "[/#"))


@offered
def questions(context: Context, word: str) -> Names:
    """The steps of the run that wait for an answer."""
    from cpool_flow import events

    open_: dict[str, None] = {}
    for event in _events(context):
        if isinstance(event, events.ApprovalRequested):
            open_[event.task] = None
        elif isinstance(event, events.ApprovalAnswered):
            open_.pop(event.task, None)
    return ((name, "") for name in open_)


@offered
def decisions(context: Context, word: str) -> Names:
    """What can be decided of the steps of the run that may have happened."""
    from cpool_flow import events

    asking = dict.fromkeys(event.task for event in _events(context) if isinstance(event, events.DecisionNeeded))
    return ((f"{task}={choice}", "") for task in asking for choice in DECISIONS)


@offered
def workflows(context: Context, word: str) -> Names:
    """Workflows by name, and files."""
    from cpool_flow import library
    from cpool_flow.cli.project import searched

    if "/" not in word and "." not in word:
        for found in library.listing("workflow", searched("workflow", _project(context))):
            yield found.name, found.source
    yield from _files(word)


@offered
def names(context: Context, word: str) -> Names:
    """Workflows and skills."""
    from cpool_flow import library
    from cpool_flow.cli.project import searched

    kinds: tuple[library.Kind, ...] = ("workflow", "skill")
    for kind in kinds:
        for found in library.listing(kind, searched(kind, _project(context))):
            yield found.name, f"{kind}, {found.source}"
    yield from _files(word)


@offered
def arguments(context: Context, word: str) -> Names:
    """`NAME=` of each argument of the workflow that was named before."""
    from cpool_flow import catalog, library
    from cpool_flow.cli.project import searched

    named = _named(context, "workflow")
    if named is not None:
        found = library.find_workflow(named, Path.cwd(), searched("workflow", _project(context)))
        for name, declaration in catalog.entry(found).arguments.items():
            yield f"{name}=", str(declaration.get("description") or "")


@offered
def steps_of_workflow(context: Context, word: str) -> Names:
    """The steps of the workflow that was named before."""
    from cpool_flow import library
    from cpool_flow.cli.project import searched
    from cpool_flow.document import load

    named = _named(context, "workflow")
    if named is None:
        return
    found = library.find_workflow(named, Path.cwd(), searched("workflow", _project(context)))
    data = load(library.read_bytes(found.path), str(found.path)).data
    listed = data.get("steps") if isinstance(data, dict) else None
    for step in listed if isinstance(listed, list) else ():
        name = step.get("name") if isinstance(step, dict) else None
        if isinstance(name, str):
            yield name, ""


@offered
def agents(context: Context, word: str) -> Names:
    """The agents that are built in."""
    from cpool_flow.model import AGENTS

    return ((name, "") for name in AGENTS)


def files(context: Context, parameter: Parameter, word: str) -> list[CompletionItem]:
    """Any file, as the shell finds it."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, type="file")]


def folders(context: Context, parameter: Parameter, word: str) -> list[CompletionItem]:
    """Any folder, as the shell finds it."""
    from click.shell_completion import CompletionItem

    return [CompletionItem(word, type="dir")]


def _files(word: str) -> Iterator[tuple[str, str]]:
    """Workflow files and folders below the folder that is begun."""
    from cpool_flow.library import SUFFIXES

    folder, _, begun = word.rpartition("/")
    start = f"{folder}/" if "/" in word else ""
    with os.scandir(start or ".") as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith(".") and not begun.startswith("."):
                continue
            if entry.is_dir():
                yield f"{start}{entry.name}/", ""
            elif entry.name.endswith(SUFFIXES):
                yield f"{start}{entry.name}", ""


def _named(context: Context, parameter: str) -> str | None:
    """What stands on the line for the first word of a command. Before an option that lacks its value, click has not taken it up yet."""
    value = context.params.get(parameter) or next(iter(context.args), None)
    return value if isinstance(value, str) else None


def _project(context: Context) -> Path:
    from cpool_flow.cli.project import project_directory

    option = context.find_root().params.get("project")
    return project_directory(option if isinstance(option, str) else None)


def _events(context: Context) -> Iterator[object]:
    """What the run that was named before has recorded."""
    from cpool_flow import run_folder
    from cpool_flow.journal import Journal

    folder = run_folder.find(_project(context), _named(context, "run") or "last")
    journal: Journal = Journal.open(folder.path)
    try:
        for recorded in journal.read():
            yield recorded.event
    finally:
        journal.close()
