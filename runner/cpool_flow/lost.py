"""What a coordinator that has died has left running: its attempts are lost, with what their logs tell of them."""

from __future__ import annotations

from cpool_flow import events
from cpool_flow.agents.protocol import AgentResult
from cpool_flow.engine import Engine
from cpool_flow.executor.cost import seen_in_log
from cpool_flow.executor.logs import clear_spools, salvage
from cpool_flow.pool_file import PoolFile
from cpool_flow.run_folder import RunFolder

REASON = "the coordinator died while it ran"


def note_lost(engine: Engine, folder: RunFolder, file: PoolFile) -> None:
    """Note the end of each attempt that another coordinator had begun, and keep what it had printed."""
    for task in list(engine.state.running.values()):
        started = task.attempts[-1].started
        salvage(folder.logs / started.log, started.slot)
        seen = _seen(folder, started, file)
        engine.note(
            events.AttemptFinished(
                task.id,
                started.number,
                "lost",
                error=REASON,
                reason=REASON,
                interrupted=True,
                cost_at_least_usd=seen.cost_usd if seen else None,
                input_tokens=seen.input_tokens if seen else None,
                output_tokens=seen.output_tokens if seen else None,
                cached_tokens=seen.cached_tokens if seen else None,
                nested_usd=engine.money.settle(task.id, started.slot),
            )
        )
    clear_spools(folder.logs)
    folder.clear_handed()


def _seen(folder: RunFolder, started: events.AttemptStarted, file: PoolFile) -> AgentResult | None:
    """What an agent's attempt had come to, as far as its log tells."""
    if started.agent is None or started.agent not in file.agent_names:
        return None
    return seen_in_log(folder.logs / started.log, started.agent, started.model, file)
