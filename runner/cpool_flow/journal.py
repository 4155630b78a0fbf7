"""The events of one run on disk: one SQLite file, the lock of its one writer, and requests from other processes.

Knows how events are stored, not what they mean. WAL with synchronous=FULL: when `append` returns, its events
survive a power cut. One `append` is one commit, so the events of a turn of the loop share its cost.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from cpool_flow import events
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed

FILE = "journal.db"
LOCK = "coordinator.lock"
BUSY_SECONDS = 10.0
LOG_PAGES = 64  # of 4 KiB; 30 to 100 were alike for steps that do nothing, 1,000 cost a fifth more a step
LOCK_ATTEMPTS = 20
LOCK_PAUSE_SECONDS = 0.01

_HALF = re.compile("[\ud800-\udfff]")
_TABLES = """
CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, at REAL NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS requests (id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, type TEXT NOT NULL, data TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event with its number in the journal (from 1) and its time (seconds since the epoch)."""

    seq: int
    at: float
    event: events.Event


@dataclass(frozen=True, slots=True)
class Request:
    """What another process asks of the coordinator: `cancel`, `approve`."""

    id: int
    at: float
    type: str
    data: dict[str, str]


class Journal:
    """A run's journal. Many may read; who appends holds the run's `Lock`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        self._data_version = -1
        self._last_seq = 0
        self._taken = 0

    @classmethod
    def create(cls, directory: Path) -> Journal:
        """A new, empty journal in `directory`. Raises OperationFailed where it cannot be written."""
        path = directory / FILE
        try:
            journal = cls(path, _connect(path))
            journal._connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {events.VERSION}; COMMIT;")
        except (sqlite3.Error, OSError) as error:
            raise OperationFailed(f"cannot write the journal `{path}`: {error}") from error
        return journal

    @classmethod
    def in_memory(cls) -> Journal:
        """A journal that is gone with the process: for what nobody wants to go on with."""
        journal = cls(Path(":memory:"), sqlite3.connect(":memory:"))
        journal._connection.executescript(_TABLES)
        return journal

    @classmethod
    def open(cls, directory: Path) -> Journal:
        """The journal of a run that exists. Raises InvalidInput where it is missing, damaged or of a newer version."""
        path = directory / FILE
        if not path.is_file():
            raise InvalidInput(f"`{directory.name}` is no run: it has no journal")
        try:
            connection = _connect(path)
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version > events.VERSION:
                connection.close()
                raise InvalidInput(
                    f"the journal of run `{directory.name}` was written by a newer cpool-flow "
                    f"(format {version}, this one reads {events.VERSION})",
                    help="upgrade cpool-flow",
                )
            journal = cls(path, connection)
            (journal._last_seq,) = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()
            return journal
        except sqlite3.Error as error:
            raise InvalidInput(f"the journal of run `{directory.name}` is damaged ({error})", help=f"look at `{path}`") from error

    def append(self, batch: Sequence[tuple[events.Event, float]], *, taken: int = 0) -> list[Recorded]:
        """Make `batch` (events with their times) durable, as one commit. Raises OperationFailed (disk full, I/O error):
        nothing of it is then kept. `taken`: requests up to this number have become facts by now, and go."""
        rows = [(at, type(event).__name__, _text(events.to_json(event))) for event, at in batch]
        try:
            with self._connection:
                self._connection.executemany("INSERT INTO events (at, type, data) VALUES (?, ?, ?)", rows)
                if taken > self._taken:
                    self._connection.execute("DELETE FROM requests WHERE id <= ?", (taken,))
        except sqlite3.Error as error:
            raise OperationFailed(f"cannot write the journal `{self.path}`: {error}") from error
        self._taken = max(self._taken, taken)
        first = self._last_seq + 1
        self._last_seq += len(batch)
        return [Recorded(seq, at, event) for seq, (event, at) in enumerate(batch, first)]

    def read(self, after: int = 0) -> Iterator[Recorded]:
        """The events recorded after number `after`, in order. Raises InvalidInput where one cannot be read."""
        try:
            for seq, at, kind, data in self._connection.execute(
                "SELECT seq, at, type, data FROM events WHERE seq > ? ORDER BY seq", (after,)
            ):
                yield Recorded(seq, at, events.from_json(kind, _object(data)))
        except (sqlite3.Error, ValueError, RecursionError) as error:
            raise InvalidInput(f"the journal `{self.path}` is damaged ({error})") from error

    def changed(self) -> bool:
        """Whether another process has written since the last call. Cheap enough to ask several times a second."""
        with suppress(sqlite3.Error):
            (version,) = self._connection.execute("PRAGMA data_version").fetchone()
            if version != self._data_version:
                self._data_version = version
                return True
        return False

    def request(self, kind: str, data: dict[str, str], at: float) -> None:
        """Leave a request for the coordinator. Raises OperationFailed."""
        try:
            with self._connection:
                self._connection.execute("INSERT INTO requests (at, type, data) VALUES (?, ?, ?)", (at, kind, json.dumps(data)))
        except sqlite3.Error as error:
            raise OperationFailed(f"cannot write the journal `{self.path}`: {error}") from error

    def requests(self, after: int = 0) -> list[Request]:
        """Requests with a number above `after`. They stay until `append` is told that they were taken."""
        try:
            rows = self._connection.execute("SELECT id, at, type, data FROM requests WHERE id > ? ORDER BY id", (after,)).fetchall()
        except sqlite3.Error as error:
            raise OperationFailed(f"cannot read the journal `{self.path}`: {error}") from error
        return [Request(number, at, kind, json.loads(data)) for number, at, kind, data in rows]

    def close(self) -> None:
        self._connection.close()


class Lock:
    """The right to be a run's coordinator. The kernel takes it back when the process ends, however it ends."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._file: IO[str] | None = None

    def __enter__(self) -> Lock:
        """Raises InvalidInput while another process holds it, OperationFailed where the folder cannot be written."""
        try:
            file = open(self._directory / LOCK, "a+", encoding="ascii")
        except OSError as error:
            raise OperationFailed(f"cannot write in `{self._directory}`: {error.strerror}") from error
        if not _locked(file):
            file.seek(0)
            holder = file.read().strip()
            file.close()
            raise InvalidInput(
                f"run `{self._directory.name}` is being worked on by process {holder or 'unknown'}",
                help=f"follow it with `cpool-flow status {self._directory.name}`, stop it with `cpool-flow cancel {self._directory.name}`",
            )
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file:
            self._file.truncate(0)
            self._file.close()
            self._file = None


def _locked(file: IO[str]) -> bool:
    """Whether the lock is ours now. Who asks `is_alive` holds it for a moment, so one refusal says nothing."""
    for _ in range(LOCK_ATTEMPTS):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(LOCK_PAUSE_SECONDS)
    return False


def is_alive(directory: Path) -> bool:
    """Whether a coordinator works on the run in `directory` now."""
    try:
        with open(directory / LOCK, encoding="ascii") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
    except OSError:
        pass
    return False


def has_lost_its_coordinator(directory: Path) -> bool:
    """Whether the last coordinator of the run in `directory` has died: its number is in the lock, which nobody holds."""
    try:
        return os.stat(directory / LOCK).st_size > 0 and not is_alive(directory)
    except OSError:
        return False


def forget_coordinator(directory: Path) -> None:
    """What the coordinator that died has left is seen to. Does nothing where another one has begun, or the folder cannot be written."""
    with suppress(OSError), open(directory / LOCK, "r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.truncate(0)


def _object(text: str) -> dict[str, events.JsonValue]:
    """What `_text` was made from; `json.loads` takes twice the time for texts as short as these. Raises ValueError."""
    data, end = _DECODER.raw_decode(text)
    if end != len(text):
        raise ValueError("more than one value")
    return data  # type: ignore[no-any-return]


_DECODER = json.JSONDecoder()


def _text(data: dict[str, events.JsonValue]) -> str:
    """JSON as UTF-8 can hold it: the name of a folder may be no text, and comes as halves of surrogate pairs."""
    text = json.dumps(data, ensure_ascii=False)
    return text if text.isascii() or not _HALF.search(text) else json.dumps(data)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    # The log of changes is taken over and begun anew before it is long: to make a file longer costs as much again as to write it.
    connection.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
    return connection
