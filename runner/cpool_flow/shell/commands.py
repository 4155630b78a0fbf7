"""The grammar of commands: what a word is once it has ended, and where in its command the next one stands.

Reserved words are known where both shells know them. Knows nothing of characters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cpool_flow.shell import hazards, words
from cpool_flow.shell.frames import Frame, Kind, Position
from cpool_flow.shell.scanner import Lost, Scanner
from cpool_flow.shell.words import VALUE

# The words in `[[ ]]` after which a value is taken as text, or as the name of a file.
TEXT_BEFORE = frozenset({"[[", "!", "=", "==", "!=", "=~", "-nt", "-ot", "-ef", *(f"-{letter}" for letter in "abcdefghknprsuwxzGLNOS")})
TEXT_AFTER = frozenset({"=", "==", "!=", "=~", "-nt", "-ot", "-ef", "]]"})


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


def _refuse_open_index(frame: Frame, word: str) -> None:
    if frame.kind is Kind.ARRAY or words.in_index(word):
        raise Lost("a blank in an array index")


def _start(scanner: Scanner, frame: Frame, word: str) -> None:
    RESERVED.get(word, _first_word)(scanner, frame, word)


def _first_word(scanner: Scanner, frame: Frame, word: str) -> None:
    if words.ASSIGNMENT.match(word):
        frame.position = Position.PREFIX
    elif word == "alias":
        raise Lost("`alias`, which may change how the text after it is read")
    else:
        frame.position = Position.NAMED
        frame.previous = word
        frame.watch = hazards.begin(word)


def _argument(scanner: Scanner, frame: Frame, word: str) -> None:
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


def _operand(scanner: Scanner, frame: Frame, word: str) -> None:
    if VALUE in frame.previous and word not in TEXT_AFTER:
        operator = f"`{word}`" if word.isprintable() else "what follows it"
        raise scanner.unprovable(f"a value before {operator} in `[[ ]]` may be evaluated", back=len(word))
    frame.previous = word
    if word == "]]":
        scanner.pop()


def _esac(scanner: Scanner, frame: Frame, word: str) -> None:
    if frame.kind is not Kind.CASE:
        raise Lost("`esac` without `case`")
    scanner.frames[-2].heredocs = frame.heredocs
    scanner.pop()


def _condition(scanner: Scanner, frame: Frame, word: str) -> None:
    frame.position = Position.AFTER
    condition = scanner.push(Kind.CONDITION)
    condition.position = Position.TEST
    condition.previous = word


def _coproc(scanner: Scanner, frame: Frame, word: str) -> None:
    raise Lost("`coproc`")


WordEnd = Callable[[Scanner, Frame, str], None]


def _then(position: Position) -> WordEnd:
    def move(scanner: Scanner, frame: Frame, word: str) -> None:
        frame.position = position

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
    Position.TEST: _operand,
}
OPENING = ("if", "then", "elif", "else", "while", "until", "do", "{", "!")
RESERVED: dict[str, WordEnd] = {
    # `-p` and `--` are the options of `time`, after which a command still begins.
    **dict.fromkeys((*OPENING, "time", "-p", "--"), _then(Position.START)),
    **dict.fromkeys(("fi", "done", "}"), _then(Position.AFTER)),
    **dict.fromkeys(("for", "select"), _then(Position.FOR_NAME)),
    "case": _then(Position.CASE_WORD),
    "function": _then(Position.FUNCTION_NAME),
    "esac": _esac,
    "[[": _condition,
    "coproc": _coproc,
}
CLOSING = frozenset({"then", "elif", "else", "fi", "do", "done", "}", "esac"})

NAMING = frozenset({Position.START, Position.PREFIX})
INDEXED = NAMING | {Position.ELEMENTS}
RESERVING = frozenset({Position.START, Position.FUNCTION_BODY})
BETWEEN_COMMANDS = NAMING | {Position.NAMED, Position.ARGUMENTS, Position.AFTER, Position.SPLIT}
