"""What stands at a directory before a run begins: the repository, its state, the commit that `base` means.

Only reads. Does not know places, views or runs.
"""

from __future__ import annotations

import os
from pathlib import Path

from cpool_flow.dataclass import dataclass

from ..errors import InvalidInput, OperationFailed
from ..git import Git, GitMissing, complaint, is_object_id

# Commands that other people's runs may have left in the configuration, and that reading a repository would start.
QUIET = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")


@dataclass(frozen=True)
class Repository:
    """A git repository as seen from `directory`. `head` is None before the first commit, `branch` when HEAD is detached."""

    directory: Path
    top_level: Path
    git_directory: Path
    common_directory: Path
    head: str | None
    branch: str | None
    bare: bool
    shallow: bool
    uncommitted_files: int

    @property
    def folder(self) -> Path:
        """Where `directory` stands below the top level."""
        return self.directory.relative_to(self.top_level)


async def survey(git: Git, directory: Path) -> Repository | None:
    """The repository around `directory`; None where there is none, or no git.

    Raises `InvalidInput` with git's own words where git refuses to read it (its owner, a broken configuration).
    """
    directory = directory.resolve()
    if not any(map(_may_be_repository, (directory, *directory.parents))):
        return None  # what git would find out as well, in the time of two steps
    here = git.at(directory)
    try:
        found = await here.ask(*QUIET, "rev-parse", "--is-bare-repository", "--is-inside-work-tree", "--is-shallow-repository")
    except GitMissing:
        return None
    if found.code != 0:
        if b"not a git repository (or any" in found.stderr:
            return None
        raise InvalidInput(f"git cannot read the repository at {directory}: {complaint(found)}")
    bare, inside, shallow = (word == "true" for word in found.stdout.decode().split())
    if not bare and not inside:
        return None
    top_level = Path(await here.line("rev-parse", "--show-toplevel")) if inside else directory
    branch = await here.find("symbolic-ref", "-q", "HEAD")
    return Repository(
        directory=directory,
        top_level=top_level,
        git_directory=Path(await here.line("rev-parse", "--absolute-git-dir")),
        common_directory=Path(await here.line("rev-parse", "--path-format=absolute", "--git-common-dir")).resolve(),
        head=await here.find("rev-parse", "-q", "--verify", "HEAD^{commit}"),
        branch=branch.removeprefix("refs/heads/") if branch else None,
        bare=not inside,
        shallow=shallow,
        uncommitted_files=await _uncommitted_files(here) if inside else 0,
    )


def _may_be_repository(directory: Path) -> bool:
    """Where git looks for a repository: at `.git`, and at a directory that is a bare one."""
    return os.path.lexists(directory / ".git") or os.path.exists(directory / "HEAD")


async def resolve_base(git: Git, repository: Repository, base: str) -> str:
    """The commit that `base` names, as a full hash. Raises `InvalidInput`."""
    _require_commits(repository)
    if not base or base.startswith(("-", ":")) or "^{/" in base or not base.isprintable():
        raise InvalidInput(f"`base` is no commit: `{base}`", help="name a branch, a tag or a commit")
    here = git.at(repository.directory)
    ended = await here.ask("rev-parse", "-q", "--verify", "--end-of-options", f"{base}^{{commit}}")
    commit = ended.stdout.decode("ascii", "replace").strip()
    if ended.code != 0 or not is_object_id(commit):
        more = "; this clone is shallow, the commit may be missing here" if repository.shallow else ""
        raise InvalidInput(f"`base` names no commit of this repository: `{base}`{more}", help="name a branch, a tag or a commit")
    return commit


async def refuse_old_git(git: Git, directory: Path) -> None:
    """Raises `InvalidInput` where git cannot merge without a checkout, which is how items are merged."""
    ended = await git.at(directory).ask(*QUIET, "merge-tree", "--write-tree", "HEAD", "HEAD")
    if ended.code != 0:
        version = await git.find("version") or "an older one"
        raise InvalidInput(
            f"the items of `isolation: worktree` cannot be merged: that needs git 2.38 or newer, and this is `{version}`",
            help="upgrade git, or leave their branches as they are with `merge: none`",
        )


async def refuse_submodules(git: Git, repository: Repository, commit: str, kind: str = "worktree") -> None:
    """Raises `InvalidInput` where the commit has submodules: the place would leave them empty."""
    listing = await git.at(repository.directory).output("ls-tree", "-r", "-z", "--full-tree", commit)
    if listing.startswith(b"160000 ") or b"\x00160000 " in listing:
        raise InvalidInput(f"`isolation: {kind}` cannot be had in a repository with submodules", help="write `isolation: none`")


async def refuse_other_references(git: Git, repository: Repository) -> None:
    """Raises `InvalidInput` where references are kept in a form that a clone of ours cannot have."""
    form = await git.at(repository.directory).find("config", "extensions.refStorage")
    if form not in (None, "files"):
        raise InvalidInput(
            f"`isolation: clone` cannot be had in a repository that keeps its references as `{form}`", help="write `isolation: worktree`"
        )


def _require_commits(repository: Repository) -> None:
    if repository.bare:
        raise InvalidInput(
            f"`isolation: worktree` cannot be had in a bare repository: {repository.directory}",
            help="start the run in a checkout, or write `isolation: none`",
        )
    if repository.head is None:
        raise InvalidInput(
            f"`isolation: worktree` cannot be had before the first commit of {repository.top_level}",
            help="make a first commit, or write `isolation: none`",
        )


async def _uncommitted_files(here: Git) -> int:
    ended = await here.ask(*QUIET, "status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--ignore-submodules=dirty")
    if ended.code != 0:
        raise OperationFailed(f"`git status` failed in {here.directory}: {complaint(ended)}")
    return ended.stdout.count(b"\0")
