"""An output of a workflow as people read it. On stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from cpool_flow.errors import printable


def print_output(name: str, value: Any) -> None:
    """`name = value`; text of several lines stands below its name. On a terminal, control characters are shown."""
    lines = output_lines(name, value)
    print("\n".join(printable(line) for line in lines) if sys.stdout.isatty() else "\n".join(lines))


def output_lines(name: str, value: Any) -> list[str]:
    """The same as lines, as they came."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    lines = text.split("\n")
    return [f"{name} = {text}"] if len(lines) == 1 else [f"{name} =", *(f"  {line}" for line in lines)]
