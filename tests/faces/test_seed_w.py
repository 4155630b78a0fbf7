"""The faults of the pool that this one was made after: each is absent. One test a fault, named after it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pools import ROOT, Agent, echo, ended, git, pool_in, repository

from cpool_flow import history, run_folder
from cpool_flow.errors import InvalidInput
from cpool_flow.pool import Answer, BudgetExhausted, Call, Pool, PoolIsClosed, Workflow

RETRY = {"retry": {"delay": "0s"}}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def here(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    return folder


def test_w1_a_failed_task_ends_and_does_not_keep_the_pool_from_draining(here: Path) -> None:
    async def test() -> None:
        agent = Agent(RuntimeError("no"), Answer(error_kind="overloaded"), "well")
        async with pool_in(here, agent) as pool:
            failed = await pool.run("a")
            retried = await pool.run("b", retries=1, **RETRY)
            assert (failed.status, retried.status, retried.attempts) == ("failed", "success", 2)
            assert pool.status().running_tasks == pool.status().pending_tasks == 0
            summary = await pool.drain()
        assert (summary.succeeded_tasks, summary.failed_tasks) == (1, 1)

    ended(test())


def test_w2_finished_work_stays_on_its_branch(tmp_path: Path) -> None:
    async def test() -> None:
        folder = repository(tmp_path / "repository")

        async def writer(call: Call) -> str:
            (Path(call.directory) / "made.txt").write_text("made\n")
            return "done"

        async with pool_in(folder, writer, isolation="worktree", run_id="kept") as pool:
            await pool.run("write")
        branch = next(line.strip("*+ ") for line in git(folder, "branch", "--list", "*kept*").splitlines())
        assert git(folder, "show", f"{branch}:made.txt") == "made\n"
        assert not (folder / "made.txt").exists()

    ended(test())


def test_w3_a_pool_touches_no_place_but_its_own(tmp_path: Path) -> None:
    async def test() -> None:
        first, second = repository(tmp_path / "one"), repository(tmp_path / "two")
        agent = Agent(held=True)
        async with pool_in(first, agent, isolation="worktree") as outer:
            working = outer.submit("work")
            await agent.begun.acquire()
            place = Path(agent.calls[0].directory)
            (place / "half.txt").write_text("not committed\n")
            for folder, isolation in ((second, "worktree"), (first, "worktree"), (first, "none")):
                async with pool_in(folder, isolation=isolation) as inner:
                    await inner.run("other")
            assert (place / "half.txt").read_text() == "not committed\n"
            agent.release()
            assert (await working).ok

    ended(test())


def test_w4_isolation_that_cannot_be_had_is_refused(here: Path) -> None:
    async def test() -> None:
        with pytest.raises(InvalidInput, match="needs a git repository"):
            async with pool_in(here, isolation="worktree"):
                pass

    ended(test())


def test_w5_cancel_stops_what_runs_and_what_waits_and_is_final(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            running = pool.submit("running", retries=3, recovery_prompt="mend {{ error }}")
            waiting = pool.submit("waiting")
            await agent.begun.acquire()
            assert waiting.cancel("not wanted")
            assert running.cancel()
            assert [(await task).status for task in (running, waiting)] == ["cancelled", "cancelled"]
            assert (agent.cancelled, agent.prompts) == (["running"], ["running"])
            assert not running.cancel()
            result = waiting.result()
            assert result is not None
            assert (result.reason, result.error_kind, result.cost_usd) == ("not wanted", "cancelled", 0.0)

    ended(test())


def test_w5_cancel_ends_the_process_of_a_command(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            chain = pool.chain([{"name": "stuck", "run": "echo $$ > pid; exec sleep 1000"}, "never"])
            while not (here / "pid").exists() or not (here / "pid").read_text().strip():
                await asyncio.sleep(0.01)
            pid = int((here / "pid").read_text())
            chain.cancel()
            result = await chain
            assert (result.status, result.steps["stuck"].status, result.steps["step_2"].status) == ("cancelled",) * 3
            with pytest.raises(ProcessLookupError):
                os.kill(pid, 0)

    ended(test())


def test_w6_no_task_goes_on_in_the_session_of_another(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, slots=1) as pool:
            results = await pool.fan_out(["a", "b", "c"])
        assert len({result.session_id for result in results}) == 3
        assert {result.slot for result in results} == {"slot-1"}

    ended(test())


def test_w7_nothing_is_lost_when_much_changes_at_once(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, store=here, run_id="busy") as pool:
            tasks = [pool.submit(f"{number}", tags=[f"t{number}"]) for number in range(20)]
            await agent.begun.acquire()
            pool.scale(up=3)
            tasks[0].cancel()
            pool.set_context("key", "value")
            tasks[19].cancel()
            pool.scale(down=2)
            agent.release(20)
            statuses = [(await task).status for task in tasks]
            pool._host.state.check()  # type: ignore[union-attr]
        assert statuses == ["cancelled", *["success"] * 18, "cancelled"]
        state = history.read(run_folder.find(here, "busy")).state
        assert [state.steps[task.id].status for task in tasks] == statuses

    ended(test())


def test_w8_a_slot_comes_back_whatever_becomes_of_its_task(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(pool.run("left alone"), 0.05)
            agent.release(3)
            agent._answers += [KeyError("bug")]
            assert (await pool.run("raises")).status == "failed"
            assert (await pool.run("works")).ok
            assert pool.status().idle_slots == 1

    ended(test())


def test_w9_the_budget_holds_for_all_work_together(here: Path) -> None:
    async def test() -> None:
        async def spender(call: Call) -> Answer:
            assert call.budget_usd is not None
            return Answer("spent", cost_usd=call.budget_usd, error_kind="failed" if call.prompt == "fails" else None)

        async with pool_in(here, spender, budget_usd=1.0) as pool:
            failed = await pool.run("fails", max_budget_usd=0.4)
            results = await pool.fan_out(["work"] * 5, max_budget_usd=0.25)
            assert failed.cost_usd == 0.4
            assert pool.status().spent_usd == pytest.approx(1.0)
            assert {result.error_kind for result in results if not result.ok} == {"budget"}
            with pytest.raises(BudgetExhausted) as caught:
                pool.submit("more")
            assert caught.value.limit_usd == 1.0

    ended(test())


def test_w10_retries_are_for_what_another_attempt_can_mend(here: Path) -> None:
    async def test() -> None:
        denied = Answer(error_kind="permission_denied", error="no Bash")
        agent = Agent(denied, Answer(error_kind="failed", error="first"), Answer(error_kind="failed", error="second"), "mended")
        async with pool_in(here, agent) as pool:
            assert (await pool.run("a", retries=3, **RETRY)).attempts == 1
            mended = await pool.run("b", retries=1, recovery_prompt="mend: {{ error }}", **RETRY)
        assert (mended.status, mended.text, mended.attempts) == ("success", "mended", 3)
        assert agent.prompts[:3] == ["a", "b", "b"]
        assert agent.prompts[3] == "mend: task-2, attempt 2: second"

    ended(test())


def test_w11_a_task_that_hangs_is_ended_at_its_time_limit(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            hung = await pool.run("hangs", timeout=0.2, retries=0)
            assert (hung.status, hung.error_kind, hung.reason) == ("failed", "timeout", "did not end within 200ms")
            agent.release()
            assert (await pool.run("next")).ok

    ended(test())


def test_w12_a_slot_whose_agent_dies_again_and_again_rests(here: Path) -> None:
    async def test() -> None:
        (here / "answers.yaml").write_text("default: {error: lost}\n")
        async with pool_in(here, "scripted", config={"script": "answers.yaml"}) as pool:
            await pool.fan_out(["a", "b", "c", "d", "e", "f"], retries=0)
            resting = [slot for slot in pool.status().slots if slot.state == "resting"]
            assert len(resting) == 1
            assert "died" in resting[0].reason

    ended(test())


def test_w13_scaling_down_takes_idle_slots_and_cuts_no_work(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=3) as pool:
            working = pool.submit("work")
            await agent.begun.acquire()
            assert pool.scale(to=1) == 1
            assert [(slot.name, slot.state) for slot in pool.status().slots] == [("slot-1", "busy")]
            assert pool.scale(to=0) == 0
            assert [(slot.name, slot.state) for slot in pool.status().slots] == [("slot-1", "leaving")]
            agent.release(2)
            assert (await working).ok
            assert pool.status().slots == ()
            waiting = pool.submit("waits for a slot")
            pool.scale(up=1)
            assert (await waiting).ok

    ended(test())


def test_w14_scaling_up_gives_each_slot_a_name_of_its_own(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=0, max_slots=3) as pool:
            assert pool.status().slots == ()
            pool.scale(up=1)
            working = pool.submit("work")
            await agent.begun.acquire()
            pool.scale(to=0)
            pool.scale(up=2)
            assert [slot.name for slot in pool.status().slots] == ["slot-2", "slot-3", "slot-1"]
            with pytest.raises(InvalidInput, match="exceeds max_slots"):
                pool.scale(up=2)
            assert len(pool.status().slots) == 3
            agent.release()
            await working
        with pytest.raises(InvalidInput, match="from 0 to 3 slots"):
            async with pool_in(here, slots=4, max_slots=3):
                pass

    ended(test())


def test_w15_tasks_get_slots_in_order_each_waits_its_own_time_and_roles_are_asked_for(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        slots = [{"name": "writer"}, {"name": "critic", "role": "reviewer", "config": {"model": "careful"}}]
        async with pool_in(here, agent, slots=slots) as pool:
            busy = pool.fan_out(["one", "two"])
            await agent.begun.acquire()
            await agent.begun.acquire()
            late = pool.fan_out(["third", "fourth"], queue_timeout_seconds=0.05)
            assert [(result.status, result.reason) for result in await late] == [("cancelled", "no slot was free within 0.05 s")] * 2
            queued = pool.fan_out(["five", "six"])
            review = pool.submit("review", slot="reviewer")
            agent.release(5)
            await busy
            await queued
            assert (await review).slot == "critic"
        assert agent.prompts[:2] == ["one", "two"]
        calls = {call.prompt: call for call in agent.calls}
        assert calls["review"].settings["model"] == "careful"
        assert "Your role: reviewer" in (calls["review"].system_prompt or "")
        assert [calls[prompt].system_prompt for prompt in ("one", "two", "five", "six")] == [None] * 4

    ended(test())


def test_w16_ids_are_counted_and_never_taken_twice(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, store=here) as pool, pool_in(here, store=here) as other:
            assert pool.run_id != other.run_id
            named = pool.submit("a", name="task-2")
            ids = [pool.submit("a").id for _ in range(3)]
            assert ids == ["task-1", "task-3", "task-4"]
            with pytest.raises(InvalidInput, match="already a task `task-2`"):
                pool.submit("b", name="task-2")
            await named

    ended(test())


def test_w17_denied_tools_are_told_by_the_agent_and_not_guessed_from_words(here: Path) -> None:
    async def test() -> None:
        words = "permission denied? Allow this action, approve (y/n)"
        (here / "answers.yaml").write_text(
            f"default:\n  - {{when: words, answer: '{words}'}}\n  - {{when: denied, denials: [Bash, Edit]}}\n"
        )
        async with pool_in(here, "scripted", config={"script": "answers.yaml"}) as pool:
            spoken = await pool.run("words")
            denied = await pool.run("denied", retries=3)
            allowed = await pool.run("denied", allow_denials=True)
        assert (spoken.status, spoken.denied_tools) == ("success", ())
        assert (denied.error_kind, denied.denied_tools, denied.attempts) == ("permission_denied", ("Bash", "Edit"), 1)
        assert (allowed.status, allowed.denied_tools) == ("success", ("Bash", "Edit"))

    ended(test())


def test_w18_a_prompt_goes_by_stdin_however_long_and_is_in_no_error(here: Path) -> None:
    async def test() -> None:
        prompt = "--help " + "x" * 300_000
        async with pool_in(here, "command", config={"command": ["cat"]}) as pool:
            assert (await pool.run(prompt)).text == prompt
        async with pool_in(here, "command", config={"command": ["false"]}) as pool:
            failed = await pool.run("secret words")
        assert failed.status == "failed"
        assert "secret words" not in failed.error + failed.reason

    ended(test())


def test_w19_context_is_added_in_order_and_replaces_nothing(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        async with pool_in(here, agent, context={"zeta": "last", "alpha": "first {{ x }}"}, config={"system_prompt": "Be short."}) as pool:
            await pool.run("a")
            assert pool.delete_context("zeta") == "last"
            await pool.chain(["b"])
        assert agent.calls[0].system_prompt == "Be short.\n\nShared context:\n- alpha: first {{ x }}\n- zeta: last"
        assert agent.calls[1].system_prompt == "Be short.\n\nShared context:\n- alpha: first {{ x }}"
        assert "replace_system_prompt" not in agent.calls[0].settings

    ended(test())


def test_w20_no_mode_is_set_that_nobody_asked_for(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        async with pool_in(here, agent) as pool:
            await pool.run("a")
            await pool.run("b", permission_mode="acceptEdits")
        assert [call.settings.get("permission_mode") for call in agent.calls] == [None, "acceptEdits"]

    ended(test())


def test_w21_values_are_never_rendered_and_unknown_names_are_refused(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        async with pool_in(here, agent) as pool:
            text = 'JSON {"a": {1}} and {{ args.x }} and {% raw %}'
            assert (await pool.run(text)).text == text
            chain = await pool.chain(["{{ args.x }}", "again: {{ previous.output }}"], args={"x": "{{ steps.step_1.output }} {y}"})
            assert chain.text == "again: {{ steps.step_1.output }} {y}"
            with pytest.raises(InvalidInput, match="unknown name `nope`"):
                pool.chain(["{{ nope }}"])
        assert len(agent.calls) == 3

    ended(test())


def test_w22_outputs_are_read_from_prose_and_what_is_missing_fails_the_step(here: Path) -> None:
    async def test() -> None:
        fenced = 'Here it is:\n```json\n{"files": [{"name": "a.py"}]}\n```\nDone.'
        agent = Agent(fenced, "second", "no data at all")
        async with pool_in(here, agent) as pool:
            find = {"name": "find", "prompt": "find", "output": "json", "output_vars": {"first": "files[0].name"}}
            good = await pool.chain([find, "{{ steps.find.first }}"])
            assert good.steps["find"].json == {"files": [{"name": "a.py"}]}
            assert agent.prompts[1] == "a.py"
            bad = await pool.chain([find, "never"])
        assert (bad.status, bad.error_kind, bad.steps["step_2"].status) == ("failed", "bad_output", "skipped")
        assert len(agent.calls) == 3

    ended(test())


def test_w23_a_text_that_cannot_be_rendered_fails_its_step_and_keeps_what_was_done(here: Path) -> None:
    async def test() -> None:
        agent = Agent("plain text")
        async with pool_in(here, agent) as pool:
            chain = await pool.chain([{"name": "one", "prompt": "a"}, "{{ steps.one.json.key }}"])
        assert (chain.status, chain.error_kind) == ("failed", "invalid")
        assert (chain.steps["one"].status, chain.steps["one"].text) == ("success", "plain text")
        assert chain.steps["step_2"].error

    ended(test())


def test_w24_what_a_shipped_skill_is_given_is_in_its_prompt(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        async with pool_in(here, agent) as pool:
            await pool.skill("code_review", {"target": "the file {{ x }}"})
            with pytest.raises(InvalidInput, match="target"):
                pool.skill("code_review")
        assert "the file {{ x }}" in agent.prompts[0]

    ended(test())


def test_w25_the_settings_of_a_skill_count_in_chains_too(here: Path) -> None:
    async def test() -> None:
        skill = here / ".cpool" / "skills" / "careful" / "SKILL.md"
        skill.parent.mkdir(parents=True)
        skill.write_text("---\nname: careful\ndescription: Careful.\nmetadata:\n  config: {model: opus}\n---\nBe careful.\n")
        agent = Agent()
        async with pool_in(here, agent, config={"model": "haiku", "max_turns": 3}) as pool:
            await pool.skill("careful")
            await pool.chain([{"skill": "careful"}, "plain"])
        assert [(call.settings["model"], call.settings["max_turns"]) for call in agent.calls] == [("opus", 3), ("opus", 3), ("haiku", 3)]

    ended(test())


def test_w26_success_needs_more_than_a_process_that_ended(here: Path) -> None:
    async def test() -> None:
        agent = Agent(Answer("so far", error_kind="max_turns", turns=7), Answer("said", cost_usd=None))
        async with pool_in(here, agent) as pool:
            limited = await pool.run("a")
            unpriced = await pool.run("b")
        assert (limited.status, limited.error_kind, limited.turns) == ("failed", "max_turns", 7)
        assert (unpriced.status, unpriced.cost_usd) == ("success", None)
        (here / "silent.py").write_text("import sys; sys.stdin.read()\n")
        async with pool_in(here, "claude", config={"env": {}}) as pool:
            assert not (await pool.run("nobody is there", retries=0, timeout=30)).ok

    programs = here / "bin"
    programs.mkdir()
    (programs / "claude").write_text("#!/bin/sh\ncat > /dev/null\n")  # ends with 0, and gives no result
    (programs / "claude").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        ended(test())


def test_w27_events_are_bounded_and_results_can_be_let_go(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            slow = pool.events(most=10)
            one = pool.submit("one")
            kinds = [event.kind async for event in pool.events(one.id)]
            await pool.fan_out(["x"] * 10)
            pool.forget(one.id)
            assert one.id not in [task.id for task in pool.tasks()]
            assert one.id not in pool._host.state.steps  # type: ignore[union-attr]
        kept = [event async for event in slow]
        assert kinds[-1] == "TaskEnded"
        assert len(kept) == 10
        assert slow.lost > 0

    ended(test())


def test_w28_each_item_has_an_outcome_of_its_own_in_its_place(here: Path) -> None:
    async def test() -> None:
        async def agent(call: Call) -> str:
            if call.prompt == "bad":
                raise ValueError("no")
            return call.prompt

        async with pool_in(here, agent) as pool:
            assert [(each.status, each.text) for each in await pool.fan_out(["a", "bad", "c"])] == [
                ("success", "a"),
                ("failed", ""),
                ("success", "c"),
            ]
            fast = await pool.fan_out(["bad", *["x"] * 20], fail_fast=True)
            assert fast[0].status == "failed"
            assert fast[-1].status == "cancelled"
            with pytest.raises(InvalidInput):
                pool.fan_out_chains([["fine"], []])
            assert pool.status().pending_tasks == 0
            chains = await pool.fan_out_chains([["a", "b"], ["bad", "d"], ["e"]])
            assert [(each.status, each.text) for each in chains] == [("success", "b"), ("failed", ""), ("success", "e")]

    ended(test())


def test_w29_steps_belong_to_their_task_and_costs_count_once(here: Path) -> None:
    async def test() -> None:
        async def agent(call: Call) -> Answer:
            return Answer(call.prompt, cost_usd=0.25)

        async with pool_in(here, agent) as pool:
            chain = await pool.chain(["a", "b"], tags=["night"])
            assert [step.id for step in chain.steps.values()] == [f"{chain.id}/step_1", f"{chain.id}/step_2"]
            assert (chain.cost_usd, chain.tags) == (0.5, ("night",))
            assert pool.status().spent_usd == 0.5
            assert [task.id for task in pool.tasks(tag="night")] == [chain.id]
            assert chain.started_at is not None
            assert chain.ended_at is not None
            assert chain.started_at <= chain.ended_at

    ended(test())


def test_w30_a_pool_that_was_killed_can_be_gone_on_with(here: Path) -> None:
    (here / "answers.yaml").write_text(
        "steps:\n  second: [{hang: true}, {answer: 'second {{ x }}'}]\ndefault: {answer: well, cost_usd: 0.25}\n"
    )
    program = """
import asyncio, os
from cpool_flow import Pool

async def main():
    async with Pool(slots=1, agent="scripted", config={"script": "answers.yaml"}, store=".", run_id="night", context={"k": "v"}) as pool:
        await pool.run("first", name="first")
        pool.submit("second", name="second")
        pool.chain(["third", "fourth"], name="chain")
        async for event in pool.events("second"):
            if event.kind == "AttemptStarted":
                os.kill(os.getpid(), 9)

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner")}
    killed = subprocess.run([sys.executable, "-c", program], cwd=here, env=environment, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr

    async def test() -> None:
        async with Pool(store=here, directory=here, project=here, resume="night") as pool:
            assert pool.context() == {"k": "v"}
            assert pool.task("first").result().text == "well"  # type: ignore[union-attr]
            assert (await pool.task("second")).text == "second {{ x }}"
            assert (await pool.task("chain")).ok
            assert (await pool.run("more")).ok
            assert pool.status().spent_usd >= 1.0
            assert pool.task("first").result().attempts == 1  # type: ignore[union-attr]

    ended(test())


def test_w31_drain_lets_chains_finish_and_has_a_deadline(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            chain = pool.chain(["a", "b"])
            await agent.begun.acquire()
            draining = asyncio.ensure_future(pool.drain())
            await asyncio.sleep(0)
            with pytest.raises(PoolIsClosed):
                pool.submit("too late")
            agent.release(2)
            await draining
            assert (await chain).ok
        async with pool_in(here, Agent(held=True), slots=1) as pool:
            stuck, queued = pool.submit("stuck"), pool.submit("queued")
            summary = await pool.drain(0.1)
            assert [(await task).status for task in (stuck, queued)] == ["cancelled", "cancelled"]
            assert summary.cancelled_tasks == 2

    ended(test())


def test_w32_what_git_cannot_give_is_said_before_work_begins(tmp_path: Path) -> None:
    async def test() -> None:
        empty = tmp_path / "empty"
        empty.mkdir()
        git(empty, "init", "-q")
        with pytest.raises(InvalidInput, match="no commit yet"):
            async with pool_in(empty, isolation="worktree"):
                pass
        folder = repository(tmp_path / "repository")
        pools = [pool_in(folder, isolation="worktree", run_id=f"p{number}") for number in range(3)]
        await asyncio.gather(*(pool.__aenter__() for pool in pools))
        await asyncio.gather(*(pool.drain() for pool in pools))

    ended(test())


def test_w33_no_file_with_settings_of_servers_outlives_its_task(here: Path) -> None:
    programs = here / "bin"
    programs.mkdir()
    (programs / "claude").write_text('#!/bin/sh\ncat > /dev/null\nprintf "%s\\n" "$@" > arguments\nexit 3\n')
    (programs / "claude").chmod(0o755)

    async def test() -> None:
        servers = {"github": {"command": "mcp", "env": {"TOKEN": "very-secret"}}}
        async with pool_in(here, "claude", store=here, run_id="r") as pool:
            await pool.run("a", mcp_servers=servers, retries=0)
            files = here / ".cpool" / "runs" / "r" / "files"
            assert "--mcp-config" in (here / "arguments").read_text()
            assert not [path for path in files.rglob("*") if path.is_file()]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        ended(test())


GRAPH = """
version: 1
steps:
  - {name: look, prompt: look}
  - {name: fix, needs: look, foreach: [a, b], prompt: "fix {{ item }}"}
  - {name: never, needs: look, when: "steps.look.output == 'other'", prompt: never}
  - {name: risky, needs: look, run: exit 1, on_failure: continue}
  - {name: join, needs: [fix, never, risky], prompt: "all {{ steps.fix.output }}"}
"""


def test_w34_a_workflow_in_a_pool_is_a_graph_with_conditions_and_fan_outs(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            result = await pool.workflow(Workflow.from_text(GRAPH))
        statuses = {name: step.status for name, step in result.steps.items()}
        assert statuses == {"look": "success", "fix": "success", "never": "skipped", "risky": "failed", "join": "success"}
        assert result.text == 'all ["fix a", "fix b"]'

    ended(test())


def test_w35_one_pool_does_all_and_its_errors_have_types(here: Path) -> None:
    with Pool.sync(slots=2, agent=echo, directory=here, project=here) as pool:
        assert pool.run("a").text == "a"
        assert [each.text for each in pool.fan_out(["b", "c"])] == ["b", "c"]
        assert pool.chain(["d", "{{ previous.output }}!"]).text == "d!"
        assert pool.workflow(Workflow.from_data({"steps": [{"prompt": "e"}]})).text == "e"
        with pytest.raises(InvalidInput):
            pool.run("")
    with pytest.raises(PoolIsClosed):
        pool._pool.submit("f")  # type: ignore[attr-defined]


def test_w36_tasks_are_executed_by_a_real_process_in_these_tests(here: Path) -> None:
    async def test() -> None:
        (here / "answers.yaml").write_text("default: {answer: hello, cost_usd: 0.5, turns: 3}\n")
        async with pool_in(here, "scripted", config={"script": "answers.yaml"}) as pool:
            results = await pool.fan_out(["a", "b", "c", "d"])
        assert [(each.status, each.text, each.cost_usd, each.turns) for each in results] == [("success", "hello", 0.5, 3)] * 4

    ended(test())


def test_w37_agents_do_not_think_that_they_run_inside_of_another(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLAUDECODE", "1")
    programs = here / "bin"
    programs.mkdir()
    (programs / "claude").write_text("#!/bin/sh\ncat > /dev/null\nenv > environment\nexit 3\n")
    (programs / "claude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")

    async def test() -> None:
        async with pool_in(here, "claude") as pool:
            await pool.run("a", retries=0)
        assert "CLAUDECODE=" not in (here / "environment").read_text()

    ended(test())


@pytest.mark.parametrize(
    ("args", "message"),
    [({}, "argument `count` is missing"), ({"count": "many"}, "count"), ({"count": 1, "cuont": 2}, "did you mean `count`")],
)
def test_w38_arguments_have_types_and_unknown_ones_are_refused(here: Path, args: dict[str, object], message: str) -> None:
    async def test() -> None:
        flow = {
            "args": {"count": {"type": "integer"}, "kind": {"default": "plain"}},
            "steps": [{"prompt": "{{ args.count }} {{ args.kind }}"}],
        }
        async with pool_in(here) as pool:
            with pytest.raises(InvalidInput) as caught:
                pool.workflow(Workflow.from_data(flow), args=args)
            assert message in json.dumps([(each.message, each.hint) for each in caught.value.problems])
            assert (await pool.workflow(Workflow.from_data(flow), args={"count": 2})).text == "2 plain"
            with pytest.raises(InvalidInput, match="two steps are called `a`"):
                pool.chain([{"name": "a", "prompt": "x"}, {"name": "a", "prompt": "y"}])

    ended(test())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"permission_mode": "yolo"}, "`permission_mode` must be"),
        ({"effort": "enormous"}, "`effort` must be"),
        ({"isolation": "worktre"}, "a task has no setting `isolation`"),
        ({"agent": "claud"}, "unknown agent `claud`"),
        ({"slot": "nowhere"}, "no slot answers to `nowhere`"),
        ({"modle": "x"}, "a task has no setting `modle`, did you mean `model`?"),
    ],
)
def test_w39_unknown_words_are_refused_and_nothing_is_added(here: Path, settings: dict[str, str], message: str) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            with pytest.raises(InvalidInput, match=message.replace("?", r"\?")):
                pool.submit("x", **settings)
            assert pool.tasks() == []
        with pytest.raises(InvalidInput, match="`isolation` is `none` or `worktree`"):
            async with pool_in(here, isolation="clone"):
                pass

    ended(test())
