"""The JSON value that an agent's answer means: the whole text, else the last fenced block, else the last object or list in prose.

Knows Markdown fences and brackets, nothing of steps or schemas. Linear in the length of the text: what a bracket closes is found
before anything is decoded, and brackets that are never closed are found in one pass.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator

from cpool_flow.dataclass import dataclass
from cpool_flow.json_value import MAX_DEPTH, TOO_DEEP, BadJson, JsonValue, NotJson, decode, read_json

MAX_PROSE_CHARACTERS = 8 * 1024 * 1024
MAX_CANDIDATES = 100


def candidates(text: str) -> Iterator[JsonValue]:
    """What may be meant as the JSON value of an answer, best first.

    Raises BadJson where there is none, where the text ends inside an unfinished value, and where a value cannot be kept.
    """
    try:
        yield read_json(text)
        return
    except NotJson as problem:
        not_whole = problem
    if len(text) > MAX_PROSE_CHARACTERS:
        raise BadJson(f"no JSON value as a whole, and too large to look for one inside (more than {MAX_PROSE_CHARACTERS} characters)")
    blocks = list(_blocks(text))
    prose = _scan(text, blocks[-1].end if blocks else 0)  # first, also where a block wins: the text may be cut behind it
    found = False
    for block in reversed(blocks):
        if block.label in ("", "json"):
            try:
                yield read_json(block.content)
                found = True
            except NotJson:
                continue
    if blocks:
        prose = _scan(text, 0)
    yield from reversed(prose.values)
    if not found and not prose.values:
        raise (prose.broken or not_whole).within(text)


# ---- fenced blocks ----


@dataclass(frozen=True, slots=True)
class _Block:
    label: str
    content: str
    end: int  # from here on an unfinished value counts: behind a closed block, inside one that was never closed


_FENCE = re.compile(r"^(?P<prefix>(?:[ \t>]|[-*+][ \t]|[0-9]{1,9}[.)][ \t])*+)(?P<fence>`{3,}+|~{3,}+)(?P<info>[^`\n]*+)$", re.MULTILINE)
_LABEL = re.compile(r"[ \t]*([\w+#-]*)")


def _blocks(text: str) -> Iterator[_Block]:
    opened: re.Match[str] | None = None
    for line in _FENCE.finditer(text):
        if opened is None:
            opened = line
        elif line["fence"].startswith(opened["fence"]) and not line["info"].strip():
            yield _block(text, opened, line.start(), line.end())
            opened = None
    if opened is not None:
        yield _block(text, opened, len(text), opened.end())


def _block(text: str, opened: re.Match[str], until: int, end: int) -> _Block:
    content = text[opened.end() : until]
    if ">" in opened["prefix"]:
        content = re.sub(r"^[ \t]*>", "", content, flags=re.MULTILINE)
    label = _LABEL.match(opened["info"])
    return _Block(label[1].lower() if label else "", content, end)


# ---- objects and lists in prose ----


@dataclass(frozen=True, slots=True)
class _Prose:
    values: deque[JsonValue]  # the last ones, in the order of the text
    broken: NotJson | None  # why the last pair of brackets is no JSON


# Outside of brackets only an opening one counts: prose is full of single quotes. (`ESC [` is a terminal's, not ours.)
_OPENER = re.compile(r"(?P<open>(?<!\x1b)[{\[])")
# Inside, strings hide brackets; they end on their line. The single-quoted ones of other notations count before something structural.
_TOKEN = re.compile(
    r'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"'
    r"|'[^'\\\n]*+(?:\\.[^'\\\n]*+)*+'(?=[ \t]*+[\]},:])"
    r"|\\."
    r"|(?P<open>(?<!\x1b)[{\[])|(?P<close>[}\]])"
)
# What tells a value that was begun and never finished from a lone bracket in prose.
_BEGUN = re.compile(
    r"""(?x)
    (?: \[ \s*+ )*+ \{ \s*+ (?: ["'}] | \Z | // | /\* | [A-Za-z_$][\w$-]*+ \s*+ : )
    | (?: \[ \s*+ )++ (?: ["'\]] | \Z | (?: -?[0-9][0-9.eE+-]*+ | true | false | null ) \s*+ (?: , | \] | \Z )
                        | (?: - | t | tr | tru | f | fa | fal | fals | n | nu | nul ) \Z )
    """
)


def _scan(text: str, position: int) -> _Prose:
    """The outermost complete objects and lists from `position` on. Raises BadJson for one that was begun and never finished."""
    values: deque[JsonValue] = deque(maxlen=MAX_CANDIDATES)
    broken: NotJson | None = None
    lone: frozenset[int] = frozenset()
    while found := (_TOKEN if lone else _OPENER).search(text, position):
        start, position = found.span()
        if start in lone:
            if _BEGUN.match(text, start):
                raise NotJson("it ends inside an unfinished value that begins", start).within(text)
        elif found.lastgroup == "open":
            end, unclosed = _close(text, start)
            if end is None:
                lone, position = unclosed, start
                continue
            try:
                values.append(decode(text[start:end], start))
            except NotJson as problem:
                broken = problem
            position = end
    return _Prose(values, broken)


def _close(text: str, start: int) -> tuple[int | None, frozenset[int]]:
    """Behind what closes the bracket at `start`; if nothing does, every bracket from there on that is never closed."""
    unclosed = [start]
    position = start + 1
    while found := _TOKEN.search(text, position):
        position = found.end()
        if found.lastgroup == "open":
            unclosed.append(found.start())
            if len(unclosed) > MAX_DEPTH:
                raise NotJson(TOO_DEEP, start).within(text)
        elif found.lastgroup == "close":
            unclosed.pop()
            if not unclosed:
                return position, frozenset()
    return None, frozenset(unclosed)
