"""Data classes that are cheap to define: a command defines more than a hundred of them before it does anything, and makes objects of
a third.

Knows how the methods of a data class can be had without compiling source, or later; not what any of them means. For mypy this is
`dataclasses.dataclass` itself, so `frozen=True` is checked there, and costs nothing where the program runs: of the 0.4 ms that the
standard library takes for a frozen class with slots, two thirds compile the methods which say that a field cannot be set, compare,
hash and show, and half of the rest `__init__` (measured on Python 3.11).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    import dataclasses
    from dataclasses import MISSING
    from operator import attrgetter

    def dataclass(cls=None, /, *, eq=True, frozen=False, order=False, **options):
        if cls is None:
            return lambda cls: dataclass(cls, eq=eq, frozen=frozen, order=order, **options)
        if order:
            return dataclasses.dataclass(cls, eq=eq, frozen=frozen, order=True, **options)
        written = {name for name, value in vars(cls).items() if value is not None}
        cls.__doc__ = cls.__doc__ or f"{cls.__name__}(…)"  # the whole signature would take as long as all of the rest
        cls = dataclasses.dataclass(cls, init=False, repr=False, eq=False, **options)
        fields = dataclasses.fields(cls)
        methods = {"__init__": _made_later(cls), "__repr__": _shown([each.name for each in fields if each.repr])}
        if eq:
            values = _values([each.name for each in fields if each.compare])
            methods["__eq__"] = _equal(values)
            methods["__hash__"] = _hash(values) if frozen else None
        for name, method in methods.items():
            if name not in written:
                setattr(cls, name, method)
        return cls

    def _made_later(cls):
        """`__init__`, which is compiled when the first object is made."""

        def __init__(self, *values, **named):
            cls.__init__ = made = _init(cls)
            made(self, *values, **named)

        return __init__

    def _init(cls):
        known, parameters, named, body = {"FACTORY": object()}, ["self"], ["*"], []
        for each in dataclasses.fields(cls):
            name = each.name
            value, default = name, ""
            if each.default_factory is not MISSING:
                known[f"_made_{name}"] = each.default_factory
                value, default = f"_made_{name}() if {name} is FACTORY else {name}", " = FACTORY"
            elif each.default is not MISSING:
                known[f"_default_{name}"] = each.default
                default = f" = _default_{name}"
            (named if each.kw_only else parameters).append(f"{name}{default}")
            body.append(f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            body.append("self.__post_init__()")
        if len(named) > 1:
            parameters += named
        exec(f"def __init__({', '.join(parameters)}):\n " + "\n ".join(body or ["pass"]), known)
        made = known["__init__"]
        made.__qualname__ = f"{cls.__qualname__}.__init__"
        return made

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
