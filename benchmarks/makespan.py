"""P7: how long a DAG of tasks takes on a few slots, in simulated time, over the shortest that any schedule can take.

python benchmarks/makespan.py FILE.json…      each `{"name", "tasks": [{"id", "needs", "seconds"}]}`

The lower bound is max(CP, W/P): the longest path, and all work shared out; Graham (1966): a schedule that leaves no slot idle while a
task is ready takes at most W/P + CP * (1 - 1/P).
"""

from __future__ import annotations

import json
import statistics
import sys
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[1] / "runner"), str(Path(__file__).parents[1] / "tests" / "core")]

from simulation import Simulation, finished, workflow  # noqa: E402

SLOTS = (2, 4, 8, 16)
Tasks = list[dict[str, Any]]


def makespan(tasks: Tasks, slots: int) -> float:
    """Seconds that our order of steps takes."""
    names = {task["id"]: f"t{number}" for number, task in enumerate(tasks)}
    seconds = {names[task["id"]]: float(task["seconds"]) for task in tasks}
    steps = [{"name": names[task["id"]], "needs": [names[need] for need in task["needs"]], "run": "true"} for task in tasks]
    ran = Simulation(
        workflow(*steps),
        lambda started: (seconds[started.task], finished(started.task, started.number)),
        slots=slots,
    ).run()
    assert ran.most_running <= slots
    return ran.now


def critical_path(tasks: Tasks) -> float:
    by_id = {task["id"]: task for task in tasks}
    ends: dict[str, float] = {}
    for name in TopologicalSorter({task["id"]: task["needs"] for task in tasks}).static_order():
        ends[name] = by_id[name]["seconds"] + max((ends[need] for need in by_id[name]["needs"]), default=0.0)
    return max(ends.values())


def main(files: list[str]) -> None:
    ratios, broken = [], []
    for file in files:
        tasks: Tasks = json.loads(Path(file).read_text(encoding="utf-8"))["tasks"]
        longest, work = critical_path(tasks), sum(task["seconds"] for task in tasks)
        for slots in SLOTS:
            took = makespan(tasks, slots)
            ratios.append(took / max(longest, work / slots))
            if took > (work / slots + longest * (1 - 1 / slots)) * (1 + 1e-9):
                broken.append(f"{Path(file).stem} on {slots}")
    median = statistics.median(ratios)
    print(
        json.dumps(
            {
                "id": f"P7 makespan over the lower bound, median of {len(ratios)}",
                "ours": round(median, 4),
                "peer": 1.0,
                "ratio": round(median, 4),
                "target": 1.05,
                "ok": median <= 1.05 and not broken,
                "worst": round(max(ratios), 4),
                "beyond Graham's bound": broken,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
