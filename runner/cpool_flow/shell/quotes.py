"""Reads the inside of quotes, expansions, comments and here-documents: where each ends, in bash and in sh alike.

Knows nothing of words and commands, in which these stand.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from cpool_flow.shell.frames import WORDS, HereDocument, Kind
from cpool_flow.shell.scanner import Follows, Lost, Scanner

Reader = Callable[[Scanner], None]

DOUBLE_RUN = re.compile(r'[^"\\$`]+')
ANSI_RUN = re.compile(r"(?:[^'\\]|\\[^'])+")
PARAMETER_RUN = re.compile(r"[^}'\"\\$`{<>]+")
PARAMETER_START = re.compile(r"[A-Za-z0-9_@*#?$!-]")
# Quotes within "${…}" are read in two ways; these end at the same place in both.
QUOTED_TWICE = re.compile(r"'[^'\"\\$`{}\n]*'|\"(?:[^'\"\\$`{}\n]|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})*\"")
ARITHMETIC_RUN = re.compile(r"[^()$`'\"\\]+")
ARITHMETIC_COMMAND_RUN = re.compile(r"[A-Za-z0-9_ \t\n+\-*/%=!>&|?:,~^.;\[\]]+")
ARITHMETIC_QUOTES = re.compile(r"\"(?:[A-Za-z0-9_ +\-*/%]|\$[A-Za-z_][A-Za-z0-9_]*|\$\{[A-Za-z_][A-Za-z0-9_]*\})*(?:\"|\Z)")
BACKTICK_RUN = re.compile(r"[^`\\]+")
LINE = re.compile(r"[^\n]+")
LINE_RUN = re.compile(r"[^\\$`\n]+")
CONTINUATIONS = re.compile(r"(?:\\\n)+(?:\\\Z)?|\\\Z")
DOLLAR = re.compile(r"\$(?:\(\(?|\{|\[|[A-Za-z_][A-Za-z0-9_]*|[0-9@*#?$!-]|\\\n?|['\"])?")


def single(scanner: Scanner) -> None:
    end = scanner.text.find("'", scanner.at)
    scanner.check_lines(scanner.at, end if end >= 0 else scanner.size)
    scanner.at = scanner.size if end < 0 else end + 1
    if end >= 0:
        scanner.pop()


def double(scanner: Scanner) -> None:
    _run(scanner, DOUBLE_RUN, IN_DOUBLE)


def ansi(scanner: Scanner) -> None:
    """`$'…'` in bash, `$` and `'…'` in sh: the same end, unless a quote is escaped."""
    match = ANSI_RUN.match(scanner.text, scanner.at)
    if match is not None:
        scanner.take(match)
    elif scanner.text[scanner.at] == "'":
        close(scanner)
    elif scanner.at + 1 == scanner.size:
        scanner.wait()
    else:
        raise Lost("`\\'` in `$'…'`")


def parameter(scanner: Scanner) -> None:
    _run(scanner, PARAMETER_RUN, IN_PARAMETER)


def arithmetic(scanner: Scanner) -> None:
    _run(scanner, ARITHMETIC_RUN, IN_ARITHMETIC)


def arithmetic_command(scanner: Scanner) -> None:
    """`((…))` in bash, `( (…) )` in sh: only text that ends at the same place in both."""
    _run(scanner, ARITHMETIC_COMMAND_RUN, IN_ARITHMETIC_COMMAND)


def backticks(scanner: Scanner) -> None:
    _run(scanner, BACKTICK_RUN, IN_BACKTICKS)


def comment(scanner: Scanner) -> None:
    match = LINE.match(scanner.text, scanner.at)
    scanner.at = match.end() if match else scanner.at
    if scanner.at < scanner.size:
        scanner.pop()


def here_document(scanner: Scanner) -> None:
    frame = scanner.top
    document = frame.heredocs[0]
    if not (frame.line_start and _end_word(scanner, document)):
        _run(scanner, LINE if document.quoted else LINE_RUN, IN_HERE_DOCUMENT)


def dollar(scanner: Scanner) -> None:
    match = DOLLAR.match(scanner.text, scanner.at)
    assert match is not None
    if scanner.cut_off(match.end()):
        return scanner.wait()
    if match.end() == scanner.size and match.group() == "$" and scanner.follows is Follows.VALUE:
        raise scanner.unprovable("a value right after `$`: write `{{ … }}` without it")
    if match.group() == "$(" and _continues(scanner, match.end()):
        return scanner.wait()
    scanner.opaque()
    DOLLARS.get(match.group(), _name)(scanner, match)


def _continues(scanner: Scanner, end: int) -> bool:
    """Whether more text is needed to know if a continued line makes `$((` of the `$(` that ends here."""
    match = CONTINUATIONS.match(scanner.text, end)
    if match is None:
        return False
    if scanner.text.startswith("(", match.end()):
        raise Lost("`$(` and `(` with a line continuation between them")
    return scanner.cut_off(match.end())


def _name(scanner: Scanner, match: re.Match[str]) -> None:
    scanner.at = match.end()


def _dollar_quote(scanner: Scanner, match: re.Match[str]) -> None:
    frame = scanner.top
    if frame.kind is Kind.PARAMETER and not frame.quoted and match.group() == "$'":
        raise Lost("`$'` in `${…}`")
    if frame.kind not in WORDS:
        scanner.at += 1
    else:
        scanner.at = match.end()
        scanner.push(Kind.ANSI if match.group() == "$'" else Kind.LOCALE)


def _dollar_backslash(scanner: Scanner, match: re.Match[str]) -> None:
    if match.group().endswith("\n"):
        raise Lost("`$` before a line continuation")
    scanner.at += 1


def _dollar_bracket(scanner: Scanner, match: re.Match[str]) -> None:
    raise Lost("`$[`, which only bash reads as arithmetic")


def _dollar_brace(scanner: Scanner, match: re.Match[str]) -> None:
    if match.end() < scanner.size and not PARAMETER_START.match(scanner.text, match.end()):
        raise Lost("`${` without a name")
    outer = scanner.top
    scanner.at = min(match.end() + 1, scanner.size)
    scanner.push(Kind.PARAMETER).quoted = outer.quoted or (outer.kind not in WORDS and outer.kind is not Kind.PARAMETER)


def _substitution(scanner: Scanner, match: re.Match[str]) -> None:
    scanner.at = match.end()
    scanner.push(Kind.SUBSTITUTION)


def _arithmetic_expansion(scanner: Scanner, match: re.Match[str]) -> None:
    scanner.at = match.end()
    scanner.push(Kind.ARITHMETIC)


def close(scanner: Scanner) -> None:
    scanner.at += 1
    scanner.pop()


def backtick(scanner: Scanner) -> None:
    scanner.opaque()
    scanner.at += 1
    scanner.push(Kind.BACKTICKS)


def _escaped(scanner: Scanner) -> None:
    scanner.skip_escaped()


def _quote_in_parameter(scanner: Scanner) -> None:
    quote = scanner.text[scanner.at]
    if not scanner.top.quoted:
        scanner.at += 1
        scanner.push(Kind.SINGLE if quote == "'" else Kind.DOUBLE)
        return
    match = QUOTED_TWICE.match(scanner.text, scanner.at)
    if match is None:
        raise Lost('quotes in `"${…}"`')
    scanner.take(match)


def _angle_in_parameter(scanner: Scanner) -> None:
    if scanner.cut_off(scanner.at + 1):
        return scanner.wait()
    if scanner.text.startswith("(", scanner.at + 1):
        raise Lost("`<(` in `${…}`")
    scanner.at += 1


def _brace_in_parameter(scanner: Scanner) -> None:
    raise Lost("`{` in `${…}`")


def _open_parenthesis(scanner: Scanner) -> None:
    scanner.top.depth += 1
    scanner.at += 1


def _close_parenthesis(scanner: Scanner) -> None:
    if scanner.top.depth:
        scanner.top.depth -= 1
        scanner.at += 1
    elif scanner.cut_off(scanner.at + 1):
        scanner.wait()
    elif scanner.text.startswith("))", scanner.at):
        scanner.at += 2
        scanner.pop()
    else:
        raise Lost("`((` that is no arithmetic")


def _quotes_in_arithmetic(scanner: Scanner) -> None:
    """Quotes that both shells end at the same place. A value in them is refused with all that stands in arithmetic."""
    match = ARITHMETIC_QUOTES.match(scanner.text, scanner.at)
    if match is None:
        raise Lost("quotes in arithmetic")
    if match.end() == scanner.size and scanner.follows is Follows.TEXT:
        return scanner.wait()
    scanner.take(match)


def _less_in_command(scanner: Scanner) -> None:
    if scanner.cut_off(scanner.at + 1):
        return scanner.wait()
    if scanner.text.startswith("<<", scanner.at):
        raise Lost("`<<` in `(( ))`, which is a here-document in sh")
    scanner.at += 1


def _end_word(scanner: Scanner, document: HereDocument) -> bool:
    """At the start of a line: take it if it is the end word. True also where more text is needed to know."""
    end = scanner.text.find("\n", scanner.at)
    line = scanner.text[scanner.at : end if end >= 0 else scanner.size]
    bare = line.lstrip("\t") if document.strips_tabs else line
    if end < 0 and scanner.follows is Follows.TEXT and document.delimiter.startswith(bare):
        scanner.wait()
        return True
    if bare == document.delimiter and (end >= 0 or scanner.follows is Follows.END):
        scanner.at = end + 1 if end >= 0 else scanner.size
        scanner.top.heredocs = scanner.top.heredocs[1:]
        if not scanner.top.heredocs:
            scanner.pop()
        return True
    if bare.startswith(document.delimiter + ")"):
        raise Lost("`)` right after the end word of a here-document")
    scanner.top.line_start = False
    return False


def _line_end(scanner: Scanner) -> None:
    scanner.at += 1
    scanner.top.line_start = True


def _backslash_in_here_document(scanner: Scanner) -> None:
    if scanner.text.startswith("\n", scanner.at + 1):
        raise Lost("a line continuation in a here-document")
    scanner.skip_escaped()


def _other_in_arithmetic(scanner: Scanner) -> None:
    raise Lost("a quote or another mark in arithmetic")


def _run(scanner: Scanner, ordinary: re.Pattern[str], others: dict[str, Reader]) -> None:
    match = ordinary.match(scanner.text, scanner.at)
    if match is not None:
        scanner.take(match)
    else:
        others.get(scanner.text[scanner.at], _other_in_arithmetic)(scanner)


EXPANSIONS: dict[str, Reader] = {"$": dollar, "`": backtick}
IN_DOUBLE: dict[str, Reader] = {**EXPANSIONS, '"': close, "\\": _escaped}
IN_PARAMETER: dict[str, Reader] = {
    **EXPANSIONS,
    "}": close,
    "\\": _escaped,
    "'": _quote_in_parameter,
    '"': _quote_in_parameter,
    "<": _angle_in_parameter,
    ">": _angle_in_parameter,
    "{": _brace_in_parameter,
}
IN_ARITHMETIC: dict[str, Reader] = {**EXPANSIONS, "(": _open_parenthesis, ")": _close_parenthesis, '"': _quotes_in_arithmetic}
IN_ARITHMETIC_COMMAND: dict[str, Reader] = {**IN_ARITHMETIC, "<": _less_in_command}
IN_BACKTICKS: dict[str, Reader] = {"`": close, "\\": _escaped}
IN_HERE_DOCUMENT: dict[str, Reader] = {**EXPANSIONS, "\n": _line_end, "\\": _backslash_in_here_document}
DOLLARS: dict[str, Callable[[Scanner, re.Match[str]], None]] = {
    "$(": _substitution,
    "$((": _arithmetic_expansion,
    "${": _dollar_brace,
    "$[": _dollar_bracket,
    "$'": _dollar_quote,
    '$"': _dollar_quote,
    "$\\": _dollar_backslash,
    "$\\\n": _dollar_backslash,
}
