"""Settings of a CLI, laid over others: ours over what it has, then those of the step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def overlay(under: Mapping[str, Any], over: Mapping[str, Any], whole: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Table by table, but those named `whole`, of which the last one holds. A null takes a setting away."""
    merged = dict(under)
    for name, value in over.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, Mapping) and isinstance(merged.get(name), Mapping) and name not in whole:
            merged[name] = overlay(merged[name], value, whole)
        else:
            merged[name] = value
    return merged
