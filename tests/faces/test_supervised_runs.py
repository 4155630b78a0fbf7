"""A slot on which the agent does not work: the run goes on without it, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest
from agent_stage import Stage
from session import Session

from survivors import eventually

# It dies on the first slot. Elsewhere it waits for the file `go` in its home, then answers.
AGENT = """
import json, os, sys, time
sys.stdin.read()
if os.environ["CPOOL_SLOT"] in ("slot-1",):
    sys.exit("no memory")
while not os.path.exists(os.path.join(os.environ["HOME"], "go")):
    time.sleep(0.02)
usage = {"input_tokens": 1, "output_tokens": 1}
print(json.dumps({"type": "result", "subtype": "success", "is_error": False, "result": "ok", "num_turns": 1, "total_cost_usd": 0, "usage": usage}))
"""
FLOW = """
    isolation: none
    slots: 2
    steps:
      - name: work
        foreach: [a, b, c, d, e]
        prompt: do {{ item }}
        retry: {delay: 1ms}
"""


@pytest.fixture
def stage(session: Session) -> Stage:
    stage = Stage(session)
    stage.program("claude", AGENT)
    session.file("flow.yaml", FLOW)
    return stage


def test_the_work_of_a_slot_whose_agent_dies_goes_elsewhere_and_progress_status_and_journal_say_so(stage: Stage) -> None:
    session = stage.session
    process = session.start("run", "flow.yaml", "--run-id", "r")
    shown = session.home / "err.txt"
    assert eventually(lambda: "quarantined" in shown.read_text())
    told = "quarantined for 30s · the agent's process died 3 times in a row: the agent ended (exit code 1) without a result: no memory"
    assert f"  slot-1               {told}\n" in shown.read_text()
    status = session.flow("status", "r").out
    assert "slot-1" in status
    assert "quarantined" in status
    (found,) = session.status("r")["quarantined"]
    assert (found["slot"], found["reason"].startswith("the agent's process died 3 times in a row")) == ("slot-1", True)
    (Path(session.home) / "go").touch()
    assert process.wait() == 0
    assert [event["slot"] for event in session.events("r") if event["type"] == "SlotQuarantined"] == ["slot-1"]


def test_where_no_slot_works_the_steps_fail_with_what_the_agent_said_and_the_run_ends(stage: Stage) -> None:
    stage.program("claude", AGENT.replace('("slot-1",)', '("slot-1", "slot-2")'))
    ended = stage.session.flow("run", "flow.yaml")
    assert ended.code == 1
    assert "suspect    the agent's process died 3 times in a row" in ended.err
    assert "no other slot is left, so it goes on" in ended.err
    assert "failed work[4]: the agent ended (exit code 1) without a result: no memory" in ended.err or "more items" in ended.err
