"""What an attempt has cost: what its agent says, else what its tokens come to by the prices of `cpool.yaml`. US dollars.

Knows no agent. Of an attempt that was cut short only a part of the tokens was seen: then the cost is at least that.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cpool_flow import agents
from cpool_flow.agents.protocol import MAX_LINE_BYTES, AgentRequest, AgentResult, Ending
from cpool_flow.executor import Tokens
from cpool_flow.model import AgentConfig
from cpool_flow.pool_file import PoolFile
from cpool_flow.spending import CUT_SHORT

NO_TOKENS = Tokens()
# Of a longer log only the end is read for what it says of a cost.
MAX_READ_BYTES = 64 * 1024 * 1024


def priced(result: AgentResult, agent: str, model: str | None, prices: PoolFile, before: Tokens = NO_TOKENS) -> AgentResult:
    """The result with its cost, as far as that can be told. `before`: what the agent's session had come to before this attempt, for
    agents whose count goes on."""
    price = prices.price(agent, result.model or model)
    if result.cost_usd is not None or price is None or result.input_tokens is None or result.output_tokens is None:
        return result
    start = before if result.counts_session else Tokens()
    cached = max(0, (result.cached_tokens or 0) - start.cached)
    fresh = max(0, result.input_tokens - start.input - cached)
    cost = price.cost_usd(fresh, max(0, result.output_tokens - start.output), cached)
    return replace(result, cost_usd=cost, cost_at_least=result.cost_at_least or result.kind in CUT_SHORT)


def seen_in_log(log: Path, agent: str, model: str | None, prices: PoolFile) -> AgentResult | None:
    """What an attempt had spent that was lost with its coordinator, as far as its log tells; None where there is none."""
    reader = agents.adapter_of(agent, prices.agents).reader(
        AgentRequest(prompt="", config=AgentConfig(), directory="", files="", session_id="", environment={})
    )
    try:
        with open(log, "rb") as file:
            if file.seek(0, 2) > MAX_READ_BYTES:
                file.seek(-MAX_READ_BYTES, 2)
            else:
                file.seek(0)
            while line := file.readline(MAX_LINE_BYTES + 1):
                reader.feed(line.rstrip(b"\n"))
    except OSError:
        return None
    return priced(reader.finish(Ending(exit_code=None, signal=9, now=0.0)), agent, model, prices)
