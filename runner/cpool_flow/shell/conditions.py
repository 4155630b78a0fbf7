"""The inside of `[[ ]]`: beside which operators a value is compared as text, and nothing evaluates it.

That is so for bash. To sh, `[[` is the name of a command that ends at the next `&&`, `||`, `|` or new line, so what
stands after one of these must be harmless as a command as well.
"""

from __future__ import annotations

import re

from cpool_flow.shell import hazards
from cpool_flow.shell.frames import Frame, Kind, Position
from cpool_flow.shell.scanner import Lost, Scanner
from cpool_flow.shell.words import OPAQUE, VALUE

# The words after which a value is taken as text, or as the name of a file.
TEXT_BEFORE = frozenset({"[[", "!", "=", "==", "!=", "=~", "-nt", "-ot", "-ef", *(f"-{letter}" for letter in "abcdefghknprsuwxzGLNOS")})
TEXT_AFTER = frozenset({"=", "==", "!=", "=~", "-nt", "-ot", "-ef", "]]"})
BETWEEN = TEXT_AFTER - {"]]"} | {"<", ">", "-eq", "-ne", "-lt", "-le", "-gt", "-ge"}
# After these, sh begins a command.
COMMAND_AFTER = frozenset({"&&", "||", "(", "\n"})
PATTERN_GROUP = re.compile(r"\((?:[^()'\"\\$`<>;&\n]|\([^()'\"\\$`<>;&\n]*\))*\)")


def begin(scanner: Scanner, frame: Frame, word: str) -> None:
    """The word `[[` has ended."""
    frame.position = Position.AFTER
    condition = scanner.push(Kind.CONDITION)
    condition.position = Position.TEST
    condition.previous = word


def operand(scanner: Scanner, frame: Frame, word: str) -> None:
    """A word has ended: an operand, or an operator that looks like a word."""
    if VALUE in frame.previous and word not in TEXT_AFTER:
        operator = f"`{word}`" if word.isprintable() else "what follows it"
        raise scanner.unprovable(f"a value before {operator} in `[[ ]]` may be evaluated", back=len(word))
    if word == "]]":
        scanner.pop()
    elif frame.previous not in COMMAND_AFTER:
        if frame.previous in BETWEEN:
            frame.position = Position.TESTED
        frame.previous = word
    elif _is_command(word):
        raise Lost(f"`{word}` in `[[ ]]`, which sh may run as a command")
    elif word != "!":
        frame.previous = word


def end_of_comparison(scanner: Scanner, frame: Frame, word: str) -> None:
    """A word has ended after both sides of a comparison."""
    if word != "]]":
        raise Lost("a word after both sides of a comparison in `[[ ]]`")
    scanner.pop()


def separator(scanner: Scanner, frame: Frame, token: str, end: int) -> None:
    """`&&` or `||` between two conditions; any other but the `|` of a regular expression is an error."""
    if token not in ("&&", "||"):
        raise Lost(f"`{token}` in `[[ ]]`")
    _follow(frame, token)
    scanner.at = end


def new_line(frame: Frame) -> None:
    """A line has ended between words."""
    if VALUE not in frame.previous and frame.position is Position.TEST:
        frame.previous = "\n"


def order(scanner: Scanner, frame: Frame, token: str, end: int) -> None:
    """`<` or `>`, which compares in bash and redirects in sh."""
    frame.previous = token
    scanner.at = end


def is_alternative(frame: Frame, token: str) -> bool:
    """Whether a `|` belongs to the regular expression that stands here."""
    return frame.kind is Kind.CONDITION and frame.previous == "=~" and frame.word is not None and token[0] == "|"


def open_parenthesis(scanner: Scanner, frame: Frame, end: int) -> None:
    """`(` around conditions, or in a pattern."""
    if frame.word is None and frame.previous != "=~":
        frame.depth += 1
        _follow(frame, "(")
        scanner.at = end
        return
    match = PATTERN_GROUP.match(scanner.text, scanner.at)
    if match is None:
        raise Lost("`(` in a pattern")
    scanner.opaque()
    scanner.at = match.end()


def close_parenthesis(frame: Frame) -> None:
    """`)` around conditions."""
    if not frame.depth:
        raise Lost("`)` in `[[ ]]` without `(`")
    frame.depth -= 1
    _follow(frame, ")")


def refusal(previous: str, word: str) -> str | None:
    """Why a value is refused after the part `word` of a word, which stands after the word or operator `previous`."""
    if previous not in TEXT_BEFORE:
        before = f"`{previous}`" if previous.isprintable() else "another operand or a new line"
        return f"a value after {before} in `[[ ]]` may be evaluated, or be a command in sh"
    if previous == "=~" and any(mark in word for mark in "[(|"):
        return "a value inside a bracket, group or alternative of a regular expression"
    return None


def _follow(frame: Frame, operator: str) -> None:
    frame.previous = operator
    frame.position = Position.TEST


def _is_command(word: str) -> bool:
    """Whether the word names a command that runs or evaluates what it is given."""
    return word == "alias" or (OPAQUE not in word and VALUE not in word and hazards.begin(word) is not None)
