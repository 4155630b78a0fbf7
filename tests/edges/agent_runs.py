"""Runs one attempt of an adapter to its result, as the executor does, with nothing of the runner but the adapter."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cpool_flow.agents.protocol import Adapter, AgentRequest, AgentResult, Ending, Invocation, Reader, StopReason, private_files
from cpool_flow.model import AgentConfig


def request(directory: Path, prompt: str = "say hi", *, config: Mapping[str, Any] | None = None, **more: Any) -> AgentRequest:
    """A request with a private folder beside the step's directory."""
    files = directory.parent / "private"
    files.mkdir(exist_ok=True)
    given = {"environment": {"PATH": os.environ["PATH"], "HOME": str(directory.parent)}, "session_id": str(uuid.uuid4()), **more}
    return AgentRequest(prompt=prompt, config=AgentConfig.model_validate(config or {}), directory=str(directory), files=str(files), **given)


@dataclass
class Attempt:
    """What happened. `stop_when` is asked again and again and begins the ladder; silence of `idle_seconds` is a time-out."""

    adapter: Adapter
    request: AgentRequest
    stop_when: Callable[[], bool] = lambda: False
    idle_seconds: float = 60.0
    grace_seconds: float = 5.0
    seen: list[str] = field(default_factory=list)
    stopped: StopReason | None = None
    ended_by_us: bool = False
    last_output: float = 0.0
    invocation: Invocation | None = None

    def run(self) -> AgentResult:
        return asyncio.run(asyncio.wait_for(self._run(), 90))

    async def _run(self) -> AgentResult:
        invocation = self.invocation = self.adapter.prepare(self.request)
        reader = self.adapter.reader(self.request)
        with private_files(invocation):
            process = await asyncio.create_subprocess_exec(
                *invocation.argv,
                cwd=invocation.directory,
                env=dict(invocation.environment),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
            assert process.stdin
            assert process.stdout
            assert process.stderr
            self.last_output = time.monotonic()
            errors = asyncio.ensure_future(self._read(process.stderr, reader.warn))
            output = asyncio.ensure_future(self._read(process.stdout, lambda line: self._feed(reader, line)))
            watch = asyncio.ensure_future(self._watch(process, reader))
            try:
                await self._write(process.stdin, invocation.stdin)
                await output
                stderr = await errors
                code = await process.wait()
            finally:
                watch.cancel()
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        end = Ending(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stderr=stderr.decode("utf-8", "replace"),
            now=time.time(),
            ended_by_us=self.ended_by_us,
        )
        return reader.finish(end)

    async def _write(self, stdin: asyncio.StreamWriter, data: bytes) -> None:
        try:
            stdin.write(data)
            await stdin.drain()
        except ConnectionError:
            pass
        finally:
            stdin.close()

    async def _read(self, stream: asyncio.StreamReader, take: Callable[[bytes], None]) -> bytes:
        """Hands over the lines of a stream; its end."""
        parts: list[bytes] = []
        last = b""
        while chunk := await stream.read(1 << 20):
            self.last_output = time.monotonic()
            last = (last + chunk)[-4096:]
            *whole, rest = chunk.split(b"\n")
            for line in whole:
                take(b"".join([*parts, line]))
                parts = []
            parts.append(rest)
        if any(parts):
            take(b"".join(parts))
        return last

    def _feed(self, reader: Reader, line: bytes) -> None:
        shown = reader.feed(line)
        if shown is not None and len(self.seen) < 100:
            self.seen.append(shown)

    async def _watch(self, process: asyncio.subprocess.Process, reader: Reader) -> None:
        over_since: float | None = None
        while True:
            now = time.monotonic()
            if reader.tool_running:
                self.last_output = now
            over_since = (over_since or now) if reader.turn_over else None
            if self.stop_when():
                self.stopped = "cancelled"
            elif now - self.last_output > self.idle_seconds and not reader.turn_over:
                self.stopped = "timeout"
            elif reader.futile or (over_since is not None and now - over_since >= self.grace_seconds):
                self.ended_by_us = True
            if self.stopped or self.ended_by_us:
                if self.stopped:
                    reader.stopping(self.stopped)
                return await self._end(process)
            await asyncio.sleep(0.02)

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        for number, seconds in (*self.adapter.ladder, (signal.SIGKILL, 10.0)):
            os.killpg(process.pid, number)
            try:
                await asyncio.wait_for(process.wait(), seconds)
                return
            except TimeoutError:
                continue
