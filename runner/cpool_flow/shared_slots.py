"""The slots of a run as locks, which runs that its steps start take from as well: together they never do more at once than the
outermost run has slots.

A run inside of a step works in the slot of that step, which waits for it, and in those that are free. The kernel lets go of a slot
however its coordinator ends. Knows no order among those who want one: who asks first has it.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import OperationFailed
from cpool_flow.family import outermost, parent_directory
from cpool_flow.journal import is_alive
from cpool_flow.run_folder import RunFolder

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

    def take(self, task: str, preferred: int) -> Held | None:
        """A slot for a task, the `preferred` number if that is free; None where all are busy. Raises OperationFailed."""
        try:
            for number, path in self._offered(preferred):
                file = self._file(path)
                if file not in self._taken.values() and _lock(file):
                    self._taken[task] = file
                    return Held(number, path)
        except OSError as error:
            raise OperationFailed(f"cannot write `{self._folder}`: {error.strerror}") from error
        return None

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

    def _offered(self, preferred: int) -> Iterator[tuple[int, str]]:
        if self._borrowed is not None and _is_held(self._borrowed):
            yield int(self._borrowed.name.partition(".")[0]), f"{self._borrowed}.inside"
        first = min(preferred, self._count)
        yield first, f"{self._folder}/{first}"
        for number in range(1, self._count + 1):
            if number != first:
                yield number, f"{self._folder}/{number}"

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
