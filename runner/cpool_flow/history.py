"""A run read back from its folder: the fold of its journal. What `status`, `logs` and `resume` start from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cpool_flow import inputs as run_inputs
from cpool_flow.errors import InvalidInput
from cpool_flow.inputs import Inputs
from cpool_flow.journal import Journal, Recorded
from cpool_flow.plan import Plan
from cpool_flow.result import Result
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State


@dataclass(frozen=True)
class Run:
    """A run as its journal tells it."""

    folder: RunFolder
    inputs: Inputs
    state: State
    # Tasks that a person has answered, which the run has not heard yet.
    answered: frozenset[str] = frozenset()

    def document(self) -> dict[str, Any]:
        """The JSON document of `status --json`."""
        return Result(self.state, self.folder.load, self.inputs.args, self.folder.finder()).document()


def read(folder: RunFolder) -> Run:
    """The run in `folder` as it is now. Raises InvalidInput where it cannot be read."""
    inputs = run_inputs.load(folder)
    journal = Journal.open(folder.path)
    try:
        answered = frozenset(str(request.data.get("task")) for request in journal.requests() if request.type == "approve")
        return Run(folder, inputs, fold(inputs.plan, journal), answered)
    finally:
        journal.close()


def recorded(folder: RunFolder) -> list[Recorded]:
    """The events of the run in `folder`. Raises InvalidInput where they cannot be read."""
    journal = Journal.open(folder.path)
    try:
        return list(journal.read())
    finally:
        journal.close()


@contextmanager
def following(folder: RunFolder) -> Iterator[Followed]:
    """The run in `folder`, to be looked at again and again. Raises InvalidInput where it cannot be read."""
    plan = run_inputs.load(folder).plan
    journal = Journal.open(folder.path)
    try:
        yield Followed(journal, plan)
    finally:
        journal.close()


class Followed:
    """A run that goes on: what is new is read once, and added to what is known."""

    def __init__(self, journal: Journal, plan: Plan) -> None:
        self._journal = journal
        self._seq = 0
        self.state = State(plan)
        self.update()
        _check_started(self.state, journal)

    def update(self) -> list[Recorded]:
        """Take in what was recorded since, and say what that is."""
        new = list(_applied(self.state, self._journal, self._seq))
        self._seq = new[-1].seq if new else self._seq
        return new


def fold(plan: Plan, journal: Journal) -> State:
    """The state that the events of a journal make. Raises InvalidInput where they do not fit together."""
    state = State(plan)
    for _ in _applied(state, journal):
        pass
    _check_started(state, journal)
    return state


def _applied(state: State, journal: Journal, seq: int = 0) -> Iterator[Recorded]:
    """Apply the events after number `seq`."""
    try:
        for entry in journal.read(seq):
            state.apply(entry.event, entry.at)
            seq = entry.seq
            yield entry
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidInput(f"the journal `{journal.path}` is damaged: event {seq + 1} does not follow from those before it") from error


def _check_started(state: State, journal: Journal) -> None:
    if state.created is None:
        raise InvalidInput(f"`{journal.path.parent.name}` was never started")
