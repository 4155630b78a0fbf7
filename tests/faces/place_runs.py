"""What tests of places share: a run of a workflow text, and what it has left beside the project."""

from __future__ import annotations

from typing import Any

from session import Session


def run(session: Session, text: str | None = None, *arguments: str, code: int = 0, **environment: str) -> Any:
    """The result of a run of this workflow, or of the one that is there already."""
    if text is not None:
        session.file("flow.yaml", text)
    ended = session.flow("run", "flow.yaml", "--json", *arguments, **environment)
    assert ended.code == code, ended.err
    return ended.json() if ended.out else ended


def places(session: Session) -> list[str]:
    """The names of the places that are there, and of what belongs to them."""
    return sorted(path.name for path in (session.home / "state" / "cpool-flow" / "worktrees").glob("*/*"))


def branches(session: Session) -> list[str]:
    """The branches of runs and of their items."""
    return [name.strip("*+ ") for name in session.git("branch", "--list", "cpool/*").splitlines()]
