"""Runs inside of runs: who is around whom, and how deep that may go."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpool_flow import events, family, run_folder
from cpool_flow.errors import InvalidInput
from cpool_flow.journal import Journal, Lock


def nested(project: Path, count: int) -> list[Path]:
    """Folders of runs, each started by a step of the one before."""
    folders: list[Path] = []
    for number in range(count):
        folder = run_folder.create(project, f"r{number}").path
        journal = Journal.create(folder)
        parent = str(folders[-1]) if folders else ""
        journal.append([(events.RunCreated(folder.name, "", "w", "w.yaml", "/", "mark", 1, "none", parent=parent), 0.0)])
        journal.close()
        folders.append(folder)
    return folders


def test_the_runs_around_one_are_known_from_the_nearest_to_the_outermost(tmp_path: Path) -> None:
    folders = nested(tmp_path, 4)
    with Lock(folders[-1]):
        assert list(family.around({"CPOOL_RUN_DIR": str(folders[-1])})) == folders[::-1]
    found = family.outermost(folders[-1])
    assert found is not None
    assert (found[0], found[1].run_id) == (folders[0], "r0")


def test_where_a_run_above_is_gone_the_one_below_it_is_the_outermost(tmp_path: Path) -> None:
    folders = nested(tmp_path, 3)
    (folders[0] / "journal.db").unlink()
    found = family.outermost(folders[-1])
    assert found is not None
    assert found[1].run_id == "r1"


def test_a_run_that_starts_itself_again_and_again_is_refused_at_a_depth_that_nobody_means(tmp_path: Path) -> None:
    folders = nested(tmp_path, 20)
    with Lock(folders[18]), Lock(folders[19]):
        family.check_depth({"CPOOL_RUN_DIR": str(folders[18])})
        with pytest.raises(InvalidInput, match="this run would be inside of 20 others, and no more are allowed"):
            family.check_depth({"CPOOL_RUN_DIR": str(folders[19])})
    family.check_depth({})
