"""P1 and P2: what a step costs that does nothing, over the bare cost of the same processes. `python benchmarks/steps.py [ROWS…]`."""

from __future__ import annotations

import sys

from measure import Folder, best, row, seconds

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
    import os

    from measure import ENVIRONMENT

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


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["P1", "P2"]
    if "P1" in wanted:
        fan_out_rows()
    if "P2" in wanted:
        chain_row()
