"""Which step comes after which, as a valid file says it: names, needs, cycles, and what is upstream of what.

Knows nothing of templates. Asked at load; `plan.py` builds what runs from files that have passed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter

from cpool_flow import model
from cpool_flow.errors import did_you_mean, listed
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.plan import step_name

MOST_CYCLES = 10


@dataclass(frozen=True, slots=True)
class Placed:
    """A step of the file: its name (given or `step_N`), where it stands, and the names of the steps that it waits for."""

    name: str
    path: Path
    step: model.Step
    number: int
    needs: tuple[str, ...]

    @property
    def is_last(self) -> bool:
        """Whether it belongs to `finally`."""
        return self.path[0] == "finally"


class Order:
    """The steps by name, those of `finally` last. Where names or needs are wrong, what can be had without them."""

    def __init__(self, steps: list[Placed]) -> None:
        self.all = steps
        found: dict[str, Placed] = {}
        for placed in steps:
            found.setdefault(placed.name, placed)
        self.steps: Mapping[str, Placed] = found

    def is_upstream(self, name: str, of: Placed) -> bool:
        """Whether step `name` has always ended when `of` begins. `finally` comes after all other steps. True where steps wait for
        each other: that is told already."""
        placed = self.steps[name]
        if of.is_last and not placed.is_last:
            return True
        return self._upstream is None or bool(self._upstream[of.number] >> placed.number & 1)

    def cycles(self) -> Iterator[tuple[str, ...]]:
        """Each cycle as names of which each needs the next, from the first that says so to itself again; at most ten."""
        needs = {name: list(placed.needs) for name, placed in self.steps.items()}
        for _ in range(MOST_CYCLES):
            try:
                TopologicalSorter(needs).prepare()
            except CycleError as error:
                cycle = self._from_first(error.args[1][:0:-1])
                yield cycle
                needs[cycle[0]].remove(cycle[1])
            else:
                return

    def _from_first(self, names: list[str]) -> tuple[str, ...]:
        first = min((name for name in names if self.steps[name].step.needs is not None), key=lambda name: self.steps[name].number)
        at = names.index(first)
        return (*names[at:], *names[:at], first)

    @cached_property
    def _upstream(self) -> list[int] | None:
        """For each step a bit per step before it: 10,000 steps in a chain are 6 MB. None where steps wait for each other."""
        found = [0] * len(self.all)
        needs = {placed.number: [self.steps[need].number for need in placed.needs] for placed in self.all}
        try:
            for number in TopologicalSorter(needs).static_order():
                for need in needs[number]:
                    found[number] |= found[need] | 1 << need
        except CycleError:
            return None
        return found


def read_order(workflow: model.Workflow, findings: Findings) -> Order:
    """The order of the steps, with what is wrong about names and needs noted."""
    order = Order(_placed(workflow))
    _check_names(order, findings)
    for placed in order.all:
        _check_needs(placed, order, findings)
    sound = Order([_without_wrong_needs(placed, order) for placed in order.all])
    for cycle in sound.cycles():
        first = sound.steps[cycle[0]]
        findings.error(
            (*first.path, "needs"), f"steps wait for each other: {_along(cycle)}", help="a step can only need steps that do not need it"
        )
    return sound


def _placed(workflow: model.Workflow) -> list[Placed]:
    found: list[Placed] = []
    for phase, steps in (("steps", workflow.steps), ("finally", workflow.finally_)):
        before: tuple[str, ...] = ()
        for index, step in enumerate(steps):
            name = step_name(step, len(found))
            found.append(Placed(name, (phase, index), step, len(found), before if step.needs is None else _as_tuple(step.needs)))
            before = (name,)
    return found


def _as_tuple(needs: str | tuple[str, ...]) -> tuple[str, ...]:
    return (needs,) if isinstance(needs, str) else needs


def _check_names(order: Order, findings: Findings) -> None:
    for placed in order.all:
        first = order.steps[placed.name]
        if first is placed:
            continue
        named = placed if placed.step.name else first
        other = first if named is placed else placed
        line = findings.document.location(other.path).line
        what = "the step" if other.step.name else "the step without a name"
        findings.error((*named.path, "name"), f"two steps are called `{placed.name}`: {what} in line {line} as well")


def _check_needs(placed: Placed, order: Order, findings: Findings) -> None:
    if placed.step.needs is None:
        return
    for index, need in enumerate(placed.needs):
        path: Path = (*placed.path, "needs") if isinstance(placed.step.needs, str) else (*placed.path, "needs", index)
        other = order.steps.get(need)
        if other is None:
            hint = did_you_mean(need, order.steps)
            help = None if hint else f"there {'is' if len(order.steps) == 1 else 'are'} {listed(order.steps)}"
            findings.error(path, f"step `{placed.name}` needs unknown step `{need}`", hint=hint, help=help)
        elif other is placed:
            findings.error(path, f"step `{placed.name}` needs itself")
        elif placed.is_last and not other.is_last:
            help = "steps of `finally` run after all others: `needs` orders them among themselves"
            findings.error(path, f"step `{placed.name}` of `finally` needs `{need}`, which is none of `finally`", help=help)
        elif other.is_last and not placed.is_last:
            findings.error(path, f"step `{placed.name}` needs `{need}`, which is a step of `finally`")


def _without_wrong_needs(placed: Placed, order: Order) -> Placed:
    def sound(need: str) -> bool:
        return need in order.steps and need != placed.name and order.steps[need].is_last == placed.is_last

    if all(map(sound, placed.needs)):
        return placed
    return Placed(placed.name, placed.path, placed.step, placed.number, tuple(filter(sound, placed.needs)))


def _along(cycle: tuple[str, ...]) -> str:
    shown = cycle if len(cycle) <= 12 else (*cycle[:6], "…", *cycle[-5:])
    return " → ".join(name if name == "…" else f"`{name}`" for name in shown)
