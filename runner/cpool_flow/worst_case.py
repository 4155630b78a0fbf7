"""What a run can spend at most, before it starts. US dollars. Starts nothing, writes nothing."""

from __future__ import annotations

from math import inf

from cpool_flow.inputs import Inputs
from cpool_flow.plan import Plan, PlannedStep


def worst_case_usd(inputs: Inputs) -> float | None:
    """What all attempts of all agent steps can spend by their own caps (`max_budget_usd`) and the budgets of the files; None where there is
    no bound: no cap, a list that is not known yet, an agent that takes no cap."""
    most = min(_of_plan(inputs, inputs.plan), _budget(inputs, inputs.plan, inputs.budget_usd))
    return None if most == inf else most


def _of_plan(inputs: Inputs, plan: Plan) -> float:
    total = 0.0
    for step in plan:
        each = _cap(inputs, step) if step.inner is None else _of_inner(inputs, step.inner)
        items = _item_count(step)
        if each:
            total += each * items * (step.step.repeat.max if step.step.repeat is not None else 1) if items else 0.0
    return total


def _of_inner(inputs: Inputs, plan: Plan) -> float:
    return min(_of_plan(inputs, plan), _budget(inputs, plan, plan.workflow.budget_usd if plan.is_workflow else None))


def _budget(inputs: Inputs, plan: Plan, limit: float | None) -> float:
    """A budget bounds only agents that can be told where to stop."""
    used = {agent for step in plan.everything() for agent in (step.agent, *step.fallback) if agent is not None}
    held = all("max_budget_usd" in inputs.adapter(agent).capabilities.keys for agent in used)
    return limit if limit is not None and held else inf


def _cap(inputs: Inputs, step: PlannedStep) -> float:
    if step.agent is None:
        return 0.0
    attempts = (1 + step.retries if step.step.is_agent else 0) + step.recoveries
    return (
        max(inf if found.config.max_budget_usd is None else found.config.max_budget_usd for found in inputs.possible_settings(step))
        * attempts
    )


def _item_count(step: PlannedStep) -> float:
    if not step.fans_out:
        return 1
    return len(step.step.foreach) if isinstance(step.step.foreach, tuple) and step.step.filter is None else inf
