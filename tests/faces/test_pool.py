"""`cpool.yaml`, profiles and slots as a user meets them: what a step's agent gets, from where, and in which slot."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from session import Session

# An agent that answers with what it was given.
MIRROR = """
import json, os, sys
names = ["CPOOL_SLOT", "CPOOL_PORT_OFFSET", "CPOOL_SYSTEM_PROMPT", "FROM"]
print(json.dumps({name: os.environ.get(name) for name in names} | {"arguments": sys.argv[1:], "prompt": sys.stdin.read()}))
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.file("mirror.py", MIRROR)
    return session


def mirror(*arguments: str) -> list[str]:
    return [sys.executable, "{{ run.dir }}/../../../mirror.py", *arguments]


def answers(session: Session, *options: str, file: str = "flow.yaml") -> dict[str, Any]:
    """What each agent step of a run was given."""
    ended = session.flow("run", file, "--json", *options)
    assert ended.code == 0, ended.err
    return {step["name"]: json.loads(step["output"]) | {"slot": step["attempts"][-1]["slot"]} for step in ended.json()["steps"]}


def write(session: Session, name: str, data: Any) -> None:
    session.file(name, json.dumps(data))


def test_a_step_gets_what_pool_workflow_slot_profile_and_step_say_the_nearest_wins(project: Session) -> None:
    write(
        project,
        "cpool.yaml",
        {
            "config": {"agent": "command", "env": {"FROM": "pool"}, "system_prompt": "Of the pool."},
            "profiles": {"deep": {"env": {"FROM": "profile"}}},
            "slots": [
                {"name": "reviewer", "role": "Reviewer", "description": "Reads twice.", "config": {"env": {"FROM": "slot"}}},
                {"count": 2},
            ],
        },
    )
    write(
        project,
        "flow.yaml",
        {
            "context": {"team": "payments"},
            "config": {"command": mirror()},
            "steps": [
                {"name": "plain", "prompt": "a"},
                {"name": "in_slot", "prompt": "b", "slot": "reviewer"},
                {"name": "by_profile", "prompt": "c", "slot": "Reviewer", "profile": "deep"},
                {"name": "by_itself", "prompt": "d", "slot": "reviewer", "profile": "deep", "config": {"env": {"FROM": "step"}}},
            ],
        },
    )
    found = answers(project)
    assert {name: each["FROM"] for name, each in found.items()} == {
        "plain": "pool", "in_slot": "slot", "by_profile": "profile", "by_itself": "step",
    }  # fmt: skip
    assert found["plain"]["CPOOL_SYSTEM_PROMPT"] == "Of the pool.\n\nShared context:\n- team: payments"
    assert found["in_slot"]["CPOOL_SYSTEM_PROMPT"] == (
        "Your name is reviewer.\nYour role: Reviewer\nReads twice.\n\nOf the pool.\n\nShared context:\n- team: payments"
    )
    assert [(each["slot"], each["CPOOL_SLOT"]) for each in found.values()] == [("slot-1", "slot-1"), *[("reviewer", "reviewer")] * 3]
    assert [found["plain"]["CPOOL_PORT_OFFSET"], found["in_slot"]["CPOOL_PORT_OFFSET"]] == ["200", "100"]


def test_a_step_that_happens_to_work_in_a_named_slot_is_told_nothing_of_it(project: Session) -> None:
    slot = {"name": "reviewer", "role": "Reviewer", "config": {"env": {"FROM": "slot"}}}
    config = {"agent": "command", "command": mirror(), "env": {"FROM": "workflow"}}
    write(project, "flow.yaml", {"slots": [slot], "config": config, "steps": [{"name": "plain", "prompt": "a"}]})
    found = answers(project)["plain"]
    assert (found["slot"], found["FROM"], found["CPOOL_SYSTEM_PROMPT"]) == ("reviewer", "workflow", None)


def test_resume_reads_the_pool_file_that_the_run_was_started_with(project: Session) -> None:
    pool = {"config": {"agent": "command", "env": {"FROM": "then"}}, "slots": [{"name": "worker", "config": {"model": "m"}}]}
    write(project, "cpool.yaml", pool)
    steps = [{"name": "wait", "approve": "Go on?"}, {"name": "work", "prompt": "a", "slot": "worker"}]
    write(project, "flow.yaml", {"config": {"command": mirror()}, "steps": steps})
    assert project.flow("run", "flow.yaml").code == 4
    project.file("cpool.yaml", "broken: [")
    assert json.loads((project.last_run() / "inputs" / "cpool.yaml").read_text()) == pool
    project.flow("approve", "last", "wait")
    ended = project.flow("resume", "last", "--json")
    assert ended.code == 0, ended.err
    work = ended.json()["steps"][1]
    assert (json.loads(work["output"])["FROM"], work["attempts"][0]["slot"]) == ("then", "worker")


def test_a_script_of_the_pool_is_beside_the_pool_file_and_one_of_the_workflow_beside_the_workflow(session: Session) -> None:
    session.file("answers.yaml", "default: of the pool\n")
    session.file("flows/answers.yaml", "default: of the workflow\n")
    session.file("cpool.yaml", "config: {agent: scripted, script: answers.yaml}\nprofiles: {other: {script: answers.yaml}}\n")
    session.file("flows/flow.yaml", "steps:\n  - {name: a, prompt: x}\n  - {name: b, prompt: x, config: {script: answers.yaml}}\n")
    ended = session.flow("run", "flows/flow.yaml", "--json")
    assert [step["output"] for step in ended.json()["steps"]] == ["of the pool", "of the workflow"]


def test_a_broken_pool_file_starts_nothing_and_is_told_with_its_places(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - run: echo hi\n    slot: reviewer\n    needs: [nobody]\n")
    session.file("cpool.yaml", "slots:\n  - {name: reviewer, cont: 2}\nprofilez: {}\n")
    for command in ("run", "validate", "plan"):
        ended = session.flow(command, "flow.yaml")
        assert (ended.code, ended.out) == (2, "")
        assert "--> cpool.yaml:2:22\n" in ended.err
        assert "did you mean `profiles`?" in ended.err
        assert "needs unknown step `nobody`" in ended.err
        assert "no slot answers" not in ended.err  # nobody knows which slots were meant
    assert not (session.path / ".cpool").exists()
    assert session.flow("runs").code == 0


def test_the_pool_file_is_that_of_the_project_wherever_in_it_one_stands(session: Session) -> None:
    session.file("cpool.yaml", "slots: 7\n")
    session.file("deep/er/flow.yaml", "steps: [{run: pwd}]\n")
    ended = session.program(*session.command("plan", "flow.yaml", "--json"), cwd=session.path / "deep" / "er")
    assert (ended.json()["slots"], ended.json()["slots_source"]) == (7, "pool")
    other = session.path.parent / "other"
    other.mkdir()
    (other / "cpool.yaml").write_text("slots: 3\n")
    assert session.flow("--project", str(other), "plan", "deep/er/flow.yaml", "--json").json()["slots"] == 3


def test_the_command_line_gives_slots_without_names_and_a_step_that_asks_for_one_is_refused(session: Session) -> None:
    session.file("flow.yaml", "slots: [{name: reviewer}]\nsteps:\n  - {name: a, run: 'echo $CPOOL_SLOT', slot: reviewer}\n")
    assert session.flow("run", "flow.yaml", "--json").json()["steps"][0]["output"] == "reviewer"
    ended = session.flow("run", "flow.yaml", "--slots", "2")
    assert (ended.code, "no slot answers to `reviewer`" in ended.err, "leave out `--slots`" in ended.err) == (2, True, True)
    session.file("any.yaml", "slots: [{name: reviewer}]\nsteps:\n  - {name: a, run: 'echo $CPOOL_SLOT'}\n")
    assert session.flow("run", "any.yaml", "--slots", "2", "--json").json()["steps"][0]["output"] == "slot-1"


def test_two_steps_for_one_slot_run_one_after_the_other_while_others_go_on(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        slots: [{name: gpu}, {count: 3}]
        steps:
          - {name: a, needs: [], slot: gpu, run: "mkdir here; while [ ! -e other ]; do sleep 0.02; done; rmdir here"}
          - {name: b, needs: [], slot: gpu, run: "mkdir here; rmdir here"}
          - {name: c, needs: [], run: "while [ ! -d here ]; do sleep 0.02; done; touch other"}
        """,
    )
    ended = session.flow("run", "flow.yaml", "--json")
    assert ended.code == 0, ended.err
    assert [step["attempts"][0]["slot"] for step in ended.json()["steps"]] == ["gpu", "gpu", "slot-1"]


def test_a_sub_workflow_works_in_the_slots_of_the_run(session: Session) -> None:
    session.file(
        "child.yaml",
        "slots: 1\nsteps: [{name: inside, run: 'echo $CPOOL_SLOT', slot: mine}]\noutputs: {slot: '{{ steps.inside.output }}'}\n",
    )
    session.file("flow.yaml", "slots: [{name: other}, {name: mine}]\nsteps: [{name: sub, workflow: child.yaml}]\n")
    assert session.flow("run", "flow.yaml", "--json").json()["steps"][0]["vars"] == {"slot": "mine"}
    session.file("flow.yaml", "slots: [{name: other}]\nsteps: [{name: sub, workflow: child.yaml}]\n")
    ended = session.flow("run", "flow.yaml")
    assert (ended.code, "a sub-workflow works in the slots of the run" in ended.err) == (2, True)


def test_plan_says_for_each_value_where_it_came_from(session: Session) -> None:
    session.file(
        "cpool.yaml",
        """
        config: {model: sonnet, effort: low, env: {A: pool, B: pool}, allowed_tools: [Read]}
        profiles: {deep: {effort: high}}
        slots: [{name: reviewer, count: 2, config: {max_turns: 5, mcp_servers: {docs: {command: docs}}}}, {}]
        """,
    )
    session.file(
        "flow.yaml",
        """
        config: {env: {B: workflow}}
        steps:
          - {name: look, prompt: hi, slot: reviewer, profile: deep, config: {allowed_tools: [Grep]}}
        """,
    )
    step = session.flow("plan", "flow.yaml", "--json").json()["steps"][0]
    assert (step["slot"], step["slot_names"]) == ("reviewer", ["reviewer-1", "reviewer-2"])
    sources = {name: value["source"] for name, value in step["agent"].items()}
    assert sources == {
        "agent": "default", "model": "pool", "effort": "profile deep", "max_turns": "slot reviewer", "env": "pool, workflow",
        "allowed_tools": "pool, step look", "mcp_servers": "slot reviewer", "permission_mode": "default",
    }  # fmt: skip
    assert step["agent"]["env"]["sources"] == {"A": "pool", "B": "workflow"}
    text = session.flow("plan", "flow.yaml").out
    assert "  slots: reviewer-1, reviewer-2, slot-1 (pool)\n" in text
    assert "     slot: reviewer (reviewer-1, reviewer-2)\n" in text
    assert "     env.A: pool (pool)\n     env.B: workflow (workflow)\n" in text
    assert '     mcp_servers.docs: {"command": "docs"} (slot reviewer)\n' in text


def test_plan_shows_what_hangs_on_the_slot_that_a_task_gets(session: Session) -> None:
    session.file(
        "flow.yaml",
        """
        config: {model: sonnet}
        slots: [{name: a, labels: [x], config: {model: opus, max_budget_usd: 2}}, {name: b, labels: [x], config: {max_budget_usd: 1}}]
        steps: [{name: look, prompt: hi, slot: x, retries: 0}]
        """,
    )
    document = session.flow("plan", "flow.yaml", "--json").json()
    assert document["steps"][0]["agent"]["model"] == {
        "value": "opus", "source": "slot a", "or": [{"value": "sonnet", "source": "workflow"}],
    }  # fmt: skip
    assert document["worst_case_usd"] == 2
    assert "model: opus (slot a) or sonnet (workflow)" in session.flow("plan", "flow.yaml").out


def test_a_secret_in_the_pool_file_is_in_no_file_of_the_run(session: Session) -> None:
    session.file("cpool.yaml", "config: {env: {TOKEN_COPY: s3cr3t-value}}\nslots: [{description: says s3cr3t-value}]\n")
    session.file("flow.yaml", "secrets: [TOKEN]\nsteps: [{run: echo hi}]\n")
    ended = session.flow("run", "flow.yaml", TOKEN="s3cr3t-value")
    assert (ended.code, "line 1 of `cpool.yaml` holds the value of a secret" in ended.err) == (0, True)
    found = [path for path in session.last_run().rglob("*") if path.is_file() and b"s3cr3t-value" in path.read_bytes()]
    assert found == []
    session.file("cpool.yaml", "slots: [{labels: [s3cr3t-value]}]\n")
    ended = session.flow("run", "flow.yaml", TOKEN="s3cr3t-value")
    assert (ended.code, "where it cannot be masked" in ended.err, "s3cr3t" in ended.err) == (2, True, False)
