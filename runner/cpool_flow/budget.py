"""What the next attempts may spend, given what was spent and what is held back for those that run. Pure. US dollars.

An attempt gets its own `max_budget_usd`, or a share of what is left: as many shares are made as agent tasks could run beside it.
What is handed out is held back until the attempt has ended, so that all of them together keep to the budget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import field, replace

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.spending import DAY_SECONDS, OWN_BUDGET, dollars
from cpool_flow.state import State
from cpool_flow.tasks import ENDED, Frame, StepState, Task, accounts

# What is left below this is nothing.
LEAST_USD = 1e-6
# With less than this part of an equal share for each slot an attempt waits until there is more.
WORTHWHILE = 0.5


@dataclass(frozen=True, slots=True)
class Pot:
    """A budget from which other runs spend as well. `spent_usd` and `held_usd` are theirs; `today`: of this run only what it has spent
    today counts. `told` names it for people."""

    told: str
    limit_usd: float
    spent_usd: float = 0.0
    held_usd: float = 0.0
    today: bool = False


@dataclass(frozen=True, slots=True)
class Others:
    """What other runs have to do with the money of this one. `nested_usd`: what runs inside of its steps have spent and hold back."""

    pots: tuple[Pot, ...] = ()
    nested_usd: float = 0.0


NOBODY = Others()


@dataclass(frozen=True, slots=True)
class Grant:
    """An attempt may start. None: nothing limits what it spends."""

    budget_usd: float | None


@dataclass(frozen=True, slots=True)
class Wait:
    """What is left is not enough, but more may be once an attempt that runs has ended."""


@dataclass(frozen=True, slots=True)
class Empty:
    """The budget of a run, or of a sub-workflow, is used up."""

    reason: str
    frame: Frame


@dataclass(frozen=True, slots=True)
class _Account:
    told: str
    frame: Frame
    limit_usd: float
    spent_usd: float
    held_usd: float
    assumed_usd: float = 0.0

    @property
    def rest_usd(self) -> float:
        return self.limit_usd - self.spent_usd - self.held_usd

    def empty(self, task: Task, least: float) -> Empty:
        """Why there is nothing for a task that needs more than `least`."""
        assumed = f", {dollars(self.assumed_usd)} of it for agents that did not say what they cost" if self.assumed_usd > LEAST_USD else ""
        spent = f"{dollars(self.spent_usd)} spent{assumed}"
        if self.rest_usd <= LEAST_USD:
            return Empty(f"{self.told} is used up: {spent}", self.frame)
        return Empty(f"what is left of {self.told} is not enough: {spent}, and `{task.id}` needs more than {dollars(least)}", self.frame)


@dataclass(slots=True)
class Purse:
    """The money of one turn: asked for each attempt that could start, in the order in which they would."""

    state: State
    others: Others
    now: float
    granted: dict[str, float] = field(default_factory=dict)

    def grant(self, task: Task, free_slots: int) -> Grant | Wait | Empty:
        """What the next attempt of an agent task may spend. `free_slots`: how many attempts could start now, this one included."""
        found = list(self.accounts(task))
        if not found:
            return Grant(None)
        tightest = min(found, key=lambda account: account.rest_usd)
        rest, cap = tightest.rest_usd, self.state.steps[task.step].plan.max_budget_usd
        least = used_share(self.state, task)
        if rest <= least + LEAST_USD:
            return Wait() if tightest.held_usd else tightest.empty(task, least)
        if cap is None and not least:
            slots = self.state.created.slots if self.state.created else 1
            worthwhile = (tightest.limit_usd - tightest.spent_usd) / slots * WORTHWHILE
            if tightest.held_usd and rest < worthwhile:
                return Wait()
            rest = min(rest, max(worthwhile, rest / (1 + _Rivals(self.state, self.granted).beside(task, free_slots - 1))))
        elif cap is not None and rest < cap and tightest.held_usd and not least:
            return Wait()
        self.granted[task.id] = rest if cap is None else min(cap, rest)
        return Grant(self.granted[task.id])

    def accounts(self, task: Task) -> Iterator[_Account]:
        """Each budget that an attempt of this task would be paid from."""
        for frame in accounts(task.within):
            limit = frame.spending.limit_usd
            if limit is not None and frame.owner is not None:
                told = f"the budget of {dollars(limit)} of the sub-workflow `{frame.id}`"
                inside = sum(usd for name, usd in self.granted.items() if frame in accounts(self.state.tasks[name].within))
                own = frame.spending
                yield _Account(told, frame, limit, own.spent_usd, own.held_usd + inside, own.assumed_usd)
        yield from self.of_the_run()

    def of_the_run(self) -> Iterator[_Account]:
        """The budgets from which every attempt is paid: the run's own, and those that others spend from as well."""
        run, root = self.state.spending, self.state.root
        held = run.held_usd + sum(self.granted.values()) + self.others.nested_usd
        if run.limit_usd is not None:
            yield _Account(f"{OWN_BUDGET} of {dollars(run.limit_usd)}", root, run.limit_usd, run.spent_usd, held, run.assumed_usd)
        for pot in self.others.pots:
            # Of a day, runs inside of this one are among the others.
            spent = run.spent_on(int(self.now // DAY_SECONDS)) if pot.today else run.spent_usd
            own = held - self.others.nested_usd if pot.today else held
            yield _Account(pot.told, root, pot.limit_usd, pot.spent_usd + spent, pot.held_usd + own)


def used_share(state: State, task: Task) -> float:
    """What the last attempt of a task was allowed, where that was a share of a budget, less than its own cap, and it has used it up: then
    another one needs more. Else 0."""
    last = task.last
    if last is None or last.finished is None or last.finished.error_kind != "budget" or last.started.budget_usd is None:
        return 0.0
    if len(task.attempts) <= task.counted_from:
        return 0.0
    cap = state.steps[task.step].plan.max_budget_usd
    return 0.0 if cap is not None and last.started.budget_usd >= cap else last.started.budget_usd


def out_for_good(state: State, task: Task) -> Empty | None:
    """Why another attempt of a task that has used up its share will not get more, even when all that run have ended; None where it may."""
    least = used_share(state, task)
    for account in Purse(state, NOBODY, 0.0).accounts(task) if least else ():
        most = replace(account, held_usd=0.0)
        if most.rest_usd <= least + LEAST_USD:
            return most.empty(task, least)
    return None


def without_money(state: State, task: Task) -> Iterator[events.Event]:
    """An attempt that used up all that is left of a budget ends what that is the budget of."""
    empty = out_for_good(state, task)
    if empty is not None and empty.frame.stopping is None and not empty.frame.main_ended:
        yield events.RunStopping("budget", empty.reason, frame=empty.frame.id)


def out_of_budget(state: State, task: Task, empty: Empty) -> Iterator[events.Event]:
    """There is nothing for a task that could start. What runs comes to its end, and nothing new starts. In `finally`, or where that is known already, only the task fails."""
    frame = empty.frame
    ends_here = frame.stopping is None and not frame.main_ended
    if ends_here:
        yield events.RunStopping("budget", empty.reason, frame=frame.id)
    if used_share(state, task):
        finished = task.attempts[-1].finished
        yield events.TaskClosed(task.id, "failed", (finished.reason if finished else "") or "budget")
    elif not ends_here:
        yield events.TaskClosed(task.id, "failed", f"budget: {empty.reason}", error=empty.reason)


def affordable(state: State, usd: float, others: Others, now: float) -> bool:
    """Whether what others have left is still enough for attempts of this run that would spend this much together."""
    return all(account.rest_usd >= usd - LEAST_USD for account in Purse(state, others, now).of_the_run())


class _Rivals:
    """Counts the agent tasks that could run at the same time as another. `granted`: tasks that have their share already."""

    def __init__(self, state: State, granted: dict[str, float]) -> None:
        self._state = state
        spending = [name for name, task in state.running.items() if task.attempts[-1].started.agent is not None]
        served = {around.id: around for name in (*spending, *granted) for around in _with_owners(state.tasks[name])}
        self._served = frozenset(served)
        self._served_of = Counter(task.step for task in served.values())

    def beside(self, task: Task, most: int) -> int:
        """How many there are, counted up to `most`."""
        found = 0
        around: Task | None = task
        while around is not None and found < most:
            step = self._state.steps[around.step]
            found += self._unserved(step, most, around) + self._in_other_steps(step, most)
            around = around.within.owner
        return min(found, most)

    def _in_other_steps(self, step: StepState, most: int) -> int:
        """Of the steps of the same frame that need not wait for this one, and of each chain of them only the first."""
        frame = step.frame
        if frame.plan.grow is not None:
            return self._in_other_work(step, most)
        after = frame.plan.downstream([step.plan.name])
        beside = {
            name
            for name, other in frame.steps.items()
            if other is not step and not other.ended and other.plan.has_agents and name not in after and other.plan.phase == step.plan.phase
        }
        first = beside - frame.plan.downstream(beside)
        return sum(self._unserved(frame.steps[name], most) for name in first)

    def _in_other_work(self, step: StepState, most: int) -> int:
        """The same in a pool, whose steps wait for nobody; there may be very many of them."""
        found = 0
        for other in step.frame.steps.values():
            if found >= most:
                break
            if other is not step and not other.ended and other.plan.has_agents:
                found += self._unserved(other, most)
        return found

    def _unserved(self, step: StepState, most: int, but: Task | None = None) -> int:
        """Tasks of a step that have not begun to spend."""
        if not step.opened:
            return most if step.plan.fans_out else 1
        count = sum(number for status, number in step.counts.items() if status not in ENDED) - self._served_of[step.id]
        count -= but is not None and but.id not in self._served
        parallel = step.plan.max_parallel
        return count if parallel is None else min(count, max(0, parallel - (but is not None)))


def _with_owners(task: Task) -> Iterator[Task]:
    around: Task | None = task
    while around is not None:
        yield around
        around = around.within.owner
