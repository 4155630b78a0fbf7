"""Waits for an agent that is a function: until it ends, its time is up, or it is told to stop. Knows nothing of its answer."""

from __future__ import annotations

import asyncio
from typing import Literal

from cpool_flow.executor.work import Work

# A function that does not end when it is cancelled is left to itself after this long, or after the grace of its work where that is less.
GRACE_SECONDS = 5.0


async def until_ended(calling: asyncio.Future[object], work: Work) -> Literal["timeout", "cancelled"] | None:
    """Wait for the function's end; why it was cancelled before, if it was. One that goes on all the same is left to itself after a while."""
    loop = asyncio.get_running_loop()
    halted, hurried = loop.create_future(), loop.create_future()

    def halt(*, first: bool, at_once: bool) -> None:
        if calling.done() and not halted.done():
            return  # it was first
        calling.cancel()
        for heard in (halted, *([hurried] if at_once else [])):
            if not heard.done():
                heard.set_result(None)

    with work.halted_by(halt):
        await asyncio.wait([calling, halted], timeout=max(0.0, work.remaining_seconds), return_when=asyncio.FIRST_COMPLETED)
        if calling.done() and not halted.done():
            return None
        if not halted.done():
            calling.cancel()
        await asyncio.wait([calling, hurried], timeout=min(GRACE_SECONDS, work.grace_seconds), return_when=asyncio.FIRST_COMPLETED)
    calling.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # whatever it raises now, nobody asks any more
    return "cancelled" if halted.done() else "timeout"
