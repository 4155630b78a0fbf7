"""One run of a concurrency group at a time in a project: who holds the turn, who waits, in the order in which they came.

A member of a group is a file that its coordinator keeps locked: the kernel lets go of it however the coordinator ends, and what nobody
holds is removed by whoever looks next. Knows nothing of what a run does in its turn.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import OperationFailed

FOLDER = "concurrency"


@dataclass(frozen=True, slots=True)
class Member:
    """A run of the group that somebody works on. `created_at`: seconds since the epoch."""

    run_id: str
    number: int
    created_at: float


class Turn:
    """A run's place in its group. `enter`, then `ahead` until nobody is, then `leave`, which may be called again."""

    def __init__(self, project: Path, group: str, run_id: str, created_at: float) -> None:
        self._root = project / ".cpool" / FOLDER
        self._folder = self._root / hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:24]
        self._member = Member(run_id, 0, created_at)
        self._path: Path | None = None
        self._file: int | None = None

    def enter(self, ancestors: frozenset[str] = frozenset()) -> None:
        """Take the last place. A run that a step of `ancestors` has started works within their turn: it takes none of its own, for
        they wait for it. Raises OperationFailed."""
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._folder.mkdir(exist_ok=True)
                members = self._members()
                if not any(member.run_id in ancestors for member in members):
                    self._take_place(max((member.number for member in members), default=0) + 1)
        except OSError as error:
            raise OperationFailed(f"cannot write `{self._folder}`: {error.strerror}") from error

    def ahead(self) -> list[Member]:
        """The runs that are before this one, the one whose turn it is first."""
        if self._path is None:
            return []
        with self._alone():
            return [member for member in self._members() if member.number < self._member.number]

    def may_ask(self, member: Member) -> bool:
        """Whether a run is to be asked to end: by the first who wants it, and only of one that was created earlier."""
        if (member.created_at, member.run_id) > (self._member.created_at, self._member.run_id):
            return False
        try:
            (self._folder / f"{member.number}.asked").touch(exist_ok=False)
        except OSError:
            return False
        return True

    def leave(self) -> None:
        if self._path is None or self._file is None:
            return
        with self._alone():
            self._remove(self._member.number)
            os.close(self._file)
            self._path = self._file = None
            if not any(self._folder.iterdir()):
                self._folder.rmdir()

    def _take_place(self, number: int) -> None:
        self._member = Member(self._member.run_id, number, self._member.created_at)
        self._path = self._folder / f"{number}.json"
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        os.write(self._file, json.dumps({"run_id": self._member.run_id, "created_at": self._member.created_at}).encode())

    def _members(self) -> list[Member]:
        """The living members, first come first; what the dead have left goes."""
        found = []
        for number in sorted(int(path.stem) for path in self._folder.glob("*.json")):
            member = self._read(number)
            if member is None:
                self._remove(number)
            else:
                found.append(member)
        return found

    def _read(self, number: int) -> Member | None:
        path = self._folder / f"{number}.json"
        if path == self._path:
            return self._member
        with open(path, "rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                data = json.loads(file.read())
                return Member(data["run_id"], number, data["created_at"])
        return None

    def _remove(self, number: int) -> None:
        for suffix in ("asked", "json"):
            (self._folder / f"{number}.{suffix}").unlink(missing_ok=True)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """For a moment nobody else looks or changes. One lock for all groups, so that the folder of one can go."""
        descriptor = os.open(self._root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
