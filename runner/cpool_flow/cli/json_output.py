"""JSON documents, on stdout if nothing else is said. The document is the same everywhere; on a terminal nothing in it is more than text."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

from cpool_flow.cli.runner_stream import is_read_by_the_runner
from cpool_flow.workflow_commands import without_commands


def print_json(document: Any, *, flush: bool = False, stream: TextIO | None = None) -> None:
    """Print one document on one line. On a terminal all but ASCII is escaped, so that no text in it steers the terminal."""
    stream = stream or sys.stdout
    print(json_text(document, ascii_only=stream.isatty()), flush=flush, file=stream)


def json_text(document: Any, *, ascii_only: bool = False) -> str:
    """One document on one line, as UTF-8 can hold it."""
    text = json.dumps(document, ensure_ascii=ascii_only)
    try:
        text.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        text = json.dumps(document)
    return without_commands(text) if is_read_by_the_runner() else text
