"""`--decide STEP=rerun|skip|fail`: what a person says of steps that may have happened when the coordinator died."""

from __future__ import annotations

from cpool_flow.errors import InvalidInput, did_you_mean
from cpool_flow.events import Choice
from cpool_flow.state import State
from cpool_flow.tasks import Task

CHOICES: dict[str, Choice] = {"rerun": "rerun", "skip": "skip", "fail": "fail"}


def chosen_decisions(given: tuple[str, ...], state: State) -> dict[str, Choice]:
    """The choice for each task; a step that fans out means all its items that are in question. Raises InvalidInput."""
    open_tasks = {task.id: task for task in state.tasks.values() if _in_question(task, state)}
    chosen: dict[str, Choice] = {}
    for text in given:
        name, _, word = text.rpartition("=")
        if word not in CHOICES:
            raise InvalidInput(f"`--decide {text}`: a decision is `rerun`, `skip` or `fail`", help=f"--decide {name or text}=rerun")
        meant = [task.id for task in open_tasks.values() if name in (task.id, task.step)]
        if not meant:
            raise _no_question(text, name, open_tasks, state)
        chosen |= dict.fromkeys(meant, CHOICES[word])
    return chosen


def _in_question(task: Task, state: State) -> bool:
    """Whether its effects outside may be there: it was at work when its coordinator died, and nobody has decided."""
    last = task.last
    if last is None or task.settled or state.steps[task.step].plan.effects != "external":
        return False
    return last.finished is None or last.finished.interrupted


def _no_question(text: str, name: str, open_tasks: dict[str, Task], state: State) -> InvalidInput:
    known = [*state.steps, *state.tasks]
    if name not in known:
        near = did_you_mean(name, known)
        return InvalidInput(f"`--decide {text}`: the run has no step `{name}`{f', {near}' if near else ''}")
    waiting = ", ".join(f"`{task}`" for task in sorted(open_tasks))
    return InvalidInput(
        f"`--decide {text}`: step `{name}` waits for no decision", help=f"waiting: {waiting}" if waiting else "no step of the run does"
    )
