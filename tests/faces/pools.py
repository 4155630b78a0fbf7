"""Pools for tests: in a folder of their own, with an agent that is a function unless a test wants another."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from cpool_flow.pool import Answer, Call, Pool

ROOT = Path(__file__).resolve().parents[2]


async def echo(call: Call) -> str:
    """The prompt is the answer."""
    return call.prompt


class Agent:
    """An agent that a test plays: it keeps what it was called with, and answers when it is let."""

    def __init__(self, *answers: str | Answer | Exception, held: bool = False) -> None:
        self.calls: list[Call] = []
        self.cancelled: list[str] = []
        self.running = 0
        self.most = 0
        self.begun = asyncio.Semaphore(0)
        self.go = asyncio.Semaphore(0)
        self._answers = list(answers)
        self._held = held

    async def __call__(self, call: Call) -> str | Answer:
        self.calls.append(call)
        self.running += 1
        self.most = max(self.most, self.running)
        self.begun.release()
        try:
            if self._held:
                await self.go.acquire()
        except asyncio.CancelledError:
            self.cancelled.append(call.prompt)
            raise
        finally:
            self.running -= 1
        answer = self._answers.pop(0) if self._answers else call.prompt
        if isinstance(answer, Exception):
            raise answer
        return answer

    def release(self, count: int = 1) -> None:
        """Let so many calls answer."""
        for _ in range(count):
            self.go.release()

    @property
    def prompts(self) -> list[str]:
        return [call.prompt for call in self.calls]


def pool_in(folder: Path, agent: Any = echo, **settings: Any) -> Pool:
    """A pool that works in a folder, which is its project too."""
    return Pool(**{"slots": 2, "directory": folder, "project": folder, "agent": agent, **settings})


def ended(test: Coroutine[Any, Any, None]) -> None:
    """Run a test to its end."""

    async def limited() -> None:
        async with asyncio.timeout(60):
            await test

    asyncio.run(limited())


def repository(folder: Path) -> Path:
    """A git repository with one commit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.txt").write_text("a\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=You", "-c", "user.email=you@example.com", "commit", "-q", "-m", "first")
    return folder


def git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout
