"""How much work one rendering may do. Counted, not timed: the same template fails at the same place everywhere.

Knows sizes only; which operation costs what is said where it is done.
"""

from __future__ import annotations

from collections.abc import Mapping

from cpool_flow.values import RenderError, parts

OPERATIONS = 1_000_000  # steps of a loop, items touched, calls: about a microsecond each
CHARACTERS = 16 * 2**20  # text that is made, intermediate text included
SCANNED_PER_OPERATION = 1_000  # characters of existing text that are looked at for one operation
CALL_DEPTH = 40
NUMBER_BITS = 4_096


class Meter:
    """What one rendering has spent. Every method raises RenderError when the limit is passed."""

    __slots__ = ("_characters", "_operations", "calls")

    def __init__(self) -> None:
        self._operations = OPERATIONS
        self._characters = CHARACTERS
        self.calls = 0

    @property
    def spent(self) -> int:
        """How many operations were done."""
        return OPERATIONS - self._operations

    def spend(self, operations: int) -> None:
        """Ask before doing this many steps."""
        self._operations -= operations
        if self._operations < 0:
            raise RenderError(f"the template does too much work (more than {OPERATIONS:,} steps)")

    def produce(self, characters: int) -> None:
        """Ask before making text of this length."""
        self._characters -= characters
        if self._characters < 0:
            raise RenderError(f"the template makes too much text (more than {CHARACTERS >> 20} MiB)")

    def scan(self, text: str) -> None:
        """Ask before looking through text that exists."""
        self.spend(len(text) // SCANNED_PER_OPERATION)

    def weigh(self, value: object) -> None:
        """Ask before something walks the value to its depth: comparing, JSON. Shared parts count each time."""
        if isinstance(value, str):
            self.scan(value)
            return
        if not isinstance(value, (list, tuple, Mapping)):
            return
        waiting = [value]
        while waiting:
            container = waiting.pop()
            self.spend(1 + len(container))
            for item in parts(container):
                if isinstance(item, str):
                    self.scan(item)
                elif isinstance(item, (list, tuple, Mapping)):
                    waiting.append(item)


def check_number(bits: int) -> None:
    """Refuse whole numbers of more bits than anybody counts with."""
    if bits > NUMBER_BITS:
        raise RenderError("the number is too large")
