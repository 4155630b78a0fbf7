"""A run that goes on in a later job of GitHub Actions: a fresh clone, the run's folder from an artifact, its branch from a bundle."""

from __future__ import annotations

import shutil
from pathlib import Path

from session import Session

FLOW = """
    isolation: worktree
    steps:
      - {name: make, run: 'echo made > made; echo $HOME'}
      - {name: ship, approve: Ship it?}
      - {name: ship_it, run: 'cat made; echo shipped > shipped'}
    outputs: {said: '{{ steps.ship_it.output }}'}
"""


def fresh_job(session: Session, origin: Path) -> None:
    """A clone as `actions/checkout` makes it, where the first job had its own."""
    shutil.rmtree(session.path, ignore_errors=True)
    shutil.rmtree(session.home / "state", ignore_errors=True)
    session.program("git", "clone", "-q", "--depth=1", f"file://{origin}", str(session.path), cwd=session.home)


def test_a_run_that_waits_goes_on_in_another_job(session: Session) -> None:
    session.repository()
    session.file("flow.yaml", FLOW)
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    origin = session.home / "origin"
    shutil.copytree(session.path, origin)
    fresh_job(session, origin)
    assert session.flow("run", "flow.yaml", "--run-id", "r1").code == 4
    # The steps that the document shows, in bash.
    artifact = session.home / "artifact"
    kept = session.program("bash", "-ec", "git bundle create .cpool/runs/branches.bundle --branches='cpool/*' --not HEAD")
    assert kept.code == 0, kept.err
    shutil.copytree(session.path / ".cpool" / "runs", artifact)
    fresh_job(session, origin)
    shutil.copytree(artifact, session.path / ".cpool" / "runs")
    fetched = session.program("git", "fetch", "--quiet", ".cpool/runs/branches.bundle", "refs/heads/cpool/*:refs/heads/cpool/*")
    assert fetched.code == 0, fetched.err
    assert session.flow("approve", "r1", "ship").code == 0
    ended = session.flow("resume", "r1", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"said": "made"}
    assert session.git("show", "cpool/flow/r1:shipped") == "shipped\n"
