"""Files by which a repository tells agents what to do and what to run, and the trusted versions of them in a place.

Knows names and contents; which version is trusted is decided elsewhere (`trusted.py`). A file that is trusted stands in the place
while its branch keeps its own: nothing of the exchange is committed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from cpool_flow.dataclass import dataclass

from ..git import Git
from .repository import QUIET, Repository

FOLDERS = frozenset({".claude", ".codex", ".gemini", ".opencode", ".agents"})
NAMES = FOLDERS | {
    *("CLAUDE.md", "CLAUDE.local.md", "AGENTS.md", "AGENTS.override.md", "GEMINI.md"),
    *(".mcp.json", ".claude.json", "opencode.json", "opencode.jsonc"),
}
_EXECUTABLE = 0o755
_PLAIN = 0o644


def is_agent_file(path: str) -> bool:
    """Whether agents read this path of a repository as instructions or settings: by its name, or by a folder in it."""
    return not NAMES.isdisjoint(path.split("/"))


@dataclass(frozen=True, slots=True)
class AgentFile:
    """A regular file, links followed."""

    data: bytes
    executable: bool = False


def save_agent_files(files: Mapping[str, AgentFile], folder: Path) -> None:
    """Write the trusted files below a new folder. Raises OSError."""
    folder.mkdir(mode=0o700)
    for name, file in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(file.data)
        path.chmod(_EXECUTABLE if file.executable else _PLAIN)


def load(folder: Path) -> dict[str, AgentFile]:
    """What `save` has written."""
    found = {}
    for here, _, names in os.walk(folder):
        for name in names:
            path = Path(here, name)
            found[path.relative_to(folder).as_posix()] = _read(path)
    return found


def differing(trusted: Mapping[str, AgentFile], entries: Mapping[str, tuple[str, str]]) -> dict[str, AgentFile | None]:
    """What must stand in a place whose commit has these agent files (path → mode and id of a blob), where that is something else.
    None: nothing."""
    wanted: dict[str, AgentFile | None] = {path: None for path in entries if path not in trusted}
    for path, file in trusted.items():
        mode, identity = entries.get(path, ("", ""))
        if mode != ("100755" if file.executable else "100644") or identity != blob_id(file.data, len(identity)):
            wanted[path] = file
    return wanted


async def entries_of(git: Git, commit: str) -> dict[str, tuple[str, str]]:
    """The agent files of a commit: path → mode and id of the blob. Raises OperationFailed."""
    listing = await git.output("ls-tree", "-r", "-z", "--full-tree", commit)
    found = {}
    for entry in listing.split(b"\0"):
        about, _, name = entry.partition(b"\t")
        path = os.fsdecode(name)
        if name and is_agent_file(path):
            mode, _, identity = about.decode("ascii").split(" ")
            found[path] = (mode, identity)
    return found


async def other_agent_files(git: Git, repository: Repository, trusted: Mapping[str, AgentFile]) -> list[str]:
    """The agent files of a checkout, ignored ones aside, that are not the trusted ones, and those that it has not got."""
    listing = await git.at(repository.top_level).output(*QUIET, "ls-files", "-z", "-c", "-o", "--exclude-standard")
    found = {path for path in map(os.fsdecode, listing.split(b"\0")) if path and is_agent_file(path)}
    wanted = {path: trusted.get(path) for path in found | trusted.keys()}
    return sorted(path for path, file in wanted.items() if not _stands(repository.top_level, path, file))


def blob_id(data: bytes, length: int) -> str:
    """The id that git gives a file, in a repository whose ids have so many digits."""
    digest = hashlib.sha256 if length == 64 else hashlib.sha1
    return digest(b"blob %d\0" % len(data) + data).hexdigest()


class Exchange:
    """The agent files of one place that are not those of its branch: path from the top → what stands there instead, None for nothing."""

    def __init__(self, wanted: Mapping[str, AgentFile | None]) -> None:
        self.wanted = wanted

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def make(self, place: Path) -> None:
        """Put the trusted files where others stand. What leads out of the place over a link is left alone. Raises OSError."""
        for path, file in sorted(self.wanted.items(), key=lambda entry: entry[1] is not None):  # what goes makes room
            if not _stands(place, path, file):
                _take_away(place, path)
                if file is not None:
                    _put(place, path, file)

    def take_away(self, place: Path, paths: Iterable[str]) -> None:
        """Take the trusted files from these paths. Raises OSError."""
        for path in paths:
            if self.wanted[path] is not None:
                _take_away(place, path)

    def standing(self, place: Path) -> list[str]:
        """The paths at which the place has what the exchange put there: no step has changed it since."""
        return [path for path, file in self.wanted.items() if _stands(place, path, file)]


def _stands(place: Path, path: str, file: AgentFile | None) -> bool:
    target = place / path
    if not _has_real_parents(place, path):
        return file is None
    try:
        found = target.lstat()
    except OSError:
        return file is None
    if file is None:
        return stat.S_ISDIR(found.st_mode)  # what is in it has paths of its own
    same = stat.S_ISREG(found.st_mode) and found.st_size == len(file.data) and bool(found.st_mode & stat.S_IXUSR) == file.executable
    return same and _read(target) == file


def _take_away(place: Path, path: str) -> None:
    """The file or link at the path, or at an agent's folder above it; empty folders of agents with it."""
    for parent in _agent_parents(path):
        above = place / parent
        if above.is_symlink() or (os.path.lexists(above) and not above.is_dir()):
            if _has_real_parents(place, parent):
                above.unlink()
            return
    target = place / path
    if not _has_real_parents(place, path):
        return
    if target.is_dir() and not target.is_symlink():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    for parent in reversed(list(_agent_parents(path))):
        with suppress(OSError):
            (place / parent).rmdir()


def _put(place: Path, path: str, file: AgentFile) -> None:
    folder = place
    for part in path.split("/")[:-1]:
        folder = folder / part
        if not os.path.lexists(folder):
            folder.mkdir()
    if not _has_real_parents(place, path):
        return
    target = place / path
    unfinished = target.with_name(f".{target.name}.cpool-flow")
    unfinished.unlink(missing_ok=True)
    mode = _EXECUTABLE if file.executable else _PLAIN
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode), "wb") as stream:
        stream.write(file.data)
    unfinished.replace(target)


def _agent_parents(path: str) -> Iterator[str]:
    """The folders above a path that are agents' own, or within one, the outermost first."""
    parts = path.split("/")
    for number in range(1, len(parts)):
        if not NAMES.isdisjoint(parts[:number]):
            yield "/".join(parts[:number])


def _has_real_parents(place: Path, path: str) -> bool:
    """Whether all folders above are there, and none is a link."""
    folder = place
    for part in path.split("/")[:-1]:
        folder = folder / part
        if folder.is_symlink() or not folder.is_dir():
            return False
    return True


def _read(path: Path) -> AgentFile:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        return AgentFile(file.read(), bool(os.fstat(descriptor).st_mode & stat.S_IXUSR))


def index_lines(paths: Iterable[str], entries: Mapping[str, tuple[str, str]], digits: int) -> bytes:
    """For `update-index -z --index-info`: take these paths out, then put in what a commit has there. `digits`: of an id."""
    names = list(paths)
    out = [f"0 {'0' * digits}\t".encode() + os.fsencode(name) + b"\0" for name in names]
    back = [f"{entries[name][0]} {entries[name][1]} 0\t".encode() + os.fsencode(name) + b"\0" for name in names if name in entries]
    return b"".join([*out, *back])


async def exchange_at(git: Git, trusted: Path, commit: str) -> Exchange:
    """What stands in a place at this commit, where the files in the folder `trusted` count. Raises OperationFailed."""
    return Exchange(differing(load(trusted), await entries_of(git, commit)))
