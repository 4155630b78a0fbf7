"""What a new run takes over from an old one: the facts of the steps that it does not do again, and the files it begins with.

Pure: reads the old run's journal and plan. The new run's state stays the fold of its own journal, in which those facts stand first,
and after them `ResultsTaken`. Knows no folder and no git.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, listed
from cpool_flow.model import Session
from cpool_flow.plan import Plan, PlannedStep
from cpool_flow.state import State
from cpool_flow.tasks import NOT_CHOSEN, SKIPPED_BY_WHEN, StepState, Task, seen

Fact = tuple[events.Event, float]
Journal = Sequence[Fact]
_LOST = "the run that is taken over ended while it ran"


@dataclass(frozen=True)
class Takeover:
    """`facts`: events with their times, for the new journal. `steps`: those whose results are taken over, `partly`: those of which only
    what succeeded is, and what is `known`, by the ids of steps, to have ended badly. The new run begins with the files of `tree`, on top of
    `commit`; None: those of the commit, the run's base."""

    facts: tuple[Fact, ...] = ()
    steps: tuple[str, ...] = ()
    partly: tuple[str, ...] = ()
    known: tuple[str, ...] = ()
    commit: str | None = None
    tree: str | None = None


def from_the_start(plan: Plan, journal: Journal, *, changed_before: bool) -> Takeover:
    """Nothing but what was never meant to run. `changed_before`: the old run began with uncommitted files, so its base alone is not
    what it began with."""
    first = next((event for event, _ in journal if isinstance(event, events.AttemptStarted)), None)
    left_out = _left_out(_folded(plan, journal))
    return Takeover(tuple(_facts(journal, left_out)), tree=first.tree if first is not None and changed_before else None)


def up_to(plan: Plan, journal: Journal, name: str, run_id: str) -> Takeover:
    """Everything that had ended when `name` began first, but for what comes after it: a step, an item, or a step within. Raises
    InvalidInput."""
    _check_name(plan, journal, name, run_id)
    cut = _beginning(journal, name)
    if cut is None:
        raise _not_reached(plan, journal, name, run_id)
    before, root = _finished(journal[:cut]), _root(name)
    state = _folded(plan, before)
    again = {root, *plan.downstream([root]), *_enders(state)} - _left_out(state)
    upstream = _upstream(plan, root)
    taken = [step.plan.name for step in _main(state) if step.ended and step.plan.name not in again and _counts(step, upstream)]
    partly = [root] if name != root and _holds_results(state.root.steps[root]) else []
    began = journal[cut][0]
    tree = began.tree if isinstance(began, events.AttemptStarted) else None
    return _taken(plan, state, before, taken, partly, _commit(before), tree, run_id, known=tuple(_known(state, name)) if partly else ())


def without_failed(plan: Plan, journal: Journal, run_id: str) -> Takeover:
    """Everything but the steps that failed, or did not end, and those that depend on them. Raises InvalidInput where none did."""
    state = _folded(plan, journal)
    bad = {step.plan.name for step in _main(state) if not step.ended or step.went_wrong}
    bad |= set(_enders(state)) if state.status == "failed" or bad else set()
    if not bad and not any(step.went_wrong for step in state.root.steps.values()):
        raise InvalidInput(f"no step of run `{run_id}` has failed", help=f"all of it again: cpool-flow rerun {run_id}")
    after = plan.downstream(bad) - _left_out(state)
    taken = [step.plan.name for step in _main(state) if step.ended and step.plan.name not in bad | after]
    partly = [name for name in plan.steps if name in bad - after and _holds_results(state.root.steps[name])]
    return _taken(plan, state, journal, taken, partly, *_files(journal, bad, taken, partly), run_id)


def _taken(
    plan: Plan,
    old: State,
    journal: Journal,
    steps: Sequence[str],
    partly: Sequence[str],
    commit: str | None,
    tree: str | None,
    run_id: str,
    known: tuple[str, ...] = (),
) -> Takeover:
    """The facts of these steps in the `journal`, whose fold is `old`. What ran in those of which a part is taken over is lost. Raises
    InvalidInput."""
    unmerged = _unmerged(old, partly)
    facts = [(event, at) for event, at in _facts(journal, [*steps, *partly]) if not _is_undone(event, unmerged)]
    state = _folded(plan, [journal[0], *facts]) if partly else None
    if state is not None:
        facts += _lost(state, journal[-1][1])
    return _checked(plan, Takeover(tuple(facts), tuple(steps), tuple(partly), known, commit, tree), run_id, state)


# ---- which steps --------------------------------------------------------------------------------------------


def _main(state: State) -> Iterator[StepState]:
    return (step for step in state.root.steps.values() if step.plan.phase == "main")


def _left_out(state: State) -> set[str]:
    """What `--only` has not chosen stays left out."""
    return {step.plan.name for step in _main(state) if step.status == "skipped" and step.reason == NOT_CHOSEN}


def _counts(step: StepState, upstream: set[str]) -> bool:
    """A failure is no result, but where the step was to know of it."""
    return step.ended_well or step.plan.name in upstream


def _upstream(plan: Plan, name: str) -> set[str]:
    return {step.name for step in plan if name in plan.downstream([step.name])}


def _known(state: State, name: str) -> Iterator[str]:
    """The steps within that ended badly before `name`, and that it was to know of, or what it stands in."""
    task = state.tasks.get(name)
    step = state.steps[task.step] if task is not None and name not in state.steps else state.steps[name]
    while step.frame.owner is not None:
        upstream = _upstream(step.frame.plan, step.plan.name)
        yield from (each.id for each in step.frame.steps.values() if each.plan.name in upstream and each.went_wrong)
        step = state.steps[step.frame.owner.step]


def _enders(state: State) -> list[str]:
    """The steps that have ended the whole run early: taken over, they would end the new one as well."""
    ended = state.stopping is not None and state.stopping.cause == "end"
    return [step.plan.name for step in _main(state) if ended and any(_ends_the_run(state, task) for task in step.tasks)]


def _ends_the_run(state: State, task: Task) -> bool:
    """Whether it is, or holds, the end of the run; that of a sub-workflow is its own matter."""
    if task.status == "success" and state.steps[task.step].plan.step.end is not None:
        return True
    frames = (frame for frame in task.rounds if not frame.plan.is_workflow)
    return any(_ends_the_run(state, inside) for frame in frames for step in frame.steps.values() for inside in step.tasks)


def _holds_results(step: StepState) -> bool:
    return (step.plan.fans_out or step.plan.inner is not None) and any(task.settled or task.rounds for task in step.tasks)


def _check_name(plan: Plan, journal: Journal, name: str, run_id: str) -> None:
    known = [step.name for step in plan.phase("main")]
    if name in known:
        return
    if name in plan.steps:
        raise InvalidInput(f"step `{name}` is in `finally`: it runs at the end of every run", help=f"a step of {listed(known)}")
    state = _folded(plan, journal)
    inside = [each for each in (*state.steps, *state.tasks) if _root(each) in known]
    if name in inside:
        return
    hint = did_you_mean(name, [*known, *inside])
    raise InvalidInput(Problem(f"run `{run_id}` has no step `{name[:80]}`", hint=hint, help=None if hint else f"it has {listed(known)}"))


def _not_reached(plan: Plan, journal: Journal, name: str, run_id: str) -> InvalidInput:
    state = _folded(plan, journal)
    step = state.steps.get(name) or state.tasks[name]
    why = f" ({step.status}{f': {step.reason}' if step.reason else ''})" if step.ended else ""
    help = f"begin with what went wrong: cpool-flow rerun {run_id} --failed"
    return InvalidInput(f"run `{run_id}` has not come to step `{name}`{why}: there is nothing that it saw", help=help)


def _checked(plan: Plan, found: Takeover, run_id: str, state: State | None = None) -> Takeover:
    """Raises InvalidInput where a step would go on in the session of one that is taken over: sessions belong to their run. `state`: of
    the facts, where steps are taken over in part."""
    for step in plan:
        if step.name not in found.steps:
            for each in step.everything():
                if (source := _session_source(each)) in found.steps:
                    raise _foreign_session(each.name, source, run_id)
    for inner in state.steps.values() if state is not None else ():
        if _root(inner.id) in found.partly and not inner.ended and (name := _session_source(inner.plan)):
            source_step = seen(inner.frame, name)
            if source_step is not None and source_step.ended_well:
                raise _foreign_session(inner.id, source_step.id, run_id)
    return found


def _session_source(step: PlannedStep) -> str:
    """The step in whose session this one goes on; empty where it begins one."""
    session = step.step.session
    return (session.continue_ or session.fork or "") if isinstance(session, Session) else ""


def _foreign_session(name: str, source: str, run_id: str) -> InvalidInput:
    message = f"step `{name}` goes on in the session of `{source}`, which belongs to run `{run_id}`"
    return InvalidInput(message, help=f"begin there: cpool-flow rerun {run_id} --from {source}")


# ---- which facts --------------------------------------------------------------------------------------------


def _facts(journal: Journal, steps: Iterable[str]) -> Iterator[Fact]:
    """What was recorded of these steps of the run, and of all inside of them."""
    chosen = frozenset(steps)
    for event, at in journal:
        match event:
            case events.RunResumed(reopen=True):
                yield replace(event, mark="", budget_usd=None), at  # what follows is of another life
            case events.PlaceCommitted():
                tasks = tuple(task for task in event.tasks if _root(task) in chosen)
                if tasks:
                    yield replace(event, tasks=tasks), at
            case _ if _root(_subject(event)) in chosen:
                yield event, at


def _unmerged(state: State, partly: Sequence[str]) -> tuple[str, ...]:
    """The items whose work is on a branch of the old run alone: nothing of it can be taken over."""
    places = [(task, task.place) for task in state.tasks.values() if task.place is not None and _root(task.id) in partly]
    lost = [task for task, place in places if place.merged is None and (place.done or task.status != "success")]
    return tuple(task.id for task in lost if not any(around.settled for around in _around(task)))


def _around(task: Task) -> Iterator[Task]:
    """The tasks that a task is a part of, the innermost first."""
    while task.within.owner is not None:
        task = task.within.owner
        yield task


def _is_undone(event: events.Event, tasks: Sequence[str]) -> bool:
    """Whether it is a fact of one of these tasks, or says that one around them has ended: it has not, without them."""
    subject = _subject(event)
    if isinstance(event, events.RoundFinished | events.TaskClosed | events.StepClosed) and any(_is_in(task, subject) for task in tasks):
        return True
    return any(_is_in(subject, task) for task in tasks)


def _is_in(identity: str, task: str) -> bool:
    """Whether a task or step is another one, or a part of it."""
    return identity == task or identity.startswith((f"{task}/", f"{task}[", f"{task}#"))


def _subject(event: events.Event) -> str:
    """The id of the task, step or frame that an event is about; empty for the run itself."""
    return str(getattr(event, "task", None) or getattr(event, "step", None) or getattr(event, "frame", None) or "")


def _root(identity: str) -> str:
    """The step of the run that a task or step belongs to: `fix` for `fix[2]/test`."""
    return re.split(r"[\[/#]", identity, maxsplit=1)[0]


def _beginning(journal: Journal, name: str) -> int | None:
    """Where the first attempt of a step, or in a step, stands; without any, where it was opened, or skipped by its own `when`."""
    opened = None
    for index, (event, _) in enumerate(journal):
        if isinstance(event, events.AttemptStarted) and _is_in(event.task, name):
            return index
        by_itself = isinstance(event, events.StepClosed) and (event.reason == SKIPPED_BY_WHEN or event.status == "failed")
        if opened is None and (by_itself or isinstance(event, events.StepOpened)) and _subject(event) == name:
            opened = index
    return opened


def _finished(journal: Journal) -> Journal:
    """Without the attempts that ran at its end: they are made anew."""
    ended = {(event.task, event.number) for event, _ in journal if isinstance(event, events.AttemptFinished)}
    return [(event, at) for event, at in journal if not isinstance(event, events.AttemptStarted) or (event.task, event.number) in ended]


def _lost(state: State, at: float) -> Iterator[Fact]:
    for task in state.running.values():
        number = task.attempts[-1].started.number
        yield events.AttemptFinished(task.id, number, "lost", error=_LOST, reason=_LOST, interrupted=True), at


def _folded(plan: Plan, journal: Journal) -> State:
    state = State(plan)
    for event, at in journal:
        state.apply(event, at)
    return state


# ---- which files --------------------------------------------------------------------------------------------


def _commit(journal: Journal) -> str | None:
    """The newest on the run's own branch."""
    for event, _ in reversed(journal):
        match event:
            case events.PlaceCommitted(task="") | events.PlaceClosed(task="") | events.PlaceMerged(into="") if event.commit:
                return event.commit
    return None


def _files(journal: Journal, bad: set[str], taken: Sequence[str], partly: Sequence[str]) -> tuple[str | None, str | None]:
    """Commit and tree: what the first step that failed saw. Where something is taken over that was done after that, what the run left."""
    for index, (event, _) in enumerate(journal):
        if isinstance(event, events.AttemptStarted) and _root(event.task) in bad:
            later = [each for each, _ in journal[index:] if isinstance(each, events.PlaceCommitted)]
            mixed = any(_root(task) in taken for each in later for task in each.tasks)
            return (_commit(journal), None) if partly or mixed else (_commit(journal[:index]), event.tree)
    return _commit(journal), None
