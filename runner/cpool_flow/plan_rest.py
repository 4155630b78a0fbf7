"""What else a file says of a step, or of the whole run: each key that it sets, and that a plan does not show in a form of its own.

So that `plan` leaves nothing out, and `plan --diff` misses no change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from cpool_flow.model import Step, Workflow

# What a plan shows of its own (`plan_document.py`), merged, counted or with its default.
_STEP = frozenset(
    "name run prompt skill workflow with steps approve end reason needs join when foreach matrix filter limit max_parallel repeat config "
    "profile timeout idle_timeout retries recoveries verify effects on_failure env secrets slot".split()
)
_WORKFLOW = frozenset("version requires name args secrets config profiles slots budget_usd timeout isolation base steps finally".split())


def rest_of_step(step: Step, shown: Callable[[str], str]) -> dict[str, Any]:
    """The other keys of a step, in the order of the format. `shown`: a text with what is known of its templates."""
    return {key: _mapped(value, shown) for key, value in _told(step).items() if key not in _STEP}


def rest_of_workflow(workflow: Workflow) -> dict[str, Any]:
    """The other keys of a workflow, in the order of the format."""
    return {key: value for key, value in _told(workflow).items() if key not in _WORKFLOW}


def _told(model: Step | Workflow) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def _mapped(value: Any, shown: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return shown(value)
    if isinstance(value, Mapping):
        return {name: _mapped(inner, shown) for name, inner in value.items()}
    return [_mapped(inner, shown) for inner in value] if isinstance(value, list) else value
