"""What other runs have spent of the money that this one shares with them: the day's budget of the project, the budget of the run
inside of which it was started, and the runs that were started inside of it.

Read from their journals, so nothing is kept twice. Knows no rules: what may be spent next is `budget.py`. Money is US dollars.

A run that was started inside of a step leaves its folder's path in `nested/PLACE/RUN` of the run around it, where the place is the slot
of the attempt (of one without, its task). It counts there until that attempt has ended; then its cost is a part of the attempt's.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from math import inf
from pathlib import Path

from cpool_flow.budget import Others, Pot
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import FlowError, OperationFailed
from cpool_flow.events import RunCreated
from cpool_flow.journal import FILE, Journal, is_alive
from cpool_flow.run_folder import RunFolder, all_runs, file_name
from cpool_flow.spending import DAY_SECONDS, Spending, dollars

NESTED = "nested"
LOCK = "spending.lock"
# How often other runs are looked at, in seconds.
POLL_SECONDS = 0.25
# Runs inside of runs.
DEEPEST = 20


@dataclass(slots=True)
class _Account:
    """What is known of a run's journal: how far it was read, when it had last changed, and what that came to. `unread`: that is not all."""

    spending: Spending = field(default_factory=Spending)
    parent: str = ""
    read: int = 0
    changed: tuple[object, ...] = ()
    unread: bool = False


class OtherRuns:
    """Asked by one coordinator. `day_usd`: what all runs of the project may spend in a calendar day (UTC)."""

    def __init__(self, folder: RunFolder, day_usd: float | None, parent: str) -> None:
        self._folder = folder
        self._project = folder.path.parents[2]
        self._day_usd = day_usd
        self._parent = Path(parent) if parent else None
        self._accounts: dict[Path, _Account] = {}
        self._known = Others()
        self._next = 0.0

    @property
    def are_there(self) -> bool:
        """Whether anybody else spends from a budget that is ours as well."""
        return self._day_usd is not None or self._parent is not None or bool(nested(self._folder.path))

    def read(self, *, fresh: bool = False) -> Others:
        """What they have spent. A few times a second they are looked at anew, however often this is called."""
        now = time.time()
        if fresh or now >= self._next:
            self._next = now + POLL_SECONDS
            self._known = Others(tuple(self._pots(now)), sum(self._total(path, None) for path in nested(self._folder.path)))
        return self._known

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While this holds, no other run of the project hands out money that is shared."""
        if not self.are_there:
            yield
            return
        with open(self._project / ".cpool" / LOCK, "a", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def settle(self, task: str, slot: str | None) -> float | None:
        """What the runs have spent that were started inside of an attempt that has ended; from now on they do not count any more.
        None where there were none."""
        place = _place(task, slot)
        ended = [path for path in nested(self._folder.path, place) if not is_alive(path)]
        if not ended:
            return None
        total = sum(self._total(path, None) for path in ended)
        for path in ended:
            (self._folder.path / NESTED / place / path.name).unlink(missing_ok=True)
        self._next = 0.0
        return total

    def _pots(self, now: float) -> Iterator[Pot]:
        if self._day_usd is not None:
            yield self._pot_of_the_day(self._day_usd, int(now // DAY_SECONDS))
        around, seen = self._parent, {self._folder.path}
        while around is not None and around not in seen and len(seen) < DEEPEST and is_alive(around):
            seen.add(around)
            account = self._account(around)
            limit = account.spending.limit_usd
            if limit is not None:
                told = f"the budget of {dollars(limit)} of the run around it (`{around.name}`)"
                yield Pot(told, limit, held_usd=self._total(around, self._folder.path))
            around = Path(account.parent) if account.parent else None

    def _pot_of_the_day(self, limit: float, day: int) -> Pot:
        spent = held = 0.0
        for run in all_runs(self._project):
            if run.path != self._folder.path and _last_change(run.path) >= day * DAY_SECONDS:
                account = self._account(run.path)
                spent += account.spending.spent_on(day)
                held += _held(run.path, account)
        return Pot(
            f"the day's budget of {dollars(limit)} for all runs of the project (`budgets` in cpool.yaml)", limit, spent, held, today=True
        )

    def _total(self, path: Path, without: Path | None, depth: int = 0) -> float:
        """What a run and those inside of it have spent and hold back, less one of them."""
        if path == without or depth > DEEPEST:
            return 0.0
        account = self._account(path)
        return account.spending.spent_usd + _held(path, account) + sum(self._total(inside, without, depth + 1) for inside in nested(path))

    def _account(self, path: Path) -> _Account:
        """What a run's journal tells by now."""
        account = self._accounts.setdefault(path, _Account())
        changed = _signature(path)
        # A commit changes the file before it can be read, so of a run that goes on the file's time tells nothing.
        if changed != account.changed or is_alive(path):
            try:
                _read_on(path, account)
                account.changed, account.unread = changed, False
            except FlowError:
                account.unread = True
        return account


def account_of(path: Path) -> Spending:
    """The account of the run in a folder. Raises InvalidInput where it cannot be read."""
    account = _Account()
    _read_on(path, account)
    return account.spending


def run_around(environment: Mapping[str, str]) -> Path | None:
    """The folder of the run inside of which we are called, while somebody works on it."""
    named = environment.get("CPOOL_RUN_DIR", "")
    path = Path(named)
    return path if os.path.isabs(named) and (path / FILE).is_file() and is_alive(path) else None


def register(folder: RunFolder, environment: Mapping[str, str]) -> None:
    """Leave word of a new run in the run inside of which it was started. Raises OperationFailed."""
    around, inside = run_around(environment), _place(environment.get("CPOOL_STEP", ""), environment.get("CPOOL_SLOT"))
    if around is None or not inside or Path(inside).name != inside:
        return
    place = around / NESTED / inside
    try:
        place.mkdir(parents=True, exist_ok=True)
        (place / folder.run_id).write_text(str(folder.path), encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise OperationFailed(f"cannot write `{place}`: {error.strerror}") from error


def nested(path: Path, place: str | None = None) -> list[Path]:
    """The folders of the runs that were started inside of a run, or in one place of it, and that are not settled."""
    found: list[Path] = []
    if place and not os.path.exists(f"{path}/{NESTED}/{place}"):
        return found  # asked after every step
    for word in sorted((path / NESTED / place).glob("*") if place else (path / NESTED).glob("*/*")):
        with suppress(OSError):
            inside = Path(word.read_text(encoding="utf-8", errors="surrogateescape"))
            if inside.is_absolute() and inside.name == word.name and inside != path:
                found.append(inside)
    return found


def _place(task: str, slot: str | None) -> str:
    """An attempt has its slot for itself."""
    return slot or file_name(task)


def _held(path: Path, account: _Account) -> float:
    """What a run holds back. Where that cannot be read, though somebody works on it, nobody else spends anything meanwhile; what a run
    had held back that died will be told when it is resumed."""
    if not is_alive(path):
        return 0.0
    return inf if account.unread else account.spending.held_usd


def _read_on(path: Path, account: _Account) -> None:
    journal = Journal.open(path)
    try:
        for recorded in journal.read(account.read):
            account.read = recorded.seq
            if isinstance(recorded.event, RunCreated):
                account.parent = recorded.event.parent
            account.spending.apply(recorded.event, recorded.at)
    finally:
        journal.close()


def _signature(path: Path) -> tuple[object, ...]:
    """What changes with a journal."""
    found: list[object] = []
    for name in (FILE, f"{FILE}-wal"):
        try:
            state = os.stat(path / name)
            found += [state.st_mtime_ns, state.st_size]
        except OSError:
            found.append(None)
    return tuple(found)


def _last_change(path: Path) -> float:
    times = []
    for name in (FILE, f"{FILE}-wal"):
        with suppress(OSError):
            times.append(os.stat(path / name).st_mtime)
    return max(times, default=0.0)
