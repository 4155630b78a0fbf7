"""A clone of a run's own: a repository with refs, configuration and hooks of its own, which borrows the objects of the user's.

To our own git its `.git` has HEAD, index and branches, and the user's repository the objects: so what we commit is made there, on the
run's branch, and the clone's branch follows. What steps have made in the clone is fetched before we commit, and before the clone goes; what
stands in the clone's own configuration is never read for that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import faults
from ..git import Git, is_object_id
from .record import WorktreeRecord
from .registration import read_small_file, write_small_file
from .view import View, configuration_text, over, settings_in

# Not for a repository that stands elsewhere, or that is new.
_NOT_TAKEN = ("core.worktree", "core.bare", "core.fsmonitor", "core.splitindex", "extensions.worktreeconfig", "include.path")
_REFERENCES = ("refs/heads", "refs/remotes", "refs/tags")


def git_directory(record: WorktreeRecord) -> Path | None:
    """The clone's `.git`; None where a step has put something else there."""
    path = record.top_level / ".git"
    return path if path.is_dir() and not path.is_symlink() else None


def damage(record: WorktreeRecord) -> str | None:
    """What a step took from the clone, as a sentence. Only looks, and a step may run there."""
    path = record.top_level / ".git"
    if git_directory(record) is None:
        return "something else stands where the clone's `.git` belongs" if os.path.lexists(path) else "the clone's `.git` was removed"
    whole = (path / "HEAD").is_file() and (path / "objects").is_dir() and (path / "refs").is_dir()
    return None if whole else "the clone's `.git` is no repository any more"


async def make(view: View, record: WorktreeRecord) -> Path:
    """The clone, on the run's branch, without the branch's files; where parts of it are there, only what is missing.

    Returns its `.git`. Raises `OperationFailed`.
    """
    path = record.top_level / ".git"
    if os.path.lexists(path) and git_directory(record) is None:
        path.rename(record.private / f"set-aside-{len(os.listdir(record.private))}")
    new = not (path / "HEAD").exists()
    for folder in (path, path / "objects" / "info", path / "refs" / "heads", path / "info"):
        folder.mkdir(parents=True, exist_ok=True)
    if new:
        await _copy_references(view, record, path)
        _copy_files(view, record, path)
    faults.point("clone-half-made")
    if not (path / "config").exists():
        await _write_configuration(view, record, path)
    _borrow(record, path)
    if new:
        write_small_file(path / "HEAD", f"ref: {record.reference}\n")
    await follow_branch(view, record, await view.git.line("rev-parse", "--verify", f"{record.reference}^{{commit}}"))
    return path


async def mend(view: View, record: WorktreeRecord) -> tuple[Path, str | None]:
    """Put back what a step took, and remove locks that it left. No step may run there. Returns `.git` and a sentence about damage."""
    problem = damage(record)
    path = await make(view, record) if problem else record.top_level / ".git"
    for name in ("index.lock", "HEAD.lock", f"{record.reference}.lock"):
        (path / name).unlink(missing_ok=True)
    (record.common_directory / f"{record.reference}.lock").unlink(missing_ok=True)
    _borrow(record, path)
    if not await seen_in_clone(view, record, path).holds("rev-parse", "--git-dir"):
        problem = problem or "the clone's HEAD was broken"
        write_small_file(path / "HEAD", f"ref: {record.reference}\n")
    return path, problem


def clone_view(view: View, record: WorktreeRecord, scratch: Path | None = None) -> View:
    """The clone's own references and objects. `scratch`: where to keep what git needs for that."""
    return over(view, record.top_level / ".git", (scratch or record.private) / "clone-view")


def seen_in_clone(view: View, record: WorktreeRecord, path: Path, scratch: Path | None = None) -> Git:
    """git as a step sees it there: the clone's HEAD, on the clone's own branches."""
    return clone_view(view, record, scratch).of(path, record.top_level)


async def branch_in_clone(view: View, record: WorktreeRecord) -> str | None:
    """Where the run's branch stands in the clone."""
    if damage(record):
        return None
    return await clone_view(view, record).git.find("rev-parse", "-q", "--verify", f"{record.reference}^{{commit}}")


async def follow_branch(view: View, record: WorktreeRecord, commit: str) -> None:
    """Let the clone's branch stand where the run's branch does."""
    clone = clone_view(view, record)
    if await clone.git.find("rev-parse", "-q", "--verify", record.reference) != commit:
        (record.top_level / ".git" / f"{record.reference}.lock").unlink(missing_ok=True)
        await clone.git.output("update-ref", "--no-deref", "-m", "cpool-flow: commit", record.reference, commit)


async def fetch(view: View, record: WorktreeRecord, commits: Iterable[str]) -> None:
    """Bring commits of the clone, with all that they need, to the user's repository. No reference moves. Raises `OperationFailed`."""
    missing = [commit for commit in dict.fromkeys(commits) if not await view.git.holds("cat-file", "-e", commit)]
    if missing:
        options = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance", "--no-recurse-submodules", "--update-shallow")
        clone = clone_view(view, record)
        here = view.git.at(view.directory, GIT_ALLOW_PROTOCOL="file")
        await here.output("-c", "protocol.version=2", "fetch", *options, str(clone.directory), *missing)


async def heads(view: View, record: WorktreeRecord, scratch: Path | None = None) -> list[str]:
    """The commits at which a step has left HEAD, or that it is in the middle of merging."""
    path = git_directory(record)
    if path is None:
        return []
    head = await seen_in_clone(view, record, path, scratch).find("rev-parse", "-q", "--verify", "HEAD^{commit}")
    merging = (read_small_file(path / "MERGE_HEAD") or "").split("\n")
    clone = clone_view(view, record, scratch).git
    return [commit for commit in (head, *merging) if commit and is_object_id(commit) and await clone.holds("cat-file", "-e", commit)]


async def others(view: View, record: WorktreeRecord, scratch: Path | None = None) -> list[tuple[str, str]]:
    """The commits that steps have made in the clone on anything but the run's branch, each with what it is called there."""
    path = git_directory(record)
    if path is None or damage(record):
        return []
    known = _lines_of(record.private / "references")
    clone = clone_view(view, record, scratch).git
    listing = await clone.output("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags")
    found = []
    for line in listing.decode("utf-8", "surrogateescape").splitlines():
        name = line.partition(" ")[2]
        commit = await clone.find("rev-parse", "-q", "--verify", f"{name}^{{commit}}")
        if commit is not None and line not in known and name != record.reference and not await _is_elsewhere(clone, commit):
            found.append((commit, _words(name)))
    stashed = await clone.ask("log", "-g", "--format=%H", "refs/stash", "--")
    found += [(commit, "changes that a step has stashed") for commit in stashed.stdout.decode("ascii", "replace").split()]
    return found + [(commit, "commits on a detached HEAD") for commit in _heads_of_worktrees(path)]


async def new_tags(view: View, record: WorktreeRecord) -> list[str]:
    """The names of the tags that steps have made."""
    if damage(record):
        return []
    listing = await clone_view(view, record).git.output("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    lines = set(listing.decode("utf-8", "surrogateescape").splitlines()) - _lines_of(record.private / "references")
    return sorted(line.partition(" refs/tags/")[2] for line in lines)


def _words(name: str) -> str:
    kind, _, short = name.removeprefix("refs/").partition("/")
    return f"the commits of the {'tag' if kind == 'tags' else 'branch'} {short} of the clone"


async def _is_elsewhere(clone: Git, commit: str) -> bool:
    """Whether another repository has it: fetched from there, or pushed to it."""
    return bool(await clone.find("for-each-ref", "--count=1", "--contains", commit, "--format=%(refname)", "refs/remotes"))


def _heads_of_worktrees(path: Path) -> Iterator[str]:
    """Of worktrees that a step has made from the clone."""
    for head in sorted((path / "worktrees").glob("*/HEAD")):
        text = read_small_file(head)
        if text and is_object_id(text):
            yield text


def _lines_of(path: Path) -> frozenset[str]:
    return frozenset(path.read_bytes().decode("utf-8", "surrogateescape").splitlines()) if path.is_file() else frozenset()


async def _copy_references(view: View, record: WorktreeRecord, path: Path) -> None:
    """The branches, tags and remote branches of now, but those of runs. What the steps make later is told from them."""
    form = "--format=%(objectname) %(refname)"
    listing = (await view.git.output("for-each-ref", form, *_REFERENCES)).splitlines(keepends=True)
    text = b"".join(line for line in listing if b" refs/heads/cpool/" not in line and not line.endswith(b"/HEAD\n"))
    (record.private / "references").write_bytes(text)
    (path / "packed-refs").write_bytes(text)
    default = await view.git.find("symbolic-ref", "-q", "refs/remotes/origin/HEAD")
    if default is not None:
        (path / "refs" / "remotes" / "origin").mkdir(parents=True, exist_ok=True)
        write_small_file(path / "refs" / "remotes" / "origin" / "HEAD", f"ref: {default}\n")


def _copy_files(view: View, record: WorktreeRecord, path: Path) -> None:
    """Excludes, attributes and hooks, and where a shallow history ends."""
    shutil.copytree(view.directory / "info", path / "info", dirs_exist_ok=True)
    hooks, shallow = record.common_directory / "hooks", record.common_directory / "shallow"
    if hooks.is_dir():
        shutil.copytree(hooks, path / "hooks", ignore=shutil.ignore_patterns("*.sample"), ignore_dangling_symlinks=True, dirs_exist_ok=True)
    if shallow.is_file():
        shutil.copyfile(shallow, path / "shallow")


async def _write_configuration(view: View, record: WorktreeRecord, path: Path) -> None:
    """That of the user's repository: remotes, identity, filters, tokens."""
    checkout = record.source if record.source.is_dir() else record.common_directory
    git = view.git.at(checkout, GIT_DIR=record.source_git_directory, GIT_COMMON_DIR=record.common_directory)
    listing = await git.output("config", "--null", "--list", "--local", "--includes")
    if await git.find("config", "--bool", "extensions.worktreeConfig") == "true":
        listing += await git.output("config", "--null", "--list", "--worktree", "--includes")
    settings = [
        (key, _absolute(record, key, value))
        for key, value in settings_in(listing)
        if key not in _NOT_TAKEN and not key.startswith("includeif.")
    ]
    if (record.common_directory / "lfs").is_dir():
        settings.append(("lfs.storage", str(record.common_directory / "lfs")))
    text = configuration_text([*settings, ("core.bare", "false")])
    descriptor = os.open(path / "config", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may hold a token of the user's
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)


def _absolute(record: WorktreeRecord, key: str, value: str | None) -> str | None:
    """A remote that is a folder beside the user's repository, as it is found from elsewhere."""
    if value is None or not key.startswith("remote.") or not key.endswith((".url", ".pushurl")) or value.startswith("/"):
        return value
    path = record.source / value
    return os.path.normpath(path) if ":" not in value and path.exists() else value


def _borrow(record: WorktreeRecord, path: Path) -> None:
    """Let the clone find the objects of the user's repository; other places that a step has named stay."""
    alternates = path / "objects" / "info" / "alternates"
    line = f"{record.common_directory / 'objects'}"
    there = (read_small_file(alternates) or "").split("\n")
    if line not in there:
        alternates.parent.mkdir(parents=True, exist_ok=True)
        write_small_file(alternates, "".join(f"{each}\n" for each in (line, *filter(None, there))))
