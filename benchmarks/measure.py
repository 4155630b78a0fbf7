"""What all benchmarks share: timing in turns, one JSON line a row, the interpreter and command of this checkout."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOW = (sys.executable, "-m", "cpool_flow")
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / "runner"), "PYTHONDONTWRITEBYTECODE": "", "NO_COLOR": "1"}


def seconds(command: Sequence[str], directory: str | Path = "/", *, ok: Sequence[int] = (0,)) -> float:
    """How long a command takes, its output thrown away."""
    start = time.perf_counter()
    ended = subprocess.run(command, cwd=directory, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    took = time.perf_counter() - start
    if ended.returncode not in ok:
        raise SystemExit(f"{' '.join(command)[:200]} ended with {ended.returncode}: {ended.stderr.decode()[-2000:]}")
    return took


def best(*measures: Callable[[], float], rounds: int = 3) -> list[float]:
    """The best of several rounds of each, in turns, so that a slow moment of the machine hits all alike."""
    found = [measure() for measure in measures]
    for _ in range(rounds - 1):
        found = [min(before, measure()) for before, measure in zip(found, measures, strict=True)]
    return found


def row(identity: str, ours: float, peer: float, target: float, **more: object) -> None:
    """Print one row: what we took, what the peer took in the same run, and whether the ratio keeps the target."""
    ratio = ours / peer
    print(
        json.dumps(
            {
                "id": identity,
                "ours": round(ours, 6),
                "peer": round(peer, 6),
                "ratio": round(ratio, 2),
                "target": target,
                "ok": ratio <= target,
                **more,
            }
        ),
        flush=True,
    )


def absolute(identity: str, ours: float, target: float, unit: str, **more: object) -> None:
    """Print one row of a bound that has no peer."""
    print(json.dumps({"id": identity, "ours": round(ours, 4), "unit": unit, "target": target, "ok": ours <= target, **more}), flush=True)


class Folder:
    """A project in a temporary folder, on a real disk, gone at the end."""

    def __enter__(self) -> Folder:
        self.path = Path(tempfile.mkdtemp(prefix="cpool-flow-bench-", dir=os.environ.get("BENCH_DIR")))
        (self.path / ".cpool").mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.path, ignore_errors=True)

    def file(self, name: str, text: str) -> str:
        (self.path / name).write_text(text, encoding="utf-8")
        return name

    def run(self, name: str, *options: str) -> float:
        """Seconds of one run of a workflow file."""
        return seconds((*FLOW, "run", name, "--quiet", *options), self.path)

    def steps_seconds(self, name: str, *options: str) -> float:
        """Seconds of one run from the start of its first attempt to the end of its last, as its journal has them."""
        times = [at for kind, _, at in self._attempts(name, *options)]
        return max(times) - min(times)

    def gap_seconds(self, name: str, before: str, after: str) -> float:
        """Seconds from the end of a step to the first start of another."""
        attempts = self._attempts(name)
        ended = max(at for kind, task, at in attempts if kind == "AttemptFinished" and task == before)
        return min(at for kind, task, at in attempts if kind == "AttemptStarted" and task.startswith(after)) - ended

    def _attempts(self, name: str, *options: str) -> list[tuple[str, str, float]]:
        command = (*FLOW, "run", name, "--events", *options)
        ended = subprocess.run(command, cwd=self.path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
        lines = [json.loads(line) for line in ended.stdout.splitlines()]
        attempts = [line for line in lines if line["type"] in ("AttemptStarted", "AttemptFinished")]
        return [(line["type"], line["task"], datetime.fromisoformat(line["at"]).timestamp()) for line in attempts]


def peak_megabytes(command: Sequence[str], directory: str | Path) -> float:
    """The largest resident size of a command itself, in MB (10^6 bytes)."""
    script = (
        "import os,sys,subprocess,resource\n"
        "pid=os.posix_spawn(sys.argv[1],sys.argv[1:],os.environ,file_actions=[(os.POSIX_SPAWN_OPEN,1,'/dev/null',os.O_WRONLY,0)])\n"
        "_,status,usage=os.wait4(pid,0)\n"
        "print(usage.ru_maxrss, os.waitstatus_to_exitcode(status))\n"
    )
    found = subprocess.run(
        (sys.executable, "-c", script, *command), cwd=directory, env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    kilobytes, code = found.stdout.split()
    if code != "0":
        raise SystemExit(f"the measured command ended with {code}: {found.stderr[-1000:]}")
    return int(kilobytes) * 1024 / 1e6
