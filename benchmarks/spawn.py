"""Milliseconds per `true`, two at a time: our process layer alone (no journal, no engine) over `xargs -P2 -n1 true`.

python benchmarks/spawn.py [COUNT]      one JSON line per row; best of five, alternating
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "runner"))

from cpool_flow.process import Command, Processes, Sink

ROUNDS = 5
SLOTS = 2


def xargs(count: int) -> float:
    began = time.perf_counter()
    subprocess.run(["xargs", f"-P{SLOTS}", "-n1", "true"], input=b"x\n" * count, check=True)
    return time.perf_counter() - began


async def fan_out(processes: Processes, count: int, stdout: Sink, stderr: Sink, stdin: bytes | None) -> float:
    command = Command(("true",), tempfile.gettempdir(), dict(os.environ), stdin)
    left = iter(range(count))

    async def slot() -> None:
        for _ in left:
            await processes.spawn(command, stdout=stdout, stderr=stderr, timeout_seconds=60).wait()

    began = time.perf_counter()
    await asyncio.gather(*(slot() for _ in range(SLOTS)))
    return time.perf_counter() - began


def ours(count: int, stdout: Sink, stderr: Sink, stdin: bytes | None = None) -> float:
    with Processes("bench") as processes:
        return asyncio.run(fan_out(processes, count, stdout, stderr, stdin))


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        log, errors = f"{folder}/out", f"{folder}/err"
        rows = {
            "two files": lambda: ours(count, log, errors),
            "two pipes": lambda: ours(count, len, len),
            "two pipes and a prompt": lambda: ours(count, len, len, b"x" * 10_000),
        }
        best = dict.fromkeys(rows, float("inf"))
        peer = float("inf")
        for _ in range(ROUNDS):
            peer = min(peer, xargs(count))
            for row, run in rows.items():
                best[row] = min(best[row], run())
    for row, seconds in best.items():
        print(
            json.dumps(
                {
                    "id": f"spawn: {row}",
                    "ours": round(1000 * seconds / count, 3),
                    "peer": round(1000 * peer / count, 3),
                    "ratio": round(seconds / peer, 2),
                }
            )
        )


if __name__ == "__main__":
    main()
