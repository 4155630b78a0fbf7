"""A cursor in one piece of shell text, with the constructs that are open there: what all readers of the text share.

Knows how to stop (`wait` for more text, `Lost`, `Unprovable`), not what any text means.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto

from cpool_flow.shell import words
from cpool_flow.shell.frames import WORDS, Frame, Kind, Unprovable
from cpool_flow.shell.words import VALUE

DEEPEST = 100
REPRINTED = frozenset({Kind.SUBSTITUTION, Kind.PROCESS})


class Follows(Enum):
    """What comes after the text in hand."""

    TEXT = auto()
    VALUE = auto()
    END = auto()


class Lost(Exception):
    """What follows cannot be proved. The reason reads well after "a value after"."""


class Scanner:
    """Takes one piece of text. `frames`, `pending` (the start of a token that the text cuts off) and `lost` are the result."""

    def __init__(self, frames: Iterable[Frame], text: str, follows: Follows) -> None:
        self.frames = [frame.copy() for frame in frames]
        self.top = self.frames[-1]
        self.text = text
        self.size = len(text)
        self.at = 0
        self.follows = follows
        self.pending = ""
        self.lost: str | None = None

    def run(self, readers: Mapping[Kind, Callable[[Scanner], None]]) -> None:
        """Read the whole text. Raises Unprovable where it gives a value before it another meaning."""
        try:
            while self.at < self.size:
                readers[self.top.kind](self)
        except Lost as lost:
            self.lose(str(lost))

    def cut_off(self, end: int) -> bool:
        """Whether the text ends at `end` and more of it is to come."""
        return end >= self.size and self.follows is Follows.TEXT

    def wait(self) -> None:
        """Keep the rest of the text until more of it is known."""
        self.pending = self.text[self.at :]
        self.at = self.size

    def push(self, kind: Kind) -> Frame:
        if len(self.frames) >= DEEPEST:
            raise Lost(f"more than {DEEPEST} constructs within each other")
        self.top = Frame(kind)
        self.frames.append(self.top)
        return self.top

    def pop(self) -> None:
        self.frames.pop()
        self.top = self.frames[-1]

    def opaque(self) -> None:
        """A quoted or expanded part stands here in the word, if there is one."""
        if self.top.kind in WORDS:
            self.top.word = words.with_opaque(self.top.word)

    def take(self, match: re.Match[str]) -> None:
        """Pass text that has no meaning within its construct."""
        self.check_lines(match.start(), match.end())
        self.at = match.end()

    def check_lines(self, start: int, end: int) -> None:
        """Shells differ on a new line within a construct while a here-document is announced or open."""
        if self.text.find("\n", start, end) >= 0 and any(frame.heredocs for frame in self.frames):
            raise Lost("a new line within another construct before the end of a here-document")

    def check_announced(self, token: str) -> None:
        """bash (5.2) prints what it has read of `$( )` and reads it again, and loses what stands between here-documents and their texts."""
        if self.top.heredocs and any(frame.kind in REPRINTED for frame in self.frames):
            raise Lost(f"`{token}` between a here-document and its text in `$( )`")

    def skip_escaped(self) -> bool:
        """Pass a backslash and the character after it; False where the text ends between them."""
        if self.at + 1 < self.size:
            self.check_lines(self.at + 1, self.at + 2)
            self.at += 2
            return True
        if self.follows is Follows.VALUE:
            raise self.unprovable("a value right after a backslash")
        self.wait()
        return False

    def lose(self, reason: str) -> None:
        """Nothing after this is known; a value whose meaning still depends on it cannot stay."""
        if any(frame.kind is Kind.CONDITION and (VALUE in frame.previous or VALUE in (frame.word or "")) for frame in self.frames):
            raise self.unprovable(f"a value in `[[ ]]` with {reason}")
        self.lost = reason

    def unprovable(self, reason: str, back: int = 0) -> Unprovable:
        return Unprovable(reason, max(0, self.at - back))
