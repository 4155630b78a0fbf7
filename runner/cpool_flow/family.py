"""Runs that a step of another run has started: who is whose parent. A child knows its parent's folder, and so all above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cpool_flow import events
from cpool_flow.errors import FlowError
from cpool_flow.journal import Journal
from cpool_flow.other_runs import run_around

DEEPEST = 100


def parent_directory(environment: Mapping[str, str]) -> str:
    """The folder of the run whose step calls us; empty where none does."""
    return str(run_around(environment) or "")


def around(environment: Mapping[str, str]) -> Iterator[Path]:
    """The folders of the run whose step calls us, and of those around that one."""
    parent = parent_directory(environment)
    if parent:
        yield Path(parent)
        created = _created(Path(parent))
        yield from ancestors(created) if created is not None else ()


def ancestors(created: events.RunCreated) -> Iterator[Path]:
    """The folders of the parent, its parent, and so on, as far as they are there."""
    for _ in range(DEEPEST):
        if not created.parent:
            return
        folder = Path(created.parent)
        yield folder
        found = _created(folder)
        if found is None:
            return
        created = found


def outermost(folder: Path) -> tuple[Path, events.RunCreated] | None:
    """The run in `folder`, or the one above it that nobody has started from a step: its folder, and what it was created with."""
    created = _created(folder)
    if created is None:
        return None
    found = (folder, created)
    for path in ancestors(created):
        above = _created(path)
        if above is None:
            break
        found = (path, above)
    return found


def _created(folder: Path) -> events.RunCreated | None:
    try:
        journal = Journal.open(folder)
    except FlowError:
        return None
    try:
        first = next(journal.read(), None)
        return first.event if first is not None and isinstance(first.event, events.RunCreated) else None
    except FlowError:
        return None
    finally:
        journal.close()
