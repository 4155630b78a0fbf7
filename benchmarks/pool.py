"""The pool from Python: 10,000 tasks for an agent that does nothing. `python benchmarks/pool.py [COUNT]`.

Prints one JSON line for giving them to the pool, and one for the processor's time until all their results are there.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time

from measure import ROOT, absolute

sys.path.insert(0, str(ROOT / "runner"))

from cpool_flow.pool import Call, Pool

SUBMIT_SECONDS = 3.0
ALL_CPU_SECONDS = 15.0


async def nothing(call: Call) -> str:
    return "done"


async def measure(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with Pool(slots=8, agent=nothing, directory=folder, project=folder) as pool:
            began, busy = time.perf_counter(), time.process_time()
            tasks = [pool.submit("x") for _ in range(count)]
            given = time.perf_counter() - began
            results = [await task for task in tasks]
            ended, spent = time.perf_counter() - began, time.process_time() - busy
    assert all(result.ok for result in results)
    absolute(f"pool: {count:,} submits", given, SUBMIT_SECONDS * count / 10_000, "s")
    absolute(f"pool: {count:,} results", spent, ALL_CPU_SECONDS * count / 10_000, "s of CPU", wall=round(ended, 2))


asyncio.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
