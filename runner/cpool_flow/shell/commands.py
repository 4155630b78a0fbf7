"""The grammar of commands: what a word is once it has ended, and where in its command the next one stands.

Reserved words are known where both shells know them. Knows nothing of characters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cpool_flow.shell import conditions, hazards, words
from cpool_flow.shell.frames import Frame, Kind, Position
from cpool_flow.shell.scanner import Lost, Scanner


def end_word(scanner: Scanner) -> None:
    """The word in progress, if any, has ended."""
    frame = scanner.top
    word = frame.word
    if word is None:
        return
    if "[" in word and frame.position in INDEXED and words.count_open(word, "[", "]"):
        _refuse_open_index(frame, word)
    frame.word = None
    if frame.redirect is None:
        WORD_ENDS[frame.position](scanner, frame, word)
        return
    frame.redirect = None
    if frame.position is Position.START:
        frame.position = Position.PREFIX


def end_command(frame: Frame) -> None:
    """A simple command has ended. If it runs its input as a program, so it does its here-documents."""
    if frame.heredocs and frame.watch is not None and frame.watch.reads_program:
        why = "the command runs the text of this here-document as a program"
        frame.heredocs = tuple(replace(document, program=why) for document in frame.heredocs)
    frame.watch = None
    frame.keyword = ""


def _refuse_open_index(frame: Frame, word: str) -> None:
    if frame.kind is Kind.ARRAY or words.in_index(word):
        raise Lost("a blank in an array index")


def _start(scanner: Scanner, frame: Frame, word: str) -> None:
    if word in RESERVED:
        scanner.check_announced(word)
    RESERVED.get(word, _first_word)(scanner, frame, word)


def _first_word(scanner: Scanner, frame: Frame, word: str) -> None:
    if words.ASSIGNMENT.match(word):
        frame.position = Position.PREFIX
    elif word == "alias":
        raise Lost(ALIAS)
    elif not (word in TIME_OPTIONS and frame.keyword == "time" and frame.position is Position.START):
        frame.position = Position.NAMED
        frame.previous = word
        frame.watch = hazards.begin(word)


def _argument(scanner: Scanner, frame: Frame, word: str) -> None:
    if word == "alias" and frame.position is Position.NAMED and frame.previous in ("command", "builtin"):
        raise Lost(ALIAS)
    frame.position = Position.ARGUMENTS
    frame.watch = hazards.follow(frame.watch, word)


def _after(scanner: Scanner, frame: Frame, word: str) -> None:
    if word not in CLOSING:
        raise Lost("a word after a compound command")
    RESERVED[word](scanner, frame, word)


def _split(scanner: Scanner, frame: Frame, word: str) -> None:
    raise Lost("a word after `&>file`, which is a command of its own in sh")


def _for_name(scanner: Scanner, frame: Frame, word: str) -> None:
    if not words.NAME.fullmatch(word):
        raise Lost("the variable of `for`")
    frame.position = Position.FOR_IN


def _for_in(scanner: Scanner, frame: Frame, word: str) -> None:
    if word not in ("in", "do"):
        raise Lost("`for` without `in`")
    frame.position = Position.FOR_WORDS if word == "in" else Position.START


def _case(scanner: Scanner, frame: Frame, word: str) -> None:
    if frame.keyword:
        raise Lost(f"`case` after `{frame.keyword}`, which are words of one command in sh")
    frame.position = Position.CASE_WORD


def _case_in(scanner: Scanner, frame: Frame, word: str) -> None:
    if word != "in":
        raise Lost("`case` without `in`")
    frame.position = Position.AFTER
    clauses = scanner.push(Kind.CASE)
    clauses.position = Position.PATTERN
    clauses.heredocs, frame.heredocs = frame.heredocs, ()


def _pattern(scanner: Scanner, frame: Frame, word: str) -> None:
    if word == "esac":
        _esac(scanner, frame, word)
    else:
        frame.position = Position.PATTERNS


def _patterns(scanner: Scanner, frame: Frame, word: str) -> None:
    if word == "esac":
        raise Lost("`esac` in a pattern")


def _function_name(scanner: Scanner, frame: Frame, word: str) -> None:
    if not words.FUNCTION_NAME.fullmatch(word):
        raise Lost("the name of a function")
    frame.position = Position.FUNCTION_BODY


def _one_of_a_list(scanner: Scanner, frame: Frame, word: str) -> None:
    """The next word stands where this one stood."""


def _esac(scanner: Scanner, frame: Frame, word: str) -> None:
    if frame.kind is not Kind.CASE:
        raise Lost("`esac` without `case`")
    scanner.frames[-2].heredocs = frame.heredocs
    scanner.pop()


def _coproc(scanner: Scanner, frame: Frame, word: str) -> None:
    raise Lost("`coproc`")


WordEnd = Callable[[Scanner, Frame, str], None]


def _then(position: Position) -> WordEnd:
    def move(scanner: Scanner, frame: Frame, word: str) -> None:
        frame.position = position

    return move


def _keyword_of_bash(position: Position) -> WordEnd:
    def move(scanner: Scanner, frame: Frame, word: str) -> None:
        frame.position = position
        frame.keyword = word

    return move


WORD_ENDS: dict[Position, WordEnd] = {
    Position.START: _start,
    Position.PREFIX: _first_word,
    Position.NAMED: _argument,
    Position.ARGUMENTS: _argument,
    Position.AFTER: _after,
    Position.SPLIT: _split,
    Position.FOR_NAME: _for_name,
    Position.FOR_IN: _for_in,
    Position.FOR_WORDS: _one_of_a_list,
    Position.CASE_WORD: _then(Position.CASE_IN),
    Position.CASE_IN: _case_in,
    Position.PATTERN: _pattern,
    Position.PATTERNS: _patterns,
    Position.FUNCTION_NAME: _function_name,
    Position.FUNCTION_BODY: _start,
    Position.ELEMENTS: _one_of_a_list,
    Position.TEST: conditions.operand,
    Position.TESTED: conditions.end_of_comparison,
}
OPENING = ("if", "then", "elif", "else", "while", "until", "do", "{", "!")
RESERVED: dict[str, WordEnd] = {
    **dict.fromkeys(OPENING, _then(Position.START)),
    **dict.fromkeys(("fi", "done", "}"), _then(Position.AFTER)),
    "for": _then(Position.FOR_NAME),
    "case": _case,
    "esac": _esac,
    "select": _keyword_of_bash(Position.FOR_NAME),
    "function": _keyword_of_bash(Position.FUNCTION_NAME),
    "time": _keyword_of_bash(Position.START),
    "[[": conditions.begin,
    "coproc": _coproc,
}
CLOSING = frozenset({"then", "elif", "else", "fi", "do", "done", "}", "esac"})

ALIAS = "`alias`, which may change how the text after it is read"
TIME_OPTIONS = ("-p", "--")
NAMING = frozenset({Position.START, Position.PREFIX})
INDEXED = NAMING | {Position.ELEMENTS}
RESERVING = frozenset({Position.START, Position.FUNCTION_BODY})
BETWEEN_COMMANDS = NAMING | {Position.NAMED, Position.ARGUMENTS, Position.AFTER, Position.SPLIT}
