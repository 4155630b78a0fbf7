"""Runs that a step of another run has started: who is whose parent. A child knows its parent's folder, and so all above."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from cpool_flow import events
from cpool_flow.errors import FlowError, InvalidInput
from cpool_flow.journal import Journal
from cpool_flow.other_runs import run_around

# Deeper than this nobody means it: a run starts itself, and again.
DEEPEST = 20


def check_depth(environment: Mapping[str, str]) -> None:
    """Raises InvalidInput where a run that we start would be inside of too many others."""
    if sum(1 for _ in around(environment)) >= DEEPEST:
        help = "does a step start its own workflow again?"
        raise InvalidInput(f"this run would be inside of {DEEPEST} others, and no more are allowed", help=help)


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
    return (folder for folder, _ in _above(created))


def outermost(folder: Path) -> tuple[Path, events.RunCreated] | None:
    """The run in `folder`, or the one above it that nobody has started from a step: its folder, and what it was created with."""
    created = _created(folder)
    if created is None:
        return None
    found = (folder, created)
    for path, above in _above(created):
        if above is not None:
            found = (path, above)
    return found


def _above(created: events.RunCreated) -> Iterator[tuple[Path, events.RunCreated | None]]:
    """The runs around one, the nearest first, with what they were created with; None for one that cannot be read, and is the last."""
    found: events.RunCreated | None = created
    for _ in range(DEEPEST):
        if found is None or not found.parent:
            return
        folder = Path(found.parent)
        found = _created(folder)
        yield folder, found


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
