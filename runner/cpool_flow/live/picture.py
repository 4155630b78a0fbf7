"""What a run looks like at a moment on a screen of a size: lines of the tree, then one of totals.

Pure: the moment, the size and the last lines of the logs come in as values. Text of agents and commands is data: control characters are
shown, and nothing in it is markup.
"""

from __future__ import annotations

from collections.abc import Callable

from rich.cells import cell_len
from rich.text import Text

from cpool_flow.cli.summary import approve_command, clock_time, spent, took
from cpool_flow.errors import printable
from cpool_flow.live.tree import Fitting, Row, fitting, rows
from cpool_flow.model import duration_text
from cpool_flow.spending import dollars
from cpool_flow.state import State
from cpool_flow.tasks import Task

STYLES = {
    "running": "cyan",
    "success": "green",
    "failed": "red",
    "waiting": "yellow",
    "cancelled": "yellow",
    "skipped": "dim",
    "ready": "dim",
    "pending": "dim",
}
# Of a last line of output; a screen is hardly wider.
MOST_CHARACTERS = 400
LEAST_NAME, STATUS = 16, 9

# The last line that a running task has printed, or nothing.
Said = Callable[[Task], str]


def picture(state: State, now: float, width: int, height: int, said: Said, *, last: bool = False) -> list[Text]:
    """At most `height` lines of at most `width` cells. `now` is in seconds since the epoch. `last`: nothing goes on any more, and the
    totals are said elsewhere."""
    below = [] if last else [*_limits(state, now), _totals(state, now)]
    shown = fitting(rows(state), height - len(below))
    names = _name_width(shown, width)
    lines = [_line(row, names, state, now, said) for row in shown.rows]
    if shown.hidden:
        lines.append(Text(f"  … {_counted(shown)}", "dim"))
    lines += below
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return lines[-height:]


def _name_width(shown: Fitting, width: int) -> int:
    longest = max((cell_len(_indented(row)) for row in shown.rows), default=0)
    return max(min(longest, width // 3), LEAST_NAME)


def _indented(row: Row) -> str:
    return f"{'  ' * (row.depth + 1)}{printable(row.name)}"


def _line(row: Row, names: int, state: State, now: float, said: Said) -> Text:
    name = Text(_indented(row))
    name.truncate(names, overflow="ellipsis", pad=True)
    style = STYLES.get(row.status, "")
    line = Text.assemble(name, "  ", (f"{row.status:<{STATUS}}", style))
    details = " · ".join(detail for detail in _details(row, state, now) if detail)
    if details:
        line.append(f"  {_one_line(details)}", "dim" if style == "dim" else "")
    last = _one_line(said(row.task)) if row.task is not None and row.task.id in state.running else ""
    if last:
        line.append(f"  {last}", "dim")
    return line


def _details(row: Row, state: State, now: float) -> list[str]:
    step, task = row.step, row.task
    if task is None:
        done = f"{step.counts['success']}/{len(step.tasks)}" if step.tasks else ""
        return [done, _time(step.started_at, step.ended_at, now), _cost(step.tasks), step.reason if step.ended else ""]
    if task.id in state.running:
        return [_time(task.attempts[-1].started_at, None, now), *_attempt(task), _cost([task])]
    if task.status == "waiting":
        return [_waits_for(task, state, now), _cost([task])]
    began, ended = _span(row)
    return [_time(began, ended, now), _round(task), *_tries(task), _cost([task]), task.reason if task.ended else ""]


def _attempt(task: Task) -> list[str]:
    started = task.attempts[-1].started
    how = "recovery" if started.kind != "normal" else f"attempt {started.number}" if started.number > 1 else ""
    return [how, started.slot or "", started.agent or ""]


def _tries(task: Task) -> list[str]:
    recovered = task.status == "success" and task.attempts and task.attempts[-1].started.kind != "normal"
    return [*([f"{len(task.attempts)} attempts"] if len(task.attempts) > 1 else []), *(["recovered"] if recovered else [])]


def _round(task: Task) -> str:
    return f"round {task.rounds[-1].number}" if task.rounds and task.rounds[-1].number > 1 else ""


def _span(row: Row) -> tuple[float | None, float | None]:
    """From when to when: a step as a whole, an item from its first attempt or round to its last."""
    if row.task is None or not row.step.plan.fans_out:
        return row.step.started_at, row.step.ended_at
    attempts, rounds = row.task.attempts, row.task.rounds
    began = attempts[0].started_at if attempts else rounds[0].started_at if rounds else None
    return began, attempts[-1].ended_at if attempts and row.task.ended else None


def _waits_for(task: Task, state: State, now: float) -> str:
    if task.id in state.approvals:
        return f"for approval: {approve_command(state, task.id)}"
    if task.id in state.merging:
        return "to be merged"
    if task.id in state.asking:
        return "for a decision: it may have happened before the crash"
    again = f" · again in {_whole(task.retry_at - now)}" if task.retry_at > now else ""
    return f"{task.reason}{again}"


def _time(began: float | None, ended: float | None, now: float) -> str:
    if began is None:
        return ""
    return took(ended - began) if ended is not None else _whole(now - began)


def _whole(seconds: float) -> str:
    """A time that goes on changing, in whole seconds."""
    return duration_text(max(int(seconds), 0)) if seconds >= 1 else "0s"


def _cost(tasks: list[Task]) -> str:
    usd = sum(attempt.finished.cost_usd or 0.0 for task in tasks for attempt in task.all_attempts() if attempt.finished is not None)
    return dollars(usd) if usd else ""


def _counted(shown: Fitting) -> str:
    parts = ", ".join(f"{count} {status}" for status, count in shown.hidden.most_common())
    return f"{shown.hidden.total()} more: {parts}"


def _limits(state: State, now: float) -> list[Text]:
    return [
        Text(f"{agent} is at its usage limit: resumes {clock_time(until, now)}", STYLES["waiting"]) for agent, until in state.parked.items()
    ]


def _totals(state: State, now: float) -> Text:
    steps = state.root.steps.values()
    failed = sum(step.status == "failed" for step in steps)
    parts = [
        "stopping" if state.stopping and not state.finished else "",
        f"{sum(step.ended for step in steps)}/{len(steps)} steps",
        f"{failed} failed" if failed else "",
        f"{len(state.slots)}/{len(state.slot_order)} slots busy",
        *spent(state),
        _whole(now - state.started_at),
    ]
    return Text(" · ".join(part for part in parts if part), "bold")


def _one_line(text: str) -> str:
    return printable(" ".join(text[:MOST_CHARACTERS].split()))
