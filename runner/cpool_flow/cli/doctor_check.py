"""One line of `doctor`."""

from __future__ import annotations

from typing import Any

# What was looked at, whether it is there, and how to get it: an object of `doctor --json`.
Check = dict[str, Any]


def check(name: str, ok: bool, found: str, help: str = "", *, needed: bool = True) -> Check:
    """`needed`: without it no workflow runs."""
    return {"name": name, "ok": ok, "needed": needed, "found": found, "help": help}
