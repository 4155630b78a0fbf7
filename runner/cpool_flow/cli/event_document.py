"""One event of a journal as people's programs read it: `events`, `run --events`, `--progress json`."""

from __future__ import annotations

from typing import Any

from cpool_flow import events as facts
from cpool_flow.result import iso_time


def event_document(seq: int, at: float, event: facts.Event) -> dict[str, Any]:
    """An event as it is shown: its number, type and time before its own fields."""
    return {"seq": seq, "type": type(event).__name__, "at": iso_time(at), **facts.to_json(event)}
