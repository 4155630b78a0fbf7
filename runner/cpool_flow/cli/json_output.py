"""JSON documents, on stdout if nothing else is said. The document is the same everywhere; on a terminal nothing in it is more than text."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO


def print_json(document: Any, *, flush: bool = False, stream: TextIO | None = None) -> None:
    """Print one document on one line. On a terminal all but ASCII is escaped, so that no text in it steers the terminal."""
    text = json.dumps(document, ensure_ascii=(stream or sys.stdout).isatty())
    try:
        text.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        text = json.dumps(document)
    print(text, flush=flush, file=stream)
