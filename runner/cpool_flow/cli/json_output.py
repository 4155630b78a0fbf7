"""JSON documents on stdout. The document is the same everywhere; on a terminal nothing in it is more than text."""

from __future__ import annotations

import json
import sys
from typing import Any

from cpool_flow.cli.runner_stream import is_read_by_the_runner
from cpool_flow.workflow_commands import json_text


def print_json(document: Any, *, flush: bool = False) -> None:
    """Print one document on one line. On a terminal all but ASCII is escaped, so that no text in it steers the terminal."""
    text = json.dumps(document, ensure_ascii=sys.stdout.isatty())
    try:
        text.encode()
    except UnicodeEncodeError:  # the name of a file that is no UTF-8
        text = json.dumps(document)
    print(json_text(text) if is_read_by_the_runner() else text, flush=flush)
