"""Which commit holds what an attempt of a run changed, as the journal tells.

Pure. A commit waits until no other step runs in the place: then it may hold what several attempts have changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.journal import Recorded


@dataclass(frozen=True, slots=True)
class Changed:
    """`alone`: the commit holds what this attempt changed, and nothing else."""

    commit: str
    alone: bool


Changes = Mapping[tuple[str, int], Changed]


def changes(journal: Iterable[Recorded]) -> Changes:
    """The commit of each attempt, by task and number."""
    last: dict[str, int] = {}
    found: dict[tuple[str, int], Changed] = {}
    for recorded in journal:
        match recorded.event:
            case events.AttemptFinished() as event:
                last[event.task] = event.number
            case events.PlaceCommitted() as event:
                attempts = [(task, last[task]) for task in event.tasks if task in last]
                found |= dict.fromkeys(attempts, Changed(event.commit, event.changed_files is not None))
    return found
