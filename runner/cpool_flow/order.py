"""Which step comes after which, as a valid file says it: names, needs, cycles, and what is upstream of what.

Knows nothing of templates. Asked at load; `plan.py` builds what runs from files that have passed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from functools import cached_property, reduce
from graphlib import CycleError, TopologicalSorter
from operator import and_, or_

from cpool_flow import model
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, listed
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.plan import step_name

MOST_CYCLES = 10


@dataclass(eq=False)
class Placed:
    """A step of the file: its name (given or `step_N`), where it stands, and the names of the steps that it waits for.

    `level`: the steps beside it. `inner`: the steps of a group.
    """

    name: str
    path: Path
    step: model.Step
    number: int
    needs: tuple[str, ...]
    level: Level
    inner: Level | None = None

    @property
    def is_last(self) -> bool:
        """Whether it belongs to `finally`."""
        return self.path[0] == "finally"

    @property
    def around(self) -> Placed | None:
        """The group that it stands in."""
        return self.level.group

    def outwards(self) -> Iterator[Placed]:
        """The step, the group that it stands in, the group around that."""
        placed: Placed | None = self
        while placed is not None:
            yield placed
            placed = placed.around

    def shares_loop(self, reader: Placed) -> bool:
        """Whether a loop goes round both: then its last round can be read before it has ended in this one."""
        around = set(reader.outwards())
        return any(placed.step.repeat is not None and placed in around for placed in self.outwards())

    def last_inside(self) -> Placed:
        """The step whose output is this one's: of a group its last, else itself."""
        return self if self.inner is None else list(self.inner.steps.values())[-1].last_inside()


@dataclass(eq=False)
class Level:
    """The steps of the file, or of one group in it, by name. `group` is None for the file."""

    group: Placed | None = None
    steps: dict[str, Placed] = field(default_factory=dict)

    def is_before(self, first: Placed, then: Placed) -> bool:
        """Whether one step of this level has always ended when another begins. `finally` comes after all other steps. True where
        steps wait for each other: that is told already."""
        if then.is_last and not first.is_last:
            return True
        return self._upstream is None or bool(self._upstream[then.number] >> first.number & 1)

    def may_still_run(self, first: Placed, then: Placed) -> bool:
        """Whether one step of this level, upstream of another, may run on when that begins: with `join: any` the first that ended well
        is enough."""
        return (first.is_last or not then.is_last) and not self._ended_before[then.number] >> first.number & 1

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
    def _ended_before(self) -> list[int]:
        """For each step a bit per step that has ended when it begins, if none of them failed. Asked where no steps wait for each other."""
        found = [0] * len(self.steps)
        placed = {each.number: each for each in self.steps.values()}
        needs = {number: [self.steps[need].number for need in each.needs] for number, each in placed.items()}
        for number in TopologicalSorter(needs).static_order():
            ended = [found[need] | 1 << need for need in needs[number]]
            found[number] = reduce(and_ if is_race(placed[number]) else or_, ended, ended[0] if ended else 0)
        return found

    @cached_property
    def _upstream(self) -> list[int] | None:
        """For each step a bit per step before it: 10,000 steps in a chain are 6 MB. None where steps wait for each other."""
        found = [0] * len(self.steps)
        needs = {placed.number: [self.steps[need].number for need in placed.needs] for placed in self.steps.values()}
        try:
            for number in TopologicalSorter(needs).static_order():
                for need in needs[number]:
                    found[number] |= found[need] | 1 << need
        except CycleError:
            return None
        return found


def is_race(placed: Placed) -> bool:
    """Whether a step begins before all of its needs have ended."""
    return placed.step.join == "any" and len(placed.needs) > 1


class Order:
    """All steps of a file. Where names or needs are wrong, what can be had without them."""

    def __init__(self, top: Level) -> None:
        self.top = top
        self._known: dict[Level, dict[str, Placed]] = {}

    @cached_property
    def all(self) -> list[Placed]:
        """Every step, a group before the steps in it."""
        return list(_everything(self.top))

    def names(self, reader: Placed | None) -> dict[str, Placed]:
        """The steps that can be named where `reader` stands: those beside it, and those beside the groups around it."""
        return self._names_on(self.top if reader is None else reader.level)

    def _names_on(self, level: Level) -> dict[str, Placed]:
        """Kept for each level: a file has 10,000 steps, and few levels."""
        if level not in self._known:
            self._known[level] = level.steps if level.group is None else self._names_on(level.group.level) | level.steps
        return self._known[level]

    def is_upstream(self, first: Placed, reader: Placed) -> bool:
        """Whether a step that `reader` can name has always ended when `reader` begins."""
        return first.level.is_before(first, _beside(first, reader))

    def may_still_run(self, first: Placed, reader: Placed) -> bool:
        """Whether a step that is upstream of `reader` may not have ended when `reader` begins."""
        return first.level.may_still_run(first, _beside(first, reader))


def _beside(first: Placed, reader: Placed) -> Placed:
    """What stands beside `first`: `reader`, or the group around it."""
    return next(placed for placed in reader.outwards() if placed.level is first.level)


def read_order(workflow: model.Workflow, findings: Findings) -> Order:
    """The order of the steps, with what is wrong about names and needs noted."""
    top = Level()
    _place(top, "steps", workflow.steps, (), findings)
    _place(top, "finally", workflow.finally_, (), findings)
    order = Order(top)
    for placed in order.all:
        _check_needs(placed, order, findings)
    _drop_wrong_needs(top)
    for level in [top, *(placed.inner for placed in order.all if placed.inner is not None)]:
        for cycle in level.cycles():
            first = level.steps[cycle[0]]
            findings.error(
                (*first.path, "needs"), f"steps wait for each other: {_along(cycle)}", help="a step can only need steps that do not need it"
            )
    return order


def _everything(level: Level) -> Iterator[Placed]:
    for placed in level.steps.values():
        yield placed
        if placed.inner is not None:
            yield from _everything(placed.inner)


def _place(level: Level, key: str, steps: tuple[model.Step, ...], path: Path, findings: Findings) -> None:
    """Put the steps of a list on their level; the second of a name is noted, and stands there under a name that nobody can give."""
    before: tuple[str, ...] = ()
    for index, step in enumerate(steps):
        number = len(level.steps)
        name = step_name(step, number)
        placed = Placed(name, (*path, key, index), step, number, before if step.needs is None else _as_tuple(step.needs), level)
        _check_name(placed, level, findings)
        if step.steps is not None:
            placed.inner = Level(placed)
            _place(placed.inner, "steps", step.steps, placed.path, findings)
        level.steps[name if name not in level.steps else f"{name} ({number})"] = placed
        before = (name,)


def _as_tuple(needs: str | tuple[str, ...]) -> tuple[str, ...]:
    return (needs,) if isinstance(needs, str) else needs


def _check_name(placed: Placed, level: Level, findings: Findings) -> None:
    same = level.steps.get(placed.name)
    if same is not None:
        named = placed if placed.step.name else same
        other = same if named is placed else placed
        line = findings.document.location(other.path).line
        what = "the step" if other.step.name else "the step without a name"
        findings.error((*named.path, "name"), f"two steps are called `{placed.name}`: {what} in line {line} as well")
        return
    around = level.group.outwards() if level.group is not None and placed.step.name else ()
    outer = next((group for group in around if group.name == placed.name or placed.name in group.level.steps), None)
    if outer is not None:
        line = findings.document.location(outer.path).line
        what = f"a step inside of the group cannot be called `{placed.name}`: that is the name of a step around it"
        findings.error((*placed.path, "name"), what, help=f"the group begins in line {line}")


def _check_needs(placed: Placed, order: Order, findings: Findings) -> None:
    if placed.step.needs is None:
        return
    beside = placed.level.steps
    for index, need in enumerate(placed.needs):
        path: Path = (*placed.path, "needs") if isinstance(placed.step.needs, str) else (*placed.path, "needs", index)
        other = beside.get(need)
        if other is None:
            _unknown_need(placed, need, path, order, findings)
        elif other is placed:
            findings.error(path, f"step `{placed.name}` needs itself")
        elif placed.is_last and not other.is_last:
            help = "steps of `finally` run after all others: `needs` orders them among themselves"
            findings.error(path, f"step `{placed.name}` of `finally` needs `{need}`, which is none of `finally`", help=help)
        elif other.is_last and not placed.is_last:
            findings.error(path, f"step `{placed.name}` needs `{need}`, which is a step of `finally`")


def _unknown_need(placed: Placed, need: str, path: Path, order: Order, findings: Findings) -> None:
    elsewhere = next((other for other in order.all if other.name == need), None)
    if elsewhere is None:
        hint = did_you_mean(need, placed.level.steps)
        help = None if hint else f"there {'is' if len(placed.level.steps) == 1 else 'are'} {listed(placed.level.steps)}"
        findings.error(path, f"step `{placed.name}` needs unknown step `{need}`", hint=hint, help=help)
        return
    if placed.around is not None and elsewhere in placed.around.level.steps.values():
        help = f"let the group wait for it: `needs: [{need}]` of step `{placed.around.name}`"
    elif elsewhere.around is not None:
        help = f"wait for the group that it stands in: `{elsewhere.around.name}`"
    else:
        help = "a step can need only steps beside it"
    findings.error(path, f"step `{placed.name}` needs `{need}`, which does not stand beside it", help=help)


def _drop_wrong_needs(level: Level) -> None:
    for placed in level.steps.values():
        if placed.inner is not None:
            _drop_wrong_needs(placed.inner)
        placed.needs = tuple(need for need in placed.needs if _is_sound(need, placed))


def _is_sound(need: str, placed: Placed) -> bool:
    other = placed.level.steps.get(need)
    return other is not None and other is not placed and other.is_last == placed.is_last


def _along(cycle: tuple[str, ...]) -> str:
    shown = cycle if len(cycle) <= 12 else (*cycle[:6], "…", *cycle[-5:])
    return " → ".join(name if name == "…" else f"`{name}`" for name in shown)
