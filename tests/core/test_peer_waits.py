"""The waits of two translated workflows, in virtual time: how they run for real is in `tests/faces/test_peers.py`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from simulation import Simulation, finished

from cpool_flow import events
from cpool_flow.validate import validate

PEERS = Path(__file__).resolve().parents[2] / "examples" / "peers"


def waits(number: str, seconds: float, succeeds_at: int = 1000, exit_code: int = 1) -> list[float]:
    """How long each attempt but the first has waited, in seconds. An attempt takes `seconds`, and fails before that number."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        fails = started.number < succeeds_at
        return seconds, finished(started.task, started.number, "failed" if fails else None, exit_code=exit_code if fails else 0)

    (file,) = PEERS.glob(f"{number}-*.yaml")
    run = Simulation(validate(file.read_bytes(), file.name).workflow, outcome).run()
    assert (run.state.status == "success") == (succeeds_at < 1000)
    (task,) = run.state.tasks.values()
    return [after.started_at - before.started_at - seconds for before, after in pairwise(task.attempts)]


def test_03_waits_double_up_to_five_seconds():
    assert waits("03", 0.25, succeeds_at=4) == [1, 2, 4]
    assert waits("03", 0.25) == [1, 2, 4, 5, 5, 5, 5, 5, 5, 5]


def test_03_all_attempts_together_have_a_minute():
    assert waits("03", 16) == [1, 2, 4]


@pytest.mark.parametrize(("exit_code", "expected"), [(75, [3, 6, 12, 24]), (1, [])])
def test_12_only_what_is_not_available_is_asked_five_times(exit_code: int, expected: list[float]):
    assert waits("12", 0.25, exit_code=exit_code) == expected
