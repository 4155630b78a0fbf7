"""The turns of a concurrency group: first come first served, and nobody waits for the dead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from cpool_flow.turn import Turn

ROOT = Path(__file__).resolve().parents[2]


def turn(project: Path, run_id: str, created_at: float = 0.0, group: str = "g") -> Turn:
    made = Turn(project, group, run_id, created_at)
    made.enter()
    return made


def ahead(waiting: Turn) -> list[str]:
    return [member.run_id for member in waiting.ahead()]


def test_turns_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    first, second, third = (turn(tmp_path, name) for name in ("c", "b", "a"))
    assert (ahead(first), ahead(second), ahead(third)) == ([], ["c"], ["c", "b"])
    second.leave()
    assert ahead(third) == ["c"]
    first.leave()
    first.leave()
    assert ahead(third) == []


def test_groups_and_projects_know_nothing_of_each_other(tmp_path: Path) -> None:
    turn(tmp_path, "a")
    assert ahead(turn(tmp_path, "b", group="other")) == []
    assert ahead(turn(tmp_path / "elsewhere", "c")) == []


def test_a_group_without_members_leaves_nothing_behind(tmp_path: Path) -> None:
    first = turn(tmp_path, "a", group="../odd\n" * 100)
    assert [path.name for path in (tmp_path / ".cpool").iterdir()] == ["concurrency"]
    first.leave()
    assert [path.name for path in (tmp_path / ".cpool" / "concurrency").iterdir()] == ["lock"]


def test_who_was_killed_is_not_waited_for(tmp_path: Path) -> None:
    script = """if True:
        import sys, time
        from pathlib import Path
        from cpool_flow.turn import Turn
        turn = Turn(Path(sys.argv[1]), "g", "killed", 0.0)
        turn.enter()
        print("holds it", flush=True)
        time.sleep(60)
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner")}
    holder = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, env=environment)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"holds it\n"
    second = turn(tmp_path, "second")
    assert ahead(second) == ["killed"]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    assert ahead(second) == []


def test_only_the_first_asks_a_run_to_end_and_only_an_older_one(tmp_path: Path) -> None:
    old, young, resumed = turn(tmp_path, "old", 1.0), turn(tmp_path, "young", 2.0), turn(tmp_path, "resumed", 0.5)
    [first] = young.ahead()
    assert young.may_ask(first)
    assert not young.may_ask(first)
    assert [resumed.may_ask(member) for member in resumed.ahead()] == [False, False]
    old.leave()
    assert ahead(young) == []


def test_what_a_step_of_the_holder_has_started_works_in_its_turn(tmp_path: Path) -> None:
    parent = turn(tmp_path, "parent")
    waiting = turn(tmp_path, "waiting")
    child = Turn(tmp_path, "g", "child", 3.0)
    child.enter(frozenset({"parent", "grandparent"}))
    assert ahead(child) == []
    child.leave()
    assert ahead(waiting) == ["parent"]
    parent.leave()
