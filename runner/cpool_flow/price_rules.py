"""A budget holds only if it is known what the agents cost: by their own word, or by their tokens and the prices in `cpool.yaml`.

Knows steps and settings; what an agent can tell is told by the caller (`capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from cpool_flow import model, settings
from cpool_flow.agent_rules import Surroundings
from cpool_flow.findings import Findings
from cpool_flow.order import Order, Placed

ALLOW = "`--allow-unpriced` lets it run all the same"


def check_prices(workflow: model.Workflow, order: Order, around: Surroundings, findings: Findings, *, allow_unpriced: bool) -> None:
    """Note the agents whose cost nobody knows, of a workflow that has a budget to keep to; where that is allowed, as warnings. Note those
    that cannot be told where to stop."""
    if around.capabilities is None:
        return
    for placed in order.all:
        if placed.step.is_agent or placed.step.recovery_prompt is not None:
            for message, help, warning in dict.fromkeys(_problems(placed, workflow, around)):
                findings.error(_path(placed), message, help=help, warning=warning or allow_unpriced)


def _problems(placed: Placed, workflow: model.Workflow, around: Surroundings) -> Iterator[tuple[str, str | None, bool]]:
    assert around.capabilities is not None
    skill = around.skills.get(placed.step.skill or "")
    for found in settings.possible(placed.step, placed.name, workflow, around.pool, skill):
        own = found.config.agent or "claude"
        for agent in (around.instead,) if around.instead else dict.fromkeys((own, *(found.config.fallback or ()))):
            can = around.capabilities(found.config.model_copy(update={"agent": agent}))
            priced = can.tokens and around.pool.file.price(agent, found.config.model if agent == own else None) is not None
            if not can.cost and not priced:
                yield (*_unpriced(agent, placed.name, tokens=can.tokens), False)
            elif "max_budget_usd" not in can.keys:
                yield (
                    f"agent `{agent}` of step `{placed.name}` takes no cap: one attempt may spend more than is left of the budget",
                    None,
                    True,
                )


def _unpriced(agent: str, step: str, *, tokens: bool) -> tuple[str, str]:
    if not tokens:
        return f"nobody knows what agent `{agent}` of step `{step}` costs, and there is a budget to keep to", ALLOW
    prices = f"`prices: {{{agent}: {{MODEL: {{input: 2.5, output: 15}}}}}}`"
    help = f"say in `cpool.yaml` what a million of its tokens cost, as {prices}; {ALLOW}"
    return f"agent `{agent}` of step `{step}` does not say what it costs, and there is a budget to keep to", help


def _path(placed: Placed) -> tuple[str | int, ...]:
    keys = ("config", "prompt", "skill", "recovery_prompt")
    return (*placed.path, next(key for key in keys if getattr(placed.step, key) is not None))
