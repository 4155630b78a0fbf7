"""A patch or its table on stdout: to a pipe as it is, on a terminal with control characters shown, and with colours."""

from __future__ import annotations

import sys

from cpool_flow.cli.colour import coloured, has_colour
from cpool_flow.errors import printable


def print_patch(patch: bytes, *, is_patch: bool) -> None:
    colours = has_colour(sys.stdout)
    if not sys.stdout.isatty() and not colours:
        sys.stdout.flush()
        sys.stdout.buffer.write(patch)
        sys.stdout.buffer.flush()
        return
    in_head = True
    for line in patch.decode("utf-8", "replace").split("\n")[:-1]:
        in_head = line.startswith("diff ") or (in_head and not line.startswith("@@"))
        text = line[:1] + printable(line[1:].expandtabs(4)) if line[:1] in " +-" else printable(line)
        colour = _colour(line, in_head) if is_patch and colours else None
        print(coloured(text, colour) if colour else text)


def _colour(line: str, in_head: bool) -> str | None:
    if in_head:
        return "bold"
    return {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
