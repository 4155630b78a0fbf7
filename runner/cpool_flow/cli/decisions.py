"""`--decide STEP=rerun|skip|fail`: what a person says of steps that may have happened when the coordinator died."""

from __future__ import annotations

from cpool_flow.errors import InvalidInput, did_you_mean
from cpool_flow.events import Choice
from cpool_flow.state import State
from cpool_flow.tasks import Task

CHOICES: dict[str, Choice] = {"rerun": "rerun", "skip": "skip", "fail": "fail"}


def check_decisions(given: tuple[str, ...], state: State) -> None:
    """Raises InvalidInput for what is no decision, or of no step of the run: also where the run has none to make."""
    known = [*state.steps, *state.tasks]
    for text in given:
        name, _, word = text.rpartition("=")
        if word not in CHOICES:
            raise InvalidInput(f"`--decide {text}`: a decision is `rerun`, `skip` or `fail`", help=f"--decide {name or text}=rerun")
        if name not in known:
            near = did_you_mean(name, known)
            raise InvalidInput(f"`--decide {text}`: the run has no step `{name}`{f', {near}' if near else ''}")


def chosen_decisions(given: tuple[str, ...], state: State) -> dict[str, Choice]:
    """The choice for each task, of decisions that were checked; a step that fans out means all its items that are in question. Raises
    InvalidInput for a step that is not."""
    open_tasks = [task for task in state.tasks.values() if _in_question(task, state)]
    chosen: dict[str, Choice] = {}
    for text in given:
        name, _, word = text.rpartition("=")
        meant = [task.id for task in open_tasks if name in (task.id, task.step)]
        if not meant:
            waiting = ", ".join(f"`{task.id}`" for task in sorted(open_tasks, key=lambda task: task.id))
            help = f"waiting: {waiting}" if waiting else "no step of the run does"
            raise InvalidInput(f"`--decide {text}`: step `{name}` waits for no decision", help=help)
        chosen |= dict.fromkeys(meant, CHOICES[word])
    return chosen


def _in_question(task: Task, state: State) -> bool:
    """Whether its effects outside may be there: it was at work when its coordinator died, and nobody has decided."""
    last = task.last
    if last is None or task.settled or state.steps[task.step].plan.effects != "external":
        return False
    return last.finished is None or last.finished.interrupted
