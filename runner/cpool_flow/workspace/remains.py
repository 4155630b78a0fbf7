"""What a run has left in its repository, looked at from outside and later: its branch, commits kept aside, its worktree.

Reads by a view of its own that goes again. Does not know whether anybody still works there, nor what becomes of it.
"""

from __future__ import annotations

import glob
import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from cpool_flow.dataclass import dataclass

from ..errors import InvalidInput
from ..git import Git
from .record import RECORD, WorktreeRecord
from .view import View, freeze

_KEPT, _ITEM = "-kept-", "."


@dataclass(frozen=True)
class Branch:
    """A branch and its commit."""

    name: str
    tip: str


@dataclass(frozen=True)
class Remains:
    """`tip`: the run's last commit, None where there is none any more; `branch` is None where the branch itself went. `kept`: the
    branches of commits that the run's own branch lost; `items`: those of items that were not merged. `view` reads, and commits where
    that was asked for; `scratch` goes with it."""

    record: WorktreeRecord
    view: View
    scratch: Path
    branch: Branch | None
    tip: str | None
    kept: tuple[Branch, ...] = ()
    items: tuple[Branch, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the run has made any commit."""
        return self.tip is not None and self.tip != self.record.base

    @property
    def branches(self) -> tuple[Branch, ...]:
        """All that are there."""
        return (*((self.branch,) if self.branch is not None else ()), *self.kept, *self.items)


@asynccontextmanager
async def remains(
    git: Git,
    record: WorktreeRecord,
    last_commit: str | None,
    *,
    commits: bool = False,
    filters: str | None = None,
    others: Sequence[str] = (),
) -> AsyncIterator[Remains]:
    """What is left of the run. `last_commit`: the newest that the caller knows of, for a branch that is gone. `filters`: those that may
    be started. `others`: the branches of other runs, whose names may begin as those of this one's items do (`r1` and `r1.2`). Raises
    `InvalidInput` where the repository is gone."""
    with tempfile.TemporaryDirectory(prefix="cpool-flow-") as folder:
        view = await view_of(git, record, record.source, record.source_git_directory, Path(folder), commits=commits, filters=filters)
        listing = await view.git.output("for-each-ref", "--format=%(refname) %(objectname)", f"{record.reference}*")
        every = [Branch(name.removeprefix("refs/heads/"), tip) for name, _, tip in map(_parts, listing.splitlines())]
        found = [each for each in every if not any(_is_of(each.name, other) for other in others)]
        branch = next((each for each in found if each.name == record.branch), None)
        kept = tuple(each for each in found if each.name.startswith(f"{record.branch}{_KEPT}"))
        items = tuple(each for each in found if each.name.startswith(f"{record.branch}{_ITEM}"))
        yield Remains(record, view, Path(folder), branch, branch.tip if branch else await _existing(view, last_commit), kept, items)


def may_be_of(name: str, run: str) -> bool:
    """Whether a name, of a run or a branch, begins as those of what belongs to a run."""
    return name.startswith((f"{run}{_KEPT}", f"{run}{_ITEM}"))


def _is_of(branch: str, run_branch: str) -> bool:
    return branch == run_branch or may_be_of(branch, run_branch)


def item_records(record: WorktreeRecord) -> list[WorktreeRecord]:
    """The worktrees of the run's items that are there, or were being made or removed."""
    found = []
    for path in sorted(record.top_level.parent.glob(f".{glob.escape(record.top_level.name)}.*/{RECORD}")):
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            item = WorktreeRecord.from_json(json.loads(path.read_text(encoding="utf-8", errors="surrogateescape")))
            if item.run_id == record.run_id and item.private == path.parent:
                found.append(item)
    return found


async def view_of(
    git: Git, record: WorktreeRecord, source: Path, git_directory: Path, folder: Path, *, commits: bool, filters: str | None
) -> View:
    """A view of the run's repository in `folder`, as the checkout `source` sees it; where that went, as the repository itself does."""
    common = record.common_directory
    if not common.is_dir():
        help = "was the project moved? where it stood, its runs and their branches are found again"
        raise InvalidInput(f"the repository of the run is gone: {common}", help=help)
    seen_from = source if source.is_dir() else common
    return await freeze(git, seen_from, git_directory, common, folder / "view", commits=commits, filters=filters or "")


def _parts(line: bytes) -> tuple[str, str, str]:
    return line.decode("utf-8", "surrogateescape").rpartition(" ")


async def _existing(view: View, commit: str | None) -> str | None:
    return commit if commit and await view.git.holds("cat-file", "-e", f"{commit}^{{commit}}") else None
