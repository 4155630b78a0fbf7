"""The spans of a run: one trace, a life each for a start and its resumes, and no text of anybody in them."""

from __future__ import annotations

from simulation import Simulation, created, finished, workflow

from cpool_flow import events, plan
from cpool_flow.spans import Life, Span, lives, spans, untold
from cpool_flow.state import State

Journal = list[tuple[float, events.Event]]


def folded(flow: object, journal: Journal) -> State:
    state = State(plan.build(flow))  # type: ignore[arg-type]
    for at, event in journal:
        state.apply(event, at)
    return state


def tree(found: list[Span]) -> dict[str, str]:
    """Each span's name with that of its parent."""
    names = {span.span_id: span.name for span in found}
    return {span.name: names.get(span.parent_id or 0, "") for span in found}


def test_attempts_are_below_their_steps_and_steps_below_the_run() -> None:
    flow = workflow(
        {"name": "list", "run": "x"},
        {"name": "each", "foreach": [1, 2], "steps": [{"name": "make", "run": "x"}]},
    )
    simulation = Simulation(flow, items={"each": 2})
    simulation.run()
    found = lives((at, event) for event, at in simulation.journal)
    made = spans(simulation.state, found[0], 0)
    assert tree(made) == {
        "run test": "",
        "step list": "run test",
        "attempt 1 of list": "step list",
        "step each": "run test",
        "step each[0]/make": "step each",
        "attempt 1 of each[0]/make": "step each[0]/make",
        "step each[1]/make": "step each",
        "attempt 1 of each[1]/make": "step each[1]/make",
    }
    assert len({span.trace_id for span in made}) == 1
    assert len({span.span_id for span in made}) == len(made)
    by_name = {span.name: span for span in made}
    parents = {span.span_id: span for span in made}
    assert all(
        parents[span.parent_id].start <= span.start <= span.end <= parents[span.parent_id].end
        for span in made
        if span.parent_id is not None
    )
    assert by_name["step each"].attributes == {"cpool.step": "each", "cpool.kind": "group", "cpool.status": "success", "cpool.items": 2}


def test_no_text_of_anybody_is_in_a_span() -> None:
    secret = "what was said"
    flow = workflow({"name": "ask", "prompt": secret})
    journal: Journal = [
        (1.0, created()),
        (2.0, events.StepOpened("ask", events.Stored(text=secret))),
        (3.0, events.AttemptStarted("ask", 1, agent="claude", model="opus", slot="slot-1")),
        (
            4.0,
            events.AttemptFinished(
                "ask", 1, "failed", error=secret, reason=secret, output=events.Stored(text=secret), cost_usd=0.5, turns=3, exit_code=1
            ),
        ),
        (5.0, events.TaskClosed("ask", "failed", secret, secret)),
        (6.0, events.RunFinished("failed", secret)),
    ]
    made = spans(folded(flow, journal), lives(journal)[0], 0)
    assert secret not in str(made)
    assert [(span.name, span.status, span.start, span.end) for span in made] == [
        ("attempt 1 of ask", "error", 3.0, 4.0),
        ("step ask", "error", 3.0, 4.0),
        ("run test", "error", 1.0, 6.0),
    ]
    assert made[0].attributes == {
        "cpool.task": "ask",
        "cpool.attempt.number": 1,
        "cpool.attempt.kind": "normal",
        "cpool.slot": "slot-1",
        "cpool.agent": "claude",
        "cpool.model": "opus",
        "cpool.status": "failed",
        "cpool.exit_code": 1,
        "cpool.turns": 3,
        "cpool.cost_usd": 0.5,
    }


def test_a_life_that_a_crash_has_cut_off_is_sent_with_the_one_after_it_and_others_only_once() -> None:
    flow = workflow({"name": "a", "run": "x"})
    crashed: Journal = [
        (1.0, created()),
        (2.0, events.StepOpened("a")),
        (3.0, events.AttemptStarted("a", 1)),
        (9.0, events.AttemptFinished("a", 1, "lost", interrupted=True)),
        (9.0, events.RunResumed()),
        (9.5, events.RetryScheduled("a", "normal", 9.5, "lost")),
        (10.0, events.AttemptStarted("a", 2)),
        (11.0, finished("a", 2)),
        (12.0, events.RunFinished("success")),
        (12.0, events.Notified(0, "success", "end 1")),
    ]
    found = lives(crashed)
    assert [(life.began, life.ended, life.is_closed) for life in found] == [(1.0, 3.0, False), (9.0, 12.0, True)]
    assert untold(found) == [0, 1]
    state = folded(flow, crashed)
    first, second = (spans(state, life, number) for number, life in enumerate(found))
    assert [(span.name, span.status, span.end) for span in first] == [
        ("attempt 1 of a", "error", 3.0),
        ("step a", "ok", 3.0),
        ("run test", "unset", 3.0),
    ]
    assert [(span.name, span.status) for span in second] == [("attempt 2 of a", "ok"), ("step a", "ok"), ("run test", "ok")]
    assert first[0].trace_id == second[0].trace_id
    assert not {span.span_id for span in first} & {span.span_id for span in second}
    assert spans(state, found[0], 0) == first
    assert untold([*found, Life(20.0, [(20.0, events.RunResumed())])]) == [2]
