"""`requires: ">=0.4, <1"`: whether this version of cpool-flow may read a file. Knows numbers with dots only."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable

_CLAUSE = re.compile(r"\s*(>=|<=|==|!=|>|<|~=)\s*([0-9]{1,9}(?:\.[0-9]{1,9}){0,5})\s*")
_COMPARE: dict[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}


class BadSpecifier(Exception):
    """The text is no list of comparisons with versions."""


def is_met(specifier: str, version: str) -> bool:
    """Whether `version` meets all comparisons of `specifier`. Raises BadSpecifier."""
    clauses = [_CLAUSE.fullmatch(clause) for clause in specifier.split(",")]
    if None in clauses:
        raise BadSpecifier
    return all(_holds(clause[1], _numbers(version), _numbers(clause[2])) for clause in clauses if clause)


def _holds(comparison: str, version: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    if comparison == "~=":  # ~=1.4.2: at least that, and still 1.4
        return _padded(version) >= _padded(wanted) and version[: len(wanted) - 1] == wanted[:-1]
    return _COMPARE[comparison](_padded(version), _padded(wanted))


def _padded(numbers: tuple[int, ...]) -> tuple[int, ...]:
    return (*numbers, *[0] * (6 - len(numbers)))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"[0-9]+", version.partition("+")[0])[:6])
