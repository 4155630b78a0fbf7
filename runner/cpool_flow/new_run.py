"""The first facts of a run: its id, what it was made of, and the journal that begins with them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence

from cpool_flow import __version__, events, other_runs, run_folder
from cpool_flow.inputs import Inputs
from cpool_flow.journal import Journal
from cpool_flow.run_folder import RunFolder


def new_id() -> str:
    """Sortable by time, and random enough that two runs of one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def created(
    folder: RunFolder,
    taken: Inputs,
    tags: tuple[str, ...],
    environment: Mapping[str, str],
    *,
    rerun_of: str = "",
    only: str = "",
    group: str = "",
) -> events.RunCreated:
    """The first fact of a run. `rerun_of`: the run that it repeats; `only`: the step that was chosen; `group`: of which one run at a
    time is at work."""
    around = other_runs.run_around(environment)
    return events.RunCreated(
        run_id=folder.run_id,
        name=run_folder.short_name(folder.run_id),
        workflow=taken.main.name,
        file=taken.main.file,
        directory=taken.directory,
        mark=f"{folder.run_id}-{os.urandom(4).hex()}",
        slots=len(taken.slot_pool.slots),
        slot_names=tuple(slot.name for slot in taken.slot_pool.slots),
        isolation=taken.isolation,
        timeout_seconds=taken.timeout_seconds,
        tags=tags,
        version=__version__,
        secrets=taken.secrets,
        budget_usd=taken.budget_usd,
        allow_unpriced=taken.allow_unpriced,
        rerun_of=rerun_of,
        only=only,
        group=group,
        parent=str(around or ""),
    )


def begin_journal(folder: RunFolder, facts: Sequence[events.Event | tuple[events.Event, float]], environment: Mapping[str, str]) -> None:
    """From now on it is a run; one that it may be inside of hears of it. A fact without a time is of now. Raises OperationFailed."""
    journal = Journal.create(folder.path)
    try:
        now = time.time()
        journal.append([fact if isinstance(fact, tuple) else (fact, now) for fact in facts])
    finally:
        journal.close()
    other_runs.register(folder, environment)
