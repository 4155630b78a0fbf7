"""What is known of a run's worktree, or clone, before it exists: enough to make it, to find it again, and to tell it from others.

A plain value for the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from cpool_flow.dataclass import dataclass

# In the private folder.
RECORD = "record.json"


@dataclass(frozen=True)
class WorktreeRecord:
    """A worktree of a run, or a clone (`kind`). All paths are absolute, but `folder`, which is where in the repository the run was started.

    `target`: the branch that `base` was the tip of, empty where it was none. `start`: the commit that the run's branch begins at,
    where it is not `base`; `tree`: the files that it begins with, where they are not those of that commit. `trusted`: the folder with
    the files that count in place of the repository's own (`agent_files.py`, `.worktreeinclude`), empty where none does.
    """

    run_id: str
    branch: str
    base: str
    top_level: Path
    folder: Path
    source: Path
    source_git_directory: Path
    common_directory: Path
    include_changes: bool = False
    target: str = ""
    start: str = ""
    tree: str = ""
    trusted: str = ""
    kind: str = "worktree"

    @property
    def is_clone(self) -> bool:
        return self.kind == "clone"

    @property
    def reference(self) -> str:
        return f"refs/heads/{self.branch}"

    @property
    def agent_files(self) -> Path | None:
        """Where the trusted files of agents are."""
        return Path(self.trusted) / "agents" if self.trusted else None

    @property
    def include_file(self) -> Path:
        """The `.worktreeinclude` that counts."""
        return (Path(self.trusted) if self.trusted else self.source) / ".worktreeinclude"

    @property
    def private(self) -> Path:
        """Our own folder beside the worktree: the mark that the worktree is ours, and what only we write.

        No run id begins with a dot, so it is never another run's worktree.
        """
        return _private(self.top_level)

    def to_json(self) -> dict[str, str | bool]:
        return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, str | bool]) -> WorktreeRecord:
        """The record again. Raises `KeyError` where the data is something else."""
        text = {name: str(value) for name, value in data.items()}
        return cls(
            run_id=text["run_id"],
            branch=text["branch"],
            base=text["base"],
            top_level=Path(text["top_level"]),
            folder=Path(text["folder"]),
            source=Path(text["source"]),
            source_git_directory=Path(text["source_git_directory"]),
            common_directory=Path(text["common_directory"]),
            include_changes=data["include_changes"] is True,
            target=text.get("target", ""),
            start=text.get("start", ""),
            tree=text.get("tree", ""),
            trusted=text.get("trusted", ""),
            kind=text.get("kind", "worktree"),
        )


def is_in_worktree(path: Path) -> bool:
    """Whether a folder is a worktree of a run, or inside of one."""
    return any((_private(folder) / RECORD).is_file() for folder in (path, *path.parents) if folder.name)


def _private(top_level: Path) -> Path:
    return top_level.with_name(f".{top_level.name}")
