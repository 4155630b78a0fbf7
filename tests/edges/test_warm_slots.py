"""The process that a slot keeps for its agent: when it does the next task too, and when it is replaced. With a stand-in for the CLI."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from warm_bench import Bench, Done, exists

from cpool_flow.errors import InvalidInput
from cpool_flow.executor.warm_process import Limits
from survivors import alive, survivors

FAKE = Path(__file__).with_name("fake_warm_claude.py")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "claude"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -IS {FAKE} "$@"\n')
    program.chmod(0o755)
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "CPOOL_WARM": "on"}
    return Bench(tmp_path, {**environment})


def starts(bench: Bench) -> list[int]:
    """The processes that were started, in order."""
    return [int(line) for line in (bench.folder / "starts").read_text().split()]


def fake(bench: Bench, **variables: str) -> dict[str, str]:
    return {"FAKE_STARTS": str(bench.folder / "starts"), **variables}


def pid(done: Done) -> int:
    return int(done.result.answer.removeprefix("pid "))


def test_one_process_does_task_after_task_each_in_a_session_of_its_own(bench: Bench) -> None:
    async def story() -> None:
        done = [await bench.task("answer", env=fake(bench)) for _ in range(3)]
        assert [one.kind for one in done] == [None] * 3
        assert {pid(one) for one in done} == set(starts(bench))
        assert len(starts(bench)) == 1
        assert len({one.result.session_id for one in done}) == 3
        assert [one.ended.exit.code for one in done] == [0, 0, 0]

    bench.run(story)
    assert survivors(bench.mark, *starts(bench)) == []


def test_each_task_costs_what_it_costs_where_the_cli_counts_for_the_process(bench: Bench) -> None:
    async def story() -> None:
        costs = [(await bench.task("answer", env=fake(bench))).result.cost_usd for _ in range(3)]
        assert costs == pytest.approx([0.01, 0.01, 0.01])
        assert len(starts(bench)) == 1

    bench.run(story)


def test_the_log_of_a_task_holds_its_own_turn_only(bench: Bench) -> None:
    async def story() -> None:
        first, second = await bench.task("answer", env=fake(bench)), await bench.task("answer", env=fake(bench))
        assert [one.log.count(b'"init"') for one in (first, second)] == [1, 1]
        assert (first.result.session_id or "").encode() not in second.log

    bench.run(story)


def test_each_slot_has_its_own(bench: Bench) -> None:
    async def story() -> None:
        both = await asyncio.gather(*(bench.task("answer", slot=slot, env=fake(bench)) for slot in ("slot-1", "slot-2")))
        again = [await bench.task("answer", slot=slot, env=fake(bench)) for slot in ("slot-1", "slot-2")]
        assert [pid(one) for one in both] == [pid(one) for one in again]
        assert len(starts(bench)) == 2

    bench.run(story)


@pytest.mark.parametrize(
    "other",
    [
        {"config": {"model": "other"}},
        {"config": {"permission_mode": "acceptEdits"}},
        {"config": {"settings": {"a": 2}}},
        {"config": {"max_turns": 7}},
        {"env": {"TOKEN": "b"}},
        {"system_prompt": "another context"},
        {"schema": {"type": "object"}},
    ],
    ids=lambda other: next(iter(next(iter(other.values()))), "") if isinstance(other, dict) else None,
)
def test_a_task_that_needs_another_process_gets_one_and_the_old_one_ends_first(bench: Bench, other: dict[str, Any]) -> None:
    async def story() -> None:
        env = fake(bench, TOKEN="a")
        plain = {"config": {"settings": {"a": 1}}, "env": env}
        first = await bench.task("answer", **plain)
        same = await bench.task("answer", **plain)
        assert pid(same) == pid(first)
        second = await bench.task("answer", **{**plain, **other, "env": {**env, **other.get("env", {})}})
        assert pid(second) != pid(first)
        assert not exists(pid(first))
        assert len(starts(bench)) == 2

    bench.run(story)


def test_what_goes_by_file_is_there_while_the_process_lives(bench: Bench) -> None:
    private = bench.folder / "private"

    async def story() -> None:
        for _ in range(2):
            await bench.task("answer", config={"settings": {"token": "x"}}, env=fake(bench))
            assert len(list(private.iterdir())) == 1
            assert next(private.iterdir()).stat().st_mode & 0o777 == 0o600
        assert len(starts(bench)) == 1

    bench.run(story)
    assert list(private.iterdir()) == []


def test_another_folder_at_the_same_path_is_another_place(bench: Bench) -> None:
    async def story() -> None:
        first = await bench.task("answer", env=fake(bench))
        bench.place.rmdir()
        bench.place.mkdir()
        assert pid(await bench.task("answer", env=fake(bench))) != pid(first)

    bench.run(story)


@pytest.mark.parametrize("how", ["same", "moved", "silent", "spends"])
def test_a_session_that_is_not_proved_clean_ends_the_process(bench: Bench, how: str) -> None:
    bench.limits = Limits(clear_seconds=0.5)

    async def story() -> None:
        env = fake(bench, FAKE_CLEAR=how)
        first, second = await bench.task("answer", env=env), await bench.task("answer", env=env)
        assert (first.kind, second.kind) == (None, None)
        assert pid(first) != pid(second)
        assert not exists(pid(first))

    bench.run(story)


@pytest.mark.parametrize("prompt", ["tool CronCreate", "tool EnterWorktree", "tool mcp__db__query", "tool Task", "tool Unheard"])
def test_a_task_that_used_what_a_clean_session_leaves_ends_the_process(bench: Bench, prompt: str) -> None:
    async def story() -> None:
        first, second = await bench.task(prompt, env=fake(bench)), await bench.task("answer", env=fake(bench))
        assert pid(first) != pid(second)
        assert not exists(pid(first))

    bench.run(story)


@pytest.mark.parametrize("tool", ["Bash", "Read", "Edit", "TodoWrite", "StructuredOutput"])
def test_a_task_that_used_a_tool_whose_doings_end_with_the_session_does_not(bench: Bench, tool: str) -> None:
    async def story() -> None:
        first, second = await bench.task(f"tool {tool}", env=fake(bench)), await bench.task("answer", env=fake(bench))
        assert pid(first) == pid(second)

    bench.run(story)


@pytest.mark.parametrize("prompt", ["child", "daemon"])
def test_what_a_task_leaves_running_is_gone_when_the_task_is_over_and_so_is_the_process(bench: Bench, prompt: str) -> None:
    async def story() -> None:
        first = await bench.task(prompt, env=fake(bench))
        assert (first.kind, first.pid) == (None, None)
        assert survivors(bench.mark) == []
        assert pid(await bench.task("answer", env=fake(bench))) != pid(first)

    bench.run(story)


def test_a_process_that_waits_for_a_background_task_gets_no_more_input_and_ends_as_any_other(bench: Bench) -> None:
    async def story() -> None:
        done = await bench.task("background", env=fake(bench))
        assert (done.kind, done.ended.how, done.ended.exit.code, done.pid) == (None, "ended", 0, None)

    bench.run(story)


def test_an_empty_prompt_starts_nothing(bench: Bench) -> None:
    async def story() -> None:
        with pytest.raises(InvalidInput, match="the prompt is empty"):
            await bench.task(" ", env=fake(bench))
        assert not (bench.folder / "starts").exists()

    bench.run(story)


def test_a_process_that_grew_is_replaced(bench: Bench) -> None:
    bench.limits = Limits(most_bytes=60 << 20)

    async def story() -> None:
        small = await bench.task("answer", env=fake(bench))
        big = await bench.task("grow", env=fake(bench))
        assert pid(small) == pid(big)
        assert pid(await bench.task("answer", env=fake(bench))) != pid(big)

    bench.run(story)


async def ended(process: int) -> None:
    while alive(process):
        await asyncio.sleep(0.01)


def test_a_process_without_work_is_ended(bench: Bench) -> None:
    bench.limits = Limits(idle_seconds=0.0)

    async def story() -> None:
        first = await bench.task("answer", env=fake(bench))
        await ended(pid(first))
        assert pid(await bench.task("answer", env=fake(bench))) != pid(first)

    bench.run(story)


def test_a_process_that_speaks_unasked_is_ended(bench: Bench) -> None:
    async def story() -> None:
        first = await bench.task("late", env=fake(bench))
        await ended(pid(first))

    bench.run(story)


def test_a_process_that_died_between_two_tasks_costs_no_attempt(bench: Bench) -> None:
    async def story() -> None:
        first = await bench.task("answer", env=fake(bench))
        os.kill(pid(first), 9)
        second = await bench.task("answer", env=fake(bench))
        assert (second.kind, pid(second) == pid(first)) == (None, False)

    bench.run(story)


def test_a_warm_process_that_dies_without_a_word_is_followed_by_a_new_one(bench: Bench) -> None:
    async def story() -> None:
        await bench.task("answer", env=fake(bench))
        done = await bench.task("die", env=fake(bench))
        assert done.kind == "lost"
        # The warm one, the new one, and one of the old kind: a program that does not come up may not know how to be warm.
        assert len(starts(bench)) == 3

    bench.run(story)


def test_a_process_that_dies_in_its_turn_is_lost_and_no_other_does_its_task(bench: Bench) -> None:
    async def story() -> None:
        done = await bench.task("die-in-turn", env=fake(bench))
        assert (done.kind, done.ended.exit.code, len(starts(bench))) == ("lost", 1, 1)

    bench.run(story)


def test_an_exit_code_after_a_good_answer_counts_as_that_of_any_other_process(bench: Bench) -> None:
    async def story() -> None:
        done = await bench.task("die-after", env=fake(bench))
        assert (done.kind, done.ended.exit.code, done.pid) == ("failed", 3, None)

    bench.run(story)


def test_a_program_that_cannot_be_warm_does_each_task_in_a_process_of_its_own(bench: Bench) -> None:
    async def story() -> None:
        env = fake(bench, FAKE_REFUSES="1")
        first, second = await bench.task("answer", env=env), await bench.task("answer", env=env)
        assert (first.kind, second.kind) == (None, None)
        assert len(starts(bench)) == 3  # the first of all refuses

    bench.run(story)


def test_a_task_that_failed_ends_the_process(bench: Bench) -> None:
    async def story() -> None:
        first = await bench.task("answer", env=fake(bench))
        over = await bench.task("hang", env=fake(bench), idle_seconds=0.3)
        assert (over.kind, over.ended.how) == ("timeout", "idle")
        assert over.result.cost_usd == pytest.approx(0.01)  # it was asked to break off, and has said what that cost
        assert not exists(pid(first))
        assert pid(await bench.task("answer", env=fake(bench))) != pid(first)

    bench.run(story)


def test_the_time_of_a_task_is_its_own(bench: Bench) -> None:
    async def story() -> None:
        assert (await bench.task("answer", env=fake(bench))).kind is None
        late = await bench.task("hang", env=fake(bench), timeout_seconds=0.3)
        assert (late.kind, late.ended.how) == ("timeout", "timeout")

    bench.run(story)


@pytest.mark.parametrize(("prompt", "at_once"), [("hang", False), ("deaf", False), ("deaf", True)])
def test_a_task_can_be_stopped(bench: Bench, prompt: str, at_once: bool) -> None:
    async def story() -> None:
        first = await bench.task("answer", env=fake(bench))
        second = asyncio.ensure_future(bench.task(prompt, env=fake(bench)))
        while len(bench.works) < 2:
            await asyncio.sleep(0.01)
        bench.works[1].stop("enough", at_once=False)
        if at_once:
            bench.works[1].stop("enough", at_once=True)
        done = await second
        assert (done.kind, done.ended.how) == ("cancelled", "cancelled")
        assert not exists(pid(first))

    bench.run(story)


def test_a_cap_of_dollars_holds_for_each_task_also_where_the_cli_counts_for_the_process(bench: Bench) -> None:
    async def story() -> None:
        for version, processes in (("2.1.197", 2), ("2.1.330", 1)):
            env = fake(bench, FAKE_VERSION=version, FAKE_STARTS=str(bench.folder / version))
            for _ in range(2):
                assert (await bench.task("answer", config={"max_budget_usd": 0.015}, budget_usd=0.015, env=env)).kind is None
            assert len((bench.folder / version).read_text().split()) == processes

    bench.run(story)


@pytest.mark.parametrize(
    "alone", [{"budget_usd": 0.4}, {"budget_usd": 0.4, "config": {"max_budget_usd": 0.5}}, {"resume": "d5f8a1f0-0000-4000-8000-000000000000"}, {"config": {"mcp_servers": {"db": {"command": "db"}}}}, {"config": {"strict_mcp_config": False}}]
)  # fmt: skip
def test_a_task_that_nobody_could_be_given_after_has_a_process_of_its_own(bench: Bench, alone: dict[str, Any]) -> None:
    async def story() -> None:
        request_needs_none = await bench.task("answer", env=fake(bench, FAKE_REFUSES="1"), **alone)
        assert request_needs_none.kind is None
        assert len(starts(bench)) == 1

    bench.run(story)


@pytest.mark.parametrize("switch", ["off", ""])
def test_it_can_be_switched_off_and_what_only_looks_like_claude_code_is_left_alone(bench: Bench, switch: str) -> None:
    bench.environment["CPOOL_WARM"] = switch

    async def story() -> None:
        for _ in range(2):
            assert (await bench.task("answer", env=fake(bench, FAKE_REFUSES="1"))).kind is None
        assert len(starts(bench)) == 2

    bench.run(story)
