"""Reads operators: what separates commands, redirections, parentheses.

Knows which of them may stand where; all else, mostly a syntax error in one shell at least, makes what follows `Lost`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cpool_flow.shell import conditions, words
from cpool_flow.shell.commands import BETWEEN_COMMANDS, RESERVED, RESERVING, end_command, end_word
from cpool_flow.shell.frames import Frame, HereDocument, Kind, Position, Redirect
from cpool_flow.shell.scanner import Follows, Lost, Scanner
from cpool_flow.shell.words import VALUE

OPERATOR = re.compile(r"&>>|&>|&&|&|\|\||\|&|\||;;&|;;|;&|;|<<<|<<-|<<|<>|<&|<\(|<|>>|>\||>&|>\(|>|\(|\)")
EMPTY_PARENTHESES = re.compile(r"\([ \t]*\)")
EMPTY_PARENTHESES_BEGUN = re.compile(r"\([ \t]*\Z")
END_WORD = re.compile(
    r"[ \t]*(?:'(?P<single>[^'\n]*)'|\"(?P<double>[^\"\\$`\n]*)\"|\\(?P<escaped>[A-Za-z0-9_.-]+)|(?P<plain>[A-Za-z0-9_.!%+,/:@][A-Za-z0-9_.!%+,/:@-]*))"
    r"(?=[ \t\n;&|<>()]|\Z)"
)
END_WORD_BEGUN = re.compile(r"[ \t]*(?:'[^'\n]*|\"[^\"\\$`\n]*|\\)?\Z")


def operator(scanner: Scanner) -> None:
    match = OPERATOR.match(scanner.text, scanner.at)
    assert match is not None
    if match.group() != ")" and _may_go_on(scanner, match.end()):
        scanner.wait()
    else:
        OPERATORS[match.group()](scanner, match.group(), match.end())


def _may_go_on(scanner: Scanner, end: int) -> bool:
    """Whether the operator that ends here may be the start of a longer one."""
    if not scanner.text.startswith("\\", end):
        return scanner.cut_off(end)
    after = scanner.text[end + 1 : end + 3]
    if len(after) == 2 and after[0] == "\n" and after[1] in "<>|&;()-\\":
        raise Lost("an operator before a line continuation")
    return after in ("", "\n") and scanner.cut_off(end + 1 + len(after))


def _separator(scanner: Scanner, token: str, end: int) -> None:
    frame = scanner.top
    if conditions.is_alternative(frame, token):
        frame.word = words.grown(frame.word, "|")
        scanner.at += 1
        return
    frame = _ended(scanner)
    if token != "|":
        scanner.check_announced(token)
    if frame.kind is Kind.CONDITION:
        return conditions.separator(scanner, frame, token, end)
    if frame.position in BETWEEN_COMMANDS or (frame.position in (Position.FOR_IN, Position.FOR_WORDS) and token == ";"):
        end_command(frame)
        frame.position = Position.START
    elif frame.position is not Position.PATTERNS or token != "|":
        raise Lost(f"`{token}` in another place than between commands")
    scanner.at = end


def _clause_end(scanner: Scanner, token: str, end: int) -> None:
    frame = _ended(scanner)
    scanner.check_announced(token)
    if frame.kind is not Kind.CASE or frame.position not in BETWEEN_COMMANDS:
        raise Lost(f"`{token}` outside a clause of `case`")
    end_command(frame)
    frame.position = Position.PATTERN
    scanner.at = end


def _ended(scanner: Scanner) -> Frame:
    """The construct after the end of its last word."""
    end_word(scanner)
    if scanner.top.redirect is not None:
        raise Lost("a redirection without a word")
    return scanner.top


def _redirection(scanner: Scanner, token: str, end: int) -> None:
    if scanner.top.kind is Kind.CONDITION and token in ("<", ">"):
        end_word(scanner)
        return conditions.order(scanner, scanner.top, token, end)
    frame = _redirected(scanner, token)
    frame.redirect = REDIRECTS.get(token, Redirect.TARGET)
    if token[0] == "&":
        frame.position = Position.SPLIT
    scanner.at = end


def _here_document(scanner: Scanner, token: str, end: int) -> None:
    match = END_WORD.match(scanner.text, end)
    begun = match.end() == scanner.size if match is not None else END_WORD_BEGUN.match(scanner.text, end) is not None
    if begun and scanner.follows is Follows.TEXT:
        return scanner.wait()
    if begun and scanner.follows is Follows.VALUE:
        raise scanner.unprovable("a value in the end word of a here-document")
    if match is None:
        raise Lost("such an end word of a here-document")
    frame = _redirected(scanner, token)
    plain = match["plain"]
    delimiter = plain if plain is not None else match["single"] or match["double"] or match["escaped"] or ""
    frame.heredocs += (HereDocument(delimiter, strips_tabs=token == "<<-", quoted=plain is None),)
    if frame.position is Position.START:
        frame.position = Position.PREFIX
    scanner.at = match.end()


def _redirected(scanner: Scanner, token: str) -> Frame:
    """The construct to whose command a redirection belongs, after the end of the word before it."""
    _drop_descriptor(scanner)
    frame = _ended(scanner)
    if frame.position not in BETWEEN_COMMANDS:
        raise Lost(f"`{token}` in another place than a command")
    return frame


def _drop_descriptor(scanner: Scanner) -> None:
    """`2` in `2>file` is no word."""
    word = scanner.top.word
    if word is None:
        return
    if words.DESCRIPTOR_VARIABLE.fullmatch(word):
        raise Lost("`{name}` before a redirection")
    if word.isascii() and word.isdigit():
        scanner.top.word = None


def _process_substitution(scanner: Scanner, token: str, end: int) -> None:
    if scanner.top.position in (Position.PATTERN, Position.PATTERNS):
        raise Lost(f"`{token}` in a pattern")
    scanner.opaque()
    scanner.at = end
    scanner.push(Kind.PROCESS)


def _open_parenthesis(scanner: Scanner, token: str, end: int) -> None:
    frame = scanner.top
    if frame.kind is Kind.CONDITION:
        return conditions.open_parenthesis(scanner, frame, end)
    if frame.word == "!":
        raise Lost("`!(`, which is a pattern where bash has extended ones")
    if frame.word in RESERVED and frame.position in RESERVING:
        end_word(scanner)
        frame = scanner.top
    if frame.redirect is not None:
        raise Lost("`(` after a redirection")
    if frame.word is None:
        _open_between_words(scanner, frame, end)
    else:
        _open_in_word(scanner, frame, frame.word, end)


def _open_in_word(scanner: Scanner, frame: Frame, word: str, end: int) -> None:
    if words.ARRAY_NAME.fullmatch(word):
        scanner.opaque()
        scanner.at = end
        scanner.push(Kind.ARRAY).position = Position.ELEMENTS
    elif frame.position is Position.START:
        _function(scanner, frame, word)
    else:
        raise _glued(scanner, word)


def _open_between_words(scanner: Scanner, frame: Frame, end: int) -> None:
    double = scanner.text.startswith("(", end)
    if frame.position is Position.FOR_NAME and double:
        frame.position = Position.START
        scanner.at = end + 1
        scanner.push(Kind.ARITHMETIC)
    elif frame.position is Position.PATTERN:
        frame.position = Position.PATTERNS
        scanner.at = end
    elif frame.position is Position.NAMED:
        _function(scanner, frame, frame.previous)
    elif frame.position is Position.FUNCTION_BODY and _parentheses(scanner):
        _function(scanner, frame, "name")
    elif frame.position in RESERVING:
        _compound(scanner, frame, double, end)
    else:
        raise Lost("`(` in this place")


def _compound(scanner: Scanner, frame: Frame, double: bool, end: int) -> None:
    scanner.check_announced("(")
    frame.position = Position.AFTER
    scanner.at = end + double
    inner = scanner.push(Kind.ARITHMETIC_COMMAND if double else Kind.SUBSHELL)
    if not double:
        inner.heredocs, frame.heredocs = frame.heredocs, ()


def _function(scanner: Scanner, frame: Frame, name: str) -> None:
    """`( )` after the name of a function; its body is a command."""
    match = _parentheses(scanner)
    if match is None or not words.FUNCTION_NAME.fullmatch(name):
        raise _glued(scanner, name)
    if scanner.cut_off(match.end()):
        return scanner.wait()
    frame.word = None
    frame.position = Position.START
    scanner.at = match.end()


def _parentheses(scanner: Scanner) -> re.Match[str] | None:
    """`( )`, or what may become it."""
    begun = EMPTY_PARENTHESES_BEGUN.match(scanner.text, scanner.at) if scanner.follows is Follows.TEXT else None
    return begun or EMPTY_PARENTHESES.match(scanner.text, scanner.at)


def _glued(scanner: Scanner, word: str) -> Exception:
    if VALUE in word:
        return scanner.unprovable("`(` after a value")
    return Lost("`(` after a word")


def _close_parenthesis(scanner: Scanner, token: str, end: int) -> None:
    frame = _ended(scanner)
    scanner.check_announced(")")
    scanner.at = end
    if frame.kind is Kind.CONDITION:
        conditions.close_parenthesis(frame)
    elif frame.kind is Kind.CASE and frame.position in (Position.PATTERN, Position.PATTERNS):
        frame.position = Position.START
    elif frame.kind in CLOSED_BY_PARENTHESIS:
        _close_construct(scanner, frame)
    else:
        raise Lost("`)` in this place")


def _close_construct(scanner: Scanner, frame: Frame) -> None:
    end_command(frame)
    if frame.kind is Kind.SUBSHELL:
        scanner.frames[-2].heredocs = frame.heredocs
    elif frame.heredocs:
        raise Lost("a here-document whose text begins after its construct")
    scanner.pop()


CLOSED_BY_PARENTHESIS = frozenset({Kind.SUBSTITUTION, Kind.PROCESS, Kind.SUBSHELL, Kind.ARRAY})
REDIRECTS = {"<&": Redirect.DUPLICATE, ">&": Redirect.DUPLICATE, "<<<": Redirect.HERE_STRING}
OPERATORS: dict[str, Callable[[Scanner, str, int], None]] = {
    **dict.fromkeys((";", "&", "&&", "||", "|", "|&"), _separator),
    **dict.fromkeys((";;", ";&", ";;&"), _clause_end),
    **dict.fromkeys(("&>", "&>>", "<>", "<&", "<", ">>", ">|", ">&", ">", "<<<"), _redirection),
    **dict.fromkeys(("<<", "<<-"), _here_document),
    **dict.fromkeys(("<(", ">("), _process_substitution),
    "(": _open_parenthesis,
    ")": _close_parenthesis,
}
