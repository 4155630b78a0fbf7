"""The worktree of an item: begun from the branch of the place that it came from, and merged back there.

A merge is worked out in the item's own worktree; the other place only ever goes on to a commit that has grown from its own. An
interruption at any point is mended by doing it again. Knows worktrees and commits; not steps, nor when it is time.
"""

from __future__ import annotations

from dataclasses import replace

from cpool_flow.dataclass import dataclass

from .merged import Conflict, is_ancestor, merged_tree
from .record import WorktreeRecord
from .worktree import Worktree


@dataclass(frozen=True)
class Unmerged:
    """Why an item cannot be merged: the files that both have changed, and the commit that it was to be merged with."""

    files: tuple[str, ...]
    onto: str


def item_record(run: WorktreeRecord, name: str, base: str) -> WorktreeRecord:
    """The worktree of an item of the run, beside the run's own. `name`: of the item, as a file may be called; `base`: the commit that it
    begins from."""
    if f".{name}".endswith(".lock"):
        name += ".0"  # git refuses `RUN.lock`; no item is called so, or the step would have several
    return replace(
        run,
        branch=f"{run.branch}.{name}",
        base=base,
        top_level=run.top_level.with_name(f"{run.top_level.name}.{name}"),
        include_changes=False,
        target="",
        start="",
        tree="",
    )


async def join(item: Worktree, other: Worktree, message: str) -> Unmerged | None:
    """Let the item's branch hold all that the other place's has. Everything is committed in the item's place, and no step runs there.
    Raises OperationFailed, InvalidInput."""
    tip, there = await item.tip(), await other.tip()
    if await is_ancestor(item.view, tip, there) or await is_ancestor(item.view, there, tip):
        return None
    tree = await merged_tree(item.here, there, tip)
    if isinstance(tree, Conflict):
        return Unmerged(tree.files, there)
    text = message.encode("utf-8", "backslashreplace") + b"\n"
    await item.advance(await item.view.git.line("commit-tree", tree, "-p", there, "-p", tip, "-F", "-", stdin=text))
    return None


async def hand_over(item: Worktree, other: Worktree) -> str | None:
    """Let the other place go on to the item's commit; its own commit where that has all of it. None where it has gone on elsewhere since
    `join`. Everything is committed there, and no step runs in either. Raises OperationFailed."""
    await other.catch_up()
    tip, there = await item.tip(), await other.tip()
    if await is_ancestor(item.view, tip, there):
        return there
    if not await is_ancestor(item.view, there, tip):
        return None
    await other.advance(tip)
    return tip
