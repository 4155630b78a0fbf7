"""What happens in a pool, for Python's `logging`: records of the logger `cpool_flow.pool`, with their facts as attributes.

Says nothing that is not in the journal as well, and so no secret and no prompt.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from cpool_flow import events
from cpool_flow.inputs import Inputs
from cpool_flow.state import State

LOGGER = logging.getLogger("cpool_flow.pool")
# Who configures no logging is told nothing.
logging.getLogger("cpool_flow").addHandler(logging.NullHandler())

Facts = Mapping[str, Any]
Said = tuple[str, Facts]


def log_event(event: events.Event, state: State, inputs: Inputs, run_id: str) -> None:
    """Log a fact that was recorded, where it is one that people look for."""
    level = _level(event)
    if not LOGGER.isEnabledFor(level):
        return
    said = _said(event, state, inputs)
    if said is not None:
        message, facts = said
        _log(level, message, {"run": run_id, "event": type(event).__name__, "task": None, **facts})


def log_end(task: str, status: str, run_id: str) -> None:
    """Log that a piece of work has ended."""
    if LOGGER.isEnabledFor(logging.INFO):
        _log(logging.INFO, f"{task}: {status}", {"run": run_id, "event": "TaskEnded", "task": task, "status": status})


def _level(event: events.Event) -> int:
    """The level at which a fact is told, if it is."""
    if isinstance(event, events.AttemptFinished):
        return logging.DEBUG if event.error_kind is None else logging.WARNING
    return _LEVELS.get(type(event), logging.DEBUG)


_LEVELS: Mapping[type[events.Event], int] = {
    events.RetryScheduled: logging.INFO,
    events.SlotQuarantined: logging.WARNING,
    events.AgentParked: logging.WARNING,
    events.RunStopping: logging.WARNING,
    events.Noted: logging.WARNING,
}


def _log(level: int, message: str, facts: Facts) -> None:
    LOGGER.log(level, "%s", message, extra=dict(facts))


def _said(event: events.Event, state: State, inputs: Inputs) -> Said | None:
    match event:
        case events.StepAdded():
            return f"{event.name} was given to the pool", {"task": event.name}
        case events.AttemptStarted():
            return _started(event, state, inputs)
        case events.AttemptFinished():
            return _finished(event)
        case events.RetryScheduled():
            return f"{event.task} is tried again: {event.reason}", {"task": event.task, "not_before": event.not_before}
        case events.SlotQuarantined():
            facts = {"slot": event.slot, "until": event.until, "reason": event.reason}
            return f"{event.slot} is quarantined until {_clock(event.until)}: {event.reason}", facts
        case events.AgentParked():
            facts = {"agent": event.agent, "until": event.until}
            return f"{event.agent} is at its usage limit until {_clock(event.until)}", facts
        case events.RunStopping():
            return f"stopping: {event.reason}", {"cause": event.cause}
        case events.Noted():
            return event.text, {"task": event.task}
    return None


def _started(event: events.AttemptStarted, state: State, inputs: Inputs) -> Said:
    facts: dict[str, Any] = {"task": event.task, "attempt": event.number, "slot": event.slot, "agent": event.agent}
    where = f" on {event.slot}" if event.slot else ""
    message = f"{event.task}, attempt {event.number}, starts{where}"
    if event.agent is None:
        return message, facts
    step = state.steps[state.tasks[event.task].step].plan
    asked = inputs.slot_named(event.slot) if step.slots is not None else None
    config = inputs.settings_of(step, asked).config
    servers = len(config.mcp_servers or {})
    facts |= {"model": config.model, "effort": config.effort, "mcp_servers": servers, "budget_usd": event.budget_usd}
    told = f"agent {event.agent}, model {config.model or 'default'}, effort {config.effort or 'default'}"
    return f"{message}: {told}, {servers} MCP server{'' if servers == 1 else 's'}", facts


def _finished(event: events.AttemptFinished) -> Said:
    facts = {
        "task": event.task,
        "attempt": event.number,
        "error_kind": event.error_kind,
        "cost_usd": event.cost_usd,
        "turns": event.turns,
        "denied_tools": list(event.denied),
    }
    head = f"{event.task}, attempt {event.number}"
    if event.error_kind is None:
        return f"{head}: success", facts
    return f"{head}: {event.error_kind}: {event.reason}", facts


def _clock(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))
