"""What a report says, piece by piece: markup that nothing gets out of, the plan with what became of it, the time line."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup
from simulation import workflow

from cpool_flow import plan
from cpool_flow.errors import printable_lines
from cpool_flow.report.graph_section import detail, graph, graph_data, is_drawable
from cpool_flow.report.markup import element, island
from cpool_flow.report.overview import overview
from cpool_flow.report.page import Assets, page, policy
from cpool_flow.report.steps_section import MOST_WHOLE, steps_list, text_block
from cpool_flow.report.timeline import Pause, Scale
from cpool_flow.report.timeline_section import MOST_BARS, timeline
from cpool_flow.report.words import money, took
from run_documents import attempt, report, run, task

# ---- markup -------------------------------------------------------------------------------------------------


def test_what_is_not_markup_is_text() -> None:
    made = element("p", "<b>&\"'", Markup("<i>x</i>"), None, 3, title='">', class_="c")
    assert made == '<p title="&#34;&gt;" class="c">&lt;b&gt;&amp;&#34;&#39;<i>x</i>3</p>'


def test_control_format_and_bidi_characters_are_shown() -> None:
    assert printable_lines("\x1b[31mred\x00\u202eback\u200b\ud800 \u2028\U000e0041\tok\r\nlast\rline") == (
        "\\x1b[31mred\\x00\\u202eback\\u200b\\ud800 \\u2028\\U000e0041\tok\nlast\\rline"
    )
    assert printable_lines("שלום é 漢字 👍") == "שלום é 漢字 👍"


@given(st.text(max_size=80))
def test_text_comes_out_of_markup_as_it_went_in_and_nothing_else_does(content: str) -> None:
    seen: list[tuple[str, str]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            seen.append(("tag", f"{tag} {dict(attrs).get('title')}"))

        def handle_data(self, data: str) -> None:
            seen.append(("text", data))

    reader = Reader(convert_charrefs=True)
    reader.feed(element("p", content, title=content))
    reader.close()
    assert seen[0] == ("tag", f"p {printable_lines(content)}")
    assert "".join(data for _, data in seen[1:]) == printable_lines(content)
    assert {kind for kind, _ in seen[1:]} <= {"text"}


@given(st.text(max_size=60))
def test_nothing_gets_out_of_a_data_island(content: str) -> None:
    made = island({"name": content + "</script><!--\u2028"})
    assert not re.search(r"[<>&\u2028\u2029]", made)
    assert json.loads(made) == {"name": content + "</script><!--\u2028"}


# ---- the plan, with what became of it ------------------------------------------------------------------------


def test_of_a_fan_out_all_items_are_one_line_of_a_group_each_step_is_one() -> None:
    flow = workflow(
        {"name": "list", "run": "x"},
        {"name": "each", "foreach": [1, 2, 3], "steps": [{"name": "make", "run": "x"}, {"name": "check", "run": "x"}]},
    )
    made = [
        [task("make", "success", attempt()), task("check", status, attempt(end="01:00"))] for status in ("success", "failed", "success")
    ]
    items = [task(f"each[{number}]", steps[1]["status"], item=number, steps=steps) for number, steps in enumerate(made)]
    first, each = overview(plan.build(flow), [task("list"), task("each", "failed", kind="group", items=items)])
    assert (first.status, each.status, each.kind, each.needs, [line.path for line in each.inside]) == (
        "success",
        "failed",
        "group",
        ("list",),
        ["each/make", "each/check"],
    )
    assert [(line.status, dict(line.counts), len(line.attempts)) for line in each.inside] == [
        ("success", {"success": 3}, 3),
        ("failed", {"success": 2, "failed": 1}, 3),
    ]
    assert [detail(line) for line in (first, each, *each.inside)] == ["", "group · 2 of 3 · 1m", "3 of 3 · 30.0s", "2 of 3 · 1m"]


def test_a_loop_over_one_step_is_one_line_with_the_attempts_of_all_rounds() -> None:
    flow = workflow({"name": "turn", "run": "x", "repeat": {"until": "true", "max": 4}})
    (line,) = overview(
        plan.build(flow),
        [task("turn", rounds=2, earlier_rounds=[[task("turn", "failed", attempt())]], steps=[task("turn", "success", attempt())])],
    )
    assert (line.path, line.rounds, len(line.attempts), line.inside) == ("turn", 4, 2, [])


def test_steps_that_were_never_reached_are_pending() -> None:
    flow = workflow({"name": "each", "foreach": [1], "steps": [{"name": "inner", "run": "x"}]})
    (each,) = overview(plan.build(flow), [task("each", "pending")])
    assert [(line.path, line.status) for line in each.everything()] == [("each", "pending"), ("each/inner", "pending")]


def test_a_graph_that_no_browser_would_lay_out_in_time_is_only_a_list() -> None:
    flow = workflow(*({"name": f"s{number}", "run": "x", "needs": []} for number in range(251)))
    lines = overview(plan.build(flow), [])
    assert not is_drawable(lines)
    assert "251 steps: too many to be drawn" in graph(lines)
    assert is_drawable(lines[:250])
    assert graph_data(lines[:1]) == [
        {
            "name": "s0",
            "kind": "run",
            "status": "pending",
            "detail": "",
            "needs": [],
            "finally": False,
            "many": False,
            "anchor": "step.s0",
            "steps": [],
        }
    ]


# ---- the time line -------------------------------------------------------------------------------------------


def test_moments_stand_on_the_scale_in_proportion() -> None:
    scale = Scale([(100.0, 110.0), (105.0, 120.0)])
    assert [scale.place(at) for at in (90.0, 100.0, 105.0, 120.0, 130.0)] == [0.0, 0.0, 25.0, 100.0, 100.0]
    assert scale.pauses == []


def test_a_night_in_which_nothing_ran_is_cut_short() -> None:
    scale = Scale([(0.0, 48.0), (48.0 + 8 * 3600, 96.0 + 8 * 3600)])
    assert scale.pauses == [Pause(48.0, 52.0, 8 * 3600.0)]
    assert [scale.place(at) for at in (24.0, 48.0, 48.0 + 4 * 3600, 48.0 + 8 * 3600)] == [24.0, 48.0, 50.0, 52.0]


times = st.lists(st.tuples(st.floats(0, 1e6), st.floats(0, 1e5)), min_size=1, max_size=20)


@given(times)
def test_on_the_scale_nothing_changes_its_order_or_gets_out(found: list[tuple[float, float]]) -> None:
    scale = Scale([(start, start + length) for start, length in found])
    places = [scale.place(at) for at in sorted({moment for start, length in found for moment in (start, start + length)})]
    assert places == sorted(places)
    assert -1e-6 <= places[0] <= places[-1] <= 100 + 1e-6


def test_a_row_of_very_many_attempts_is_drawn_together_and_a_failure_stays_printable_lines() -> None:
    flow = workflow({"name": "each", "foreach": [1], "run": "x"})
    many = [attempt(f"{number // 60 % 60:02}:{number % 60:02}", f"{number // 60 % 60:02}:{number % 60:02}") for number in range(3000)]
    many[1500]["status"] = "failed"
    items = [task(f"each[{number}]", each["status"], each, item=number) for number, each in enumerate(many)]
    drawn = timeline(overview(plan.build(flow), [task("each", "failed", items=items)]), 1800000000.0)
    assert drawn is not None
    assert drawn.count("<rect") < MOST_BARS
    assert drawn.count('class="failed"') == 1


# ---- steps and page ------------------------------------------------------------------------------------------


def test_of_very_many_items_those_that_failed_are_shown_whole_and_the_others_as_rows() -> None:
    items = [task(f"each[{number}]", "failed" if number == 3000 else "success", item="<x>", output="o" * 500) for number in range(5000)]
    shown = steps_list([task("each", "failed", items=items)])
    assert shown.count('class="step"') == 2
    assert shown.count("<tr>") == 5000
    assert "<summary>4,999 success</summary>" in shown
    assert "<x>" not in shown
    assert len(shown) < 2_000_000
    assert MOST_WHOLE < 5000


def test_a_long_text_is_cut_with_a_note() -> None:
    assert text_block("ab" * 20, most=10) == '<pre tabindex="0">ababababab</pre><p class="note">… 30 more characters</p>'
    assert text_block("a" * 20 + "end", most=3, end=True) == '<p class="note">… 20 more characters</p><pre tabindex="0">end</pre>'


def test_the_policy_of_the_page_names_what_may_run_and_allows_nothing_else() -> None:
    assert policy("p{}", ["go()"]) == (
        "default-src 'none'; style-src 'sha256-gG2yISYereRMiG2lMXrbiUgi0Ubw9p7QCeWcroOvy9Y='; "
        "script-src 'sha256-5KYv+PUboo5h+0+YAtGRPbwv5d/QxzHslP4YGnUaxRw='; base-uri 'none'; form-action 'none'"
    )


def test_without_scripts_the_page_says_all_as_text() -> None:
    flow = workflow({"name": "build", "run": "x"}, {"name": "test", "run": "x"})
    failed = task("test", "failed", attempt(status="failed", error_kind="failed", error="test, attempt 1: no\nlast line\n"), reason="no")
    made = page(report(flow, run(task("build", "success", attempt()), failed, status="failed", error="step `test` failed")), Assets("", ()))
    text = re.sub(r"<[^>]*>", " ", made)
    for part in ("review", "step `test` failed", "What failed", "last line", "after build", "2027-01-05 10:00:00 UTC", "1 of 2 succeeded"):
        assert part in text
    assert "<script" not in made


def test_words() -> None:
    assert [took(seconds) for seconds in (0.04, 59.9, 59.96, 130)] == ["0.0s", "59.9s", "1m", "2m10s"]
    works = task("a", "success", attempt(agent="claude"))
    assert [money(works | {"cost_usd": cost}) for cost in (0.0, 0.001, 0.84, None)] == ["$0.00", "$0.0010", "$0.84", "cost unknown"]
    assert money(works | {"cost_usd": None, "cost_at_least_usd": 0.5}) == "at least $0.50"
    assert money(task("a", "success", attempt())) == ""
