"""What a resume, or a rerun, puts back among the tasks of a run: what failed or was cancelled, what was skipped for it, and `finally`.

What has finished well stays as it is. The counters are to be recounted afterwards.
"""

from __future__ import annotations

from cpool_flow.bookkeeping import Bookkeeping
from cpool_flow.tasks import NOT_CHOSEN, Frame, StepState


def reopen(books: Bookkeeping, frame: Frame, at: float, known: frozenset[str] = frozenset()) -> None:
    """Put back, in a frame, what failed or was cancelled, what was skipped for it, and all of `finally`. `at`: seconds since the epoch;
    `known`: ids of steps that stay as they ended."""
    frame.stopping = None
    frame.started_at = at
    if frame.owner is not None:
        frame.spending.renew()
    if frame.deadline is not None:
        books.timed_frames[frame.id] = frame
    again = {name for name, step in frame.steps.items() if step.plan.phase == "finally" or not step.ended or step.went_wrong}
    skipped = {name for name, step in frame.steps.items() if step.status == "skipped" and step.reason != NOT_CHOSEN}
    again -= {name for name, step in frame.steps.items() if step.id in known}
    again |= frame.plan.downstream(again) & skipped
    for name in again:
        reopen_step(books, frame.steps[name], at, known)


def reopen_step(books: Bookkeeping, step: StepState, at: float, known: frozenset[str] = frozenset()) -> None:
    """Put one step back. What holds steps keeps those in it that have ended well, and those that are `known`, by their ids."""
    step.reason, step.error, step.ended_at = "", "", None
    if step.plan.inner is not None and step.opened and step.plan.phase != "finally":
        _go_on_inside(books, step, at, known)
    else:
        _begin_anew(books, step)


def _begin_anew(books: Bookkeeping, step: StepState) -> None:
    step.status, step.opened = "pending", False
    for task in step.tasks:
        if not task.settled or step.plan.phase == "finally":
            books.forget_task(task)
            _abandon(books, task.frame)
            task.status, task.reason, task.decision, task.failure, task.left = "pending", "", None, "", None
            task.next_kind, task.counted_from = "normal", len(task.attempts) + len(task.rounds)
            task.seen.clear()
            if task.place is not None and step.plan.phase == "finally":
                task.place.done = False


def _go_on_inside(books: Bookkeeping, step: StepState, at: float, known: frozenset[str]) -> None:
    """What holds steps goes on inside; a loop that came to its end in vain begins anew."""
    step.status = "running"
    for task in step.tasks:
        if task.settled:
            continue
        frame = task.frame
        if task.place is not None and task.place.done:
            task.status, task.failure = "waiting", ""
            books.merging[task.id] = task
            continue
        task.reason, task.failure, task.left = "", "", None
        if frame is None or (step.plan.step.repeat is not None and frame.all_ended and not frame.bad_steps()):
            task.status, task.counted_from = "ready", len(task.rounds)
            task.seen.clear()
        else:
            task.status = "running"
            reopen(books, frame, at, known)


def _abandon(books: Bookkeeping, frame: Frame | None) -> None:
    """Nothing in a round that is not gone on with counts any more."""
    if frame is None:
        return
    for step in books.inside(frame):
        step.status = "cancelled"
        for task in step.tasks:
            if not task.ended:
                books.forget_task(task)
                task.status = "cancelled"
            if task.frame is not None:
                books.forget_frame(task.frame)
    books.forget_frame(frame)
