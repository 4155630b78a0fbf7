"""A repository under a configuration that was frozen when the run began.

What runs in a place may write the shared git configuration, hooks and excludes, or break them. So our own git reads a
common directory of its own: links to the repository's objects and references, beside a copied configuration without
anything that git would start by itself. Filters stay as they were (LFS needs them); one that appears later is unknown.
Does not know runs or worktrees.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from cpool_flow.dataclass import dataclass

from ..git import Git
from .repository import QUIET

_Setting = tuple[str, str | None]

# What plumbing needs to read a working tree; and to commit, with what LFS needs to fetch a file. Names, servers and tokens
# are in the second only: the first is kept in the run's folder, which people hand on.
_TO_READ = frozenset({"core", "extensions", "filter", "index"})
_TO_COMMIT = _TO_READ | {"user", "author", "committer", "lfs", "remote", "branch", "url", "http", "https", "credential", "protocol", "ssh"}
# Keys that start programs, point elsewhere, or speak to people.
_DROPPED_KEYS = frozenset(
    {"core.fsmonitor", "core.hookspath", "core.editor", "core.pager", "core.worktree", "core.bare", "core.safecrlf"}
    | {"core.untrackedcache", "core.splitindex", "extensions.worktreeconfig"}
)
_OURS: tuple[_Setting, ...] = (
    ("core.bare", "false"),
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("core.untrackedCache", "false"),
    ("core.splitIndex", "false"),
    ("core.safecrlf", "false"),
    ("core.editor", "true"),
    ("core.packedRefsTimeout", "30000"),
    ("core.filesRefLockTimeout", "5000"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("submodule.recurse", "false"),
)
_IDENTITY: tuple[_Setting, ...] = (("user.name", "cpool-flow"), ("user.email", "cpool-flow@localhost"))
_LINKED_FILES = ("packed-refs", "shallow")
_NOT_LINKED = frozenset({"hooks", "info", "branches"})


@dataclass(frozen=True)
class View:
    """The frozen common directory. `git` reads references and objects through it."""

    directory: Path
    git: Git

    def of(self, git_directory: Path, work_tree: Path) -> Git:
        """git for one working tree, its references and its index."""
        return self.git.at(self.directory, GIT_DIR=git_directory, GIT_WORK_TREE=work_tree)

    @property
    def filters(self) -> str:
        """The filters that it knows, as configuration text: all that may be started here, however often it is made anew."""
        lines = (self.directory / "config").read_bytes().decode("utf-8", "surrogateescape").split("\n")
        pairs = zip(lines[::2], lines[1::2], strict=False)  # as `configuration_text` writes them
        return "".join(f"{section}\n{assignment}\n" for section, assignment in pairs if section.startswith("[filter "))

    def exclude(self, patterns: Iterable[str]) -> None:
        """Let our git leave these out as well."""
        with (self.directory / "info" / "exclude").open("a", encoding="utf-8", errors="surrogateescape") as file:
            file.writelines(f"{pattern}\n" for pattern in ("", *patterns))


async def freeze(
    git: Git, source: Path, git_directory: Path, common_directory: Path, directory: Path, *, commits: bool, filters: str | None = None
) -> View:
    """The view in `directory`, with the configuration that holds now in the checkout `source`. A view that is there keeps its own.

    Not `commits`: it only reads, and knows nobody's name, server or token. `filters`: those of an earlier view, in place of those
    that are defined by now.
    """
    configuration = directory / "config"
    if not configuration.exists():
        listing = await git.at(source).output(*QUIET, "config", "--null", "--list")
        sections = (_TO_COMMIT if commits else _TO_READ) - (frozenset({"filter"}) if filters is not None else frozenset())
        settings = tuple(_frozen(settings_in(listing), sections))
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "info").mkdir(parents=True, mode=0o700)
        for path in (
            common_directory / "info" / "exclude",
            common_directory / "info" / "attributes",
            git_directory / "info" / "sparse-checkout",
        ):
            if path.is_file():
                shutil.copyfile(path, directory / "info" / path.name)
        text = configuration_text(settings) + (filters or "")
        if '[filter "lfs"]' in text:
            (common_directory / "lfs").mkdir(exist_ok=True)
        # Written last: a view that has it is whole.
        _write(configuration, text)
    _link(common_directory, directory)
    return View(
        directory, git.without_configuration().at(directory, GIT_DIR=directory, GIT_COMMON_DIR=directory, GIT_NO_REPLACE_OBJECTS="1")
    )


def over(view: View, common_directory: Path, directory: Path) -> View:
    """The same configuration over another repository, in `directory`: of that one's own nothing is read."""
    if not (directory / "config").exists():
        shutil.rmtree(directory, ignore_errors=True)
        (directory / "info").mkdir(parents=True, mode=0o700)
        _write(directory / "config", (view.directory / "config").read_bytes().decode("utf-8", "surrogateescape"))
    _link(common_directory, directory)
    return View(directory, view.git.at(directory, GIT_DIR=directory, GIT_COMMON_DIR=directory))


def configuration_text(settings: Iterable[_Setting]) -> str:
    """The settings as a git configuration file."""
    return "".join(f"{_section(key)}\n\t{_assignment(key, value)}\n" for key, value in settings)


def settings_in(listing: bytes) -> Iterator[_Setting]:
    """Keys and values of `git config --null --list`; None for a key that stands without one."""
    for entry in listing.decode("utf-8", "surrogateescape").split("\0"):
        if entry:
            key, separator, value = entry.partition("\n")
            yield key, value if separator else None


def _frozen(settings: Iterable[_Setting], sections: frozenset[str]) -> Iterator[_Setting]:
    kept = [(key, value) for key, value in settings if key.partition(".")[0] in sections and key not in _DROPPED_KEYS]
    known = {key for key, value in kept if value}
    yield from kept
    yield from _OURS
    if not {"user.name", "user.email"} <= known:
        yield from _IDENTITY


def _section(key: str) -> str:
    section, _, rest = key.partition(".")
    name = rest.rpartition(".")[0]
    return f'[{section} "{_escaped(name)}"]' if name else f"[{section}]"


def _assignment(key: str, value: str | None) -> str:
    name = key.rpartition(".")[2]
    return name if value is None else f'{name} = "{_escaped(value)}"'.replace("\n", "\\n").replace("\b", "\\b")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _write(path: Path, text: str) -> None:
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may hold a token of the user's
    with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
    unfinished.replace(path)


def _link(common_directory: Path, directory: Path) -> None:
    for name in ("logs", "worktrees"):
        (common_directory / name).mkdir(exist_ok=True)
    folders = [entry.name for entry in os.scandir(common_directory) if entry.is_dir() and entry.name not in _NOT_LINKED]
    for name in (*folders, *_LINKED_FILES):
        if not (directory / name).is_symlink():
            (directory / name).symlink_to(common_directory / name)
    # Only there because git asks for it; references are read by their full names.
    (directory / "HEAD").write_text("ref: refs/heads/main\n", encoding="ascii")
