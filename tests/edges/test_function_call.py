"""A function that is called as an agent, and does not do what it is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from cpool_flow.executor.work import Work
from cpool_flow.pool.function_call import until_ended
from cpool_flow.process import Processes

Act = Callable[[Work], None]


def stop(work: Work) -> None:
    work.stop("enough", at_once=False)


def stop_twice(work: Work) -> None:
    work.stop("enough", at_once=False)
    work.stop("at once", at_once=True)


def called(function: Callable[[asyncio.Event], Awaitable[object]], act: Act, *, seconds: float = 60.0, grace: float = 60.0) -> str | None:
    """How the waiting for it ends, where that happens to it while it runs."""

    async def test() -> str | None:
        go = asyncio.Event()
        with Processes("function-call") as processes:
            work = Work(processes, seconds, grace)
            calling = asyncio.ensure_future(function(go))
            waiting = asyncio.ensure_future(until_ended(calling, work))
            await asyncio.sleep(0)
            act(work)
            found = await waiting
            go.set()
            await asyncio.wait([calling])
            return found

    return asyncio.run(test())


async def stubborn(go: asyncio.Event) -> str:
    while not go.is_set():
        try:
            await go.wait()
        except asyncio.CancelledError:
            continue
    raise RuntimeError("nobody hears that")


async def obedient(go: asyncio.Event) -> None:
    await go.wait()


async def short(go: asyncio.Event) -> str:
    return "done"


@pytest.mark.parametrize(("act", "grace"), [(stop, 0.01), (stop_twice, 60.0)])
def test_one_that_does_not_hear_that_it_is_cancelled_is_left_to_itself(act: Act, grace: float) -> None:
    assert called(stubborn, act, grace=grace) == "cancelled"


def test_one_whose_time_is_up_is_cancelled_and_left_to_itself_if_need_be() -> None:
    assert called(obedient, lambda work: None, seconds=0.01) == "timeout"
    assert called(stubborn, lambda work: None, seconds=0.01, grace=0.01) == "timeout"


def test_one_that_hears_it_is_not_waited_for_any_longer() -> None:
    assert called(obedient, stop) == "cancelled"


def test_one_that_has_ended_was_not_stopped() -> None:
    assert called(short, lambda work: None) is None


def test_one_that_is_stopped_while_it_could_end_was_stopped() -> None:
    assert called(lambda go: asyncio.sleep(0), stop) == "cancelled"
