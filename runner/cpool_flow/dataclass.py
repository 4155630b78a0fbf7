"""Data classes that are cheap to define: a command defines about two hundred of them before it does anything.

Knows how the methods of a data class can be had without compiling source; not what any of them means. For mypy this is
`dataclasses.dataclass` itself, so `frozen=True` is checked there, and costs nothing where the program runs: of the 0.4 ms that the
standard library takes for a frozen class with slots, two thirds compile the methods which say that a field cannot be set, compare,
hash and show (measured on Python 3.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from operator import attrgetter

    def dataclass(cls=None, /, *, eq=True, frozen=False, order=False, **options):
        if cls is None:
            return lambda cls: dataclass(cls, eq=eq, frozen=frozen, order=order, **options)
        if order:
            return dataclasses.dataclass(cls, eq=eq, frozen=frozen, order=True, **options)
        written = {name for name, value in vars(cls).items() if value is not None}
        cls = dataclasses.dataclass(cls, repr=False, eq=False, **options)
        fields = dataclasses.fields(cls)
        methods = {"__repr__": _shown([each.name for each in fields if each.repr])}
        if eq:
            values = _values([each.name for each in fields if each.compare])
            methods["__eq__"] = _equal(values)
            methods["__hash__"] = _hash(values) if frozen else None
        for name, method in methods.items():
            if name not in written:
                setattr(cls, name, method)
        return cls

    def _values(names):
        return attrgetter(*names) if names else lambda self: ()

    def _equal(values):
        def __eq__(self, other):
            return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

        return __eq__

    def _hash(values):
        def __hash__(self):
            return hash(values(self))

        return __hash__

    def _shown(names):
        def __repr__(self):
            return f"{self.__class__.__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in names)})"

        return __repr__


__all__ = ["dataclass"]
