"""How much memory a command takes, itself and what it starts: not what the process had that started it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# A process begins with the peak of the one that it was forked from: so a small one stands between.
_BETWEEN = (
    "import json, os, sys\n"
    "out = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT, 0o600)\n"
    "actions = [(os.POSIX_SPAWN_DUP2, out, 1)]\n"
    "pid = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ, file_actions=actions)\n"
    "_, status, usage = os.wait4(pid, 0)\n"
    "print(json.dumps([os.waitstatus_to_exitcode(status), usage.ru_maxrss]))\n"
)


@dataclass(frozen=True)
class Measured:
    """`peak` is in bytes; `out` is what was printed on stdout."""

    code: int
    peak: int
    out: bytes


def measured(command: Sequence[str], directory: Path, environment: Mapping[str, str], scratch: Path) -> Measured:
    """Run a command to its end; `scratch` is a folder for its output."""
    out = scratch / "measured.out"
    out.unlink(missing_ok=True)
    ended = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _BETWEEN, str(out), *command],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        timeout=100,
        check=True,
    )
    code, kilobytes = json.loads(ended.stdout)
    return Measured(code, kilobytes * 1024, out.read_bytes())
