"""Where a run waits until it is its turn in its concurrency group, and asks the runs before it to end, if it cancels them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from cpool_flow import events
from cpool_flow.engine import POLL_SECONDS, Engine
from cpool_flow.errors import FlowError
from cpool_flow.family import ancestors
from cpool_flow.journal import Journal
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State
from cpool_flow.turn import Member, Turn


@contextmanager
def turn_of(folder: RunFolder, state: State) -> Iterator[Turn | None]:
    """The run's place in its group, which it gives up in the end; None where it is in no group."""
    created = state.created
    if created is None or not created.group:
        yield None
        return
    project = folder.path.parents[2]
    turn = Turn(project, created.group, folder.run_id, state.created_at)
    turn.enter(frozenset(parent.name for parent in ancestors(created) if parent.parent == folder.path.parent))
    try:
        yield turn
    finally:
        turn.leave()


async def wait(turn: Turn, engine: Engine, folder: RunFolder, *, cancels: bool) -> bool:
    """True when nobody is ahead any more; False where the run is to end before that. `cancels`: older runs are asked to end."""
    told: Sequence[str] = ()
    while ahead := turn.ahead():
        names = tuple(member.run_id for member in ahead)
        if names != told:
            told = names
            engine.note(events.TurnAwaited(engine.state.created.group if engine.state.created else "", names))
            engine.flush()
        for member in ahead if cancels else ():
            if turn.may_ask(member):
                _ask(member, folder)
        engine.take_requests()
        if engine.state.stopping is not None and engine.state.stopping.cause != "end":
            return False
        await asyncio.sleep(POLL_SECONDS / 2)
    if told:
        engine.note(events.TurnCame())
        engine.flush()
    return True


def _ask(member: Member, folder: RunFolder) -> None:
    """Who has ended meanwhile hears nothing any more."""
    try:
        journal = Journal.open(folder.path.with_name(member.run_id))
    except FlowError:
        return
    try:
        journal.request("cancel", {"reason": f"cancelled by run {folder.run_id} of the same group"}, time.time())
    finally:
        journal.close()
