"""The graph of a workflow: what follows what, and when the needs of a step are met."""

from __future__ import annotations

import pytest
from simulation import workflow

from cpool_flow import plan


def build(*steps, **top):
    return plan.build(workflow(*steps, **top))


def needs(*steps, **top) -> dict[str, tuple[str, ...]]:
    return {step.name: step.needs for step in build(*steps, **top)}


def test_a_step_without_needs_follows_the_one_above_also_where_the_file_widens():
    steps = ({"run": "x"}, {"name": "b", "run": "x", "needs": []}, {"run": "x"}, {"name": "d", "run": "x", "needs": ["b", "step_1", "b"]})
    assert needs(*steps) == {"step_1": (), "b": (), "step_3": ("b",), "d": ("b", "step_1")}


def test_finally_is_a_chain_of_its_own_in_which_every_step_runs():
    steps = build({"name": "a", "run": "x"}, **{"finally": [{"name": "f1", "run": "x"}, {"name": "f2", "run": "x"}]})
    assert [(step.name, step.needs, step.join) for step in steps.phase("finally")] == [("f1", (), "done"), ("f2", ("f1",), "done")]


@pytest.mark.parametrize(
    ("when", "join"),
    [
        ("steps.a.status == 'failed'", "done"),
        ("steps['a'].error is not none", "done"),
        ("previous.status != 'success'", "done"),
        ("previous.error", "done"),
        ("'x' in (steps.a.error or '')", "done"),
        ("steps.a.json.status == 'open'", "success"),
        ("steps.a.vars.error == 'none'", "success"),
        ("previous.json.error", "success"),
        ("args.status == 'x'", "success"),
    ],
)
def test_a_when_that_reads_the_status_or_error_of_a_step_waits_for_its_end_however_it_ends(when, join):
    steps = build({"name": "a", "run": "x", "output": "json"}, {"name": "b", "run": "x", "when": when}, args={"status": {}})
    assert steps["b"].join == join


def test_a_join_that_is_written_wins_over_the_one_that_the_when_implies():
    steps = build({"name": "a", "run": "x"}, {"name": "b", "run": "x", "when": "steps.a.status == 'success'", "join": "success"})
    assert steps["b"].join == "success"


def test_defaults_are_those_of_the_format():
    run, agent = build({"name": "shell", "run": "x"}, {"name": "agent", "prompt": "x"})
    assert (run.timeout_seconds, run.idle_timeout_seconds, run.retries, run.recoveries) == (3600, None, 0, 0)
    assert (agent.timeout_seconds, agent.idle_timeout_seconds, agent.retries, agent.recoveries) == (3600, 600, 2, 0)
    assert (run.on_failure, run.effects, run.max_items, run.max_parallel, run.agent) == ("fail", "workspace", 1000, None, None)
    mended = build({"run": "x", "recovery_prompt": "mend"})["step_1"]
    assert (mended.recoveries, mended.agent) == (1, "claude")


def test_one_agent_can_stand_in_for_all():
    flow = workflow({"prompt": "x", "config": {"agent": "command", "command": ["cat"]}}, {"run": "x"})
    assert [step.agent for step in plan.build(flow, agent="scripted")] == ["scripted", None]


def test_what_comes_after_a_step_is_found_over_any_distance():
    steps = build({"name": "a", "run": "x"}, {"name": "b", "run": "x"}, {"name": "c", "run": "x"}, {"name": "d", "run": "x", "needs": "a"})
    assert steps.downstream(["a"]) == {"b", "c", "d"}
    assert steps.downstream(["b"]) == {"c"}
    assert sorted(steps.graph().edges) == [("a", "b"), ("a", "d"), ("b", "c")]
