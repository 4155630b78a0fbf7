"""The place where a run's steps work: the directory itself (`none`), or a git worktree of the run's own (`worktree`).

Nobody's checkout is touched, and work is on a branch before its directory goes.
"""

from .agent_files import AgentFile, is_agent_file, other_agent_files
from .agent_files import save as save_agent_files
from .inside import matching_files
from .opening import open_worktree, plan_worktree, reattach_worktree
from .place import Closed, Commit, Keep, Place
from .plain import PlainPlace, open_plain
from .record import WorktreeRecord
from .repository import Repository, survey
from .worktree import Worktree

__all__ = [
    "AgentFile",
    "Closed",
    "Commit",
    "Keep",
    "Place",
    "PlainPlace",
    "Repository",
    "Worktree",
    "WorktreeRecord",
    "is_agent_file",
    "matching_files",
    "open_plain",
    "open_worktree",
    "other_agent_files",
    "plan_worktree",
    "reattach_worktree",
    "save_agent_files",
    "survey",
]
