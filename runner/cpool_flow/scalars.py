"""What a plain YAML scalar means: the core schema of YAML 1.2, so `on`, `no`, `1_0`, `12:30` and dates are text.

Knows nothing of YAML syntax, places or limits of a file.
"""

from __future__ import annotations

import math
import re

# CPython reads no integer above 4,300 digits, and a number that long is no setting.
MOST_NUMBER_CHARACTERS = 400

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# No other first character can make anything but text.
_FIRST = frozenset("0123456789+-.~nNtTfF")

_TAG = "tag:yaml.org,2002:"

Scalar = None | bool | int | float | str


class BadScalar(Exception):
    """This text is no value that a workflow can hold; the message says why."""


def resolve(text: str) -> Scalar:
    """The value of a plain scalar without a tag. Raises BadScalar for numbers that JSON cannot hold."""
    if text and text[0] not in _FIRST:
        return text
    if text in _NULLS:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    return _number(text)


def resolve_tagged(text: str, tag: str) -> Scalar:
    """The value of a scalar with a tag of the core schema. Raises BadScalar where tag and text do not fit."""
    kind = tag.removeprefix(_TAG)
    if tag == "!" or kind == "str":
        return text
    value = resolve(text)
    if kind == "float" and type(value) is int:
        return _float(text)
    if {"null": type(None), "bool": bool, "int": int, "float": float}.get(kind) is type(value):
        return value
    raise BadScalar(f"this is no `!!{kind}`")


def is_core_tag(tag: str, kinds: frozenset[str]) -> bool:
    """Whether `tag` names one of these kinds of the core schema, or nothing (`!`)."""
    return tag == "!" or (tag.startswith(_TAG) and tag.removeprefix(_TAG) in kinds)


def _number(text: str) -> Scalar:
    if _INTEGER.fullmatch(text):
        _refuse_long(text)
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.fullmatch(text):
        return _float(text)
    if _NOT_FINITE.fullmatch(text):
        raise BadScalar("infinity and not-a-number are no JSON values; quote it if text is meant")
    return text


def _float(text: str) -> float:
    _refuse_long(text)
    value = float(text)
    if not math.isfinite(value):
        raise BadScalar("this number is too large; quote it if text is meant")
    return value


def _refuse_long(number: str) -> None:
    if len(number) > MOST_NUMBER_CHARACTERS:
        raise BadScalar(f"a number of {len(number):,} characters is longer than {MOST_NUMBER_CHARACTERS}")
