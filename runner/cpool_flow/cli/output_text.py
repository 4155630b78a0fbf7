"""An output of a workflow as people read it. On stdout."""

from __future__ import annotations

import json
import sys
from typing import Any

from cpool_flow.errors import printable


def print_output(name: str, value: Any) -> None:
    """`name = value`; text of several lines stands below its name. On a terminal, control characters are shown."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    lines = [printable(line) for line in text.split("\n")] if sys.stdout.isatty() else text.split("\n")
    print(f"{name} = {lines[0]}" if len(lines) == 1 else f"{name} =\n" + "\n".join(f"  {line}" for line in lines))
