"""How an error of the family is shown: on stderr, with the places it names."""

from __future__ import annotations

import sys
from pathlib import Path

from cpool_flow.errors import FlowError, InvalidInput, Problem, printable, render_problems

MAX_SOURCE_BYTES = 16 * 1024 * 1024


def complain(error: FlowError) -> int:
    """Print the error and return its exit code."""
    if isinstance(error, InvalidInput):
        print(render_problems(error.problems, sources(error.problems)), file=sys.stderr)
    else:
        print(f"error: {printable(str(error))}", file=sys.stderr)
    return error.exit_code


def sources(problems: tuple[Problem, ...]) -> dict[str, str]:
    """The texts of the files that the problems name, as far as they can be read."""
    found = {}
    for file in {problem.location.file for problem in problems if problem.location}:
        try:
            with open(Path(file), "rb") as stream:
                found[file] = stream.read(MAX_SOURCE_BYTES).decode("utf-8-sig", "replace")
        except (OSError, ValueError):
            continue
    return found
