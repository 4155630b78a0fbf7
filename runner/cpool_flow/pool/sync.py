"""The pool for programs without a loop: it runs in a loop of its own, in the thread of its caller, while that waits for something."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from cpool_flow.pool.result import TaskResult
from cpool_flow.pool.status import DrainSummary, PoolStatus
from cpool_flow.pool.task import Task, TaskGroup
from cpool_flow.pool.workflow import ChainStep, Workflow


class AsyncPool(Protocol):
    """What is wrapped: a `Pool`."""

    async def __aenter__(self) -> Any: ...

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    async def run(self, prompt: str, **settings: Any) -> TaskResult: ...

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
    """`with Pool.sync(slots=4) as pool: print(pool.run("…").text)`. Each call waits for its result. Not to be used where a loop runs."""

    def __init__(self, pool: AsyncPool) -> None:
        self._pool = pool
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        """Raises InvalidInput, OperationFailed."""
        try:
            self._runner.run(self._pool.__aenter__())
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._runner.run(self._pool.__aexit__(kind, error, trace))
        finally:
            self._runner.close()

    def run(self, prompt: str, **settings: Any) -> TaskResult:
        """One task, to its end: see `Pool.run`."""
        return self._runner.run(self._pool.run(prompt, **settings))

    def fan_out(self, prompts: Iterable[str], **settings: Any) -> list[TaskResult]:
        """One task for each prompt, all of them to their end: see `Pool.fan_out`."""

        async def all_of_them() -> list[TaskResult]:
            return await self._pool.fan_out(prompts, **settings)

        return self._runner.run(all_of_them())

    def chain(self, steps: Sequence[ChainStep], **settings: Any) -> TaskResult:
        """Steps that follow one another, to their end: see `Pool.chain`."""

        async def whole() -> TaskResult:
            return await self._pool.chain(steps, **settings)

        return self._runner.run(whole())

    def workflow(self, workflow: str | Path | Workflow, **settings: Any) -> TaskResult:
        """A workflow, to its end: see `Pool.workflow`."""

        async def whole() -> TaskResult:
            return await self._pool.workflow(workflow, **settings)

        return self._runner.run(whole())

    def drain(self, deadline_seconds: float | None = None, *, cancel: bool = False) -> DrainSummary:
        """See `Pool.drain`."""
        return self._runner.run(self._pool.drain(deadline_seconds, cancel=cancel))

    def status(self) -> PoolStatus:
        """See `Pool.status`."""
        return self._pool.status()
