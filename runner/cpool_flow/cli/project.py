"""Where a command works: the project of this folder, its runs, the places where names are looked up."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cpool_flow import library
from cpool_flow.errors import InvalidInput
from cpool_flow.library import Kind, Place

if TYPE_CHECKING:
    from cpool_flow.run_folder import RunFolder


def project_directory(option: str | None) -> Path:
    """The project: `--project`, else what is found upwards from here. Raises InvalidInput."""
    if option is None:
        home = os.environ.get("HOME")
        return library.find_project(Path.cwd(), Path(home) if home else None)
    path = Path(option)
    if not path.is_dir():
        raise InvalidInput(f"`--project {option}`: there is no such folder")
    return path.resolve()


def project_of_runs(option: str | None) -> Path:
    """The project whose runs are meant: `--project`, else what is found upwards from here; for a step that works in a worktree of its
    run, the project of that run, for the worktree goes. Raises InvalidInput."""
    found = project_directory(option)
    if option is not None or not os.environ.get("CPOOL_RUN_DIR"):
        return found
    from cpool_flow.family import parent_directory
    from cpool_flow.workspace.record import is_in_worktree

    parent = parent_directory(os.environ)
    return Path(parent).parents[2] if parent and is_in_worktree(found) else found


def find_run(option: str | None, reference: str) -> RunFolder:
    """The run that a person means. Raises InvalidInput."""
    from cpool_flow import run_folder

    return run_folder.find(open_project(option), reference)


def open_project(option: str | None) -> Path:
    """The project whose runs are meant, in which nothing runs any more of runs that have died. Raises InvalidInput."""
    from cpool_flow.left_running import end_what_was_left

    project = project_of_runs(option)
    end_what_was_left(project)
    return project


def searched(kind: Kind, project: Path, beside: Path | None = None) -> tuple[Place, ...]:
    """The folders in which a name is looked up; `beside` is the folder of the workflow file that names something."""
    return library.places(kind, project, beside or project, config_home())


def places(project: Path) -> Callable[[Kind, Path], tuple[Place, ...]]:
    """The folders in which names are looked up, for a workflow file in a folder."""
    return lambda kind, beside: searched(kind, project, beside)


def config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/"), ".config"))
