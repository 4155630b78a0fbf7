"""P1, P2 and P3: what a step costs that does nothing, over the bare cost of the same processes, and what edges cost.

python benchmarks/steps.py [ROWS…]
"""

from __future__ import annotations

import json
import os
import sys

from measure import ENVIRONMENT, Folder, best, row, seconds

PREAMBLE = "version: 1\nisolation: none\nslots: 2\n"


def fan_out(run: str, count: int, extra: str = "") -> str:
    return f"{PREAMBLE}{extra}args:\n  items: {{type: array}}\nsteps:\n  - name: a\n    foreach: args['items']\n    max_items: 100000\n    run: {run}\n"


def step_cost(run: str, count: int, peer: str, extra: str = "", environment: str = "") -> tuple[float, float]:
    """Seconds for each step of a fan-out beyond the first, ours and the peer's."""
    with Folder() as folder:
        folder.file("flow.yaml", fan_out(run, count, extra))
        for size in (1, count):
            folder.file(f"{size}.json", '{"items": [' + ",".join(map(str, range(size))) + "]}")

        def ours(size: int) -> float:
            return folder.run("flow.yaml", "--args-file", f"{size}.json")

        def theirs(size: int) -> float:
            return seconds(("sh", "-c", f"seq {size} | {peer}"))

        ours_one, ours_all, peer_one, peer_all = best(lambda: ours(1), lambda: ours(count), lambda: theirs(1), lambda: theirs(count))
    return (ours_all - ours_one) / (count - 1), (peer_all - peer_one) / (count - 1)


def fan_out_rows() -> None:
    thousand = step_cost('["true"]', 1000, "xargs -P2 -n1 true")
    row("P1 list form, 1,000 items, s a step", *thousand, 2.0)
    script = 'xargs -P2 -I{} bash -euo pipefail -c "true"'
    row("P1 string form, 1,000 items, s a step", *step_cost('"true"', 1000, script), 2.0)
    ENVIRONMENT["BENCH_SECRET"] = os.urandom(16).hex()
    row("P1 list form with a masked secret, s a step", *step_cost('["true"]', 1000, "xargs -P2 -n1 true", "secrets: [BENCH_SECRET]\n"), 2.5)
    ten = step_cost('["true"]', 10000, "xargs -P2 -n1 true")
    row("P1 10,000 items over 1,000 items, s a step", ten[0], thousand[0], 1.3)


def chain_row() -> None:
    count = 200
    steps = "".join('  - run: ["/bin/true"]\n' for _ in range(count))
    with Folder() as folder:
        folder.file("chain.yaml", f"{PREAMBLE}steps:\n{steps}")
        folder.file("one.yaml", f'{PREAMBLE}steps:\n  - run: ["/bin/true"]\n')
        loop = f"i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done"
        ours, start, peer = best(
            lambda: folder.run("chain.yaml"), lambda: folder.run("one.yaml"), lambda: seconds(("sh", "-c", loop)), rounds=5
        )
    row("P2 chain of 200, start-up left out, s", ours - start, peer, 3.0)


def dense_row() -> None:
    """20 layers of 50 steps, each of which needs all of the layer above, over a fan-out of 1,000 items. Start-up and load left out of
    both: what is compared is what a step costs while the run goes on."""
    layers, width = 20, 50
    lines = [PREAMBLE, "steps:\n"]
    for layer in range(layers):
        above = "[]" if layer == 0 else f"[{', '.join(f's{layer - 1}_{number}' for number in range(width))}]"
        lines += [f'  - {{name: s{layer}_{number}, needs: {above}, run: ["true"]}}\n' for number in range(width)]
    with Folder() as folder:
        folder.file("dense.yaml", "".join(lines))
        folder.file("flow.yaml", fan_out('["true"]', 1000))
        folder.file("items.json", json.dumps({"items": list(range(1000))}))
        dense, wide = best(
            lambda: folder.steps_seconds("dense.yaml"), lambda: folder.steps_seconds("flow.yaml", "--args-file", "items.json")
        )
    row("P3 dense DAG of 1,000 steps over a fan-out of 1,000, s", dense, wide, 1.3)


ROWS = {"P1": fan_out_rows, "P2": chain_row, "P3": dense_row}

if __name__ == "__main__":
    for name in sys.argv[1:] or ROWS:
        ROWS[name]()
