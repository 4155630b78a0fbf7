"""The constructs of shell text that can be open at a place, as values.

Knows their names and what is remembered of each; `scan.py` knows how text opens and closes them.
"""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum

from cpool_flow.dataclass import dataclass
from cpool_flow.shell.hazards import Watch


class Unprovable(Exception):
    """A value stands, or would stand, where no quoting is proved to be safe. `reason` is for people.

    `offset` is where in the text given to `advance` the trouble shows; None: at the place of the value.
    """

    def __init__(self, reason: str, offset: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.offset = offset


class Kind(StrEnum):
    """What is open; the text names it in a message."""

    SCRIPT = "the script"
    SUBSTITUTION = "`$( )`"
    PROCESS = "`<( )`"
    SUBSHELL = "`( )`"
    CASE = "`case`"
    ARRAY = "an array assignment"
    CONDITION = "`[[ ]]`"
    SINGLE = "single quotes"
    DOUBLE = "double quotes"
    LOCALE = '`$"…"`'
    ANSI = "`$'…'`"
    PARAMETER = "`${ }`"
    ARITHMETIC = "`$(( ))`"
    ARITHMETIC_COMMAND = "`(( ))`"
    BACKTICKS = "back-ticks"
    COMMENT = "a comment"
    HERE_DOCUMENT = "a here-document"


class Position(StrEnum):
    """Where in its command the next word stands."""

    START = "start"  # a command may begin: reserved words are known
    PREFIX = "prefix"  # after an assignment or redirection, before the command's name
    NAMED = "named"  # right after the command's name
    ARGUMENTS = "arguments"
    AFTER = "after"  # after a compound command: only redirections, operators and closing words
    SPLIT = "split"  # after `&>file`: the same command in bash, a new one in sh
    FOR_NAME = "for name"
    FOR_IN = "for in"
    FOR_WORDS = "for words"
    CASE_WORD = "case word"
    CASE_IN = "case in"
    PATTERN = "pattern"  # before the first pattern of a clause
    PATTERNS = "patterns"
    FUNCTION_NAME = "function name"
    FUNCTION_BODY = "function body"
    ELEMENTS = "elements"  # of an array
    TEST = "test"  # between [[ and ]]
    TESTED = "tested"  # there, after both sides of a comparison


class Redirect(StrEnum):
    """What the next word is to a redirection before it."""

    TARGET = "target"
    DUPLICATE = "duplicate"
    HERE_STRING = "here-string"


@dataclass(frozen=True, slots=True)
class HereDocument:
    """A here-document that was announced. `program` is the warning when a command will run its text."""

    delimiter: str
    strips_tabs: bool
    quoted: bool
    program: str | None = None


@dataclass(slots=True)
class Frame:
    """One open construct. A scanner changes its own copies; a frame within a State never changes."""

    kind: Kind
    position: Position = Position.START
    word: str | None = None  # the word in progress, see words.py
    redirect: Redirect | None = None
    watch: Watch | None = None
    heredocs: tuple[HereDocument, ...] = ()  # announced; in a here-document: this one, then those that follow it
    keyword: str = ""  # of bash alone, which began this command: in sh it names one, and what follows are arguments
    previous: str = ""  # in [[ ]]: the word or operator before; else the command's name, right after it
    depth: int = 0  # in arithmetic and in [[ ]]: open parentheses
    quoted: bool = False  # in ${ }: inside double quotes
    line_start: bool = True  # in a here-document

    def copy(self) -> Frame:
        return Frame(*[getattr(self, name) for name in _FIELDS])


_FIELDS = tuple(field.name for field in fields(Frame))
WORDS = frozenset({Kind.SCRIPT, Kind.SUBSTITUTION, Kind.PROCESS, Kind.SUBSHELL, Kind.CASE, Kind.ARRAY, Kind.CONDITION})
