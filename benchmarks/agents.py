"""P8 and P12: warm agents against cold ones, and many agents that talk at once. `python benchmarks/agents.py [ROWS…]`.

P8 runs the real Claude CLI (on the PATH, else that of the extra `claude-cli`) over a model of our own on loopback. P12 needs none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from measure import ENVIRONMENT, FLOW, ROOT, Folder, absolute, best, row, seconds

sys.path.insert(0, str(ROOT / "tests"))

PROMPTS = 60
SLOTS, TASKS, LINES = 50, 500, 2000
PREAMBLE = "version: 1\nisolation: none\nargs: {items: {type: array}}\nsteps:\n  - name: a\n    foreach: args['items']\n"
QUIET = ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "DISABLE_TELEMETRY", "DISABLE_AUTOUPDATER", "DISABLE_ERROR_REPORTING")

# An agent CLI that says 2,000 things in three to five seconds, each with its number and the moment at which it was said.
TALKER = f"""#!{sys.executable} -IS
import json, sys, time
name = sys.stdin.read()
stream_seconds = 3.0 + int(name.partition("-")[2]) % 21 / 10
say = lambda **event: (sys.stdout.write(json.dumps(event) + "\\n"), sys.stdout.flush())
say(type="system", subtype="init", session_id="s", model="m")
began = time.monotonic()
for number in range({LINES}):
    text = f"line {{number}} of {{name}} " + "x" * 100
    say(type="assistant", at=time.time(), message={{"id": f"m{{number}}", "model": "m", "content": [{{"type": "text", "text": text}}]}})
    ahead = number * stream_seconds / {LINES} - (time.monotonic() - began)
    if ahead > 0.02:
        time.sleep(ahead)
usage = {{"input_tokens": 1, "output_tokens": 1}}
say(type="result", subtype="success", is_error=False, result=name, num_turns=1, total_cost_usd=0, usage=usage, at=time.time())
"""


def warm_row() -> None:
    from model_server import ModelServer, Reply

    with Folder() as folder, ModelServer([Reply("ok")]) as server, claude(folder, server.url):
        folder.file("flow.yaml", PREAMBLE.replace("steps:", "slots: 2\nsteps:") + '    prompt: "say {{ item }}"\n')
        folder.file("args.json", json.dumps({"items": list(range(PROMPTS))}))
        ours, peer = best(
            lambda: folder.run("flow.yaml", "--args-file", "args.json"),
            lambda: seconds(("sh", "-c", f"seq {PROMPTS} | xargs -P2 -I{{}} claude -p 'say {{}}'"), folder.path),
            rounds=2,
        )
    row(f"P8 {PROMPTS} prompts on 2 slots, s", ours, peer, 0.25)


@contextmanager
def claude(folder: Folder, url: str) -> Iterator[None]:
    """`claude` on the PATH, with a home of its own and the model at this address."""
    programs = folder.path / "bin"
    programs.mkdir()
    (programs / "claude").symlink_to(_claude())
    before = dict(ENVIRONMENT)
    ENVIRONMENT.update(dict.fromkeys(QUIET, "1"), HOME=str(folder.path), PATH=f"{programs}:{before['PATH']}")
    ENVIRONMENT.update(ANTHROPIC_BASE_URL=url, ANTHROPIC_API_KEY="sk-bench-dummy")
    try:
        yield
    finally:
        ENVIRONMENT.clear()
        ENVIRONMENT.update(before)


def _claude() -> str:
    found = shutil.which("claude")
    spec = importlib.util.find_spec("claude_agent_sdk")
    if found is None and spec is not None and spec.origin is not None:
        found = str(Path(spec.origin).parent / "_bundled" / "claude")
    if found is None:
        raise SystemExit("no Claude CLI here: pip install 'cpool-flow[claude-cli]'")
    return found


def talk_rows() -> None:
    with Folder() as folder:
        programs = folder.path / "bin"
        programs.mkdir()
        (programs / "claude").write_text(TALKER)
        (programs / "claude").chmod(0o755)
        environment = {**ENVIRONMENT, "PATH": f"{programs}:{ENVIRONMENT['PATH']}"}
        folder.file("flow.yaml", PREAMBLE.replace("steps:", f"slots: {SLOTS}\nsteps:") + '    prompt: "{{ item }}"\n')
        folder.file("args.json", json.dumps({"items": [f"task-{number}" for number in range(TASKS)]}))
        command = (*FLOW, "run", "flow.yaml", "--json", "--args-file", "args.json")
        began = time.monotonic()
        with open(folder.path / "result.json", "wb") as result:
            process = subprocess.Popen(command, cwd=folder.path, env=environment, stdout=result, stderr=subprocess.DEVNULL)
            cpu = _cpu_seconds(process)
        wall = time.monotonic() - began
        items = json.loads((folder.path / "result.json").read_text())["steps"][0]["items"]
        logs = [Path(item["attempts"][0]["log"]).read_bytes() for item in items]
        lost = sum(not _is_whole(item, log) for item, log in zip(items, logs, strict=True))
        late = max(_late_seconds(item, log) for item, log in zip(items, logs, strict=True))
    absolute(f"P12 tasks of {TASKS} that lost something", float(lost), 0.0, "tasks")
    absolute("P12 from an agent's last word to its task's end, the longest", late, 1.0, "s")
    absolute(f"P12 coordinator, while {TASKS * LINES / wall:,.0f} lines a second came", cpu / wall, 1.0, "cores")


def _cpu_seconds(process: subprocess.Popen[bytes]) -> float:
    """The time that a process itself has used when it ends, none of its children's."""
    tick, used = os.sysconf("SC_CLK_TCK"), 0.0
    while process.poll() is None:
        try:
            fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            break
        used = (int(fields[11]) + int(fields[12])) / tick or used
        time.sleep(0.1)
    if process.wait() != 0:
        raise SystemExit(f"the run ended with {process.returncode}")
    return used


def _is_whole(item: dict[str, object], log: bytes) -> bool:
    found = re.findall(rb"line (\d+) of ([\w-]+) ", log)
    name = str(item["item"]).encode()
    return item["output"] == item["item"] and found == [(str(number).encode(), name) for number in range(LINES)]


def _late_seconds(item: dict[str, list[dict[str, str]]], log: bytes) -> float:
    said = json.loads(log.splitlines()[-1])["at"]
    return datetime.fromisoformat(item["attempts"][0]["ended_at"]).timestamp() - float(said)


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["P8", "P12"]
    for name, rows in (("P8", warm_row), ("P12", talk_rows)):
        if name in wanted:
            rows()
