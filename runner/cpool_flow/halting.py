"""What may not go on, and why: the run or a part of it is being stopped, an item failed under `fail_fast`, nobody needs it any more.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from cpool_flow.state import State
from cpool_flow.tasks import NOT_NEEDED, PART_NOT_NEEDED, Frame, StepState

ANOTHER_FAILED = "another item failed"


def halted(state: State, step: StepState, *, running: bool = False) -> str | None:
    """Why a step may not go on, looked for from the inside out; None where it may. What stops the steps of a workflow leaves its
    `finally` alone, unless it is to be at once. `running`: asked of what runs: a budget that is used up lets it come to its end."""
    if state.stopping is not None and state.stopping.at_once:
        return state.stopping.reason
    innermost = step
    while True:
        frame, owner = step.frame, step.frame.owner
        if step.plan.phase == "finally":
            return None
        if step.id in state.unneeded:
            return NOT_NEEDED if step is innermost else PART_NOT_NEEDED
        if step.id in state.cancelled:
            return state.cancelled[step.id]
        if frame.stopping is not None and not (running and frame.stopping.cause == "budget"):
            return frame.stopping.reason
        if owner is None:
            return None
        step = state.steps[owner.step]
        if step.id in state.failing_fast:
            return ANOTHER_FAILED


def halting(state: State) -> Iterator[StepState]:
    """The open steps of all that is being stopped, each once: one such frame may stand inside of another."""
    frames = list(state.stopping_frames.values())
    for name in state.failing_fast:
        frames += _open_frames(state.steps[name])
    unneeded = [state.steps[name] for name in (*state.unneeded, *state.cancelled)]
    frames += [frame for step in unneeded for frame in _open_frames(step)]
    yield from dict.fromkeys([*(step for frame in frames for step in state.inside(frame)), *unneeded])


def _open_frames(step: StepState) -> list[Frame]:
    return [task.frame for task in step.tasks if task.frame is not None and not task.ended]
