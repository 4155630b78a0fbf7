"""The answer of a person to a step that asks for approval: read as the step says, like any other output. Pure but for the schema's copy."""

from __future__ import annotations

from cpool_flow import model
from cpool_flow.inputs import WorkflowCopy
from cpool_flow.outputs import Output, read_output


def read_answer(text: str, step: model.Step, copy: WorkflowCopy) -> Output:
    """The answer as text, JSON and variables. Raises BadOutput where it is not what the step asks for."""
    return read_output(text, step.output, schema=copy.schema_of(step), variables=step.output_vars or {}, answer=True)
