"""Whether a stream gets colours, and how a text gets one. Foreign text is made printable first, so no colour is its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TextIO

_CODES = {"bold": "1", "red": "31", "green": "32", "cyan": "36"}


def has_colour(stream: TextIO, environment: Mapping[str, str] = os.environ) -> bool:
    """`FORCE_COLOR` decides, else `NO_COLOR` and `CI`, else whether it is a terminal."""
    forced = environment.get("FORCE_COLOR")
    if forced:
        return forced not in ("0", "false")
    return not environment.get("NO_COLOR") and not environment.get("CI") and stream.isatty()


def coloured(text: str, colour: str) -> str:
    return f"\x1b[{_CODES[colour]}m{text}\x1b[m"
