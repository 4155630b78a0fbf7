"""A stream of an agent on its way to two who want it: the log takes chunks as they come, the reader whole lines."""

from __future__ import annotations

from collections.abc import Callable

from cpool_flow.agents.protocol import MAX_LINE_BYTES

Tell = Callable[[str], object]


class AgentLines:
    """A sink of chunks. `end` hands over a last line that has no line feed. Of a line without end only its beginning is kept.
    `tell` gets what the reader says of lines."""

    def __init__(self, log: Callable[[bytes], object], read: Callable[[bytes], str | None], tell: Tell | None = None) -> None:
        self._log = log
        self._read = read
        self._tell = tell
        self._parts: list[bytes] = []
        self._bytes = 0

    def __call__(self, data: bytes) -> None:
        self._log(data)
        *whole, rest = data.split(b"\n")
        for part in whole:
            self._keep(part)
            self._feed()
        if rest:
            self._keep(rest)

    def end(self) -> None:
        if self._parts:
            self._feed()

    def _keep(self, part: bytes) -> None:
        room = MAX_LINE_BYTES + 1 - self._bytes
        if room > 0:
            self._parts.append(part[:room])
            self._bytes += len(self._parts[-1])

    def _feed(self) -> None:
        line = b"".join(self._parts)
        self._parts.clear()
        self._bytes = 0
        said = self._read(line)
        if said and self._tell is not None:
            self._tell(said)
