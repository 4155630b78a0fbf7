"""What became of a run, for people: failures with their last output, one line of totals, and what to do next.

Computed from the state alone, so it also tells of a run that ended long ago.
"""

from __future__ import annotations

import time
from datetime import datetime
from shlex import quote

from cpool_flow.model import duration_text
from cpool_flow.spending import OWN_BUDGET, dollars
from cpool_flow.state import State
from cpool_flow.tasks import StepState, Task

SHOWN_ERROR_LINES = 12
SHOWN_ITEMS = 3
INTERRUPTED = "interrupted: nobody works on it any more"


def summary_lines(state: State, *, quiet: bool = False, alive: bool = False, answered: frozenset[str] = frozenset()) -> list[str]:
    """The shortest answer first: failures, then totals, then commands. `alive`: somebody works on the run. `answered`: tasks whose
    answer the run has not heard yet."""
    lines = [line for step in state.failed_steps() for line in failure_lines(step)]
    if quiet and state.status == "success":
        return lines
    interrupted = state.status == "running" and not alive
    lines.append(f"{INTERRUPTED if interrupted else _verdict(state)} · {totals(state, state.ended_at, interrupted=interrupted)}")
    lines += _place_lines(state)
    lines += limit_lines(state) if not state.finished else []
    asking = [task for name, task in state.approvals.items() if name not in answered]
    lines += [line for task in asking for line in question_lines(task)]
    lines += [f"answered: {', '.join(f'`{name}`' for name in state.approvals if name in answered)}"] if answered else []
    run_id = state.created.run_id if state.created else ""
    if asking and not alive:
        lines += [f"answer: {approve_command(state, task.id)} · then: cpool-flow resume {run_id}" for task in asking]
        return lines
    commands = next_commands(state, alive=alive, answered=answered)
    return [*lines, *([" · ".join(f"{what}: {command}" for what, command in commands)] if commands else [])]


def next_commands(state: State, *, alive: bool = False, answered: frozenset[str] = frozenset()) -> list[tuple[str, str]]:
    """What a person may do next, and the command for it."""
    run_id = state.created.run_id if state.created else ""
    asking = [task for name, task in state.approvals.items() if name not in answered]
    answers = [("answer", approve_command(state, task.id)) for task in asking]
    if alive:
        return [*answers, ("follow it", f"cpool-flow status {run_id} --watch"), ("stop it", f"cpool-flow cancel {run_id}")]
    if asking:
        return [*answers, ("then", f"cpool-flow resume {run_id}")]
    if state.status == "success":
        has_branch = state.place_closed is not None and state.place_closed.branch is not None
        return [("look", f"cpool-flow diff {run_id}"), ("take it over", f"cpool-flow merge {run_id}")] if has_branch else []
    return [("look", f"cpool-flow logs {run_id}"), ("go on", f"cpool-flow resume {run_id}{_decisions(state)}{_more_money(state)}")]


def question_lines(task: Task) -> list[str]:
    """What a person is asked."""
    asked = task.asked.text or "" if task.asked is not None else ""
    first, *more = asked.strip().split("\n")
    return [f"{task.id} asks: {first}", *(f"  {line}" for line in more[:SHOWN_ERROR_LINES])]


def approve_command(state: State, task: str) -> str:
    """The command that answers."""
    return f"cpool-flow approve {state.created.run_id if state.created else ''} {quote(task)}"


def totals(state: State, now: float | None, *, interrupted: bool = False) -> str:
    """`4/9 steps · 3 running · $0.84 · 2m10s`; `interrupted`: what ran does so no more."""
    steps = state.root.steps
    parts = [f"{sum(step.ended_well for step in steps.values())}/{len(steps)} steps"]
    if state.running:
        parts.append(f"{len(state.running)} {'cut off' if interrupted else 'running'}")
    parts += spent(state)
    if now is not None:
        parts.append(took(now - state.started_at))
    return " · ".join(parts)


def spent(state: State) -> list[str]:
    """`$0.84`, `at least $0.84 of $5.00`; nothing where there is neither a cost nor a budget."""
    limit = state.spending.limit_usd
    if not state.cost_usd and state.cost_known and limit is None:
        return []
    of = "" if limit is None else f" of {dollars(limit)}"
    return [f"{'' if state.cost_known else 'at least '}{dollars(state.cost_usd)}{of}"]


def limit_lines(state: State) -> list[str]:
    """`claude is at its usage limit: resumes 15:20`."""
    return [f"{agent} is at its usage limit: resumes {clock_time(until)}" for agent, until in state.parked.items()]


def clock_time(at: float, now: float | None = None) -> str:
    """A moment as people here write it: `15:20`, with the day where that is not today, with seconds where it is a minute away."""
    moment, today = datetime.fromtimestamp(at).astimezone(), datetime.fromtimestamp(now or time.time()).astimezone()
    soon = abs((moment - today).total_seconds()) < 60
    clock = moment.strftime("%H:%M:%S" if soon else "%H:%M")
    if moment.date() == today.date():
        return clock
    return f"{moment:%a} {moment.day} {moment:%b}{'' if moment.year == today.year else f' {moment.year}'} {clock}"


def took(seconds: float) -> str:
    """A time that was measured: `0.3s`, `2m10s`."""
    return f"{seconds:.1f}s" if seconds < 59.95 else duration_text(seconds)


def _verdict(state: State) -> str:
    """`failed: step `x` failed`; a reason that begins with the status says it all."""
    if not state.reason:
        return state.status
    return state.reason if state.reason.startswith((state.status, "waits")) else f"{state.status}: {state.reason}"


def failure_lines(step: StepState) -> list[str]:
    """Why a step has failed, with the end of what it printed."""
    if step.error:
        return [f"failed {step.id}: {step.error}"]
    failed = [task for task in step.tasks if task.status == "failed"]
    lines = [line for task in failed[:SHOWN_ITEMS] for line in _task_failure(task)]
    return [*lines, f"failed {step.id}: {len(failed) - SHOWN_ITEMS} more items"] if len(failed) > SHOWN_ITEMS else lines


def _task_failure(task: Task) -> list[str]:
    _, *output = task.error.strip().split("\n")
    if len(output) > SHOWN_ERROR_LINES:
        output = [f"… {len(output) - SHOWN_ERROR_LINES + 1} lines", *output[-SHOWN_ERROR_LINES + 1 :]]
    return [f"failed {task.id}: {task.reason}", *(f"    {line}" for line in output)]


def _place_lines(state: State) -> list[str]:
    closed = state.place_closed
    if closed is None:
        return []
    lines = [f"branch {closed.branch}"] if closed.branch else []
    lines += _item_branches(state)
    if closed.directory and closed.branch:
        lines.append(f"directory {closed.directory}")
    return [*lines, *([f"note: {closed.note}"] if closed.note else [])]


def _item_branches(state: State) -> list[str]:
    """The branches of items that are still there: what was not merged, or could not be removed."""
    places = [(task.id, task.place) for task in state.tasks.values() if task.place is not None]
    lines = [
        f"branch {place.closed.branch} · {name}, {'not merged' if place.merged is None else 'merged'}"
        + (f" · {place.closed.directory}" if place.closed.directory is not None else "")
        for name, place in places
        if place.closed is not None and place.closed.branch is not None
    ]
    return [*lines[:SHOWN_ITEMS], *([f"{len(lines) - SHOWN_ITEMS} more branches of items"] if len(lines) > SHOWN_ITEMS else [])]


def _more_money(state: State) -> str:
    """What a resume of a run that is out of its own budget needs."""
    limit = state.spending.limit_usd
    ran_out = state.stopping is not None and state.stopping.cause == "budget" and OWN_BUDGET in state.stopping.reason
    return f" --budget USD (more than {dollars(max(limit, state.spending.spent_usd))})" if ran_out and limit is not None else ""


def _decisions(state: State) -> str:
    if not state.asking:
        return ""
    return f"{''.join(f' --decide {task}=rerun' for task in state.asking)} (or =skip, =fail)"
