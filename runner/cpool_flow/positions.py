"""Where the characters of a YAML scalar's value stand in its source text.

Knows how each style writes its value, and nothing of nodes or files. Blanks and line ends may be folded, so
places are found by counting the characters that are neither: they come in the same order in both texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice

_BLANKS = " \t\n\r\x85\u2028\u2029"
_VISIBLE = re.compile(f"[^{_BLANKS}]")
_SINGLE_QUOTED = re.compile(f"''|[^{_BLANKS}']")
_DOUBLE_QUOTED = re.compile(rf"\\(?:x..|u.{{4}}|U.{{8}}|.|\n)|[^{_BLANKS}\"\\]", re.DOTALL)
# Escapes that stand for a blank, or (an escaped line end) for nothing.
_BLANK_ESCAPE = re.compile(r"\\(?:[ tnrNLP\t\n\r]|x(?:09|0[aA]|0[dD]|20|85)|u00(?:09|0[aA]|0[dD]|20|85)|u202[89])")


def place_in_source(source: str, value: str, offset: int) -> int:
    """The index in `source` (a scalar from its quote, `|`, `>` or first letter on) of the character of `value`
    at `offset`. Of a blank that was folded away: the place after the character before it."""
    before = len(_VISIBLE.findall(value, 0, max(0, offset)))
    if offset < len(value) and value[offset] not in _BLANKS:
        return next(islice(_visible(source), before, None), 0)
    return next(islice(_visible(source), before - 1, None), -1) + 1 if before else next(_visible(source), 0)


def _visible(source: str) -> Iterator[int]:
    match source[:1]:
        case "'":
            found = _SINGLE_QUOTED.finditer(source, 1)
        case '"':
            found = (token for token in _DOUBLE_QUOTED.finditer(source, 1) if not _BLANK_ESCAPE.match(token.group()))
        case "|" | ">":
            found = _VISIBLE.finditer(source, source.find("\n") + 1)
        case _:
            found = _VISIBLE.finditer(source)
    return (token.start() for token in found)
