"""Real graphs of tasks (`cases/dags`) through policy and state in virtual time, each schedule judged by the folder's own judge."""

from __future__ import annotations

from typing import Any

import pytest
from simulation import Simulation, finished, workflow

from cases import CASES, cases, dag_judge

DAGS = sorted(path.stem for path in (CASES / "dags").glob("*.json"))


@pytest.mark.parametrize("slots", [1, 4, 64])
@pytest.mark.parametrize("name", DAGS or ["bacass-001"])
def test_a_real_graph_is_run_in_order_on_no_more_than_its_slots_and_within_grahams_bound(name: str, slots: int) -> None:
    tasks = cases(f"dags/{name}.json")["tasks"]
    seconds = {task["id"]: task["seconds"] for task in tasks}
    run = Simulation(
        workflow(*({"name": task["id"], "run": "x", "needs": task["needs"]} for task in tasks)),
        lambda started: (seconds[started.task], finished(started.task, started.number)),
        slots=slots,
    ).run()
    assert run.state.status == "success"
    assert dag_judge().problems(tasks, {"slots": slots, "tasks": schedule(run)}) == []
    assert dag_judge().lower_bound(tasks, slots) - 1e-6 <= run.now <= dag_judge().graham_bound(tasks, slots) + 1e-6


def schedule(run: Simulation) -> list[dict[str, Any]]:
    ended = {task.id: task.attempts[0] for task in run.state.tasks.values()}
    assert all(len(task.attempts) == 1 for task in run.state.tasks.values())
    return [{"id": name, "start": attempt.started_at, "end": attempt.ended_at} for name, attempt in ended.items()]
