"""What a filter works with: the limits of one rendering, the outside, and the other filters.

Knows how a filter or test is called, not which there are (`filters.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from cpool_flow.dataclass import dataclass
from cpool_flow.template.limits import Meter
from cpool_flow.values import Absent, RenderError, kind

Function = Callable[..., object]
TAKES_ABSENT = frozenset({"default", "d", "defined", "undefined"})


class Host(Protocol):
    """What a template may ask of the outside, by the filters `file` and `untrusted`."""

    def write_file(self, text: str) -> str:
        """Keep `text` in a file of the run; its absolute path."""
        ...

    def nonce(self) -> str:
        """Random text that nobody could know before, of letters and digits."""
        ...


@dataclass(frozen=True, slots=True)
class Work:
    """One rendering, as filters and tests see it."""

    meter: Meter
    host: Host
    filters: Mapping[str, Function]
    tests: Mapping[str, Function]

    def apply(self, name: object, value: object, *arguments: Any, **named: Any) -> object:
        """`value | name(arguments)`."""
        return self._call("filter", self.filters, name, value, *arguments, **named)

    def test(self, name: object, value: object, *arguments: Any) -> bool:
        """`value is name(arguments)`."""
        return bool(self._call("test", self.tests, name, value, *arguments))

    def _call(self, sort: str, known: Mapping[str, Function], name: object, value: object, *arguments: Any, **named: Any) -> object:
        if not isinstance(name, str) or name not in known:
            raise RenderError(f"unknown {sort} `{name}`" if isinstance(name, str) else f"a {sort} is named by text")
        if isinstance(value, Absent) and name not in TAKES_ABSENT:
            raise RenderError(value.reason)
        self.meter.spend(1)
        try:
            return known[name](self, value, *arguments, **named)
        except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError):
            raise RenderError(f"{sort} `{name}` cannot take {kind(value)} with these arguments") from None
