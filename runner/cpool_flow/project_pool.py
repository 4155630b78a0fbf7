"""Reads the `cpool.yaml` of a project, where there is one. Writes nothing; what stands in it is `pool_rules.py`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from cpool_flow import library
from cpool_flow.pool_file import NAME
from cpool_flow.pool_rules import CheckedPool, check_pool


def read_pool(project: Path) -> CheckedPool:
    """What the pool file of the project says; nothing where there is none. Raises InvalidInput with all that is wrong with it."""
    path = project / NAME
    return read_file(path) if os.path.lexists(path) else CheckedPool()


def read_file(path: Path) -> CheckedPool:
    """What a pool file says. Raises InvalidInput with all that is wrong with it, also where it cannot be read, or is a link that leads
    elsewhere: whoever gave us the project must not have lines of other files shown."""
    library.inside(path.parent, path.name, path.parent)
    shown = library.shown_path(path)
    return check_pool(library.read_bytes(path, shown=shown), shown, partial(read_beside, path.parent))


def file_beside(project: Path, name: str) -> Path:
    """A file that the pool file names, relative to itself. Raises InvalidInput where it leads out of the project."""
    return library.inside(project, name, project)


def read_beside(project: Path, name: str) -> bytes:
    """The content of such a file. Raises InvalidInput."""
    return library.read_bytes(file_beside(project, name), shown=name)
