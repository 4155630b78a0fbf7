"""Problems as GitHub Actions shows them beside the lines of a file: workflow commands on stdout.

Knows how the runner reads such lines, and how many of them it shows of one step.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cpool_flow.errors import Problem, printable

MOST_OF_A_KIND = 10


def annotation_lines(problems: Sequence[Problem]) -> Iterator[str]:
    """The lines to print: errors first, ten of each kind, then one line about the rest."""
    rest = []
    for warning in (False, True):
        found = [problem for problem in problems if problem.warning is warning]
        yield from map(_annotation, found[:MOST_OF_A_KIND])
        rest += found[MOST_OF_A_KIND:]
    if rest:
        yield _unread(f"{len(rest)} more: {'; '.join(f'{problem.location}: {problem.message}' for problem in rest)}")


def _annotation(problem: Problem) -> str:
    place = problem.location
    properties = f" file={_property(place.file)},line={place.line},col={place.column}" if place else ""
    if place and place.length > 1:
        properties += f",endColumn={place.column + place.length}"
    text = "; ".join(part for part in (problem.message, problem.hint, problem.help) if part)
    return f"::{'warning' if problem.warning else 'error'}{properties}::{_data(text)}"


def _data(text: str) -> str:
    """Escaped as the runner's own toolkit does; other control characters are shown."""
    return _unread(text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A"))


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def _unread(line: str) -> str:
    """The runner also reads `##[command]` anywhere in a line."""
    return printable(line).replace("##[", "# #[")
