"""What a run has left running whose coordinator and guardian were both killed: the next command that opens the project ends it.

A coordinator that dies leaves its number in the run's lock; one that ends in order does not. So a project in which nobody has died
costs a look at the size of a file for each run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from cpool_flow.errors import FlowError
from cpool_flow.guardian import sweep
from cpool_flow.history import recorded
from cpool_flow.journal import forget_coordinator, has_lost_its_coordinator
from cpool_flow.run_folder import RunFolder, runs_directory


def end_what_was_left(project: Path) -> None:
    """Kill what died runs of the project have left running. Safe to call while guardians are at it, and from several processes."""
    for folder in _lost(project):
        _end(folder)


def _lost(project: Path) -> Iterator[RunFolder]:
    runs = runs_directory(project)
    try:
        names = os.listdir(runs)
    except OSError:
        return
    for name in names:
        if has_lost_its_coordinator(runs / name):
            yield RunFolder(runs / name)


def _end(folder: RunFolder) -> None:
    try:
        marks = [mark for entry in recorded(folder) if (mark := getattr(entry.event, "mark", None))]
    except FlowError:  # whoever asks for this run is told
        return
    for mark in marks[-1:]:  # that of the latest coordinator
        sweep(mark)
    forget_coordinator(folder.path)
