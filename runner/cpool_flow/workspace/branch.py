"""The run's branch: where we left it, and how it gets the commits that steps made, wherever they made them.

A commit that we have seen is never left without a name. Does not know files or directories of the place.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cpool_flow.dataclass import dataclass

from ..errors import OperationFailed
from ..git import Git
from .place import Keep
from .record import WorktreeRecord
from .registration import checkout_of_branch, refuse_checked_out
from .view import View


@dataclass(frozen=True)
class RunBranch:
    """References are moved with `--no-deref`: a step may have made the branch a link to one of the user's."""

    record: WorktreeRecord
    view: View

    @property
    def left_at(self) -> str | None:
        """The commit at which we left the branch; None before the place was ready."""
        try:
            return self._file.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            return None

    def leave_at(self, commit: str) -> None:
        unfinished = self._file.with_name("tip.new")
        unfinished.write_text(commit, encoding="ascii")
        unfinished.replace(self._file)

    async def tip(self) -> str | None:
        return await self._git.find("rev-parse", "-q", "--verify", f"{self.record.reference}^{{commit}}")

    async def create(self, commit: str) -> None:
        """The new branch. Raises `GitFailed` where it exists."""
        await self.move(commit, "0" * len(commit), "run starts")

    async def settled_tip(self) -> str:
        """The branch's commit. A branch that a step deleted is put back where we left it."""
        tip = await self.tip()
        if tip is None:
            tip = self.left_at or self.record.base
            await self.move(tip, None, "put back")
        return tip

    async def commit(self, message: str, tree: str, merging: Sequence[str] = ()) -> str:
        """A commit with this tree on top of the branch, if the branch does not have it already. Returns the tip. `merging`: commits that
        it merges."""
        tip = await self.settled_tip()
        others = [commit for commit in merging if await self._git.holds("cat-file", "-e", f"{commit}^{{commit}}")]
        if not others and await self._git.line("rev-parse", "--verify", f"{tip}^{{tree}}") == tree:
            return tip
        text = (message.replace("\0", "").strip() or "what the steps left").encode("utf-8", "backslashreplace") + b"\n"
        parents = [argument for parent in (tip, *others) for argument in ("-p", parent)]
        commit = await self._git.line("commit-tree", tree, *parents, "-F", "-", stdin=text)
        await self.move(commit, tip, "commit")
        return commit

    async def settle(self) -> list[str]:
        """See the branch as it is now. Commits of before that are no longer on it are kept; returns sentences about them."""
        tip, left = await self.settled_tip(), self.left_at
        notes = []
        if left and not await self.is_ancestor(left, tip):
            notes = await self.keep(left, "the commits before a step rewrote the branch")
        self.leave_at(tip)
        return notes

    async def follow(self, worktree: Git) -> list[str]:
        """Settle, and take the commits that a step made on another HEAD if they grew from the branch; keep all others."""
        notes, tip = await self.settle(), await self.settled_tip()
        head = await worktree.find("rev-parse", "-q", "--verify", "HEAD^{commit}")
        name = await worktree.find("symbolic-ref", "-q", "HEAD")
        if head is None or name == self.record.reference:
            return notes
        what = "commits on a detached HEAD"
        if name is not None:
            short = name.removeprefix("refs/heads/")
            what = f"the commits of the branch {short} of the clone"
            kept = "whose commits are kept" if self.record.is_clone else "which is kept"
            notes.append(f"a step left the place on the branch {short}, {kept}")
        if await self.is_ancestor(tip, head):
            await self.move(head, tip, "follow HEAD")
        elif name is None or self.record.is_clone:
            notes += await self.keep(head, what)
        return notes

    async def drop(self, keep: Keep) -> tuple[bool, str | None]:
        """Delete the branch if it has no commit of its own, or with `keep: none` if it is merged.

        Returns whether it went, and a sentence if there is something to say.
        """
        tip = await self.tip()
        if tip is None:
            return True, None
        elsewhere = checkout_of_branch(self.record)
        if elsewhere is not None:
            return False, f"the branch {self.record.branch} stays: it is checked out at {elsewhere}"
        empty = await self.is_ancestor(tip, self.record.base)
        if not empty and keep != "none":
            return False, None
        if not empty and not await self._is_merged(tip):
            return False, f"the branch {self.record.branch} stays: it is not merged"
        await self._git.output("update-ref", "--no-deref", "-d", self.record.reference, tip)
        return True, f"the branch {self.record.branch} {'had no changes' if empty else 'was merged'} and is gone"

    async def move(self, new: str, old: str | None = None, why: str = "a step moved it in its clone") -> None:
        """Let the branch stand at another commit, if it stands at `old` still. Raises `OperationFailed`."""
        if self.record.is_clone:  # of a worktree's branch git lets nobody make another checkout
            refuse_checked_out(self.record)
        (self.record.common_directory / f"{self.record.reference}.lock").unlink(missing_ok=True)
        expected = (old,) if old else ()
        await self._git.output("update-ref", "--no-deref", "-m", f"cpool-flow: {why}", self.record.reference, new, *expected)

    async def keep(self, commit: str, what: str) -> list[str]:
        """A branch for a commit that no other branch or tag holds; a sentence about it. Raises `OperationFailed`."""
        if not await self._git.holds("cat-file", "-e", commit) or await self._names_that_hold(commit):
            return []
        for number in range(1, 1000):
            branch = f"{self.record.branch}-kept-{number}"
            if await self._git.holds("update-ref", "--no-deref", f"refs/heads/{branch}", commit, "0" * len(commit)):
                return [f"{what} are kept on the branch {branch}"]
        raise OperationFailed(f"cannot make a branch for the commit {commit}")

    async def is_ancestor(self, old: str, new: str) -> bool:
        return old == new or await self._git.holds("merge-base", "--is-ancestor", old, new)

    @property
    def _git(self) -> Git:
        return self.view.git

    @property
    def _file(self) -> Path:
        return self.record.private / "tip"

    async def _is_merged(self, tip: str) -> bool:
        # The branches of commits that we kept aside begin with the run's own name.
        return any(not name.startswith(self.record.reference) for name in await self._names_that_hold(tip))

    async def _names_that_hold(self, commit: str) -> list[str]:
        listing = await self._git.output(
            "for-each-ref", "--contains", commit, "--format=%(refname)", "refs/heads", "refs/remotes", "refs/tags"
        )
        return listing.decode("utf-8", "replace").splitlines()
