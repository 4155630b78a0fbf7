"""P11: a worktree for each item, 20 items in a repository of 5,000 files, against 20 times `git worktree add` and `remove`.

What an item costs is the difference between a run whose items have places of their own and the same run without; the whole run is told as
well.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from measure import ENVIRONMENT, FLOW, Folder, best, row, seconds

FILES = 5_000
ITEMS = 20
GIT = ("git", "-c", "user.name=b", "-c", "user.email=b@b")
FLOW_TEXT = """isolation: worktree
slots: 2
steps:
  - name: item
    foreach: [{items}]
    {isolation}
    run: ["true"]
"""


def repository(path: Path) -> None:
    """5,000 files of about 1 kB in 100 folders, committed."""
    for number in range(FILES):
        file = path / f"src/part{number % 100}/file{number}.txt"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"line of file {number}\n" * 40)
    for command in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-q", "-m", "first")):
        subprocess.run([*GIT, *command], cwd=path, check=True)


def bare(path: Path) -> float:
    """The peer: one after the other, as a script would."""
    script = f'for n in $(seq {ITEMS}); do git worktree add -q -b "bare$n" "$0/bare$n" && git worktree remove "$0/bare$n" && git branch -q -D "bare$n"; done'
    return seconds(("bash", "-ec", script, str(path.parent / "bare")), path)


def main() -> None:
    with Folder() as folder:
        path = folder.path / "repository"
        path.mkdir()
        repository(path)
        os.environ["XDG_STATE_HOME"] = ENVIRONMENT["XDG_STATE_HOME"] = str(folder.path / "state")
        for name, isolation in (("apart", "isolation: worktree"), ("together", "isolation: none")):
            (path / f"{name}.yaml").write_text(FLOW_TEXT.format(items=", ".join(map(str, range(ITEMS))), isolation=isolation))
        apart, together, peer = best(
            lambda: seconds((*FLOW, "run", "apart.yaml", "--quiet"), path),
            lambda: seconds((*FLOW, "run", "together.yaml", "--quiet"), path),
            lambda: bare(path),
        )
        row("P11 a worktree per item, 20 items, 5,000 files", apart - together, peer, 1.2, whole_run=round(apart, 3))


if __name__ == "__main__":
    main()
