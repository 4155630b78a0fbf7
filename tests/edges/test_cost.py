"""What an attempt has cost: reported, by its tokens and prices, or as far as the log of one that was lost tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cpool_flow.agents.protocol import AgentResult
from cpool_flow.executor import Tokens
from cpool_flow.executor.cost import priced, seen_in_log
from cpool_flow.pool_file import PoolFile

PRICES = PoolFile.model_validate(
    {
        "prices": {
            "codex": {"m": {"input": 2, "output": 10, "cache_read": 0.5}, "*": {"input": 1, "output": 1}},
            "claude": {"m": {"input": 3, "output": 15}},
        }
    }
)
MILLION = 1_000_000


def result(**more: Any) -> AgentResult:
    return AgentResult(kind=None, answer="x", **more)


def test_a_reported_cost_stands_whatever_the_prices_say():
    assert priced(result(cost_usd=0.5, input_tokens=MILLION, output_tokens=0), "codex", "m", PRICES).cost_usd == 0.5


def test_without_a_cost_the_tokens_have_their_price():
    found = priced(result(input_tokens=MILLION, output_tokens=100_000, cached_tokens=400_000), "codex", "m", PRICES)
    assert found.cost_usd == pytest.approx(0.6 * 2 + 0.4 * 0.5 + 1.0)
    assert not found.cost_at_least


def test_the_model_that_the_agent_names_counts_before_the_one_that_was_asked_for():
    assert priced(result(input_tokens=MILLION, output_tokens=0, model="m"), "codex", "other", PRICES).cost_usd == 2
    assert priced(result(input_tokens=MILLION, output_tokens=0), "codex", "other", PRICES).cost_usd == 1


@pytest.mark.parametrize("agent", ["gemini", "command"])
def test_without_a_price_the_cost_is_unknown(agent: str):
    assert priced(result(input_tokens=MILLION, output_tokens=5), agent, "m", PRICES).cost_usd is None


def test_without_tokens_the_cost_is_unknown():
    assert priced(result(), "codex", "m", PRICES).cost_usd is None


@pytest.mark.parametrize("kind", ["lost", "cancelled", "timeout"])
def test_of_what_was_cut_short_it_is_at_least_that(kind: Any):
    found = priced(AgentResult(kind=kind, input_tokens=MILLION, output_tokens=0), "codex", "m", PRICES)
    assert (found.cost_usd, found.cost_at_least) == (2, True)


def test_where_an_agent_counts_its_whole_session_only_what_came_now_is_paid():
    now = {"input_tokens": 3 * MILLION, "output_tokens": 200_000, "cached_tokens": MILLION, "counts_session": True}
    before = Tokens(2 * MILLION, 100_000, MILLION)
    assert priced(result(**now), "codex", "m", PRICES, before).cost_usd == pytest.approx(2 + 1)
    assert priced(result(**now), "codex", "m", PRICES, Tokens(9 * MILLION, MILLION, MILLION)).cost_usd == 0


def line(**event: Any) -> str:
    return json.dumps(event) + "\n"


def seen(log: Path, agent: str, prices: PoolFile) -> float | None:
    found = seen_in_log(log, agent, None, prices)
    assert found is not None
    return found.cost_usd


INIT = line(type="system", subtype="init", session_id="s", model="m")
MESSAGE = line(type="assistant", message={"id": "1", "model": "m", "content": [], "usage": {"input_tokens": MILLION, "output_tokens": 0}})


def test_the_log_of_a_lost_attempt_tells_what_was_seen_of_its_cost(tmp_path: Path):
    log = tmp_path / "ask.1.log"
    log.write_text(INIT + MESSAGE + '{"type":"assist')
    assert seen(log, "claude", PRICES) == 3
    assert seen(log, "claude", PoolFile()) is None
    unpriced = seen_in_log(log, "claude", None, PoolFile())
    assert unpriced is not None
    assert (unpriced.input_tokens, unpriced.output_tokens, unpriced.cached_tokens) == (MILLION, 0, 0)
    log.write_text(INIT + line(type="result", subtype="success", total_cost_usd=0.25, num_turns=1, result="x") + INIT + MESSAGE)
    assert seen(log, "claude", PRICES) == 0.25


def test_a_log_that_is_not_there_tells_nothing(tmp_path: Path):
    assert seen_in_log(tmp_path / "none.log", "claude", None, PRICES) is None


@pytest.mark.parametrize("agent", ["codex", "gemini", "opencode", "command", "scripted"])
def test_a_log_of_any_agent_can_be_looked_into(tmp_path: Path, agent: str):
    log = tmp_path / "ask.1.log"
    log.write_bytes(b"\xff\x00 no event\n{}\n[1]\nnull\n")
    assert seen(log, agent, PRICES) in (None, 0.0)
