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


def find_run(option: str | None, reference: str) -> RunFolder:
    """The run that a person means. Raises InvalidInput."""
    from cpool_flow import run_folder

    return run_folder.find(project_directory(option), reference)


def searched(kind: Kind, project: Path, beside: Path | None = None) -> tuple[Place, ...]:
    """The folders in which a name is looked up; `beside` is the folder of the workflow file that names something."""
    return library.places(kind, project, beside or project, config_home())


def places(project: Path) -> Callable[[Kind, Path], tuple[Place, ...]]:
    """The folders in which names are looked up, for a workflow file in a folder."""
    return lambda kind, beside: searched(kind, project, beside)


def config_home() -> Path:
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/"), ".config"))
