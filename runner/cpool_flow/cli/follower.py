"""How a run is told on stderr while it works: live at a terminal, else a line for each change; as JSON lines; or not at all."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, Protocol, TextIO

from cpool_flow import history
from cpool_flow.cli.colour import is_live
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.progress import PlainProgress
from cpool_flow.journal import Recorded
from cpool_flow.run_folder import RunFolder
from cpool_flow.state import State

ProgressKind = Literal["auto", "plain", "json", "quiet"]


class Progress(Protocol):
    """Order of calls: `head`, then `follow` after each commit and `heartbeat` every `heartbeat_seconds`; `summary` where the run came
    to an end or waits; `close` in any case, at last. Between `take` and `give` somebody else prints and reads at the terminal."""

    heartbeat_seconds: float

    def head(self, state: State, *, resumed: bool = True) -> None: ...

    def follow(self, recorded: Sequence[Recorded], state: State) -> None: ...

    def heartbeat(self, state: State) -> None: ...

    def summary(self, state: State) -> None: ...

    def say(self, text: str) -> None: ...

    def take(self) -> None: ...

    def give(self) -> None: ...

    def close(self) -> None: ...


def follower(folder: RunFolder, kind: ProgressKind, *, asks: bool = False, shares_terminal: bool = False) -> Progress:
    """What tells of a run. `asks`: somebody at the terminal is asked what the run asks. `shares_terminal`: other lines come on it."""
    if kind == "json":
        return JsonProgress(folder, sys.stderr)
    if kind == "auto" and not shares_terminal and is_live(sys.stderr, os.environ):
        from cpool_flow.live.progress import LiveProgress

        return LiveProgress(folder.logs, sys.stderr, asks=asks)
    return PlainProgress(sys.stderr, quiet=kind == "quiet")


class JsonProgress:
    """Each event of the run as a JSON line, and nothing else."""

    heartbeat_seconds = 60.0

    def __init__(self, folder: RunFolder, stream: TextIO = sys.stderr) -> None:
        self._folder = folder
        self._stream = stream

    def head(self, state: State, *, resumed: bool = True) -> None:
        if not resumed:
            self._print(history.recorded(self._folder))

    def follow(self, recorded: Sequence[Recorded], state: State) -> None:
        self._print(recorded)

    def _print(self, recorded: Iterable[Recorded]) -> None:
        from cpool_flow.cli.events import event_document

        with suppress(OSError):  # who reads them may go: the run goes on without
            for entry in recorded:
                print_json(event_document(entry.seq, entry.at, entry.event), flush=True, stream=self._stream)

    def heartbeat(self, state: State) -> None: ...

    def summary(self, state: State) -> None: ...

    def say(self, text: str) -> None: ...

    def take(self) -> None: ...

    def give(self) -> None: ...

    def close(self) -> None: ...
