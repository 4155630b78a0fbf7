"""The faults of the pool that this one was made after: each is absent. One test a fault, named after it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from pools import ROOT, Agent, echo, ended, git, pool_in, repository

from cpool_flow import history, run_folder
from cpool_flow.errors import InvalidInput
from cpool_flow.pool import Answer, BudgetExhausted, Call, Pool, PoolIsClosed, Workflow
from survivors import eventually

pytestmark = pytest.mark.usefixtures("own_home")

RETRY = {"retry": {"delay": "0s"}}


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
        # The same name of the folder, the same run: only the repositories differ.
        first, second = repository(tmp_path / "one" / "shop"), repository(tmp_path / "two" / "shop")
        agent = Agent(held=True)
        async with pool_in(first, agent, isolation="worktree", run_id="night") as outer:
            working = outer.submit("work")
            await agent.begun.acquire()
            place = Path(agent.calls[0].directory)
            (place / "half.txt").write_text("not committed\n")
            seen = []
            for number, (folder, isolation) in enumerate(((second, "worktree"), (first, "worktree"), (first, "none"), (second, "none"))):
                other = Agent()
                async with pool_in(folder, other, isolation=isolation, run_id="night" if folder == second else f"run-{number}") as inner:
                    await inner.run("other")
                    inner.scale(to=0)
                seen.append(Path(other.calls[0].directory))
            assert place not in seen
            assert seen[2:] == [first, second]
            assert (place / "half.txt").read_text() == "not committed\n"
            assert str(place) in git(first, "worktree", "list", "--porcelain")
            assert git(first, "branch", "--list", "cpool/*").split() == ["+", "cpool/pool/night"]
            agent.release()
            assert (await working).ok
        assert git(first, "show", "cpool/pool/night:half.txt") == "not committed\n"

    ended(test())


def test_w3_a_folder_that_stands_where_a_place_would_is_left_alone(tmp_path: Path) -> None:
    async def test() -> None:
        folder, agent = repository(tmp_path / "shop"), Agent()
        async with pool_in(folder, agent, isolation="worktree", run_id="first") as pool:
            await pool.run("x")
        foreign = Path(str(agent.calls[0].directory).replace("first", "second"))
        foreign.mkdir(parents=True)
        (foreign / "precious.txt").write_text("mine\n")
        with pytest.raises(InvalidInput, match="second"):
            async with pool_in(folder, agent, isolation="worktree", run_id="second"):
                pass
        assert (foreign / "precious.txt").read_text() == "mine\n"
        assert git(folder, "branch", "--list", "*second*") == ""

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


def test_w24_the_steps_of_a_shipped_workflow_hand_on_what_they_found(tmp_path: Path) -> None:
    """The review stands in the prompt of the fix, the failure of the tests in that of the recovery; no step knows a language."""
    folder = repository(tmp_path / "repository")
    git(folder, "checkout", "-q", "-b", "change")
    (folder / "a.txt").write_text("a\nwrong-line\n")
    git(folder, "-c", "user.name=You", "-c", "user.email=you@example.com", "commit", "-q", "-a", "-m", "change")
    finding = {"severity": "major", "place": "a.txt:2", "problem": "the-problem", "fix": "the-fix"}
    prompts: list[str] = []

    async def agent(call: Call) -> str:
        prompts.append(call.prompt)
        if call.schema is not None:
            return json.dumps({"findings": [finding] if "wrong-line" in call.prompt else []})
        if "the-failure" in call.prompt:
            (Path(call.directory) / "mended").touch()
        return "I have changed it."

    async def test() -> None:
        async with pool_in(folder, agent, isolation="worktree") as pool:
            args = {"base": "main", "focus": ["correctness"], "test": "test -e mended || { echo the-failure; exit 1; }"}
            result = await pool.workflow("review_and_fix", args=args)
        assert result.ok, result.error
        assert (result.json["findings"], result.json["report"]) == ([finding], "I have changed it.")
        assert [name for name, step in result.steps.items() if step.status == "success"] == ["diff", "review", "findings", "fix", "check"]

    ended(test())
    assert "wrong-line" in prompts[0]
    assert "the-problem" in prompts[1]
    assert "the-failure" in prompts[2]
    assert len(prompts) == 3
    assert not [word for prompt in prompts for word in ("cargo", "clippy", "pytest", "npm") if word in prompt]


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


def _said(**result: object) -> str:
    """What an agent's process prints that takes two turns and ends with this result."""
    lines: list[dict[str, object]] = [{"type": "system", "subtype": "init", "session_id": "s", "model": "m"}]
    for number in (1, 2):
        message = {"id": str(number), "content": [{"type": "text", "text": "so far"}], "usage": {"input_tokens": 3, "output_tokens": 4}}
        lines.append({"type": "assistant", "message": message})
    whole = {"subtype": "success", "is_error": False, "result": "well", "num_turns": 2, "total_cost_usd": 0.5, "permission_denials": []}
    usage = {"input_tokens": 6, "output_tokens": 8}
    lines += [{"type": "result", "session_id": "s", "usage": usage, **whole, **result}] if result else []
    return "\n".join(map(json.dumps, lines)) + "\n"


CLAIMED = {
    "good": (_said(result="well"), 0, "success", None),
    "is-error": (_said(is_error=True, result="API Error: 400 bad"), 0, "failed", "failed"),
    "is-error-exit-1": (_said(is_error=True, result="API Error: 400 bad"), 1, "failed", "failed"),
    "max-turns": (_said(subtype="error_max_turns", is_error=True, result=None), 1, "failed", "max_turns"),
    "max-turns-exit-0": (_said(subtype="error_max_turns", result=None), 0, "failed", "max_turns"),
    "budget": (_said(subtype="error_max_budget_usd", is_error=True, result=None), 1, "failed", "budget"),
    "broken-off": (_said(subtype="error_during_execution", is_error=True, result=None), 0, "failed", "failed"),
    "no-result": (_said(), 0, "failed", "lost"),
    "nothing": ("", 0, "failed", "lost"),
    "plain-text": ("All done, everything works!\n", 0, "failed", "lost"),
    "empty-answer": (_said(result=""), 0, "failed", "failed"),
    "no-tokens": (_said(num_turns=0, usage={"input_tokens": 0, "output_tokens": 0}), 0, "failed", "failed"),
    "denied": (_said(permission_denials=[{"tool_name": "Bash", "tool_use_id": "t", "tool_input": {}}]), 0, "failed", "permission_denied"),
    "good-then-exit-3": (_said(result="well"), 3, "failed", "failed"),
}


def test_w26_success_needs_more_than_a_process_that_ended(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = here / "bin"
    programs.mkdir()
    (programs / "claude").write_text('#!/bin/sh\nname=$(cat)\ncat "$CASES/$name.out"\nexit "$(cat "$CASES/$name.code")"\n')
    (programs / "claude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, (printed, code, _, _) in CLAIMED.items():
        (programs / f"{name}.out").write_text(printed)
        (programs / f"{name}.code").write_text(str(code))

    async def test() -> None:
        async with pool_in(here, "claude", config={"env": {"CASES": str(programs)}}) as pool:
            found = {result.id: result for result in [await pool.run(name, name=name, retries=0) for name in CLAIMED]}
        assert {name: (result.status, result.error_kind) for name, result in found.items()} == {
            name: (status, kind) for name, (_, _, status, kind) in CLAIMED.items()
        }
        good, limited = found["good"], found["max-turns"]
        assert (good.text, good.turns, good.cost_usd, good.session_id) == ("well", 2, 0.5, "s")
        assert (limited.turns, limited.cost_usd) == (2, 0.5)
        assert found["nothing"].cost_usd is None
        assert found["denied"].denied_tools == ("Bash",)

    ended(test())


def test_w26_a_function_that_ends_has_succeeded_only_if_it_says_nothing_else(here: Path) -> None:
    async def test() -> None:
        agent = Agent(Answer("so far", error_kind="max_turns", turns=7), Answer("said", cost_usd=None), "", "  \n")
        async with pool_in(here, agent) as pool:
            limited, unpriced = await pool.run("a"), await pool.run("b")
            empty = [await pool.run("c"), await pool.run("d")]
        assert (limited.status, limited.error_kind, limited.turns) == ("failed", "max_turns", 7)
        assert (unpriced.status, unpriced.cost_usd) == ("success", None)
        assert [(result.status, result.error_kind, result.reason) for result in empty] == [("failed", "failed", "the answer is empty")] * 2

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
    async def agent(call: Call) -> Answer:
        if call.prompt == "bad":
            raise ValueError("no")
        if call.prompt == "quits":
            raise asyncio.CancelledError
        return Answer(call.prompt, cost_usd=0.25)

    async def test() -> None:
        async with pool_in(here, agent) as pool:
            results = await pool.fan_out(["bad", "a", "quits", "c", "bad", "e"])
            assert [(each.status, each.text, each.cost_usd) for each in results] == [
                ("failed", "", None),
                ("success", "a", 0.25),
                ("cancelled", "", None),
                ("success", "c", 0.25),
                ("failed", "", None),
                ("success", "e", 0.25),
            ]
            assert [each.id for each in results] == [f"task-{number}" for number in range(1, 7)]
            with pytest.raises(InvalidInput):
                pool.fan_out_chains([["fine"], []])
            with pytest.raises(InvalidInput):
                pool.fan_out(["fine", " "])
            assert len(pool.tasks()) == 6
            chains = pool.fan_out_chains([["a", "b"], ["bad", "d"], ["e"]])
            assert [(each.status, each.text) for each in await chains] == [("success", "b"), ("failed", ""), ("success", "e")]
            assert [task.id for task in chains] == ["chain-1", "chain-2", "chain-3"]

    ended(test())


def test_w28_fail_fast_stops_what_runs_and_what_waits_and_loses_no_result(here: Path) -> None:
    async def test() -> None:
        stopped = []

        async def agent(call: Call) -> Answer:
            if call.prompt == "slow":
                try:
                    await asyncio.sleep(1000)
                except asyncio.CancelledError:
                    stopped.append(call.task)
                    raise
            await asyncio.sleep(0)
            return Answer(call.prompt, cost_usd=0.25, error_kind="failed" if call.prompt == "bad" else None)

        async with pool_in(here, agent) as pool:
            done = await pool.fan_out(["paid", "slow", "bad", *["never"] * 10], fail_fast=True)
            assert [each.status for each in done] == ["success", "cancelled", "failed", *["cancelled"] * 10]
            assert (stopped, done[0].text, done[0].cost_usd, done[2].cost_usd) == (["task-2"], "paid", 0.25, 0.25)
            assert {each.reason for each in done[3:]} == {"`task-3` did not succeed"}
            assert (pool.status().pending_tasks, pool.status().running_tasks, pool.status().idle_slots) == (0, 0, 2)

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
        unborn, bare = tmp_path / "unborn", tmp_path / "bare"
        for folder, options in ((unborn, ()), (bare, ("--bare",))):
            folder.mkdir()
            git(folder, "init", "-q", *options)
        for folder, message in ((unborn, "no commit yet"), (bare, "is a bare repository")):
            with pytest.raises(InvalidInput, match=message):
                async with pool_in(folder, isolation="worktree"):
                    pass
        folder = repository(tmp_path / "repository")
        with pytest.raises(InvalidInput, match="nowhere"):
            async with pool_in(folder, isolation="worktree", base="nowhere"):
                pass
        with pytest.raises(InvalidInput, match="`base` is for"):
            async with pool_in(folder, base="main"):
                pass
        assert git(folder, "branch", "--list", "cpool/*") == ""

    ended(test())


def test_w32_many_pools_begin_at_once_in_one_repository(tmp_path: Path) -> None:
    async def test() -> None:
        folder = repository(tmp_path / "repository")
        agents = [Agent() for _ in range(12)]
        pools = [pool_in(folder, agent, isolation="worktree", run_id=f"p{number}") for number, agent in enumerate(agents)]
        await asyncio.gather(*(pool.__aenter__() for pool in pools))
        assert [(await pool.run("x")).status for pool in pools] == ["success"] * 12
        assert len({agent.calls[0].directory for agent in agents}) == 12
        await asyncio.gather(*(pool.drain() for pool in pools))
        assert len(git(folder, "worktree", "list").splitlines()) == 1

    ended(test())


def test_w32_the_branch_of_a_pool_begins_where_it_is_told(tmp_path: Path) -> None:
    async def test() -> None:
        folder, agent = repository(tmp_path / "repository"), Agent()
        git(folder, "branch", "release")
        (folder / "a.txt").write_text("newer\n")
        git(folder, "-c", "user.name=You", "-c", "user.email=you@example.com", "commit", "-q", "-a", "-m", "second")
        seen = []

        async def look(call: Call) -> str:
            seen.append((Path(call.directory) / "a.txt").read_text())
            return "ok"

        for base in (None, "release", "HEAD~1"):
            async with pool_in(folder, look, isolation="worktree", base=base) as pool:
                await pool.run("x")
        assert seen == ["newer\n", "a\n", "a\n"]
        assert agent.calls == []

    ended(test())


WIPED = """
import asyncio, os
from pathlib import Path
from cpool_flow import Pool

async def agent(call):
    if call.prompt == "crash":
        Path("place").write_text(call.directory)
        os.kill(os.getpid(), 9)
    (Path(call.directory) / "made.txt").write_text("made\\n")
    return "ok"

async def main():
    async with Pool(slots=1, agent=agent, store=".", run_id="night", isolation="worktree") as pool:
        await pool.run("make", name="make")
        await pool.run("crash", name="crash")

asyncio.run(main())
"""


def test_w32_what_a_crash_has_left_in_git_stops_no_other_pool_and_not_its_own_resume(tmp_path: Path) -> None:
    folder = repository(tmp_path / "repository")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner")}
    killed = subprocess.run([sys.executable, "-c", WIPED], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert killed.returncode == -9, killed.stderr
    place = Path((folder / "place").read_text())
    shutil.rmtree(place)  # as a wiped temporary folder would be; git still knows a worktree there, and the branch

    async def test() -> None:
        async with pool_in(folder, isolation="worktree", run_id="other", store=folder) as pool:
            assert (await pool.run("x")).ok
        with pytest.raises(InvalidInput, match="night"):
            async with pool_in(folder, isolation="worktree", run_id="night", store=folder):
                pass
        agent = Agent()
        async with Pool(store=folder, directory=folder, project=folder, resume="night", agent=agent) as again:
            assert (await again.task("crash")).ok
            assert (Path(agent.calls[0].directory) / "made.txt").read_text() == "made\n"
        assert git(folder, "show", "cpool/pool/night:made.txt") == "made\n"

    ended(test())


# Keeps what it was handed as its servers, and who may read that; then does what its prompt says.
HANDED = """#!/bin/bash
prompt=$(cat)
servers=
for word in "$@"; do
    case $word in --mcp-config=*) servers=${word#*=} ;; esac
done
[ -n "$servers" ] && stat -c '%a %n' "$servers" > "$OUT/$prompt.mode" && cp "$servers" "$OUT/$prompt.servers"
touch "$OUT/$prompt.begun"
[ "$prompt" = fails ] && exit 3
[ "$prompt" = hangs ] && exec sleep 1000
cat "$OUT/answer"
"""


@pytest.fixture
def handed(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which an agent says what servers it was handed; `bin` of it is on the PATH."""
    programs = here / "bin"
    programs.mkdir()
    (programs / "claude").write_text(HANDED)
    (programs / "claude").chmod(0o755)
    (programs / "answer").write_text(_said(result="well"))
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    return programs


SERVERS = {"github": {"command": "mcp", "env": {"TOKEN": "very-secret"}}}


def _left(here: Path) -> list[Path]:
    """The files of the pool's folder in which the secret of a server stands, but for the journal of what its program has given it."""
    kept = [path for path in (here / ".cpool").rglob("*") if path.is_file() and not path.name.startswith("journal.db")]
    return [path for path in kept if path.name != "inputs.json" and b"very-secret" in _content(path)]


def _content(path: Path) -> bytes:
    """Nothing of a file that went since it was listed."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_w33_a_file_with_settings_of_servers_is_that_of_one_attempt_alone(here: Path, handed: Path) -> None:
    async def test() -> None:
        async with pool_in(here, "claude", slots=1, store=here, run_id="r", config={"env": {"OUT": str(handed)}}) as pool:
            assert (await pool.run("with", mcp_servers=SERVERS)).ok
            assert _left(here) == []
            other = {"other": {"command": "else"}}
            assert (await pool.run("others", mcp_servers=other)).ok
            assert (await pool.run("without")).ok
            assert (await pool.run("fails", mcp_servers=SERVERS, retries=0)).status == "failed"
            assert _left(here) == []
            hangs = pool.submit("hangs", mcp_servers=SERVERS)
            while not (handed / "hangs.begun").exists():
                await asyncio.sleep(0.01)
            assert len(_left(here)) == 1
            pool.scale(to=0, cancel=True)
            assert (await hangs).status == "cancelled"
            assert _left(here) == []
        assert [json.loads((handed / f"{name}.servers").read_text()) for name in ("with", "others")] == [
            {"mcpServers": SERVERS},
            {"mcpServers": other},
        ]
        mode, path = (handed / "with.mode").read_text().split()
        assert (mode, (here / ".cpool" / "runs" / "r") in Path(path).parents) == ("600", True)
        assert not (handed / "without.servers").exists() or json.loads((handed / "without.servers").read_text()) == {"mcpServers": {}}

    ended(test())


def test_w33_what_an_agent_was_handed_is_gone_after_a_crash(here: Path, handed: Path) -> None:
    program = f"""
import asyncio
from cpool_flow import Pool

async def main():
    async with Pool(slots=1, agent="claude", store=".", run_id="r", config={{"env": {{"OUT": {str(handed)!r}}}}}) as pool:
        await pool.run("hangs", mcp_servers={SERVERS!r})

asyncio.run(main())
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "runner")}
    running = subprocess.Popen([sys.executable, "-c", program], cwd=here, env=environment)
    assert eventually((handed / "hangs.begun").exists)
    assert len(_left(here)) == 1
    running.kill()
    running.wait()
    assert eventually(lambda: _left(here) == [])


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
        ({"isolation": "worktre"}, "`isolation` must be `none` or `worktree`"),
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
