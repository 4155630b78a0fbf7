"""Agents that misbehave on purpose, run as `claude`: what the reader makes of each.

What only the runner can see (files, git, processes left behind) is proven where the engine is tested.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cases import CASES, case_path
from cpool_flow.agents.claude import Claude
from cpool_flow.agents.protocol import AgentResult

KINDS = {
    "max_turns",
    "budget",
    "bad_output",
    "overloaded",
    "auth",
    "rate_limited",
    "permission_denied",
    "lost",
    "timeout",
    "failed",
    "success",
}
# Decided by the place that the agent worked in, by processes that it left, or by the patience of the runner.
NOT_THE_READERS = {
    "commits-on-wrong-branch", "deletes-git-file", "detaches-head", "fixes-on-attempt", "goes-back-and-forth", "leaves-index-lock",
    "plants-git-commands", "drips", "ignores-term", "leaves-grandchild", "leaves-daemon", "closes-stdout",
}  # fmt: skip
OTHERWISE = {"max-turns-ignored": "success", "limit-exit-0": "lost"}


def verdicts() -> dict[str, str]:
    if not CASES.exists():
        return {}
    listing = subprocess.run([sys.executable, case_path("misbehaving_agents/fake_agent.py"), "--list"], capture_output=True, check=True)
    return json.loads(listing.stdout)  # type: ignore[no-any-return]


VERDICTS = verdicts()


@pytest.fixture
def fake(tmp_path: Path) -> FakeClaude:
    return FakeClaude(tmp_path)


class FakeClaude:
    def __init__(self, folder: Path) -> None:
        self.place = folder / "place"
        self.place.mkdir()
        program = folder / "claude"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{case_path("misbehaving_agents/fake_agent.py")}" "$@"\n')
        program.chmod(0o755)
        self.path = f"{folder}:/usr/bin:/bin"
        self.attempt: Attempt | None = None

    def run(self, case: str, *, seconds: str = "60", idle_seconds: float = 30.0, **more: Any) -> AgentResult:
        step = {"FAKE_AGENT_CASE": case, "FAKE_AGENT_SECONDS": seconds, **more.pop("step_environment", {})}
        asked = request(self.place, environment={"PATH": self.path, "HOME": str(self.place)}, step_environment=step, **more)
        self.attempt = Attempt(Claude(), asked, idle_seconds=idle_seconds, grace_seconds=0.3)
        return self.attempt.run()


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
def test_every_case_is_the_readers_or_named_as_not() -> None:
    assert VERDICTS.keys() >= NOT_THE_READERS
    assert len(VERDICTS) == 68


@pytest.mark.parametrize("case", sorted(VERDICTS.keys() - NOT_THE_READERS))
def test_the_reader_gives_the_listed_verdict(fake: FakeClaude, case: str) -> None:
    expected = OTHERWISE.get(case) or VERDICTS[case].split()[0].strip(";:,.")
    assert expected in KINDS
    found = fake.run(case, idle_seconds=0.6 if expected == "timeout" else 30.0)
    assert (found.kind or "success") == expected, found.error


needs_cases = pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")


@needs_cases
def test_a_result_that_hangs_is_ended_and_still_a_success(fake: FakeClaude) -> None:
    assert fake.run("result-then-hangs").kind is None
    assert fake.attempt is not None
    assert fake.attempt.ended_by_us


@needs_cases
def test_max_turns_is_ours_to_keep(fake: FakeClaude) -> None:
    assert fake.run("max-turns-ignored", config={"max_turns": 499}).kind == "max_turns"


@needs_cases
def test_denials_may_be_allowed(fake: FakeClaude) -> None:
    assert fake.run("denied-tools", allow_denials=True).kind is None


@needs_cases
@pytest.mark.parametrize(("case", "cost"), [("budget-exceeded", 5.2), ("cost-nan", None), ("cost-negative", None), ("cost-missing", None)])
def test_the_cost_is_what_can_be_known(fake: FakeClaude, case: str, cost: float | None) -> None:
    assert fake.run(case).cost_usd == cost


@needs_cases
def test_two_results_are_a_running_total(fake: FakeClaude) -> None:
    found = fake.run("two-results")
    assert found.answer == "second"
    assert found.cost_usd == pytest.approx(0.03)


@needs_cases
def test_limits_say_when_they_end(fake: FakeClaude) -> None:
    now = time.time()
    assert fake.run("limit-epoch").resets_at == pytest.approx(now + 3600, abs=60)
    assert fake.run("limit-relative").resets_at == pytest.approx(now + 125 * 60, abs=60)
    assert fake.run("limit-no-time").resets_at is None
    clock, date = fake.run("limit-clock").resets_at, fake.run("limit-date").resets_at
    assert clock is not None
    assert now - 120 < clock < now + 86_400 + 3600
    assert date is not None
    assert datetime.fromtimestamp(date, UTC).strftime("%m-%d %H:%M") == "10-09 10:30"


@needs_cases
def test_an_answer_arrives_as_it_was_written(fake: FakeClaude) -> None:
    assert fake.run("huge-result").answer == "x" * 8_000_000
    assert "{{ 7*7 }} ${{ secrets.X }}" in fake.run("injection").answer
    assert "\x1b[31mred" in fake.run("ansi").answer
    assert os.listdir(fake.place) == []


@needs_cases
def test_the_step_environment_reaches_the_agent(fake: FakeClaude) -> None:
    found = fake.run("prints-secret", step_environment={"FAKE_AGENT_SECRET": "hunter2hunter2"})
    assert found.answer == "token: hunter2hunter2"
