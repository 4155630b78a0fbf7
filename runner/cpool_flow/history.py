"""A run read back from its folder: the fold of its journal. What `status`, `logs` and `resume` start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cpool_flow import inputs as run_inputs
from cpool_flow.dataclass import dataclass
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


class Watched:
    """A run that others work on, read on as it goes. Its `state` takes in what was recorded since the last time. To be closed."""

    def __init__(self, folder: RunFolder) -> None:
        """Nothing is read yet. Raises InvalidInput where the run cannot be read."""
        self.folder = folder
        self.inputs = run_inputs.load(folder)
        self.state = State(self.inputs.plan)
        self._journal = Journal.open(folder.path)
        self._seq = 0

    def read_on(self) -> list[Recorded]:
        """What was recorded since the last time. Raises InvalidInput where it does not fit together."""
        found = list(_taken_in(self.state, self._journal, self._seq))
        self._seq = found[-1].seq if found else self._seq
        return found

    @property
    def has_more(self) -> bool:
        """Whether anything was written since the last time that this was asked. Cheap."""
        return self._journal.changed()

    def close(self) -> None:
        self._journal.close()


def fold(plan: Plan, journal: Journal) -> State:
    """The state that the events of a journal make. Raises InvalidInput where they do not fit together."""
    state = State(plan)
    for _ in _taken_in(state, journal, 0):
        pass
    if state.created is None:
        raise InvalidInput(f"`{journal.path.parent.name}` was never started")
    return state


def _taken_in(state: State, journal: Journal, seq: int) -> Iterator[Recorded]:
    """What was recorded after number `seq`, each event when the state has taken it in."""
    try:
        for entry in journal.read(seq):
            state.apply(entry.event, entry.at)
            seq = entry.seq
            yield entry
    except (KeyError, IndexError, ValueError, TypeError, AttributeError, AssertionError) as error:
        raise InvalidInput(f"the journal `{journal.path}` is damaged: event {seq + 1} does not follow from those before it") from error
