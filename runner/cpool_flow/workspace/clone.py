"""A clone of a run's own: a repository with refs, configuration and hooks of its own, which borrows the objects of the user's.

To our own git its `.git` has HEAD, index and branches, and the user's repository the objects: so what we commit is made there, on the
run's branch, and the clone's branch follows. What steps have made in the clone is fetched before we commit, and before the clone goes; what
stands in the clone's own configuration is never read for that.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..git import Git, is_object_id
from .record import WorktreeRecord
from .registration import read_small_file
from .view import View, over


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
        loose = record.top_level / ".git" / record.reference
        loose.with_name(f"{loose.name}.lock").unlink(missing_ok=True)
        arguments = ("update-ref", "--no-deref", "-m", "cpool-flow: commit", record.reference, commit)
        if not await clone.git.holds(*arguments):
            loose.unlink(missing_ok=True)  # what a step has written there is no reference
            await clone.git.output(*arguments)


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
    listing = await clone.output("for-each-ref", "--format=%(objectname) %(refname)")
    found = []
    for line in listing.decode("utf-8", "surrogateescape").splitlines():
        name = line.partition(" ")[2]
        if line in known or name in (record.reference, "refs/stash") or name.startswith("refs/remotes/"):
            continue
        commit = await clone.find("rev-parse", "-q", "--verify", f"{name}^{{commit}}")
        if commit is not None and not await _is_elsewhere(clone, commit):
            found.append((commit, _words(name)))
    stashed = await clone.ask("log", "-g", "--format=%H", "refs/stash", "--")
    found += [(commit, "changes that a step has stashed") for commit in stashed.stdout.decode("ascii", "replace").split()]
    return found + [(commit, "commits on a detached HEAD") for commit in _heads_of_worktrees(path)]


async def new_tags(view: View, record: WorktreeRecord) -> list[str]:
    """The names of the tags that the clone has got since it was made."""
    if damage(record):
        return []
    listing = await clone_view(view, record).git.output("for-each-ref", "--format=%(objectname) %(refname)", "refs/tags")
    lines = set(listing.decode("utf-8", "surrogateescape").splitlines()) - _lines_of(record.private / "references")
    return sorted(line.partition(" refs/tags/")[2] for line in lines)


def _words(name: str) -> str:
    kind, _, short = name.removeprefix("refs/").partition("/")
    shown = {"heads": f"the branch {short}", "tags": f"the tag {short}"}.get(kind, name)
    return f"the commits of {shown} of the clone"


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
