"""Which files hold what the attempts of a run have printed. The folder is listed once, however many attempts there are."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from cpool_flow.executor.logs import spools
from cpool_flow.run_folder import file_name
from cpool_flow.tasks import Attempt

_VERIFY = re.compile(r"(.+)\.verify(?:-([0-9]+))?\.log")


class AttemptLogs:
    """The logs of a run as they were when they were listed. Paths are text: there may be ten thousand."""

    def __init__(self, folder: Path) -> None:
        self._folder = str(folder)
        try:
            self._names = frozenset(os.listdir(folder))
        except OSError:
            self._names = frozenset()
        self._verified: dict[str, list[tuple[int, str]]] = {}
        for name in self._names:
            if ".verify" in name and (found := _VERIFY.fullmatch(name)):
                self._verified.setdefault(f"{found[1]}.log", []).append((int(found[2] or 1), name))

    def own(self, attempt: Attempt) -> list[str]:
        """The files of an attempt: its log, or where its stdout and stderr stand while it runs."""
        log = attempt.started.log
        if attempt.finished is None:
            return list(spools(f"{self._folder}/{log}", attempt.started.slot))
        return [f"{self._folder}/{log}"] if log in self._names else []

    def verified(self, attempt: Attempt) -> Iterator[tuple[int, str]]:
        """The logs of its `verify` commands, each with its number."""
        for number, name in sorted(self._verified.get(attempt.started.log, ())):
            yield number, f"{self._folder}/{name}"

    def of_setup(self, task: str = "") -> list[tuple[int, str]]:
        """The logs of the `setup` commands of the run's own place, or of an item's, each with its number."""
        pattern = re.compile(rf"{re.escape(f'{file_name(task)}.setup' if task else '_setup')}\.([0-9]+)\.log")
        return sorted((int(named[1]), f"{self._folder}/{named[0]}") for name in self._names if (named := pattern.fullmatch(name)))

    def of_merge(self, task: str) -> list[tuple[int, str]]:
        """The logs of the `verify` commands that were asked again after an item was merged, each with its number."""
        return [(number, f"{self._folder}/{name}") for number, name in sorted(self._verified.get(f"{file_name(task)}.merge.log", ()))]
