"""What a caller holds of a piece of work: its id, its result when it has one, its events as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.pool.result import TaskResult
from cpool_flow.pool.task_progress import TaskProgress, progress_of_result

# Of events that nobody takes only the latest are kept.
MOST_EVENTS = 10_000


@dataclass(frozen=True)
class PoolEvent:
    """Something that has happened. `kind` is the event's name in the journal (`AttemptStarted`, `RetryScheduled`, `AgentParked`, …),
    `Said` for what an agent says while it works (the journal has none of it), or `TaskEnded` with the `result`; `task` the piece of work that it belongs to, if any; `at` seconds since the epoch; `data` its fields."""

    kind: str
    at: float
    task: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    result: TaskResult | None = None


class Events:
    """The events for one listener, from when it began to listen; `lost` of them were dropped because it was too slow."""

    def __init__(self, task: str | None, left: Callable[[Events], None], most: int = MOST_EVENTS) -> None:
        """`task`: only its events, up to its end. `most`: how many wait to be taken before the oldest are dropped."""
        self.lost = 0
        self._most = most
        self._task = task
        self._of_task = task is not None
        self._left = left
        self._waiting: deque[PoolEvent] = deque()
        self._news = asyncio.Event()
        self._over = False

    def give(self, event: PoolEvent) -> None:
        """Hand on an event, where it is wanted."""
        if self._over or self._task not in (None, event.task):
            return
        if len(self._waiting) >= self._most:
            self._waiting.popleft()
            self.lost += 1
        self._waiting.append(event)
        self._over = self._over or (self._of_task and event.kind == "TaskEnded")
        self._news.set()

    def end(self) -> None:
        """No more events will come."""
        self._over = True
        self._news.set()

    def close(self) -> None:
        """Listen no more."""
        self._left(self)
        self.end()

    async def __aiter__(self) -> AsyncIterator[PoolEvent]:
        try:
            while True:
                while self._waiting:
                    yield self._waiting.popleft()
                if self._over:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._left(self)


class Task:
    """One piece of work: `await task` is its TaskResult, whatever came of it. To cancel that waiting leaves the task alone."""

    def __init__(
        self,
        task_id: str,
        tags: tuple[str, ...],
        status: Callable[[str], str],
        cancel: Callable[[str, str], bool],
        listen: Callable[[str], Events],
        progress: Callable[[str], TaskProgress],
    ) -> None:
        self.id = task_id
        self.tags = tags
        self._status = status
        self._cancel = cancel
        self._listen = listen
        self._progress = progress
        self._future: asyncio.Future[TaskResult] = asyncio.get_running_loop().create_future()

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._future.done()

    @property
    def status(self) -> str:
        """`pending`, `ready`, `running`, `waiting`, then `success`, `failed`, `cancelled` or `skipped`."""
        return self._future.result().status if self.done and not self._future.exception() else self._status(self.id)

    def result(self) -> TaskResult | None:
        """Its result, None while it has not ended. Raises what has ended the pool, where that came first."""
        return self._future.result() if self.done else None

    def cancel(self, reason: str = "cancelled") -> bool:
        """Stop it: what runs is ended, nothing of it starts any more. False where it had ended already."""
        return not self.done and self._cancel(self.id, reason)

    def events(self) -> Events:
        """Its events from now on, up to `TaskEnded`."""
        return self._listen(self.id)

    def said(self) -> AsyncIterator[str]:
        """What its agents say from now on, as it comes, up to its end: texts as they are, tools in a few words."""
        return _said(self.events())

    def progress(self) -> TaskProgress:
        """How far it is at this moment; also when it has ended."""
        return progress_of_result(self._future.result()) if self.done and not self._future.exception() else self._progress(self.id)

    def when_done(self, call: Callable[[Task], None]) -> None:
        """Have `call` called once it has ended."""
        self._future.add_done_callback(lambda _: call(self))

    def __await__(self) -> Generator[Any, None, TaskResult]:
        return asyncio.shield(self._future).__await__()

    def __repr__(self) -> str:
        return f"<Task {self.id}: {'done' if self.done else 'open'}>"

    # For the pool only.

    def end(self, result: TaskResult) -> None:
        if not self._future.done():
            self._future.set_result(result)

    def fail(self, error: BaseException) -> None:
        if not self._future.done():
            self._future.set_exception(error)
            self._future.exception()  # who does not ask for it is not told again when it is collected


async def _said(events: Events) -> AsyncIterator[str]:
    async for event in events:
        if event.kind == "Said":
            yield event.data["text"]


class TaskGroup(Sequence[Task]):
    """Pieces of work that were given together: `await group` is the list of their results, in the order in which they were given."""

    def __init__(self, tasks: Sequence[Task], *, fail_fast: bool = False) -> None:
        """`fail_fast`: after the first that does not succeed, the others are cancelled."""
        self._tasks = tuple(tasks)
        self._failed = False
        if fail_fast:
            for task in self._tasks:
                task.when_done(self._cancel_others)

    def cancel(self, reason: str = "cancelled") -> None:
        """Stop all that have not ended."""
        for task in self._tasks:
            task.cancel(reason)

    async def as_they_end(self) -> AsyncIterator[TaskResult]:
        """The results, the earliest first."""
        for ended in asyncio.as_completed([_result_of(task) for task in self._tasks]):
            yield await ended

    def __await__(self) -> Generator[Any, None, list[TaskResult]]:
        return self._all().__await__()

    async def _all(self) -> list[TaskResult]:
        return [await task for task in self._tasks]

    def _cancel_others(self, ended: Task) -> None:
        if not self._failed and ended._future.exception() is None and not ended._future.result().ok:
            self._failed = True
            self.cancel(f"`{ended.id}` did not succeed")

    def __len__(self) -> int:
        return len(self._tasks)

    def __getitem__(self, index: Any) -> Any:
        return self._tasks[index]

    def __iter__(self) -> Iterator[Task]:
        return iter(self._tasks)


async def _result_of(task: Task) -> TaskResult:
    return await task
