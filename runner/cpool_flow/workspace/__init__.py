"""The place where a run's steps work: the directory itself (`none`), or a git worktree of the run's own (`worktree`).

Nobody's checkout is touched, and work is on a branch before its directory goes.
"""

from .inside import matching_files
from .opening import open_worktree, plan_worktree, reattach_worktree
from .place import Closed, Commit, Keep, Place
from .plain import PlainPlace, open_plain
from .record import WorktreeRecord
from .repository import Repository, survey
from .worktree import Worktree

__all__ = [
    "Closed",
    "Commit",
    "Keep",
    "Place",
    "PlainPlace",
    "Repository",
    "Worktree",
    "WorktreeRecord",
    "matching_files",
    "open_plain",
    "open_worktree",
    "plan_worktree",
    "reattach_worktree",
    "survey",
]
