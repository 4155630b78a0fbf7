"""Whether the work of a branch is in another one already, however it got there: merged, squashed, or commit by commit.

Only reads.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress

from cpool_flow.dataclass import dataclass

from ..errors import InvalidInput
from ..git import Git, complaint
from .view import View

# Of the commits on the other branch since the base, the newest that are compared with.
MOST_COMMITS = 1000
MOST_PATHS = 500
# What git adds to the name of a file that has to give way to a folder, or to another kind of file.
_BESIDE = re.compile(r"~[0-9a-f]{40,64}(_\d+)?$")
_PATCH = ("--no-ext-diff", "--no-textconv", "--no-color", "--no-renames")


@dataclass(frozen=True)
class Conflict:
    """Why two commits cannot be merged by themselves: the files that both have changed."""

    files: tuple[str, ...]


async def is_ancestor(view: View, old: str, new: str) -> bool:
    return old == new or await view.git.holds("merge-base", "--is-ancestor", old, new)


async def is_in(view: View, base: str, tip: str, other: str) -> bool:
    """Whether all that `tip` changed since `base` is in the commit `other`."""
    if await is_ancestor(view, tip, other):
        return True
    if await _tree(view, tip) == await _tree(view, base):
        return False  # commits that come to nothing: nothing of them can be found again
    with suppress(InvalidInput):  # a git that is too old: it is asked the other ways
        if await merged_tree(view.git, other, tip) == await _tree(view, other):
            return True
    return await _is_squashed(view, base, tip, other) or await _is_picked(view, tip, other)


async def names_that_hold(view: View, commit: str) -> list[str]:
    """The branches and tags that a commit is on, also of other repositories."""
    listing = await view.git.output("for-each-ref", "--contains", commit, "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags")
    return listing.decode("utf-8", "surrogateescape").splitlines()


async def merged_tree(git: Git, ours: str, theirs: str) -> str | Conflict:
    """The files that a merge comes to. Touches no checkout; `git` works in one where its `.gitattributes` are to count. Raises
    `InvalidInput` where git cannot do it."""
    ended = await git.ask("merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", ours, theirs)
    fields = ended.stdout.decode("utf-8", "surrogateescape").split("\0")
    if ended.code == 0:
        return fields[0].strip()
    if ended.code == 1:
        return Conflict(tuple(dict.fromkeys(_BESIDE.sub("", name) for name in fields[1:] if name)))
    if b"usage:" in ended.stderr or b"not a git command" in ended.stderr:
        raise InvalidInput("a merge needs git 2.38 or newer", help="upgrade git")
    raise InvalidInput(f"git cannot merge the two: {complaint(ended)}")


async def _is_squashed(view: View, base: str, tip: str, other: str) -> bool:
    """Whether one commit of the other branch makes the whole change."""
    whole = await _patch_ids(view, await view.git.output("diff-tree", "-p", *_PATCH, base, tip))
    names = [name for name in (await view.git.output("diff-tree", "-r", "-z", "--name-only", *_PATCH, base, tip)).split(b"\0") if name]
    # Only commits that touch these files, and of them only that part: a history may be long.
    paths = [f":(top,literal){os.fsdecode(name)}" for name in names] if len(names) <= MOST_PATHS else []
    log = await view.git.output("log", "-p", f"--max-count={MOST_COMMITS}", "--no-merges", *_PATCH, f"{base}..{other}", "--", *paths)
    return bool(whole) and whole <= await _patch_ids(view, log)


async def _is_picked(view: View, tip: str, other: str) -> bool:
    """Whether each commit has one on the other branch that makes the same change."""
    lines = (await view.git.output("cherry", other, tip)).splitlines()
    return bool(lines) and all(line.startswith(b"-") for line in lines)


async def _patch_ids(view: View, patches: bytes) -> set[bytes]:
    listing = await view.git.output("patch-id", "--stable", stdin=patches)
    return {line.split()[0] for line in listing.splitlines()}


async def _tree(view: View, commit: str) -> str:
    return await view.git.line("rev-parse", "--verify", f"{commit}^{{tree}}")
