"""The slots of a run as locks, which runs that its steps start take from as well: together they never do more at once than the
outermost run has slots.

A run inside of a step works in the slot of that step, which waits for it, and in those that are free, of which the run gets one that
has the fewest. The kernel lets go of a slot however its coordinator ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import OperationFailed
from cpool_flow.family import outermost, parent_directory
from cpool_flow.journal import is_alive
from cpool_flow.run_folder import RunFolder
from cpool_flow.slot_wishes import Wishes

FOLDER = "slots"
VARIABLE = "CPOOL_SLOT_LOCK"


@dataclass(frozen=True, slots=True)
class Held:
    """A slot that is taken: its number among those of the outermost run, and its file."""

    number: int
    path: str


class SharedSlots:
    """The slots of one family of runs, as one of them sees them. `borrowed`: the slot of the step inside of which it runs."""

    def __init__(self, folder: Path, count: int, borrowed: Path | None = None) -> None:
        self._folder = folder
        self._count = count
        self._borrowed = borrowed
        self._open: dict[str, int] = {}  # by path; a file stays open from task to task
        self._taken: dict[str, int] = {}
        self._wishes = Wishes(folder)

    def take(self, task: str, preferred: int) -> Held | None:
        """A slot for a task, the `preferred` number if that is free; None where all are busy, or where a run waits that has fewer: then
        it is to be asked for again. Raises OperationFailed."""
        try:
            held = self._lent(task) or (None if self._wishes.come_first(len(self._taken)) else self._free(task, preferred))
            if held is None:
                self._wishes.wait(len(self._taken))
            else:
                self._wishes.withdraw()
            return held
        except OSError as error:
            raise OperationFailed(f"cannot write `{self._folder}`: {error.strerror}") from error

    def give_back(self, task: str) -> None:
        """Nothing where the task has none."""
        file = self._taken.pop(task, None)
        if file is not None:
            fcntl.flock(file, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give back all that is taken."""
        for file in self._open.values():
            os.close(file)
        self._open.clear()
        self._taken.clear()
        with suppress(OSError):
            self._wishes.withdraw()

    def _lent(self, task: str) -> Held | None:
        """The slot of the step inside of which we are: nobody but us wants it."""
        if self._borrowed is None or not _is_held(self._borrowed):
            return None
        return self._taken_by(task, int(self._borrowed.name.partition(".")[0]), f"{self._borrowed}.inside")

    def _free(self, task: str, preferred: int) -> Held | None:
        first = min(preferred, self._count)
        numbers = chain((first,), (number for number in range(1, self._count + 1) if number != first))  # mostly only the first is asked
        return next((held for number in numbers if (held := self._taken_by(task, number, f"{self._folder}/{number}"))), None)

    def _taken_by(self, task: str, number: int, path: str) -> Held | None:
        file = self._file(path)
        if file in self._taken.values() or not _lock(file):
            return None
        self._taken[task] = file
        return Held(number, path)

    def _file(self, path: str) -> int:
        file = self._open.get(path)
        if file is None:
            self._folder.mkdir(exist_ok=True)
            file = self._open[path] = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        return file


def shared_slots(folder: RunFolder, count: int, environment: Mapping[str, str]) -> SharedSlots:
    """The slots of a run: its own, or where a step of another run has started it, those of the outermost of these."""
    parent = parent_directory(environment)
    found = outermost(Path(parent)) if parent else None
    if found is None or not is_alive(found[0]):
        return SharedSlots(folder.path / FOLDER, count)
    around, created = found
    lock = Path(environment.get(VARIABLE, ""))
    return SharedSlots(around / FOLDER, created.slots, lock if lock.parent == around / FOLDER and lock.is_file() else None)


def _lock(file: int) -> bool:
    """Whether it is ours now; not while somebody else has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_held(path: Path) -> bool:
    """Whether the step is still there whose slot this is."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
