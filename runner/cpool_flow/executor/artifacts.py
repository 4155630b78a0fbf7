"""The files that a step wants kept: copied out of its place into the run's folder after each attempt, before the place can go.

Copies what stands in the files, unmasked: they are the user's own. Links that lead out of the place are not followed.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from cpool_flow.errors import OperationFailed
from cpool_flow.executor import Assignment
from cpool_flow.executor.context import RunContext
from cpool_flow.run_folder import file_name
from cpool_flow.workspace.inside import matching_files


def keep_artifacts(assignment: Assignment, context: RunContext) -> tuple[str, ...]:
    """Their paths below the run's folder. A later attempt replaces what an earlier one left. Raises OperationFailed."""
    patterns = assignment.step.step.artifacts
    if not patterns:
        return ()
    place, kept = context.place.directory, []
    base = Path("artifacts") / file_name(assignment.task)
    for path in matching_files(place, patterns):
        target = context.folder.path / base / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(place / path, target)
        except OSError as error:
            raise OperationFailed(f"cannot keep `{path}`: {error.strerror}") from error
        kept.append(str(base / path))
    return tuple(kept)
