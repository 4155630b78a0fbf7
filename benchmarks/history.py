"""P10: what it takes to read a run of 10,000 steps back: `status`, `logs` and `report`. `python benchmarks/history.py [ROWS…]`.

The steps are the items of one `foreach`; each has printed something. `explicit`: the same with as many steps in the file.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time

from measure import ENVIRONMENT, FLOW, Folder, absolute, seconds

COUNT = 10_000
ROUNDS = 5
PREAMBLE = "version: 1\nisolation: none\nslots: 8\n"
ITEMS = (
    f'{PREAMBLE}args: {{n: {{type: array}}}}\nsteps:\n  - {{name: a, foreach: args.n, max_items: 100000, run: [echo, "{{{{ item }}}}"]}}\n'
)
COMMANDS = {
    "status": ("status", "r1"),
    "status --json": ("status", "r1", "--json"),
    "logs": ("logs", "r1"),
    "logs of one step": ("logs", "r1", "a[5000]"),
    "report": ("report", "r1"),
    "report -o FILE.html": ("report", "r1", "-o", "report.html"),
    "report -o FILE.json": ("report", "r1", "-o", "report.json"),
}


def item_rows() -> None:
    with Folder() as folder:
        folder.file("flow.yaml", ITEMS)
        folder.file("args.json", json.dumps({"n": list(range(COUNT))}))
        folder.run("flow.yaml", "--args-file", "args.json", "--run-id", "r1")
        _read_back(folder, "10,000 items", COMMANDS)


def explicit_rows() -> None:
    with Folder() as folder:
        folder.file("flow.yaml", PREAMBLE + "steps:\n" + "".join(f"  - {{name: s{n}, needs: [], run: [echo, hi]}}\n" for n in range(COUNT)))
        folder.run("flow.yaml", "--run-id", "r1")
        _read_back(
            folder, "10,000 steps in the file", {name: COMMANDS[name] for name in ("status", "logs", "report", "report -o FILE.html")}
        )


def follow_row() -> None:
    """From the moment a step prints a line, after 10,000 that have ended, to the moment at which `logs -f` shows it."""
    with Folder() as folder:
        folder.file("flow.yaml", ITEMS + '  - {name: last, run: "date +%s.%N; exec sleep 600"}\n')
        folder.file("args.json", json.dumps({"n": list(range(COUNT))}))
        run = subprocess.Popen(
            (*FLOW, "run", "flow.yaml", "--quiet", "--args-file", "args.json", "--run-id", "r1"), cwd=folder.path, env=ENVIRONMENT
        )
        try:
            while not (folder.path / ".cpool" / "runs" / "r1" / "logs").is_dir():
                time.sleep(0.05)
            absolute("P10 logs -f behind the run", _delay(folder), 0.2, "s")
        finally:
            run.terminate()
            run.wait()


def _delay(folder: Folder) -> float:
    command = (*FLOW, "logs", "r1", "-f")
    with subprocess.Popen(command, cwd=folder.path, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        for line in reader.stdout:
            if line.startswith("── last "):
                printed = float(reader.stdout.readline())
                now = time.time()
                reader.terminate()
                return now - printed
    raise SystemExit("the last step was not shown")


def _read_back(folder: Folder, what: str, commands: dict[str, tuple[str, ...]]) -> None:
    """A row for each command. `cpu`: the seconds that a processor worked on it, of which a busy machine makes no more."""
    found = {name: _measured(folder, arguments) for name, arguments in commands.items()}
    for _ in range(ROUNDS - 1):
        for name, arguments in commands.items():
            found[name] = tuple(map(min, found[name], _measured(folder, arguments)))
    for name, (took, cpu) in found.items():
        absolute(f"P10 {name}, {what}", took, 0.5, "s", cpu=round(cpu, 3))


def _measured(folder: Folder, arguments: tuple[str, ...]) -> tuple[float, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = seconds((*FLOW, *arguments), folder.path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


ROWS = {"P10": item_rows, "follow": follow_row, "explicit": explicit_rows}

if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        ROWS[name]()
