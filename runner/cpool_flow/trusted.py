"""The files of a trusted commit, laid out in a folder that is gone afterwards: what a run is made of is read there, not in the checkout.

Knows git and paths; who is trusted is decided in `trust.py`, and which files agents get in `workspace/agent_files.py`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field, replace
from pathlib import Path

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed, Problem
from cpool_flow.git import Git, is_object_id
from cpool_flow.library import MAX_FILE_BYTES, Place, shown_path
from cpool_flow.lookup import Searched
from cpool_flow.trust import Event, Trust
from cpool_flow.workspace.agent_files import AgentFile, is_agent_file
from cpool_flow.workspace.repository import QUIET, Repository, survey

INCLUDE = ".worktreeinclude"
BATCH_BYTES = 32 * 1024 * 1024


@dataclass(frozen=True)
class Trusted:
    """`tree` holds the files of `commit` and stands for `top_level`. `commit` is empty where there is no repository, and then no file."""

    commit: str
    why: str
    tree: Path
    top_level: Path
    agent_files: Mapping[str, AgentFile] = field(default_factory=dict)
    include_text: bytes = b""

    @property
    def text(self) -> str:
        """What is trusted, in a few words."""
        return f"what runs, and what agents are told, is that of {self.commit[:10]}: {self.why}" if self.commit else self.why

    def at(self, path: Path) -> Path:
        """Where the trusted version of a path stands. What is not of the repository stands where it stood."""
        whole = Path(os.path.normpath(path))
        return self.tree / whole.relative_to(self.top_level) if whole.is_relative_to(self.top_level) else path

    def project(self, project: Path, directory: Path, *, named: bool) -> Path:
        """The project of a command that is called in `directory`, as the trusted files say; `named`: it was given by hand. A pull request
        cannot move it by a `cpool.yaml` of its own."""
        if named or not (project.is_relative_to(self.top_level) and directory.is_relative_to(self.top_level)):
            return self.at(project)
        here = self.at(directory)
        above = [folder for folder in (here, *here.parents) if folder.is_relative_to(self.tree)]
        return next((folder for folder in above if (folder / "cpool.yaml").is_file() or (folder / ".cpool").is_dir()), self.tree)

    def original(self, path: str) -> str:
        """The path that is meant by one in the folder of trusted files."""
        return path.replace(str(self.tree), str(self.top_level), 1) if Path(path).is_relative_to(self.tree) else path

    def places(self, places: Searched) -> Searched:
        """The same folders to look names up, with the trusted versions of them."""
        return lambda kind, beside: tuple(Place(place.source, self.at(place.folder)) for place in places(kind, beside))

    def told(self, error: InvalidInput) -> InvalidInput:
        """The same error, with the names that people know, and the texts in which it was found."""
        problems = [self.shown(problem) for problem in error.problems]
        unknown = "" if self.commit else f"; {self.why}"
        missing = [
            replace(problem, message=f"{problem.message} ({self.text})" if "no such file" in problem.message else problem.message + unknown)
            for problem in problems
        ]
        return InvalidInput(missing, sources=self.sources(error.problems))

    def shown(self, problem: Problem) -> Problem:
        place = problem.location
        located = place and replace(place, file=shown_path(Path(self.original(place.file))))
        message, hint, help = (text and self._words(text) for text in (problem.message, problem.hint, problem.help))
        return replace(problem, message=message or "", location=located, hint=hint, help=help)

    def sources(self, problems: tuple[Problem, ...]) -> dict[str, str]:
        """The trusted texts of the files that problems name, by the names that people know."""
        found = {}
        for file in {problem.location.file for problem in problems if problem.location}:
            if Path(file).is_relative_to(self.tree):
                try:
                    found[shown_path(Path(self.original(file)))] = Path(file).read_text(encoding="utf-8-sig", errors="replace")
                except OSError:
                    continue
        return found

    def _words(self, text: str) -> str:
        return text.replace(str(self.tree), str(self.top_level)).replace(f"{Path.cwd()}/", "")


@contextmanager
def unpacked() -> Iterator[Path]:
    """A folder for trusted files, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="cpool-flow-trusted-") as folder:
        tree = Path(os.path.realpath(folder)) / "tree"
        tree.mkdir(mode=0o700)
        yield tree


async def read_trusted(git: Git, repository: Repository | None, trust: Trust, tree: Path, directory: Path, *, fetch: bool) -> Trusted:
    """Lay the trusted files out in `tree`. `fetch`: a commit that is not here may be fetched. Raises InvalidInput, OperationFailed."""
    if repository is None or repository.bare:
        why = f"{trust.why} is not known here: {directory} is in no git checkout, so no file of it is trusted"
        return Trusted("", why, tree, directory)
    here = git.at(repository.directory, GIT_NO_REPLACE_OBJECTS="1")
    commit = await _commit(here, repository, trust, fetch=fetch)
    links = await _lay_out(here, commit, tree)
    files = {path.relative_to(tree).as_posix(): path for path in _files(tree) if is_agent_file(path.relative_to(tree).as_posix())}
    for link in links:
        files |= _behind(tree, link) if is_agent_file(link) else {}
    include = tree / INCLUDE
    return Trusted(
        commit,
        trust.why,
        tree,
        repository.top_level,
        {name: AgentFile(path.read_bytes(), os.access(path, os.X_OK)) for name, path in files.items()},
        include.read_bytes() if include.is_file() else b"",
    )


async def refuse_foreign(git: Git, repository: Repository | None, event: Event) -> None:
    """Raises InvalidInput where the checkout may be of somebody who may not write to the repository, while this job may."""
    if not event.foreign or repository is None or repository.head is None:
        return
    here = git.at(repository.directory, GIT_NO_REPLACE_OBJECTS="1")
    for commit in event.own:
        if repository.head == commit or await here.holds(*QUIET, "merge-base", "--is-ancestor", repository.head, commit):
            return
    raise InvalidInput(
        f"on `{event.name}` this job has the secrets and the token of the repository, and {repository.head[:10]}, which is checked out, "
        "may come from a fork: nothing is run there",
        help="let a job on `pull_request` work there and hand on data; if all of it is known to be safe, --allow-untrusted-checkout",
    )


async def refuse_committed(git: Git, folder: Path) -> None:
    """Raises InvalidInput where the folder of a run came with the checkout: whoever has written that has written the run."""
    repository = await survey(git, folder)
    if repository is None or repository.bare:
        return
    if await git.at(folder).output(*QUIET, "ls-files", "-z", "--", "."):
        raise InvalidInput(
            f"run `{folder.name}` is part of the checkout, which is not trusted: it is not gone on with",
            help="take it from an artifact of a job that you trust, into a checkout without it",
        )


# ---- the commit ---------------------------------------------------------------------------------------------


async def _commit(git: Git, repository: Repository, trust: Trust, *, fetch: bool) -> str:
    if trust.commit is None:
        return await _named(git, repository, trust)
    if await _is_here(git, trust.commit):
        return trust.commit
    parent = await _merged_into(git, trust)
    if parent is not None:
        return parent
    if fetch:
        await _fetch(git, repository, trust.commit)
        if await _is_here(git, trust.commit):
            return trust.commit
    raise InvalidInput(
        f"the commit {trust.commit[:10]}, {trust.why}, is not in this clone: files that say what runs are read there",
        help=f"check out with `fetch-depth: 2`, or run `git fetch origin {trust.commit}` before",
    )


async def _named(git: Git, repository: Repository, trust: Trust) -> str:
    for ref in trust.refs:
        usable = ref and not ref.startswith(("-", ":")) and "^{/" not in ref and ref.isprintable()
        found = await git.find(*QUIET, "rev-parse", "-q", "--verify", "--end-of-options", f"{ref}^{{commit}}") if usable else None
        if found is not None and is_object_id(found):
            return found
    more = "; this clone is shallow, the commit may be missing here" if repository.shallow else ""
    raise InvalidInput(f"{trust.why} names no commit of this repository{more}", help="name a branch, a tag or a commit")


async def _is_here(git: Git, commit: str) -> bool:
    return await git.holds(*QUIET, "cat-file", "-e", f"{commit}^{{tree}}")


async def _merged_into(git: Git, trust: Trust) -> str | None:
    """The commit of the base in the merge that GitHub has made to test the pull request."""
    if trust.merge is None:
        return None
    merge, head = trust.merge
    parents = (
        await git.find(*QUIET, "rev-parse", "-q", "--verify", f"{merge}^1"),
        await git.find(*QUIET, "rev-parse", "-q", "--verify", f"{merge}^2"),
    )
    base, other = parents
    return base if base is not None and other == head and await _is_here(git, base) else None


async def _fetch(git: Git, repository: Repository, commit: str) -> None:
    """Bring one commit, as far as the clone is deep. That it cannot be had shows afterwards."""
    quiet = (*QUIET, "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "fetch.recurseSubmodules=false")
    depth = ("--depth=1",) if repository.shallow else ()
    await git.ask(*quiet, "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", *depth, "origin", commit)


# ---- its files ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    identity: str
    size: int
    path: str


async def _lay_out(git: Git, commit: str, tree: Path) -> list[str]:
    """Write the files; no filter changes them, and those that no workflow could read for their size are left out. The links that lead
    to nowhere else, which come last so that nothing is written through one."""
    entries = _entries(await git.output(*QUIET, "ls-tree", "-r", "-z", "-l", "--full-tree", commit))
    links = []
    for batch in _batches(entries):
        contents = await git.output(*QUIET, "cat-file", "--batch", stdin="".join(f"{entry.identity}\n" for entry in batch).encode())
        position = 0
        for entry in batch:
            head, position = position, contents.index(b"\n", position) + 1
            if contents[head : position - 1].split()[1:2] != [b"blob"]:
                raise OperationFailed(f"the clone has not got all of the commit {commit[:10]}: `{entry.path}` is missing")
            data = contents[position : position + entry.size]
            position += entry.size + 1
            if entry.mode == "120000":
                links.append((entry.path, os.fsdecode(data)))
            else:
                _write(tree / entry.path, data, executable=entry.mode == "100755")
    return [path for path, target in links if _link(tree, path, target)]


def _entries(listing: bytes) -> list[_Entry]:
    found = []
    for line in listing.split(b"\0"):
        about, _, name = line.partition(b"\t")
        mode, kind, identity, size = about.decode("ascii").split() if name else ("", "", "", "0")
        path = os.fsdecode(name)
        if kind == "blob" and int(size) <= MAX_FILE_BYTES and not {"", ".", "..", ".git"} & set(path.split("/")):
            found.append(_Entry(mode, identity, int(size), path))
    return found


def _batches(entries: list[_Entry]) -> Iterator[list[_Entry]]:
    batch: list[_Entry] = []
    size = 0
    for entry in entries:
        batch.append(entry)
        size += entry.size
        if size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _write(path: Path, data: bytes, *, executable: bool) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if executable:
            path.chmod(0o755)
    except OSError as error:
        raise OperationFailed(f"cannot write the trusted files: {error.strerror}") from error


def _link(tree: Path, path: str, target: str) -> bool:
    """Make a link that stays inside. False where there is none."""
    inside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    if os.path.isabs(target) or "\0" in target or inside.split("/")[0] == "..":
        return False
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).symlink_to(target)
    return True


def _files(folder: Path) -> Iterator[Path]:
    for here, _, names in os.walk(folder):
        yield from (path for path in (Path(here, name) for name in names) if not path.is_symlink())


def _behind(tree: Path, link: str) -> dict[str, Path]:
    """The files to which a link leads, by the paths at which they are seen."""
    try:
        target = (tree / link).resolve(strict=True)
    except (OSError, RuntimeError):
        return {}
    if not target.is_relative_to(tree):
        return {}
    return {link: target} if target.is_file() else {f"{link}/{path.relative_to(target).as_posix()}": path for path in _files(target)}
