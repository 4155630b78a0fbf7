"""The exit code that a run comes to (see `cpool-flow --help`)."""

from __future__ import annotations

from cpool_flow.state import State


def exit_code(state: State) -> int:
    """0 succeeded, 1 a step failed, 3 out of time or money, 4 waits, 5 still open, 130 and 143 stopped by a person or SIGTERM."""
    if state.status == "success":
        return 0
    if state.status == "waiting":
        return 4
    if state.status == "running":
        return 5
    cause = state.stopping.cause if state.stopping else None
    return {"cancel": 130, "sigterm": 143, "timeout": 3, "budget": 3}.get(cause or "", 1)
