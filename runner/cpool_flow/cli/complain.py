"""How an error of the family is shown: on stderr, with the places it names."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cpool_flow.cli.colour import with_labels
from cpool_flow.cli.json_output import print_json
from cpool_flow.cli.runner_stream import is_read_by_the_runner
from cpool_flow.errors import FlowError, InvalidInput, Problem, printable, render_problems

MAX_SOURCE_BYTES = 16 * 1024 * 1024


def complain(error: FlowError, *, as_json: bool) -> int:
    """Print the error and return its exit code. `as_json`: a document was promised on stdout, so this is it."""
    problems = error.problems if isinstance(error, InvalidInput) else (Problem(str(error)),)
    if isinstance(error, InvalidInput):
        tell(problems, error.sources)
    else:
        print(with_labels(f"error: {printable(str(error))}"), file=sys.stderr)
        annotate_for_the_runner(problems)
    if as_json:
        print_json({"errors": [document(problem) for problem in problems]})
    return error.exit_code


def tell(problems: Sequence[Problem], texts: Mapping[str, str] | None = None) -> None:
    """Show problems with the places they name, and in GitHub Actions annotate these. `texts`: of files that cannot be read any more."""
    print(with_labels(render_problems(problems, {**sources(problems), **(texts or {})})), file=sys.stderr)
    annotate_for_the_runner(problems)


def annotate_for_the_runner(problems: Sequence[Problem]) -> None:
    if is_read_by_the_runner():
        from cpool_flow.cli.actions import annotate

        annotate(problems, sys.stderr)


def document(problem: Problem, file: str | None = None) -> dict[str, Any]:
    """A problem as JSON. `file`: in which it was found, where it names no place."""
    place = problem.location
    return {
        "severity": "warning" if problem.warning else "error",
        "message": problem.message,
        "file": place.file if place else file,
        "line": place.line if place else None,
        "column": place.column if place else None,
        "length": place.length if place else None,
        "hint": problem.hint,
        "help": problem.help,
    }


def sources(problems: Sequence[Problem]) -> dict[str, str]:
    """The texts of the files that the problems name, as far as they can be read."""
    found = {}
    for file in {problem.location.file for problem in problems if problem.location}:
        try:
            with open(Path(file), "rb") as stream:
                found[file] = stream.read(MAX_SOURCE_BYTES).decode("utf-8-sig", "replace")
        except (OSError, ValueError):
            continue
    return found
