"""Makes a run's clone out of what the user's repository has, and mends what steps have broken of it.

By hand, for git would copy more, and less: no object is copied, settings and hooks are. Does not know what is done in a clone.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from .. import faults
from .clone import damage, follow_branch, git_directory, seen_in_clone
from .record import WorktreeRecord
from .registration import read_small_file, write_small_file
from .view import View, configuration_text, settings_in

# Not for a repository that stands elsewhere, or that is new.
_NOT_TAKEN = ("core.worktree", "core.bare", "core.fsmonitor", "core.splitindex", "extensions.worktreeconfig", "include.path")
_REFERENCES = ("refs/heads", "refs/remotes", "refs/tags")


async def make(view: View, record: WorktreeRecord) -> Path:
    """The clone, on the run's branch, without the branch's files; where parts of it are there, only what is missing.

    Returns its `.git`. Raises `OperationFailed`.
    """
    path = record.top_level / ".git"
    if os.path.lexists(path) and git_directory(record) is None:
        path.rename(record.private / f"set-aside-{len(os.listdir(record.private))}")
    path.mkdir(parents=True, exist_ok=True)
    if not (path / "refs" / "heads").exists() and not (path / "packed-refs").exists():
        _copy_files(view, record, path)
        await _copy_references(view, record, path)
    for folder in (path / "objects" / "info", path / "refs" / "heads"):
        folder.mkdir(parents=True, exist_ok=True)
    faults.point("clone-half-made")
    if not (path / "config").exists():
        await _write_configuration(view, record, path)
    _borrow(record, path)
    if not (path / "HEAD").is_file():
        write_small_file(path / "HEAD", f"ref: {record.reference}\n")
    await follow_branch(view, record, await view.git.line("rev-parse", "--verify", f"{record.reference}^{{commit}}"))
    return path


async def mend(view: View, record: WorktreeRecord) -> tuple[Path, str | None]:
    """Put back what a step took, and remove locks that it left. No step may run there. Returns `.git` and a sentence about damage."""
    problem = damage(record)
    path = await make(view, record) if problem else record.top_level / ".git"
    # With `commondir` git would look for branches elsewhere.
    for name in ("index.lock", "HEAD.lock", f"{record.reference}.lock", "commondir"):
        (path / name).unlink(missing_ok=True)
    (record.common_directory / f"{record.reference}.lock").unlink(missing_ok=True)
    _borrow(record, path)
    if not await seen_in_clone(view, record, path).holds("rev-parse", "--git-dir"):
        problem = problem or "the clone's HEAD was broken"
        write_small_file(path / "HEAD", f"ref: {record.reference}\n")
    return path, problem


async def _copy_references(view: View, record: WorktreeRecord, path: Path) -> None:
    """The branches, tags and remote branches of now, but those of runs. What the steps make later is told from them."""
    form = "--format=%(objectname) %(refname)"
    listing = (await view.git.output("for-each-ref", form, *_REFERENCES)).splitlines(keepends=True)
    text = b"".join(line for line in listing if b" refs/heads/cpool/" not in line and not line.endswith(b"/HEAD\n"))
    (record.private / "references").write_bytes(text)
    default = await view.git.find("symbolic-ref", "-q", "refs/remotes/origin/HEAD")
    if default is not None:
        (path / "refs" / "remotes" / "origin").mkdir(parents=True, exist_ok=True)
        write_small_file(path / "refs" / "remotes" / "origin" / "HEAD", f"ref: {default}\n")
    (path / "packed-refs").write_bytes(text)  # last: who has it has all of them


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
