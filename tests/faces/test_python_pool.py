"""The pool as a Python API: what it must be able to do (F1 to F37 of the pool before this one, in a form of its own)."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pools import ROOT, Agent, echo, ended, pool_in

import cpool_flow
from cpool_flow import history, run_folder
from cpool_flow.errors import InvalidInput
from cpool_flow.pool import Answer, BudgetExhausted, Call, Pool, PoolIsClosed, Task, TaskFailed, UnknownTask, Workflow

pytestmark = pytest.mark.usefixtures("own_home")


def test_the_package_gives_the_pool_when_it_is_asked_for_and_pays_for_it_only_then() -> None:
    assert cpool_flow.Pool is Pool
    assert cpool_flow.Workflow is Workflow
    with pytest.raises(AttributeError, match="no attribute `Nothing`"):
        cpool_flow.Nothing  # type: ignore[attr-defined]  # noqa: B018
    program = "import sys, cpool_flow; print(sorted({'asyncio', 'pydantic', 'yaml', 'sqlite3'} & set(sys.modules)))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(ROOT / "runner")}, capture_output=True, text=True, check=True
    )
    assert loaded.stdout == "[]\n"


def test_f1_slots_are_a_number_or_a_list_and_may_be_none(here: Path) -> None:
    async def test() -> None:
        for slots, names in (
            (None, ["slot-1", "slot-2", "slot-3", "slot-4"]),
            (0, []),
            (2, ["slot-1", "slot-2"]),
            ([{"name": "critic", "role": "reviewer", "count": 2}, {}], ["slot-1", "critic-1", "critic-2"]),
        ):
            async with pool_in(here, slots=slots) as pool:
                assert [slot.name for slot in pool.status().slots] == names
                assert {slot.state for slot in pool.status().slots} <= {"idle"}
        (here / "cpool.yaml").write_text("slots: 3\nconfig: {model: small}\n")
        agent = Agent()
        async with pool_in(here, agent, slots=None) as pool:
            assert len(pool.status().slots) == 3
            await pool.run("a")
        assert agent.calls[0].settings["model"] == "small"

    ended(test())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slots": -1}, "from 0 to 100 slots"),
        ({"slots": True}, "`slots` is a number or a list of mappings, not True"),
        ({"slots": "3"}, "`slots` is a number or a list of mappings, not '3'"),
        ({"slots": [3]}, "`slots` is a number or a list of mappings"),
        ({"agent": 3}, "`agent` is a name or an async function, not 3"),
        ({"tags": "night", "context": "x"}, "`tags` is a list of texts, not 'night'; `context` is a mapping"),
        ({"secrets": "PATH"}, "`secrets` is a list of names"),
        ({"config": "x"}, "`config` is a mapping"),
        ({"store": True}, "`store` is a path, not True"),
        ({"budget_usd": float("nan"), "store": ".", "resume": "x"}, "`budget_usd` is a number above zero, not nan"),
        ({"slots": []}, "from 1 to 100 of them"),
        ({"slots": [{"name": "a"}, {"name": "a"}]}, "two slots are called `a`"),
        ({"slots": [{"nmae": "a"}]}, "nmae"),
        ({"budget_usd": 0}, "`budget_usd` is a number above zero"),
        ({"budget_usd": -1}, "`budget_usd` is a number above zero"),
        ({"config": {"modle": "x"}}, "modle"),
        ({"agent": "nobody"}, "unknown agent `nobody`"),
        ({"min_slots": 5, "max_slots": 2}, "`min_slots` and `max_slots`"),
        ({"directory": "/nowhere/at/all"}, "there is no folder"),
        ({"run_id": "a b"}, "cannot be a run id"),
        ({"resume": "x"}, "`resume` needs the `store`"),
    ],
)
def test_f1_settings_that_are_wrong_are_refused_and_nothing_is_left(here: Path, settings: dict[str, object], message: str) -> None:
    async def test() -> None:
        with pytest.raises(InvalidInput, match=message):
            async with pool_in(here, **{"agent": echo, **settings}):
                pass
        assert list(here.iterdir()) == []

    ended(test())


def test_f3_all_who_hold_a_pool_see_the_same(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:

            async def worker(name: str) -> str:
                return (await pool.run("x", name=name)).id

            assert await asyncio.gather(worker("a"), worker("b")) == ["a", "b"]
            assert {task.id for task in pool.tasks(status="success")} == {"a", "b"}

    ended(test())


def test_f4_a_run_gives_the_whole_result(here: Path) -> None:
    async def test() -> None:
        agent = Agent(Answer("well", cost_usd=0.25, turns=3, model="m"))
        async with pool_in(here, agent) as pool:
            result = await pool.run("go", tags=["a"], max_turns=5, cwd=".")
        assert (result.ok, result.text, result.cost_usd, result.turns, result.model) == (True, "well", 0.25, 3, "m")
        assert (result.id, result.agent, result.slot, result.attempts, result.tags) == ("task-1", "function", "slot-1", 1, ("a",))
        assert result.session_id
        assert result.check() is result
        assert json.loads(json.dumps(result.to_dict()))["text"] == "well"
        assert agent.calls[0].settings["max_turns"] == 5

    ended(test())


def test_f6_submit_returns_at_once_and_a_failure_is_a_result(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(ValueError("no\nmore"))) as pool:
            task = pool.submit("x")
            assert (task.done, task.result(), task.status) == (False, None, "pending")
            result = await task
            assert (task.done, task.status, result.error_kind) == (True, "failed", "failed")
            assert result.reason.startswith("the agent's function raised ValueError: no")
            with pytest.raises(TaskFailed, match="task `task-1` failed") as caught:
                result.check()
            assert caught.value.result is result

    ended(test())


def test_f7_a_task_is_found_by_its_id(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            task = pool.submit("x", name="review")
            assert pool.task("review") is task
            with pytest.raises(UnknownTask, match=r"no task `reviwe`, did you mean `review`\?"):
                pool.task("reviwe")

    ended(test())


def test_f9_a_cancelled_chain_stops_its_step_and_starts_no_more(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent) as pool:
            chain = pool.chain(["a", "b", "c"])
            await agent.begun.acquire()
            assert chain.cancel("enough")
            result = await chain
            assert (result.status, [step.status for step in result.steps.values()]) == ("cancelled", ["cancelled"] * 3)
            assert agent.prompts == ["a"]

    ended(test())


def test_f10_a_fan_out_uses_all_slots_and_never_more(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=3) as pool:
            group = pool.fan_out([f"p{number}" for number in range(8)])
            for _ in range(3):
                await agent.begun.acquire()
            assert pool.status().busy_slots == 3
            assert pool.status().pending_tasks == 5
            agent.release(8)
            assert [result.text for result in await group] == [f"p{number}" for number in range(8)]
            assert sorted([result.text async for result in group.as_they_end()]) == [f"p{number}" for number in range(8)]
        assert agent.most == 3

    ended(test())


def test_f11_a_chain_feeds_each_step_with_what_the_one_before_has_answered(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            chain = await pool.chain(
                ["look at {{ args.file }}", {"name": "count", "run": "echo 3"}, "{{ steps.step_1.output }}: {{ previous.output }}"],
                args={"file": "a.py"},
                name="my-chain",
            )
        assert (chain.id, chain.text) == ("my-chain", "look at a.py: 3")

    ended(test())


def test_f14_a_workflow_is_a_file_or_a_name_and_its_outputs_are_the_result(here: Path) -> None:
    (here / ".cpool" / "workflows").mkdir(parents=True)
    flow = 'version: 1\nargs: {who: {type: string}}\nsteps:\n  - {name: a, prompt: "hello {{ args.who }}"}\noutputs: {said: "{{ steps.a.output }}"}\n'
    (here / ".cpool" / "workflows" / "greet.yaml").write_text(flow)

    async def test() -> None:
        async with pool_in(here) as pool:
            for reference in ("greet", here / ".cpool" / "workflows" / "greet.yaml"):
                result = await pool.workflow(reference, args={"who": "you"})
                assert (result.json, result.steps["a"].text) == ({"said": "hello you"}, "hello you")
            with pytest.raises(InvalidInput, match="no workflow `gret`"):
                pool.workflow("gret")

    ended(test())


def test_f14_a_workflow_asks_a_person_and_the_pool_answers(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            task = pool.workflow(Workflow.from_data({"steps": [{"name": "ask", "approve": "Go on?"}, {"prompt": "went on"}]}), name="flow")
            async for event in task.events():
                if event.kind == "ApprovalRequested":
                    break
            with pytest.raises(InvalidInput, match="waits for no approval"):
                pool.approve("flow/other")
            pool.approve("flow/ask", by="me")
            assert (await task).text == "went on"

    ended(test())


def test_f15_what_happens_is_told_in_order(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer(error_kind="overloaded"))) as pool:
            events = pool.events()
            await pool.run("x", retries=1, retry={"delay": "0s"})
        kinds = [event.kind async for event in events if event.task == "task-1"]
        assert kinds == [
            "StepAdded",
            "StepOpened",
            "AttemptStarted",
            "AttemptFinished",
            "RetryScheduled",
            "AttemptStarted",
            "AttemptFinished",
            "TaskEnded",
        ]

    ended(test())


def test_f17_shared_context_is_told_to_tasks_that_start_afterwards(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        async with pool_in(here, agent) as pool:
            await pool.run("a")
            pool.set_context("goal", {"ship": True})
            assert (pool.get_context("goal"), pool.get_context("other")) == ({"ship": True}, None)
            await pool.run("b")
            assert pool.delete_context("goal") == {"ship": True}
            assert pool.delete_context("goal") is None
            await pool.run("c")
            with pytest.raises(InvalidInput):
                pool.set_context("goal", object())
        assert [call.system_prompt for call in agent.calls] == [None, 'Shared context:\n- goal: {"ship": true}', None]

    ended(test())


def test_f18_f25_after_a_drain_nothing_is_taken_and_everything_is_told(here: Path) -> None:
    async def test() -> None:
        pool = pool_in(here)
        with pytest.raises(PoolIsClosed, match="not entered yet"):
            pool.submit("x")
        with pytest.raises(PoolIsClosed):
            pool.status()
        async with pool:
            tasks = pool.fan_out(["a", "b"])
            summary = await pool.drain()
            assert (summary.succeeded_tasks, [task.status for task in tasks]) == (2, ["success", "success"])
            for call in (lambda: pool.submit("x"), lambda: pool.chain(["x"]), lambda: pool.scale(up=1), lambda: pool.set_context("a", 1)):
                with pytest.raises(PoolIsClosed, match="takes no work"):
                    call()
            assert not pool.status().accepting
            assert await pool.drain() == summary
        with pytest.raises(PoolIsClosed, match="entered once"):
            await pool.__aenter__()

    ended(test())


def test_f18_a_block_that_is_left_by_an_error_cancels_its_work(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        left: list[Task] = []

        async def fails() -> None:
            async with pool_in(here, agent) as pool:
                left.append(pool.submit("x"))
                await agent.begun.acquire()
                raise KeyError("mine")

        with pytest.raises(KeyError):
            await fails()
        assert (await left[0]).status == "cancelled"

    ended(test())


def test_f19_f36_the_status_can_be_written_as_json(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer("x", cost_usd=0.5)), budget_usd=2.0) as pool:
            await pool.run("x")
            status = json.loads(json.dumps(pool.status().to_dict()))
        assert (status["idle_slots"], status["succeeded_tasks"], status["spent_usd"], status["budget_usd"]) == (2, 1, 0.5, 2.0)

    ended(test())


def test_f20_a_stored_pool_is_a_run_like_any_other(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, store=here, run_id="mine", tags=["night"]) as pool:
            assert pool.run_id == "mine"
            await pool.chain(["a", "b"], name="chain")
        run = history.read(run_folder.find(here, "mine"))
        document = run.document()
        assert (document["status"], document["tags"], [step["name"] for step in document["steps"]]) == ("success", ["night"], ["chain"])

    ended(test())


def test_an_agent_that_is_a_function_is_not_left_out_of_a_task_in_silence(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            for settings in ({"agent": "claude"}, {"fallback": ["codex"]}):
                with pytest.raises(InvalidInput, match="that of this pool is a function"):
                    pool.submit("x", **settings)
            assert pool.status().pending_tasks == 0

    ended(test())


def test_f20_a_pool_that_is_not_stored_leaves_nothing(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = here.parent / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))

    async def test() -> None:
        async with pool_in(here) as pool:
            assert len(list(temporary.iterdir())) == 1
            await pool.run("x" * 100_000)
        assert (list(temporary.iterdir()), list(here.iterdir())) == ([], [])

    ended(test())


def test_f22_f23_f24_the_pool_grows_and_shrinks_within_its_bounds(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, slots=2, min_slots=1, max_slots=4) as pool:
            assert [pool.scale(up=0), pool.scale(up=2), pool.scale(down=0), pool.scale(down=1), pool.scale(to=3)] == [2, 4, 4, 3, 3]
            for change, message in (({"up": 2}, "exceeds max_slots"), ({"down": 3}, "below min_slots"), ({"to": 0}, "below min_slots")):
                with pytest.raises(InvalidInput, match=message):
                    pool.scale(**change)
            for change in ({}, {"up": 1, "to": 2}, {"up": -1}):
                with pytest.raises(InvalidInput, match="one of"):
                    pool.scale(**change)
            assert len(pool.status().slots) == 3

    ended(test())


def test_f23_a_slot_that_works_is_cut_only_where_that_is_asked_for(here: Path) -> None:
    async def test() -> None:
        agent = Agent(held=True)
        async with pool_in(here, agent, slots=1) as pool:
            task = pool.submit("x")
            await agent.begun.acquire()
            pool.scale(to=0, cancel=True)
            result = await task
            assert (result.status, result.reason) == ("cancelled", "slot `slot-1` was taken away")

    ended(test())


def test_f26_with_nothing_left_to_spend_nothing_is_taken(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer("x", cost_usd=1.0)), budget_usd=1.0) as pool:
            assert (await pool.run("x")).ok
            with pytest.raises(BudgetExhausted, match=r"budget of \$1.00 is used up: \$1.00 spent"):
                pool.submit("y")

    ended(test())


def test_f30_f34_a_slot_that_is_asked_for_gives_its_settings_and_says_who_it_is(here: Path) -> None:
    async def test() -> None:
        agent = Agent()
        slots = [
            {"name": "sol", "role": "critic", "description": "Be strict.", "labels": ["big"], "config": {"model": "opus", "effort": "high"}}
        ]
        async with pool_in(here, agent, slots=slots, config={"model": "haiku", "system_prompt": "Short."}) as pool:
            await pool.run("a", slot="big", effort="low", system_prompt="Own {{ text }}.")
        call = agent.calls[0]
        assert (call.settings["model"], call.settings["effort"]) == ("opus", "low")
        assert call.system_prompt == "Your name is sol.\nYour role: critic\nBe strict.\n\nOwn {{ text }}."

    ended(test())


def test_f31_structured_answers_are_checked_and_parsed(here: Path) -> None:
    async def test() -> None:
        schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
        async with pool_in(here, Agent('{"n": 3}', '{"n": "three"}')) as pool:
            good = await pool.run("a", output_schema=schema)
            bad = await pool.run("b", output_schema=schema)
        assert (good.json, bad.error_kind) == ({"n": 3}, "bad_output")

    ended(test())


def test_f32_what_a_task_prints_can_be_read_while_it_runs_and_afterwards(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            task = pool.chain([{"name": "talk", "run": "echo one; until [ -e go ]; do sleep 0.01; done; echo two"}])
            while not any("one" in path.read_text() for path in pool.logs(task.id)):
                await asyncio.sleep(0.01)
            (here / "go").touch()
            await task
            assert [path.read_text() for path in pool.logs(task.id)] == ["one\ntwo\n"]

    ended(test())


def test_a_prompt_of_ten_megabytes_is_a_prompt(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here, Agent("ok")) as pool:
            assert (await pool.run("x{{" * 3_500_000)).ok

    ended(test())


def test_a_secret_is_in_nothing_that_is_kept(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_SECRET", "hunter2hunter2")

    async def test() -> None:
        async with pool_in(here, store=here, secrets=["POOL_SECRET"]) as pool:
            pool.set_context("k", "hunter2hunter2")
            result = await pool.run("say hunter2hunter2")
            assert "hunter2" not in result.text
        for path in (here / ".cpool").rglob("*"):
            assert not path.is_file() or b"hunter2" not in path.read_bytes(), path

    ended(test())


def test_processes_of_the_program_around_a_pool_are_left_alone(here: Path) -> None:
    async def test() -> None:
        before = subprocess.Popen(["sleep", "100"], start_new_session=True)
        async with pool_in(here) as pool:
            during = subprocess.Popen(["sh", "-c", "exit 7"], start_new_session=True)
            await pool.chain([{"run": "sleep 0.3 & true"}, {"run": "true"}])
        try:
            assert before.poll() is None
            assert during.wait() == 7
        finally:
            before.kill()
            before.wait()

    ended(test())


def test_an_agent_that_is_not_installed_fails_its_task_and_says_so(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(here))

    async def test() -> None:
        async with pool_in(here, "gemini") as pool:
            result = await pool.run("x", retries=0)
        assert (result.error_kind, result.reason) == ("invalid", "the program `gemini` was not found on the PATH")
        assert result.cost_usd == 0.0

    ended(test())


def test_an_agent_function_that_is_wrong_fails_its_task_alone(here: Path) -> None:
    async def test() -> None:
        async def wrong(call: Call) -> object:
            return {"number": 3, "kind": Answer(error_kind="strange")}[call.prompt]

        async with pool_in(here, wrong) as pool:
            number, kind = await pool.fan_out(["number", "kind"])
        assert number.reason == "the agent's function returned int, and not a text or an `Answer`"
        assert kind.reason == "the agent's function returned the error kind `strange`, which there is not"

    ended(test())


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -5, "1", True])
def test_a_cost_that_is_no_amount_of_money_is_unknown_and_moves_no_budget(here: Path, cost: Any) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer("x", cost_usd=cost)), budget_usd=10, allow_unpriced=True) as pool:
            result = await pool.run("x")
            assert (result.ok, result.cost_usd, pool.status().spent_usd) == (True, None, 0.0)

    ended(test())


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"text": None}, "`text` that is no text"),
        ({"error_kind": "failed", "error": 3}, "`error` that is no text"),
        ({"model": 3}, "`model` that is no text"),
        ({"turns": "3"}, "`turns` that is no whole number"),
        ({"turns": -1}, "`turns` that is no whole number"),
        ({"denied_tools": "Bash"}, "`denied_tools` that is no list of texts"),
        ({"denied_tools": (1,)}, "`denied_tools` that is no list of texts"),
        ({"error_kind": 3}, "the error kind `3`, which there is not"),
        ({"error_kind": "rate_limited", "resets_at": "soon"}, "`resets_at` soon, which is no time in seconds since the epoch"),
    ],
)
def test_an_answer_with_a_wrong_field_fails_its_task_alone(here: Path, fields: dict[str, Any], reason: str) -> None:
    async def test() -> None:
        async with pool_in(here, Agent(Answer(**fields))) as pool:
            result = await pool.run("x")
            assert (result.error_kind, result.reason) == ("invalid", f"the agent's function returned {reason}")
            assert pool.status().accepting

    ended(test())


def test_an_agent_that_is_no_coroutine_function_fails_its_task_alone(here: Path) -> None:
    async def test() -> None:
        def plain(call: Call) -> str:
            return {"a": "x"}[call.prompt]

        async with pool_in(here, plain) as pool:
            returned, raised = await pool.fan_out(["a", "b"])
            assert "it returned str and nothing to await: write `async def`" in returned.reason
            assert raised.reason == "the agent's function raised KeyError: 'b'"

    ended(test())


def test_a_function_that_answers_or_raises_when_it_is_cancelled_is_cancelled_and_its_cost_counts(here: Path) -> None:
    async def test() -> None:
        begun = asyncio.Semaphore(0)

        async def agent(call: Call) -> Answer:
            begun.release()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if call.prompt == "raise":
                    raise RuntimeError("in the middle of it") from None
            return Answer("half", cost_usd=0.25)

        async with pool_in(here, agent) as pool:
            for prompt, cost in (("answer", 0.25), ("raise", None)):
                task = pool.submit(prompt)
                await begun.acquire()
                task.cancel()
                result = await task
                assert (result.status, result.cost_usd) == ("cancelled", cost)

    ended(test())


def test_what_cannot_be_meant_is_refused_and_nothing_is_added(here: Path) -> None:
    async def test() -> None:
        async with pool_in(here) as pool:
            for call, message in (
                (lambda: pool.fan_out(["a", "b"], name="x"), "`name` is that of a single task"),
                (lambda: pool.submit("a", tags="night"), "`tags` is a list"),
                (lambda: pool.submit("a", queue_timeout_seconds="1"), "`queue_timeout_seconds` is a number above zero"),
                (lambda: pool.submit("a", queue_timeout_seconds=-1), "`queue_timeout_seconds` is a number above zero"),
                (lambda: pool.chain([object()]), "a step of a chain is a prompt, or a mapping"),
                (lambda: pool.set_context(3, "x"), "a shared value has a name"),
            ):
                with pytest.raises(InvalidInput, match=message):
                    call()
            with pytest.raises(UnknownTask):
                pool.task(None)  # type: ignore[arg-type]
            assert (pool.tasks(), pool.context()) == ([], {})

    ended(test())
