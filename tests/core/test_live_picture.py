"""What a run looks like at a moment: golden screens of states, no terminal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rich.cells import cell_len
from simulation import Simulation, finished, workflow

from cpool_flow import events
from cpool_flow.live.picture import picture
from cpool_flow.state import State
from cpool_flow.tasks import Task


def silent(task: Task) -> str:
    return ""


def lasting(seconds: dict[str, float], **kinds: str) -> Callable[[events.AttemptStarted], tuple[float, events.AttemptFinished]]:
    """Each task takes its seconds (1 if nothing is said), and fails in the way named, each time."""

    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        name = started.task.partition("[")[0]
        return seconds.get(started.task, seconds.get(name, 1.0)), finished(
            started.task, started.number, kinds.get(name), cost_usd=0.25 if started.agent else None
        )

    return outcome


def shown(state: State, now: float, width: int = 79, height: int = 23, said: Callable[[Task], str] = silent, *, last: bool = False) -> str:
    return "\n".join(line.plain.rstrip() for line in picture(state, now, width, height, said, last=last))


def same(text: str) -> str:
    return text.strip("\n")


def run(*steps: dict[str, Any], until: float = float("inf"), **more: Any) -> State:
    return Simulation(workflow(*steps), **more).run(until).state


REVIEW: tuple[dict[str, Any], ...] = (
    {"name": "diff", "run": "git diff"},
    {"name": "review", "foreach": [1, 2, 3], "prompt": "Review.", "effects": "none"},
    {"name": "report", "run": "cat"},
)


def test_a_run_is_a_tree_of_its_steps_and_a_line_of_totals() -> None:
    state = run(*REVIEW, until=13.0, items={"review": 3}, outcome=lasting({"diff": 1.5, "review": 10, "review[1]": 90}))
    words = {"review[1]": "Reading src/cart.py", "review[2]": "Grep total"}
    assert shown(state, 14.7, said=lambda task: words[task.id]) == same("""
  diff            success    1.5s
  review          running    1/3 · 13s · $0.25
    review[1]     running    13s · slot-2 · claude  Reading src/cart.py
    review[2]     running    3s · slot-1 · claude  Grep total
  report          pending
1/3 steps · 2/2 slots busy · $0.25 · 14s
""")


def test_at_the_end_the_tree_stays_without_totals() -> None:
    state = run(*REVIEW, items={"review": 3}, outcome=lasting({"diff": 1.5, "review": 10, "review[1]": 90}, review="failed"))
    assert shown(state, 200.0, last=True) == same("""
  diff            success    1.5s
  review          failed     0/3 · 1m30s · $0.75 · 3 of 3 items failed
    review[0]     failed     10.0s · $0.25 · failed
    review[1]     failed     1m30s · $0.25 · failed
    review[2]     failed     10.0s · $0.25 · failed
  report          skipped    upstream failed
""")


def test_what_is_within_a_step_stands_below_it() -> None:
    state = run(
        {
            "name": "each",
            "foreach": [1, 2],
            "steps": [{"name": "write", "run": "w"}, {"name": "test", "run": "t", "retries": 1, "retry": {"delay": "30s"}}],
        },
        {"name": "polish", "repeat": {"until": "false", "max": 5}, "steps": [{"name": "mend", "run": "m"}]},
        until=5.5,
        items={"each": 2},
        outcome=_nested,
    )
    assert shown(state, 7.0) == same("""
  each            running    0/2 · 7s
    each[0]       running    7s
      write       success    2.0s
      test        waiting    failed, retry 1 of 1 · again in 23s
    each[1]       running    7s
      write       running    7s · slot-2
      test        pending
  polish          pending
0/2 steps · 1/2 slots busy · 7s
""")


def _nested(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
    failed = "failed" if started.task.endswith("test") else None
    return 60.0 if started.task == "each[1]/write" else 2.0 if failed is None else 1.0, finished(started.task, started.number, failed)


def test_a_second_attempt_a_recovery_and_a_round_are_told() -> None:
    state = run(
        {"name": "again", "run": "a", "retries": 1, "retry": {"delay": "0s"}, "needs": []},
        {"name": "mend", "prompt": "p", "recovery_prompt": "r", "needs": []},
        {"name": "loop", "repeat": {"until": "false", "max": 5}, "steps": [{"name": "turn", "run": "t"}], "needs": []},
        until=2.2,
        slots=3,
        outcome=lasting({"loop/turn": 2, "again": 1.5, "mend": 1.5}, again="failed", mend="failed"),
        rounds={"loop": 5},
    )
    assert shown(state, 2.9) == same("""
  again           running    1s · attempt 2 · slot-1
  mend            running    1s · recovery · slot-2 · claude · $0.25
  loop            running    2s · round 2
    turn          running    0s · slot-3
0/3 steps · 3/3 slots busy · $0.25 · 2s
""")


def test_what_took_more_than_one_attempt_says_so_at_the_end() -> None:
    def outcome(started: events.AttemptStarted) -> tuple[float, events.AttemptFinished]:
        return 1.0, finished(started.task, started.number, None if started.number == 2 else "failed")

    state = run(
        {"name": "again", "run": "a", "retries": 1, "retry": {"delay": "0s"}, "needs": []},
        {"name": "mend", "prompt": "p", "recovery_prompt": "r", "needs": []},
        outcome=outcome,
    )
    assert shown(state, 9.0, last=True) == same("""
  again           success    2.0s · 2 attempts
  mend            success    2.0s · 2 attempts · recovered
""")


def test_who_waits_for_a_person_says_which_command_answers() -> None:
    state = run({"name": "ship", "approve": "Ship it?"}, {"name": "after", "run": "a"}, person=False)
    assert shown(state, 60.0) == same("""
  ship            waiting    for approval: cpool-flow approve run-1 ship
  after           pending
0/2 steps · 0/2 slots busy · 1m
""")


def many(count: int, **more: Any) -> State:
    return run(*({"name": f"s{number}", "run": "x", "needs": []} for number in range(count)), **more)


def test_of_500_steps_at_once_those_that_fit_are_shown_and_the_rest_is_counted() -> None:
    state = many(500, until=0.5, slots=500)
    lines = shown(state, 3.0, height=6).split("\n")
    assert lines == [
        "  s0              running    3s · slot-1",
        "  s1              running    3s · slot-2",
        "  s2              running    3s · slot-3",
        "  s3              running    3s · slot-4",
        "  … 496 more: 496 running",
        "0/500 steps · 500/500 slots busy · 3s",
    ]


def test_what_runs_is_shown_first_then_what_failed_then_what_ended_last() -> None:
    state = many(60, until=10.5, outcome=lasting({"s2": 90}, s4="failed"), slots=2)
    assert shown(state, 10.5, height=7) == same("""
  s2              running    9s · slot-1
  s4              failed     1.0s · failed
  s10             success    1.0s
  s11             success    1.0s
  s12             running    0s · slot-2
  … 55 more: 47 ready, 8 success
11/60 steps · 1 failed · 2/2 slots busy · 10s
""")


def test_of_a_long_fan_out_only_items_that_need_a_look_are_shown() -> None:
    state = run({"name": "each", "foreach": [1], "max_items": 500, "run": "x"}, items={"each": 500}, until=100.5, slots=3)
    assert shown(state, 100.7) == same("""
  each            running    300/500 · 1m40s
    each[300]     running    0s · slot-1
    each[301]     running    0s · slot-2
    each[302]     running    0s · slot-3
0/1 steps · 3/3 slots busy · 1m40s
""")


def test_a_stop_is_told_until_the_run_has_ended() -> None:
    simulation = Simulation(workflow({"name": "slow", "run": "x"}), lasting({"slow": 60}))
    simulation.run(until=2.0)
    simulation.note(events.RunStopping("cancel", "cancelled by Ctrl-C"))
    assert shown(simulation.state, 3.0).endswith("\nstopping · 0/1 steps · 1/2 slots busy · 3s")


def test_an_agent_at_its_usage_limit_is_named_above_the_totals() -> None:
    simulation = Simulation(workflow({"name": "ask", "prompt": "x"}), lasting({"ask": 60}))
    simulation.run(until=2.0)
    simulation.note(events.AgentParked("claude", 3600.0, named=True))
    *_, limit, totals = shown(simulation.state, 3.0).split("\n")
    assert limit.startswith("claude is at its usage limit: resumes ")
    assert totals == "0/1 steps · 1/2 slots busy · 3s"


def test_the_budget_stands_in_the_totals() -> None:
    state = run({"name": "ask", "prompt": "x"}, until=2.0, outcome=lasting({"ask": 60}), budget_usd=5.0)
    assert shown(state, 3.0).split("\n")[-1] == "0/1 steps · 1/2 slots busy · $0.00 of $5.00 · 3s"


def test_text_of_others_is_one_line_of_data() -> None:
    state = many(1, until=0.5)
    said = "a\tb \x1b[31mred\x1b[0m [bold]x[/bold] \u202egnp.exe\u200d {{ y }}\nsecond"
    first = shown(state, 1.0, width=200, said=lambda task: said).split("\n")[0]
    assert first.endswith("slot-1  a b \\x1b[31mred\\x1b[0m [bold]x[/bold] \\u202egnp.exe\\u200d {{ y }} second")


def test_no_line_is_wider_and_no_picture_higher_than_the_screen_whatever_it_shows() -> None:
    words = ["", "x" * 10_000_000, "漢字" * 100, "👩‍👩‍👧 é́́́" * 50, "\x1b" * 500, "a\n" * 500]
    state = run(*REVIEW, {"name": "n" * 60, "run": "x", "needs": []}, until=13.0, items={"review": 30}, slots=9, outcome=lasting({}))
    for width, height in ((1, 1), (9, 3), (20, 5), (79, 23), (300, 100)):
        for text in words:
            lines = picture(state, 15.0, width, height, lambda task, text=text: text)  # type: ignore[misc]
            assert len(lines) <= height
            assert all(cell_len(line.plain) <= width for line in lines)
            assert all(line.plain.isprintable() for line in lines)
