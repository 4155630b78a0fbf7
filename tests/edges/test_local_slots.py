"""What a slot hands back for an attempt, whatever became of it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cpool_flow import plan
from cpool_flow.events import AttemptFinished
from cpool_flow.executor import Assignment
from cpool_flow.executor.local import LocalSlots
from cpool_flow.model import Workflow


def assignment(log: Path) -> Assignment:
    step = plan.build(Workflow.model_validate({"steps": [{"name": "act", "run": "true"}]}))["act"]
    return Assignment(
        step=step, task="act", index=None, number=1, kind="normal", slot="slot-1", log=log, scope={}, timeout_seconds=9, session_id=""
    )


def test_a_mistake_of_ours_is_handed_back_and_never_swallowed(tmp_path: Path) -> None:
    handed_back: list[AttemptFinished | Exception] = []

    async def attempt() -> None:
        context: Any = SimpleNamespace(processes=None, grace_seconds=10.0)  # nothing can be done with that
        slots = LocalSlots(context)
        slots.start(assignment(tmp_path / "act.1.log"), handed_back.append)
        await slots.close()

    asyncio.run(attempt())
    assert [type(result) for result in handed_back] == [AttributeError]
