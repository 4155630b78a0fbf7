"""The place where a run's steps work: the directory itself (`none`), or a git worktree of the run's own (`worktree`).

Nobody's checkout is touched, and work is on a branch before its directory goes.
"""

from .agent_files import AgentFile, is_agent_file, other_agent_files
from .agent_files import save as save_agent_files
from .changes import ChangedFile, changed, patch, table
from .checkouts import branch_of
from .inside import matching_files
from .merging import Merged, merge
from .opening import open_worktree, plan_worktree, reattach_worktree
from .place import Closed, Commit, Keep, Place
from .plain import PlainPlace, open_plain
from .record import WorktreeRecord
from .remains import Remains, remains
from .removal import remove_directory
from .repository import Repository, survey
from .tidying import look, tidy
from .worktree import Worktree

__all__ = [
    "AgentFile",
    "ChangedFile",
    "Closed",
    "Commit",
    "Keep",
    "Merged",
    "Place",
    "PlainPlace",
    "Remains",
    "Repository",
    "Worktree",
    "WorktreeRecord",
    "branch_of",
    "changed",
    "is_agent_file",
    "look",
    "matching_files",
    "merge",
    "open_plain",
    "open_worktree",
    "other_agent_files",
    "patch",
    "plan_worktree",
    "reattach_worktree",
    "remains",
    "remove_directory",
    "save_agent_files",
    "survey",
    "table",
    "tidy",
]
