"""An agent whose account is at its usage limit: until when, who waits for it, and who takes over. Pure; seconds since the epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from cpool_flow import events
from cpool_flow.plan import PlannedStep
from cpool_flow.state import State
from cpool_flow.tasks import Task

# A usage limit without a reset time is probed at these intervals (seconds), the last one for ever.
PROBES = (60.0, 120.0, 300.0, 600.0, 1800.0)
# Who names an end that is none, again and again, is asked no more often than this (seconds): by how often that was.
FALSE_ENDS = (0.0, 0.0, 0.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
USAGE_LIMIT = "usage limit"


def met(state: State, task: Task, now: float, parked: dict[str, float]) -> Iterator[events.Event]:
    """An agent that has come to its usage limit is parked. Several of its attempts may say so at once: without a time, the first counts."""
    attempt = task.attempts[-1]
    agent, finished = attempt.started.agent, attempt.finished
    if agent is None or finished is None or finished.error_kind != "rate_limited":
        return
    known = finished.resets_at if finished.resets_at is not None and finished.resets_at > now else None
    if known is None and parked.get(agent, now) > now:
        return
    limit = state.limits.get(agent)
    until = max(known, now + _at(FALSE_ENDS, limit.times if limit else 0)) if known else now + _at(PROBES, limit.unnamed if limit else 0)
    if until > parked.get(agent, 0.0):
        parked[agent] = until
        yield events.AgentParked(agent, until, named=known is not None)


def _at(steps: tuple[float, ...], count: int) -> float:
    return steps[min(count, len(steps) - 1)]


def waited_out(plan: PlannedStep, task: Task, kind: events.AttemptKind, now: float, parked: Mapping[str, float]) -> events.Event:
    """The same again, which costs no retry: at once with an agent that stands in, else when the first of them may be asked again."""
    agents = {agent: parked.get(agent, 0.0) for agent in (plan.agent, *plan.fallback) if agent is not None}
    free = next((agent for agent, until in agents.items() if until <= now), None)
    if free is not None:
        return events.RetryScheduled(task.id, kind, now, f"{USAGE_LIMIT}, `{free}` takes over", free=True)
    finished = task.attempts[-1].finished
    named = finished.resets_at if finished and not plan.fallback else None
    at = named if named is not None and named > now else min(agents.values())
    return events.RetryScheduled(task.id, kind, at, USAGE_LIMIT, free=True)


def is_parked(state: State, plan: PlannedStep) -> bool:
    """Whether all agents that could do a step are at their usage limit."""
    return plan.executes and plan.agent is not None and all(agent in state.parked for agent in (plan.agent, *plan.fallback))


def told(state: State) -> str:
    """Who is at the limit, and until when, for people of any time zone."""
    return ", ".join(f"`{agent}` until {_utc(until)}" for agent, until in state.parked.items())


def _utc(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
