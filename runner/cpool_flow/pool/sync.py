"""The pool for programs without a loop: it runs in a loop and a thread of its own. Any thread may give it work, and waits for the result.

Knows nothing of what a pool does: it hands calls over, and brings back what they return or raise.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from cpool_flow.errors import InvalidInput
from cpool_flow.pool.errors import PoolIsClosed
from cpool_flow.pool.result import TaskResult
from cpool_flow.pool.status import DrainSummary, PoolStatus
from cpool_flow.pool.task import Task, TaskGroup
from cpool_flow.pool.workflow import ChainStep, Workflow
from cpool_flow.process import heed_children

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Work(Awaitable[T_co], Protocol[T_co]):
    """What a pool was given, to wait for: a `Task` or a `TaskGroup`."""

    def cancel(self) -> Any: ...


class AsyncPool(Protocol):
    """What is wrapped: a `Pool`."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    async def run(self, prompt: str, **settings: Any) -> TaskResult: ...

    def submit(self, prompt: str, **settings: Any) -> Task: ...

    def fan_out(self, prompts: Iterable[str], **settings: Any) -> TaskGroup: ...

    def chain(
        self,
        steps: Sequence[ChainStep],
        *,
        args: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        isolation: str = "none",
        merge: str = "auto",
        setup: str | Sequence[str] = (),
    ) -> Task: ...

    def workflow(
        self,
        workflow: str | Path | Workflow,
        *,
        args: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        isolation: str = "none",
        merge: str = "auto",
        setup: str | Sequence[str] = (),
    ) -> Task: ...

    async def drain(self, deadline_seconds: float | None = None, *, cancel: bool = False) -> DrainSummary: ...

    def status(self) -> PoolStatus: ...


class SyncPool:
    """`with Pool.sync(slots=4) as pool: print(pool.run("…").text)`. Each call waits for its result, but for `submit`; several threads may
    call at once. An agent that is a function runs in the pool's thread, and cannot wait for the pool itself."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._loop = _LoopThread()

    def __enter__(self) -> Self:
        """Raises InvalidInput, OperationFailed; PoolIsClosed where it was entered before."""
        self._loop.start()
        try:
            self._loop.call(self._pool.__aenter__())
        except BaseException:
            self._loop.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._loop.call(self._pool.__aexit__(kind, error, trace))
        finally:
            self._loop.stop()

    def run(self, prompt: str, **settings: Any) -> TaskResult:
        """One task, to its end: see `Pool.run`. To break off the waiting (Ctrl-C) cancels it."""
        return self._loop.call(self._pool.run(prompt, **settings))

    def submit(self, prompt: str, **settings: Any) -> SyncTask:
        """One task, which is not waited for: see `Pool.submit`."""
        return SyncTask(self._loop.ask(lambda: self._pool.submit(prompt, **settings)), self._loop)

    def fan_out(self, prompts: Iterable[str], **settings: Any) -> list[TaskResult]:
        """One task for each prompt, all of them to their end: see `Pool.fan_out`."""
        return self._whole(lambda: self._pool.fan_out(prompts, **settings))

    def chain(self, steps: Sequence[ChainStep], **settings: Any) -> TaskResult:
        """Steps that follow one another, to their end: see `Pool.chain`."""
        return self._whole(lambda: self._pool.chain(steps, **settings))

    def workflow(self, workflow: str | Path | Workflow, **settings: Any) -> TaskResult:
        """A workflow, to its end: see `Pool.workflow`."""
        return self._whole(lambda: self._pool.workflow(workflow, **settings))

    def drain(self, deadline_seconds: float | None = None, *, cancel: bool = False) -> DrainSummary:
        """See `Pool.drain`."""
        return self._loop.call(self._pool.drain(deadline_seconds, cancel=cancel))

    def status(self) -> PoolStatus:
        """See `Pool.status`."""
        return self._loop.ask(self._pool.status) if self._loop.runs else self._pool.status()

    def _whole(self, begin: Callable[[], Work[T]]) -> T:
        async def waiting() -> T:
            work = begin()
            try:
                return await work
            except asyncio.CancelledError:
                work.cancel()
                raise

        return self._loop.call(waiting())


class SyncTask:
    """One piece of work that another thread may wait for, or cancel."""

    def __init__(self, task: Task, loop: _LoopThread) -> None:
        self._task = task
        self._loop = loop
        self.id = task.id

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._task.done

    def result(self, timeout_seconds: float | None = None) -> TaskResult:
        """Its result, when it has one. Raises TimeoutError; the task goes on then."""

        async def waiting() -> TaskResult:
            async with asyncio.timeout(timeout_seconds):
                return await self._task

        return self._task.result() or self._loop.call(waiting())

    def cancel(self, reason: str = "cancelled") -> bool:
        """See `Task.cancel`."""
        return not self.done and self._loop.ask(lambda: self._task.cancel(reason))


class _LoopThread:
    """A loop in a thread. What was handed over before it stops is answered, or cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="cpool-flow", daemon=True)

    @property
    def runs(self) -> bool:
        return self._loop is not None

    def start(self) -> None:
        if self._thread.ident is not None:
            raise PoolIsClosed("a pool is entered once")
        heed_children()
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None:
            loop.call_soon_threadsafe(self._end.set)
            self._thread.join()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What a coroutine returns or raises there. Raises PoolIsClosed where the loop has ended."""
        try:
            future: Future[T] = self._hand_over(coroutine)
        except BaseException:
            coroutine.close()
            raise
        try:
            return future.result()
        except CancelledError:
            raise PoolIsClosed("it has ended") from None
        finally:
            future.cancel()

    def ask(self, function: Callable[[], T]) -> T:
        """What a function returns or raises there."""

        async def asked() -> T:
            return function()

        return self.call(asked())

    def _hand_over(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        if threading.get_ident() == self._thread.ident:
            raise InvalidInput("an agent's function cannot wait for its own pool: it holds one of its slots, and the loop")
        with self._lock:
            if self._loop is None:
                raise PoolIsClosed("it was not entered yet" if self._thread.ident is None else "it has ended")
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _live(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ready.set()
        await self._end.wait()
