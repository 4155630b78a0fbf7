"""Reads literal shell text and follows which constructs are open, in bash and POSIX sh (dash) alike.

Where the two differ, or where the reading is not certain, it stops: the text after that is lost, and no value can be
proved there. It leans on one fact: shells read from left to right and run nothing after a syntax error, so only text
that is valid so far has to be followed rightly.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cpool_flow.dataclass import dataclass
from cpool_flow.shell import conditions, quotes, words
from cpool_flow.shell.commands import NAMING, end_command, end_word
from cpool_flow.shell.frames import WORDS, Frame, Kind, Position, Unprovable
from cpool_flow.shell.operators import operator
from cpool_flow.shell.scanner import Follows, Lost, Scanner

RUN = re.compile(r"[^ \t\n'\"\\$`;&|<>()]+")
BLANKS = re.compile(r"[ \t]+")
SINGLE_QUOTED = re.compile(r"'[^']*'")
DOUBLE_QUOTED = re.compile(r'"[^"\\$`]*"')


@dataclass(frozen=True, slots=True)
class Reading:
    """What is open at a place. `pending` is text that is cut off within a token; `lost` says why nothing is known."""

    frames: tuple[Frame, ...]
    pending: str = ""
    lost: str | None = None


def scan(reading: Reading, text: str, follows: Follows) -> Reading:
    """The reading after `text`. Raises Unprovable where the text gives a value before it another meaning."""
    if reading.lost is not None:
        return reading
    scanner = Scanner(reading.frames, reading.pending + text, follows)
    try:
        scanner.run(READERS)
        if follows is Follows.END and scanner.top.kind in WORDS:
            end_word(scanner)
    except Lost:
        return Reading((), lost="the end")
    except Unprovable as error:
        raise Unprovable(error.reason, max(0, (error.offset or 0) - len(reading.pending))) from None
    if scanner.lost is not None:
        return Reading((), lost=scanner.lost)
    return Reading(tuple(scanner.frames), scanner.pending)


def _words(scanner: Scanner) -> None:
    match = RUN.match(scanner.text, scanner.at)
    if match is None:
        BREAKS[scanner.text[scanner.at]](scanner)
    elif scanner.top.word is None and scanner.text[scanner.at] == "#":
        _comment(scanner)
    else:
        scanner.at = match.end()
        _grow(scanner, scanner.top, match.group())


def _grow(scanner: Scanner, frame: Frame, part: str) -> None:
    frame.word = word = words.grown(frame.word, part)
    if "=" in part and frame.position in NAMING and words.names_variable_by_value(word):
        raise scanner.unprovable("a value cannot name a variable", back=len(part))
    if len(word) > words.LONGEST_WORD:
        raise Lost(f"a word longer than {words.LONGEST_WORD} characters")


def _comment(scanner: Scanner) -> None:
    if scanner.top.kind is Kind.CONDITION:
        raise Lost("`#` in `[[ ]]`")
    scanner.push(Kind.COMMENT)


def _blank(scanner: Scanner) -> None:
    end_word(scanner)
    match = BLANKS.match(scanner.text, scanner.at)
    assert match is not None
    scanner.at = match.end()


def _newline(scanner: Scanner) -> None:
    end_word(scanner)
    frame = scanner.top
    if frame.redirect is not None:
        raise Lost("a redirection without a word")
    if any(outer.heredocs for outer in scanner.frames[:-1]):
        raise Lost("a new line within another construct before the text of a here-document")
    end_command(frame)
    if frame.kind is Kind.CONDITION:
        conditions.new_line(frame)
    elif frame.position not in ACROSS_LINES:
        frame.position = Position.START
    scanner.at += 1
    if frame.heredocs:
        documents, frame.heredocs = frame.heredocs, ()
        scanner.push(Kind.HERE_DOCUMENT).heredocs = documents


def _backslash(scanner: Scanner) -> None:
    if scanner.text.startswith("\n", scanner.at + 1):
        _continuation(scanner, scanner.top)
    elif scanner.skip_escaped():
        scanner.opaque()


def _continuation(scanner: Scanner, frame: Frame) -> None:
    """A line that goes on in the next one. In the middle of a word that may be reserved, or name something, it is not certain."""
    end = scanner.at + 2
    if scanner.cut_off(end):
        return scanner.wait()
    if frame.word is not None and frame.position not in PLAIN and scanner.text[end : end + 1] not in ("", " ", "\t", "\n"):
        raise Lost("a line continuation in the middle of a word")
    scanner.at = end


def _single_quote(scanner: Scanner) -> None:
    _quote(scanner, SINGLE_QUOTED, Kind.SINGLE)


def _double_quote(scanner: Scanner) -> None:
    _quote(scanner, DOUBLE_QUOTED, Kind.DOUBLE)


def _quote(scanner: Scanner, whole: re.Pattern[str], kind: Kind) -> None:
    scanner.opaque()
    match = whole.match(scanner.text, scanner.at)
    if match is not None:
        scanner.take(match)
    else:
        scanner.at += 1
        scanner.push(kind)


PLAIN = frozenset({Position.NAMED, Position.ARGUMENTS, Position.FOR_WORDS, Position.ELEMENTS})
ACROSS_LINES = frozenset({Position.FOR_IN, Position.CASE_IN, Position.FUNCTION_BODY, Position.PATTERN, Position.ELEMENTS})

READERS: dict[Kind, Callable[[Scanner], None]] = {
    **dict.fromkeys(WORDS, _words),
    Kind.SINGLE: quotes.single,
    Kind.DOUBLE: quotes.double,
    Kind.LOCALE: quotes.double,
    Kind.ANSI: quotes.ansi,
    Kind.PARAMETER: quotes.parameter,
    Kind.ARITHMETIC: quotes.arithmetic,
    Kind.ARITHMETIC_COMMAND: quotes.arithmetic_command,
    Kind.BACKTICKS: quotes.backticks,
    Kind.COMMENT: quotes.comment,
    Kind.HERE_DOCUMENT: quotes.here_document,
}
BREAKS: dict[str, Callable[[Scanner], None]] = {
    " ": _blank,
    "\t": _blank,
    "\n": _newline,
    "\\": _backslash,
    "'": _single_quote,
    '"': _double_quote,
    "$": quotes.dollar,
    "`": quotes.backtick,
    **dict.fromkeys(";&|<>()", operator),
}
