"""The rows of the pool before this one that `test_python_pool.py` and `test_pool_watched.py` do not have: one test a row, named after it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest
from pools import Agent, echo, ended, git, pool_in, repository

from cpool_flow import history, run_folder
from cpool_flow.errors import InvalidInput
from cpool_flow.pool import Answer, Call, Pool, SlotStatus, UnknownTask, Workflow

pytestmark = pytest.mark.usefixtures("own_home")


def test_f2_a_pool_works_in_the_current_directory_and_its_slots_begin_with_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(here)

    async def test() -> None:
        agent = Agent()
        async with Pool(slots=2, agent=agent) as pool:
            assert pool.status().slots == (SlotStatus("slot-1", "idle"), SlotStatus("slot-2", "idle"))
            assert [(slot.attempts, slot.cost_usd, slot.quarantines) for slot in pool.status().slots] == [(0, 0.0, 0)] * 2
            await pool.run("x")
        assert agent.calls[0].directory == str(here)

    ended(test())


def test_f8_a_task_is_cancelled_by_its_id_and_one_that_has_ended_is_left_as_it_is(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            pool.submit("running", name="running")
            pool.submit("waiting", name="waiting")
            await agent.begun.acquire()
            assert pool.task("waiting").cancel()
            agent.release()
            assert (await pool.task("running")).ok
            assert not pool.task("running").cancel()
            assert (pool.task("running").status, pool.task("waiting").status) == ("success", "cancelled")
            with pytest.raises(UnknownTask):
                pool.task("nobody")

    ended(test())


def test_f12_a_place_of_its_own_that_cannot_be_made_is_an_error_and_never_the_shared_directory(tmp_path: Path) -> None:
    async def test() -> None:
        folder, agent = repository(tmp_path / "repository"), Agent()
        (tmp_path / "state" / "cpool-flow").mkdir(parents=True)
        (tmp_path / "state" / "cpool-flow" / "worktrees").write_text("a file where the folder should be\n")
        with pytest.raises(Exception, match="worktrees"):
            async with pool_in(folder, agent, isolation="worktree") as pool:
                await pool.run("x")
        assert (agent.calls, git(folder, "branch", "--list", "cpool/*")) == ([], "")
        async with pool_in(folder, agent) as pool:
            for given in ({"isolation": "worktree"}, {"isolation": "clone"}, {"merge": "none"}, {"setup": "make"}):
                with pytest.raises(InvalidInput, match="isolation"):
                    pool.chain(["x"], **given)
            with pytest.raises(InvalidInput, match="isolation"):
                pool.submit("x", isolation="worktree")
            with pytest.raises(InvalidInput, match="isolation"):
                pool.workflow(Workflow.from_data({"steps": [{"name": "a", "isolation": "worktree", "run": "true"}]}))
        assert agent.calls == []

    ended(test())


def test_f12_with_a_git_that_cannot_merge_a_place_is_refused_before_anything_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "old" / "git"
    old.parent.mkdir()
    old.write_text(f'#!/bin/sh\ncase "$*" in *--write-tree*) exit 129 ;; *) exec {shutil.which("git")} "$@" ;; esac\n')
    old.chmod(0o755)

    async def test() -> None:
        folder, agent = repository(tmp_path / "repository"), Agent()
        monkeypatch.setenv("PATH", f"{old.parent}:{os.environ['PATH']}")
        async with pool_in(folder, agent, isolation="worktree") as pool:
            with pytest.raises(InvalidInput, match="needs git 2"):
                pool.chain(["x"], isolation="worktree")
            assert (await pool.chain(["y"], isolation="worktree", merge="none")).ok
        assert len(agent.calls) == 1

    ended(test())


def test_f11_a_chain_may_have_a_place_of_its_own_that_is_merged_when_it_has_succeeded(tmp_path: Path) -> None:
    async def test() -> None:
        folder = repository(tmp_path / "repository")
        places: dict[str, set[str]] = {}

        async def agent(call: Call) -> str:
            places.setdefault(call.task.partition("/")[0], set()).add(call.directory)
            with (Path(call.directory) / f"{call.prompt.split()[0]}.txt").open("a") as file:
                file.write("x\n")
            assert (Path(call.directory) / "ready.txt").read_text() == "ready\n"
            return call.prompt

        async with pool_in(folder, agent, slots=2, isolation="worktree", run_id="night", store=folder) as pool:
            own = {"isolation": "worktree", "setup": "echo ready > ready.txt"}
            first, second = await pool.fan_out_chains([["p", "{{ previous.output }}"], ["q", "q"]], **own)
            left = await pool.chain(["c", "c"], **own, merge="none")
            shared = await pool.run("d", setup=["echo ready > ready.txt"], isolation="worktree")
        assert [each.ok for each in (first, second, left, shared)] == [True] * 4
        assert sorted(len(found) for found in places.values()) == [1, 1, 1, 1]
        assert len(set.union(*places.values())) == 4
        assert not any(Path(place).exists() for found in places.values() for place in found)
        assert (first.branch, second.branch, shared.branch) == ("cpool/pool/night",) * 3
        assert left.branch == "cpool/pool/night.chain-3"
        files = git(folder, "ls-tree", "-r", "--name-only", "cpool/pool/night").split()
        assert files == ["a.txt", "d.txt", "p.txt", "q.txt", "ready.txt"]
        assert git(folder, "show", f"{left.branch}:c.txt") == "x\nx\n"
        assert git(folder, "show", "cpool/pool/night:p.txt") == "x\nx\n"

    ended(test())


def test_f11_chains_that_change_the_same_file_do_not_overwrite_each_other(tmp_path: Path) -> None:
    async def test() -> None:
        folder = repository(tmp_path / "repository")

        async def agent(call: Call) -> str:
            (Path(call.directory) / "same.txt").write_text(call.prompt)
            return "done"

        async with pool_in(folder, agent, slots=2, isolation="worktree", run_id="night") as pool:
            results = await pool.fan_out_chains([["a"], ["b"]], isolation="worktree")
        assert sorted(each.status for each in results) == ["failed", "success"]
        failed = next(each for each in results if not each.ok)
        assert failed.error_kind == "failed"
        assert failed.reason == "conflict: it and the branch that it came from have both changed `same.txt`"
        assert git(folder, "show", f"{failed.branch}:same.txt") in ("a", "b")

    ended(test())


def test_f13_chains_are_given_side_by_side_and_told_in_order_or_none_of_them_is(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=3) as pool:
            group = pool.fan_out_chains([["a {{ args.x }}", "{{ previous.output }}!"], ["b", "c"], ["d"]], args={"x": 1}, tags=["t"])
            for _ in range(3):
                await agent.begun.acquire()
            assert sorted(agent.prompts) == ["a 1", "b", "d"]
            agent.release(5)
            assert [result.text for result in await group] == ["a 1!", "c", "d"]
            assert [(task.id, task.tags) for task in group] == [(f"chain-{number}", ("t",)) for number in (1, 2, 3)]
            with pytest.raises(InvalidInput):
                pool.fan_out_chains([["fine"], ["{{ nobody }}"]])
            assert len(pool.tasks()) == 3

    ended(test())


def test_f16_what_a_task_says_is_bounded_while_it_runs_and_let_go_when_it_has_ended(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            task = pool.submit("x")
            await agent.begun.acquire()
            agent.calls[0].say("a" * 100_000 + "z")
            assert (len(task.progress().said), task.progress().said[-1]) == (4096, "z")
            agent.calls[0].say("next")
            assert task.progress().said == "next"
            agent.release()
            await task
            assert (task.progress().said, pool._said) == ("", {})

    ended(test())


def test_f20_what_a_pool_was_made_with_can_be_read(here: Path) -> None:
    (here / "cpool.yaml").write_text("config: {model: small, max_turns: 3}\n")

    async def test() -> None:
        async with pool_in(here, store=here, run_id="r", config={"model": "large"}) as pool:
            assert pool.config == {"model": "large", "max_turns": 3}
            assert (pool.store, pool.directory) == (here, str(here))
            pool.config["model"] = "changed"  # a copy
            assert pool.config["model"] == "large"
        async with pool_in(here) as pool:
            assert pool.store is None

    ended(test())


def test_f21_the_supervisor_is_there_without_being_started_and_a_slot_that_works_again_is_one_like_any_other(here: Path) -> None:
    async def test() -> None:
        (here / "answers.yaml").write_text("default: {error: lost}\n")
        async with pool_in(here, "scripted", slots=2, config={"script": "answers.yaml"}) as pool:
            await pool.fan_out(list("abcdef"), retries=0)
            (resting,) = [slot for slot in pool.status().slots if slot.state == "resting"]
            assert (resting.quarantines, resting.task, resting.resting_until is not None) == (1, None, True)
            assert resting.reason.startswith("the agent's process died 3 times in a row")
            (at_work,) = [slot for slot in pool.status().slots if slot.state == "idle"]
            assert at_work.attempts >= 3

    ended(test())


def test_f27_who_waits_longest_gets_the_slot_and_each_wait_has_a_limit_of_its_own(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            busy = pool.submit("busy")
            await agent.begun.acquire()
            waiting = [pool.submit(f"w{number}") for number in range(5)]
            impatient = [pool.submit("i", queue_timeout_seconds=0.05) for _ in range(3)]
            assert {(result.status, result.reason) for result in await asyncio.gather(*impatient)} == {
                ("cancelled", "no slot was free within 0.05 s")
            }
            agent.release(6)
            await asyncio.gather(busy, *waiting)
        assert agent.prompts == ["busy", "w0", "w1", "w2", "w3", "w4"]

    ended(test())


def test_f28_a_slot_counts_what_it_did_and_cost_whatever_came_of_it(here: Path) -> None:
    async def test() -> None:
        agent = Agent(Answer("a", cost_usd=0.25), Answer(error_kind="failed", cost_usd=0.5), ValueError("bug"), Answer("d", cost_usd=1))
        async with pool_in(here, agent, slots=1, store=here, run_id="r") as pool:
            for _ in range(4):
                await pool.run("x", retries=0)
            (slot,) = pool.status().slots
            assert (slot.state, slot.task, slot.attempts, slot.cost_usd) == ("idle", None, 4, 1.75)
        async with Pool(store=here, directory=here, project=here, resume="r", agent=echo) as again:
            assert [(slot.attempts, slot.cost_usd) for slot in again.status().slots] == [(4, 1.75)]

    ended(test())


def test_f29_each_attempt_has_the_servers_of_its_own_settings_merged_by_name(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        slots = [{"name": "web", "config": {"mcp_servers": {"a": {"command": "slot"}, "b": {"command": "slot"}}}}]
        async with pool_in(here, agent, slots=slots, config={"mcp_servers": {"a": {"command": "pool", "args": ["x"]}}}) as pool:
            await pool.run("x", slot="web", mcp_servers={"b": {"command": "task"}})
            await pool.run("y")
        assert agent.calls[0].settings["mcp_servers"] == {"a": {"command": "slot"}, "b": {"command": "task"}}
        assert agent.calls[1].settings["mcp_servers"] == {"a": {"command": "pool", "args": ["x"]}}

    ended(test())


def test_f30_the_command_line_of_an_agent_says_what_its_settings_say(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "claude").write_text('#!/bin/sh\ncat > /dev/null\nprintf \'%s\\n\' "$PWD" "$@" > "$OUT"\nexit 3\n')
    (here / "claude").chmod(0o755)
    (here / "inside").mkdir()
    monkeypatch.setenv("PATH", f"{here}:{os.environ['PATH']}")

    async def test() -> None:
        async with pool_in(here, "claude", config={"env": {"OUT": str(here / "out")}}) as pool:
            await pool.run(
                "x", retries=0, model="opus", effort="high", max_turns=7, permission_mode="acceptEdits", cwd="inside",
                allowed_tools=["Read", "Bash(git log *)"], disallowed_tools=["WebFetch"], max_budget_usd=2, system_prompt="Be short.",
            )  # fmt: skip
        directory, *words = (here / "out").read_text().splitlines()
        assert directory == str(here / "inside")
        assert {
            "--model=opus", "--effort=high", "--max-turns=7", "--permission-mode=acceptEdits", "--max-budget-usd=2.000000",
            "--append-system-prompt=Be short.", "--allowedTools=Read", "--allowedTools=Bash(git log *)", "--disallowedTools=WebFetch",
            "--strict-mcp-config",
        } <= set(words)  # fmt: skip
        assert not [word for word in words if "dangerously" in word or word.startswith(("--mcp-config", "--resume", "--system-prompt"))]

    ended(test())


def test_f33_a_denied_tool_is_named_with_its_task_and_its_slot(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer("I may not.", denied_tools=("Bash", "Edit"))), slots=1) as pool:
            denied = await pool.run("x", name="ask", retries=5)
        assert (denied.error_kind, denied.denied_tools, denied.attempts, denied.slot) == (
            "permission_denied",
            ("Bash", "Edit"),
            1,
            "slot-1",
        )
        assert denied.reason == "the agent was refused a tool that it asked for: `Bash`, `Edit`"

    ended(test())


def test_f35_an_id_is_that_of_one_task_also_after_a_resume(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, store=here, run_id="r") as pool:
            given = [pool.submit("x").id, pool.chain(["x"]).id, pool.submit("x", name="mine").id]
        async with Pool(store=here, directory=here, project=here, resume="r", agent=echo) as again:
            later = [again.submit("y").id, again.chain(["y"]).id, again.workflow(Workflow.from_data({"steps": [{"prompt": "z"}]})).id]
            with pytest.raises(InvalidInput, match="already a task `mine`"):
                again.submit("y", name="mine")
        assert (given, later) == (["task-1", "chain-1", "mine"], ["task-2", "chain-2", "workflow-1"])
        document = history.read(run_folder.find(here, "r")).document()
        assert [step["name"] for step in json.loads(json.dumps(document))["steps"]] == [*given, *later]

    ended(test())
