"""What will run: names, needs and defaults of the steps of a workflow."""

from __future__ import annotations

from simulation import workflow

from cpool_flow import model, plan


def test_steps_without_a_name_are_counted_through_the_whole_file() -> None:
    flow = model.Workflow.model_validate({"steps": [{"run": "a"}, {"run": "b"}], "finally": [{"run": "c"}, {"name": "d", "run": "d"}]})
    assert [(step.name, step.phase) for step in plan.build(flow)] == [
        ("step_1", "main"),
        ("step_2", "main"),
        ("step_3", "finally"),
        ("d", "finally"),
    ]


def test_a_step_without_needs_follows_the_step_above_it() -> None:
    planned = plan.build(workflow({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, {"name": "c", "run": "x", "needs": []}))
    assert [step.needs for step in planned] == [(), ("a",), ()]
