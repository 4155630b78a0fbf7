"""Where workflows and skills are found: by name in places that go from the bundled ones to those beside the file, or by path.

Touches the disk and knows nothing of what the files mean. A name is `[a-z0-9][a-z0-9_-]*`, at most 64 characters, and never a path.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, printable

Kind = Literal["workflow", "skill"]

NAME = r"[a-z0-9][a-z0-9_-]{0,63}"
SUFFIXES = (".yaml", ".yml")
MAX_FILE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """A folder that is searched; `source` is how people are told of it."""

    source: str
    folder: Path


@dataclass(frozen=True, slots=True)
class Found:
    """A workflow file or a SKILL.md. `overrides`: those of the same name in earlier places, the nearest first."""

    kind: Kind
    name: str
    path: Path
    source: str
    overrides: tuple[Found, ...] = ()


def places(kind: Kind, project: Path, beside: Path, config_home: Path) -> tuple[Place, ...]:
    """The folders in which a name is looked up; what a later one has wins.

    `beside`: the folder of the workflow file that uses the name, or the project. `config_home`: `$XDG_CONFIG_HOME` or `~/.config`.
    """
    folder = f"{kind}s"
    claude = [Place("project (Claude Code)", project / ".claude" / folder)] if kind == "skill" else []
    # A name of a workflow means the same in a file as on the command line, wherever in the project the file is.
    own = [Place("project", project / folder)] if kind == "workflow" and beside != project else []
    return (
        Place("built in", bundled(folder)),
        Place("user", config_home / "cpool-flow" / folder),
        *claude,
        Place("project", project / ".cpool" / folder),
        *own,
        Place("beside the workflow" if beside != project else "project", beside / folder),
    )


def find(kind: Kind, name: str, searched: Iterable[Place]) -> Found:
    """What `name` means. Raises InvalidInput, with the nearest name."""
    known = listing(kind, searched)
    for found in known:
        if found.name == name:
            return found
    what = f"no {kind} `{printable(name[:80])}`"
    if not re.fullmatch(NAME, name):
        raise InvalidInput(what, help=f"the name of a {kind} is lower case letters, digits, `-` and `_` (at most 64), never a path")
    names = [found.name for found in known]
    raise InvalidInput(Problem(what, hint=did_you_mean(name, names), help=f"there is {', '.join(f'`{name}`' for name in names) or 'none'}"))


def listing(kind: Kind, searched: Iterable[Place]) -> list[Found]:
    """Everything that is found by name, sorted by name."""
    known: dict[str, Found] = {}
    for place in searched:
        for name, path in _files(kind, place.folder):
            before = known.get(name)
            overrides = () if before is None else (before, *before.overrides)
            known[name] = Found(kind, name, path, place.source, overrides)
    return [known[name] for name in sorted(known)]


def find_workflow(text: str, directory: Path, searched: Iterable[Place]) -> Found:
    """The workflow that a person means by `text`: the path of a file (it has a `/` or a `.`, which no name has), else a name."""
    if "/" not in text and "." not in text:
        try:
            return find("workflow", text, searched)
        except InvalidInput as error:
            beside = [
                f"{text}{suffix}" for suffix in SUFFIXES if re.fullmatch(NAME, text) and os.path.isfile(directory / f"{text}{suffix}")
            ]
            raise InvalidInput(Problem(str(error), help=f"the file is called by its path: `{beside[0]}`")) if beside else error from None
    refuse_url(text)
    path = directory / text
    try:
        read_bytes(path, shown=text)
    except InvalidInput as error:
        raise _with_nearest_file(error, path, text) from None
    return Found("workflow", path.stem, path, "file")


def _with_nearest_file(error: InvalidInput, path: Path, text: str) -> InvalidInput:
    """The error with the name of the workflow file there that is most like the one that is missing."""
    if os.path.lexists(path):
        return error
    beside = {os.path.join(os.path.dirname(text), name) for name in _entries(path.parent) if name.endswith(SUFFIXES)}
    return InvalidInput(Problem(str(error), hint=did_you_mean(text, beside)))


def refuse_url(text: str) -> None:
    """Raises InvalidInput where a workflow is named by a URL."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text):
        raise InvalidInput(f"`{printable(text[:200])}` is a URL: workflows are files, and nothing is fetched")


def read_bytes(path: Path, *, shown: str | None = None, limit: int = MAX_FILE_BYTES) -> bytes:
    """The bytes of a regular file of at most `limit` bytes. Raises InvalidInput; `shown` is how it is called then."""
    name = printable((shown or str(path))[:300])
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InvalidInput(f"cannot read `{name}`: it is no regular file")
            content = file.read(limit + 1)
    except OSError as error:
        raise InvalidInput(f"cannot read `{name}`: {(error.strerror or 'it cannot be opened').lower()}") from None
    except ValueError:
        raise InvalidInput(f"cannot read `{name}`: that is no path") from None
    if len(content) > limit:
        raise InvalidInput(f"cannot read `{name}`: it is larger than {limit} bytes")
    return content


def read_text(path: Path, *, shown: str | None = None, limit: int = MAX_FILE_BYTES) -> str:
    """The text of a regular file in UTF-8. Raises InvalidInput."""
    return text_of(read_bytes(path, shown=shown, limit=limit), shown or str(path))


def text_of(content: bytes, shown: str) -> str:
    """What was read, as text. Raises InvalidInput where it is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"cannot read `{printable(shown[:300])}`: byte {error.start + 1} is not UTF-8 text") from None


def inside(folder: Path, name: str, *roots: Path) -> Path:
    """The path that is called `name` from `folder`. Raises InvalidInput where it leads out of all `roots`."""
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError):  # too long, links in a circle, a NUL
        raise InvalidInput(f"cannot read `{name[:200]}`: that is no path") from None
    if not any(path.is_relative_to(root.resolve()) for root in roots):
        raise InvalidInput(f"`{name}` is outside of the project")
    return path


def shown_path(path: Path) -> str:
    """A path as people read it: from here where it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path.resolve() if ".." in path.parts else path)


def find_project(start: Path, home: Path | None) -> Path:
    """The project of the folder `start`: the nearest one upwards with `cpool.yaml` or `.cpool/`, else the git top level, else `start`.

    A `.cpool/` in the home folder is the project of that folder alone, else every folder below would belong to it. Nothing is looked
    for at or above a folder that everybody may write to (`/tmp`), nor at the root of the file system: what lies there is nobody's.
    """
    owned = [start]
    for folder in start.parents:
        if folder == folder.parent or folder.stat().st_mode & stat.S_IWOTH:
            break
        owned.append(folder)
    for folder in owned:
        if os.path.isfile(folder / "cpool.yaml") or (os.path.isdir(folder / ".cpool") and (folder == start or folder != home)):
            return folder
    return next((folder for folder in owned if os.path.exists(folder / ".git")), start)


def bundled(folder: str) -> Path:
    """The folder of that name that is shipped: inside the package, or in a checkout beside `pyproject.toml`."""
    package = Path(__file__).resolve().parent
    shipped = package / "_bundled" / folder
    return shipped if shipped.is_dir() else package.parents[1] / folder


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a named pipe without a writer would wait


def _files(kind: Kind, folder: Path) -> Iterator[tuple[str, Path]]:
    for entry in _entries(folder):
        if kind == "skill":
            name, path = entry, folder / entry / "SKILL.md"
        else:
            name, path = Path(entry).stem, folder / entry
        if re.fullmatch(NAME, name) and (kind == "skill" or entry.endswith(SUFFIXES)) and os.path.isfile(path):
            yield name, path


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder), reverse=True)  # of NAME.yaml and NAME.yml the first wins, so it comes last
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise InvalidInput(f"cannot read the folder `{folder}`: {(error.strerror or str(error)).lower()}") from None
