"""Places in files, problems found there, and the errors that carry them to the exit code.

Knows nothing of YAML, templates or the terminal: a problem is data, its text is made here once.
"""

from __future__ import annotations

import difflib
from bisect import bisect_left
from collections.abc import Iterable, Mapping

from cpool_flow.dataclass import dataclass

MOST_COMPARED = 500


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a text file. `line` and `column` count from 1, in characters; `length` is what the carets mark."""

    file: str
    line: int
    column: int
    length: int = 1

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `message` is lower case with names in backticks; `hint` stands beside the
    carets (`did you mean …`); `help` is the command or word that would work."""

    message: str
    location: Location | None = None
    hint: str | None = None
    help: str | None = None
    warning: bool = False

    @property
    def sort_key(self) -> tuple[str, int, int, str]:
        if self.location is None:
            return ("", 0, 0, self.message)
        return (self.location.file, self.location.line, self.location.column, self.message)


class FlowError(Exception):
    """The family of all errors that a command turns into an exit code. Unless said otherwise it is our own fault."""

    exit_code = 5


class InvalidInput(FlowError):
    """What the user gave is wrong: a file, an argument, an option, the state of a folder. Nothing was started. `sources`: the texts of
    files that problems name, where they do not stand in the files themselves."""

    exit_code = 2

    def __init__(
        self, problems: Iterable[Problem] | Problem | str, *, help: str | None = None, sources: Mapping[str, str] | None = None
    ) -> None:
        if isinstance(problems, str):
            problems = Problem(problems, help=help)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(sorted(problems, key=lambda problem: problem.sort_key))
        self.sources = sources or {}
        super().__init__("; ".join(problem.message for problem in self.problems))


class InvalidValue(InvalidInput):
    """What a key of a step came to while the run went on is not what it takes. `key`: its path in the step."""

    def __init__(self, key: tuple[str, ...], problems: Iterable[Problem] | Problem | str) -> None:
        super().__init__(problems)
        self.key = key


class OperationFailed(FlowError):
    """We could not do the work: git failed, a folder cannot be written, the disk is full. The run can be resumed."""

    exit_code = 5


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """The choice most like `word`, for "did you mean"; None where nothing is near. Of very many choices those are compared that
    begin alike."""
    known = list(choices)
    if len(known) > MOST_COMPARED:
        known = _around(word, sorted(known))
    same = [choice for choice in known if choice.casefold() == word.casefold()]
    found = same or difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    return found[0] if found else None


def _around(word: str, ordered: list[str]) -> list[str]:
    at = bisect_left(ordered, word)
    return ordered[max(0, at - MOST_COMPARED // 2) : at + MOST_COMPARED // 2]


def shown_name(value: object) -> str:
    """A name as it was given, in backticks, cut to a length that fits a message."""
    text = str(value)
    return f"`{text if len(text) <= 60 else text[:59] + '…'}`"


def did_you_mean(word: str, choices: Iterable[str]) -> str | None:
    """The hint `did you mean …?` for an unknown word, or None."""
    near = nearest(word, choices)
    return f"did you mean `{near}`?" if near else None


def listed(names: Iterable[str], most: int = 12) -> str:
    """The names in backticks, the first of them where there are many; `none` where there is none."""
    found = [f"`{name}`" for name in names]
    return ", ".join(found[:most]) + (", …" if len(found) > most else "") if found else "none"


def printable(text: str) -> str:
    """`text` with control, format and bidi characters shown as escapes, so that it is data for a terminal."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character.isprintable() else character.encode("unicode_escape").decode("ascii") for character in text)


def printable_lines(text: str) -> str:
    """The same for text of several lines: lines and tabs stay as they are."""
    if text.isascii() and text.isprintable():
        return text
    return text.replace("\r\n", "\n").translate(_PRINTABLE)


class _Printable(dict[int, str]):
    """How each character is shown; it fills itself with those that were asked for."""

    def __missing__(self, code: int) -> str:
        self[code] = printable(chr(code))
        return self[code]


_PRINTABLE = _Printable({ord("\n"): "\n", ord("\t"): "\t"})


def render_problem(problem: Problem, sources: Mapping[str, str]) -> str:
    """The problem as people read it: message, place, source line with carets, hint.

    `sources` maps a file's name to its text; where the file is missing only the place is named.
    """
    lines = [f"{'warning' if problem.warning else 'error'}: {printable(problem.message)}"]
    place = problem.location
    if place is None:
        if problem.hint:
            lines.append(f"hint: {printable(problem.hint)}")
    else:
        lines.append(f"  --> {printable(str(place))}")
        source = _line(sources.get(place.file), place.line)
        if source is not None:
            lines += _excerpt(place, source, problem.hint)
        elif problem.hint:
            lines.append(f"hint: {printable(problem.hint)}")
    if problem.help:
        lines.append(f"help: {printable(problem.help)}")
    return "\n".join(lines)


def render_problems(problems: Iterable[Problem], sources: Mapping[str, str]) -> str:
    """All problems, a blank line between them, then the count."""
    found = list(problems)
    errors = sum(not problem.warning for problem in found)
    warnings = len(found) - errors
    parts = [render_problem(problem, sources) for problem in found]
    counts = [f"{count} {word}{'s' if count > 1 else ''}" for count, word in ((errors, "error"), (warnings, "warning")) if count]
    return "\n\n".join([*parts, ", ".join(counts)]) if len(found) > 1 else "\n\n".join(parts)


def _line(text: str | None, number: int) -> str | None:
    if text is None:
        return None
    lines = text.split("\n")
    return lines[number - 1].rstrip("\r") if 0 < number <= len(lines) else None


def _excerpt(place: Location, source: str, hint: str | None) -> list[str]:
    width = 160
    start = max(0, place.column - 1 - width // 2) if len(source) > width else 0
    shown = source[start : start + width]
    before = printable(shown[: place.column - 1 - start])
    marked = printable(shown[place.column - 1 - start : place.column - 1 - start + place.length])
    gutter = " " * len(str(place.line))
    carets = "^" * max(1, len(marked))
    return [
        f"{gutter} |",
        f"{place.line} | {printable(shown)}",
        f"{gutter} | {' ' * len(before)}{carets}{f' {printable(hint)}' if hint else ''}",
    ]
