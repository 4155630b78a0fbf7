"""What can be listed and shown: workflows and skills with their descriptions and arguments.

Reads files only as far as that takes: a broken one is listed with the reason. Whether a workflow is valid is asked elsewhere.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from cpool_flow.dataclass import dataclass
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput
from cpool_flow.json_value import JsonValue
from cpool_flow.library import SUFFIXES, Found, Place, listing, read_bytes
from cpool_flow.model import KINDS
from cpool_flow.skill import parse_skill

MAX_FILES = 200
MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a list. `problem` says why the file cannot be read; then only its name is known."""

    found: Found
    description: str = ""
    arguments: Mapping[str, Mapping[str, JsonValue]] = field(default_factory=dict)
    problem: str | None = None


class NoSteps(InvalidInput):
    """The file can be read, and is no workflow."""


def entries(found: Iterable[Found]) -> list[Entry]:
    """What was found, read."""
    return [entry(one) for one in found]


def entry(found: Found) -> Entry:
    """One workflow or skill, read."""
    try:
        source = read_bytes(found.path)
        return _skill(found, source) if found.kind == "skill" else _workflow(found, _steps_file(found.path, source))
    except InvalidInput as error:
        return _broken(found, error)


def workflows_here(folders: Iterable[Path], searched: Iterable[Place]) -> list[Entry]:
    """The workflows with names (bundled ones aside), and the other files in these folders whose steps look like ours."""
    named = [found for found in listing("workflow", searched) if found.source != "built in"]
    paths = {found.path for found in named}
    files = [entry for folder in folders for entry in _files_in(folder) if entry.found.path not in paths]
    return [*entries(named), *files]


def _skill(found: Found, source: bytes) -> Entry:
    skill = parse_skill(source, str(found.path))
    return Entry(found, skill.description, skill.arguments or {})


def _workflow(found: Found, data: Mapping[str, JsonValue]) -> Entry:
    description, declared = data.get("description"), data.get("args")
    arguments = declared if isinstance(declared, dict) else {}
    return Entry(
        found,
        description if isinstance(description, str) else "",
        {name: declaration for name, declaration in arguments.items() if isinstance(declaration, dict)},
    )


def _steps_file(path: Path, source: bytes) -> Mapping[str, JsonValue]:
    data = load(source, str(path)).data
    if not isinstance(data, dict) or not isinstance(data.get("steps"), list):
        raise NoSteps("it has no list of `steps`")
    return data


def _broken(found: Found, error: InvalidInput) -> Entry:
    first = error.problems[0]
    return Entry(found, problem=f"{first.message}{f' (line {first.location.line})' if first.location else ''}")


def _files_in(folder: Path) -> Iterator[Entry]:
    names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIXES))
    for name in [name for name in names if _is_small_file(folder / name)][:MAX_FILES]:
        found = Found("workflow", Path(name).stem, folder / name, "file")
        try:
            source = read_bytes(found.path)
            if not re.search(rb"^steps[ \t]*:", source, re.MULTILINE):
                continue
            data = _steps_file(found.path, source)
        except NoSteps:
            continue  # the answers of a scripted agent, for one
        except InvalidInput as error:
            yield _broken(found, error)
            continue
        if _is_ours(data):
            yield _workflow(found, data)


def _is_small_file(path: Path) -> bool:
    return os.path.isfile(path) and os.path.getsize(path) <= MAX_FILE_BYTES


def _is_ours(data: Mapping[str, JsonValue]) -> bool:
    """Other tools have `steps` too: ours do something that we know."""
    steps = data["steps"]
    first = steps[0] if isinstance(steps, list) and steps else None
    return isinstance(first, dict) and any(kind in first for kind in (*KINDS, "workflow", "steps", "approve", "end"))
