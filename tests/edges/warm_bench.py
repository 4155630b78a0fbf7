"""Tasks for the agents of slots, as the executor gives them, with nothing of a run around them."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpool_flow import agents
from cpool_flow.agents.protocol import AgentRequest, AgentResult, Ending
from cpool_flow.executor.agent_process import AgentProcess
from cpool_flow.executor.warm_process import LIMITS, Limits
from cpool_flow.executor.warm_slots import WarmSlots
from cpool_flow.executor.work import Ended, Work
from cpool_flow.model import AgentConfig
from cpool_flow.process import Processes


@dataclass
class Done:
    """What came of a task. `pid`: the process that did it, where that lives on."""

    result: AgentResult
    ended: Ended
    log: bytes
    pid: int | None

    @property
    def kind(self) -> str | None:
        """What went wrong, as the executor tells it."""
        stopped = {"cancelled": "cancelled", "timeout": "timeout", "idle": "timeout"}
        return self.result.kind and stopped.get(self.ended.how, self.result.kind)


@dataclass
class Bench:
    """A folder to work in, and an environment that says which `claude` is meant."""

    folder: Path
    environment: dict[str, str]
    limits: Limits = LIMITS
    works: list[Work] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = self.folder / "place"
        self.place.mkdir()
        (self.folder / "private").mkdir()
        self.mark = f"bench-{uuid.uuid4().hex[:8]}"

    def run(self, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Play a story; at its end nothing of it is left."""

        async def play() -> None:
            with Processes(self.mark) as self.processes:
                self.slots = WarmSlots(self.processes, self.environment, self.limits)
                try:
                    await story()
                finally:
                    await self.slots.close()

        asyncio.run(asyncio.wait_for(play(), 90))

    async def task(
        self, prompt: str, *, slot: str = "slot-1", config: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None,
        idle_seconds: float = 60.0, timeout_seconds: float = 60.0, directory: Path | None = None, **more: Any,
    ) -> Done:  # fmt: skip
        """Give one task to the agent of a slot, and wait for its end."""
        log, errors = bytearray(), bytearray()
        request = AgentRequest(
            prompt=prompt,
            config=AgentConfig.model_validate(config or {}),
            directory=str(directory or self.place),
            files=str(self.folder / "private"),
            session_id=str(uuid.uuid4()),
            environment=self.environment,
            step_environment=env or {},
            **more,
        )
        work = Work(self.processes, timeout_seconds)
        self.works.append(work)
        process = AgentProcess(agents.adapter("claude"), request, slot, idle_seconds, work, log.extend, errors.extend)
        ran = await process.run(self.slots)
        end = Ending(
            exit_code=ran.ended.exit.code,
            signal=ran.ended.exit.signal,
            stderr=errors.decode("utf-8", "replace"),
            now=time.time(),
            ended_by_us=ran.ended.ended_by_us,
        )
        result = ran.reader.finish(end)
        if ran.warm is not None:
            await self.slots.give_back(slot, ran.warm, result.kind is None)
        return Done(result, ran.ended, bytes(log), ran.warm.process.pid if ran.warm else None)


def exists(pid: int) -> bool:
    """Whether the process runs still, or waits to be reaped."""
    return os.path.exists(f"/proc/{pid}")
