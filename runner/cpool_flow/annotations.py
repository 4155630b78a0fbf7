"""Problems as GitHub Actions shows them beside the lines of a file. Pure.

Knows how many of a kind it shows of one step; not what is a problem.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from cpool_flow.errors import Location, Problem, printable
from cpool_flow.workflow_commands import command

MOST_OF_A_KIND = 10
SHOWN_OF_THE_REST = 50
_LINE_ENDS = re.compile("([\r\n])")
# Where a file stands in the repository; None for one that is not of it.
Place = Callable[[str], str | None]


class Annotations:
    """Those of one step of a job: ten errors and ten warnings, however many calls they come in."""

    def __init__(self, place: Place = lambda file: file) -> None:
        self._place = place
        self._shown: Counter[bool] = Counter()

    def commands(self, problems: Sequence[Problem]) -> tuple[list[str], str]:
        """Commands for the most important problems, which come first, and a line of text about the rest, empty where there is none."""
        commands, rest = [], []
        for problem in sorted(problems, key=lambda problem: problem.warning):
            if self._shown[problem.warning] < MOST_OF_A_KIND:
                self._shown[problem.warning] += 1
                commands.append(self._command(problem))
            else:
                rest.append(problem)
        return commands, _line(rest)

    def _command(self, problem: Problem) -> str:
        text = "; ".join(part for part in (problem.message, problem.hint, problem.help) if part)
        return command("warning" if problem.warning else "error", _shown_text(text), self._properties(problem.location))

    def _properties(self, location: Location | None) -> dict[str, str | int]:
        file = self._place(location.file) if location is not None else None
        return {} if location is None or file is None else {"file": printable(file), "line": location.line, "col": location.column}


def _shown_text(text: str) -> str:
    """Lines stay lines; other control characters are shown. No `##[` stands in it, for whoever reads that before all else."""
    return "".join(part if part in ("\r", "\n") else printable(part) for part in _LINE_ENDS.split(text)).replace("##[", "## [")


def _line(rest: Sequence[Problem]) -> str:
    if not rest:
        return ""
    told = [f"{problem.location}: {problem.message}" if problem.location else problem.message for problem in rest[:SHOWN_OF_THE_REST]]
    more = len(rest) - len(told)
    first_lines = [printable(text.split("\n", 1)[0]) for text in told]
    return f"{len(rest)} more: {'; '.join(first_lines)}{f'; and {more} more' if more else ''}"
