"""A run read back from its folder: the fold of its journal. What `status`, `logs` and `resume` start from."""

from __future__ import annotations

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
        return Result(self.state, self.folder.load, self.inputs.args, self.folder.find).document()


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


def fold(plan: Plan, journal: Journal) -> State:
    """The state that the events of a journal make. Raises InvalidInput where they do not fit together."""
    state = State(plan)
    seq = 0
    try:
        for entry in journal.read():
            state.apply(entry.event, entry.at)
            seq = entry.seq
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidInput(f"the journal `{journal.path}` is damaged: event {seq + 1} does not follow from those before it") from error
    if state.created is None:
        raise InvalidInput(f"`{journal.path.parent.name}` was never started")
    return state
