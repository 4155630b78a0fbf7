"""P4, P5, P6 and P9: start-up, memory, large files, how soon a fan-out opens and a resume goes on. `python benchmarks/start.py [ROWS…]`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

from measure import ENVIRONMENT, FLOW, Folder, absolute, best, peak_megabytes, row, seconds

ONE = 'version: 1\nisolation: none\nsteps:\n  - run: ["true"]\n'
TEN = "version: 1\nisolation: none\nargs: {who: {type: string, default: you}}\nsteps:\n" + "".join(
    f'  - name: s{number}\n    run: echo "{{{{ args.who }}}}" {number}\n' for number in range(10)
)
COMPLETING = ("_CPOOL_FLOW_COMPLETE=bash_complete", "COMP_WORDS=cpool-flow re", "COMP_CWORD=1")
FAN_OUT = 'version: 1\nisolation: none\nslots: 2\nargs: {n: {type: array}}\nsteps:\n  - name: a\n    foreach: args.n\n    max_items: 100000\n    run: ["true"]\n'


def start_rows() -> None:
    with Folder() as folder:
        folder.file("one.yaml", ONE)
        folder.file("ten.yaml", TEN)
        version, help_, script, word, validate, run, bare = best(
            lambda: seconds((*FLOW, "--version"), folder.path),
            lambda: seconds((*FLOW, "--help"), folder.path),
            lambda: seconds((*FLOW, "completion", "bash"), folder.path),
            lambda: seconds(("env", *COMPLETING, *FLOW), folder.path),
            lambda: seconds((*FLOW, "validate", "ten.yaml"), folder.path),
            lambda: folder.run("one.yaml"),
            lambda: seconds((sys.executable, "-c", "pass"), folder.path),
            rounds=7,
        )
    row("P4 --version, s", version, bare, 6)
    row("P4 --help, s", help_, bare, 6)
    row("P4 completion bash, s", script, bare, 6)
    row("P4 a command completed, s", word, bare, 6)
    row("P4 validate of 10 steps, s", validate, bare, 20)
    row("P4 run of one step, s", run, bare, 22)


def memory_rows() -> None:
    with Folder() as folder:
        folder.file("flow.yaml", FAN_OUT)
        for count, target in ((1000, 60), (10000, 120)):
            folder.file("args.json", json.dumps({"n": list(range(count))}))
            absolute(
                f"P5 coordinator, {count} steps",
                peak_megabytes((*FLOW, "run", "flow.yaml", "--quiet", "--args-file", "args.json"), folder.path),
                target,
                "MB",
            )
        folder.file("one.yaml", ONE)
        folder.file("big.yaml", 'version: 1\nisolation: none\nsteps:\n  - run: ["head", "-c", "1000000000", "/dev/zero"]\n')
        small = peak_megabytes((*FLOW, "run", "one.yaml", "--quiet"), folder.path)
        big = peak_megabytes((*FLOW, "run", "big.yaml", "--quiet"), folder.path)
        absolute("P5 an output of 1 GB, more memory", big - small, 40, "MB")


def large_rows() -> None:
    """Load, validation and plan of one file, start-up left out; and the expansion of a `foreach` while the run goes on."""
    sizes = (10_000, 20_000)
    with Folder() as folder:
        for size in (1, *sizes):
            steps = "".join(f"  - {{name: s{number}, run: 'echo \"{{{{ args.who }}}}\" {number}'}}\n" for number in range(size))
            folder.file(f"{size}.yaml", f"version: 1\nisolation: none\nargs: {{who: {{type: string, default: you}}}}\nsteps:\n{steps}")
        one, ten, twenty = best(
            *(lambda size=size: seconds((*FLOW, "plan", f"{size}.yaml", "--format", "json"), folder.path) for size in (1, *sizes))
        )
    absolute("P6 load, validate and plan 10,000 steps", ten - one, 3.0, "s")
    row("P6 20,000 steps over 10,000, s", twenty - one, ten - one, 2.2)


def expansion_row() -> None:
    """From the end of the step that makes a list of 5,000 to the start of its first item, less that of a list of one."""
    with Folder() as folder:
        for size in (1, 5000):
            folder.file(
                f"{size}.yaml",
                "version: 1\nisolation: none\nslots: 2\nsteps:\n"
                f'  - {{name: list, run: [seq, "{size}"], output: lines}}\n'
                '  - {name: each, foreach: steps.list.json, max_items: 5000, run: ["true"]}\n',
            )
        one, all_ = best(lambda: folder.gap_seconds("1.yaml", "list", "each"), lambda: folder.gap_seconds("5000.yaml", "list", "each"))
    absolute("expansion of 5,000 items while the run goes on", all_ - one, 0.5, "s")


def resume_row() -> None:
    """10,000 items that have ended and one open step: seconds from `resume` to the start of that step."""
    flow = FAN_OUT.replace("slots: 2", "slots: 8") + '  - name: open\n    run: ["sh", "-c", "date +%s.%N >> started; exec sleep 600"]\n'
    with Folder() as folder:
        folder.file("flow.yaml", flow)
        folder.file("args.json", json.dumps({"n": list(range(10000))}))
        first = _start((*FLOW, "run", "flow.yaml", "--quiet", "--args-file", "args.json"), folder)
        _wait_for_lines(folder, 1)
        first.send_signal(signal.SIGKILL)
        first.wait()
        begun = time.time()
        second = _start((*FLOW, "resume", "last", "--quiet"), folder)
        started = _wait_for_lines(folder, 2)
        second.send_signal(signal.SIGTERM)
        second.wait()
    absolute("P9 resume of 10,000 finished items", started - begun, 1.0, "s")


def _start(command: tuple[str, ...], folder: Folder) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, cwd=folder.path, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _wait_for_lines(folder: Folder, count: int) -> float:
    path = folder.path / "started"
    while not (os.path.exists(path) and len(path.read_text().split()) >= count):
        time.sleep(0.005)
    return float(path.read_text().split()[-1])


ROWS = {"P4": start_rows, "P5": memory_rows, "P6": large_rows, "expansion": expansion_row, "P9": resume_row}

if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        ROWS[name]()
