"""The summary of a run on the page of a GitHub Actions job: what it holds, what it leaves out, and that text stays text."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token

from cpool_flow.errors import printable
from cpool_flow.step_summary import fenced, graph, in_html, plain, report, step_rows


def attempt(start: str = "10:00:00", end: str = "10:01:30", agent: str | None = None, error: str | None = None) -> dict[str, Any]:
    day = "2027-01-05T"
    return {"started_at": f"{day}{start}.000Z", "ended_at": f"{day}{end}.000Z", "agent": agent, "error": error}


def step(name: str, status: str = "success", **more: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "reason": None, "items": [], "attempts": [], "cost_usd": 0.0} | more


def run(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    about = {"run_id": "r1", "workflow": "review", "status": "success", "cost_usd": 0.0, "duration_seconds": 130.0, "branch": None}
    return {**about, "error": None, "outputs": {}, "steps": list(steps), **more}


def planned(name: str, *needs: str) -> dict[str, Any]:
    return {"name": name, "needs": list(needs), "kind": "run", "phase": "main", "foreach": None}


def test_a_report_whole() -> None:
    review = step("review", attempts=[attempt(agent="claude")], cost_usd=0.84)
    fix = step("fix", "failed", reason="`make` ended | with <2>", attempts=[attempt(error="fix, attempt 1: no\n@me: ```\n")])
    document = run(review, fix, status="failed", error="step `fix` failed", cost_usd=0.84, branch="cpool/review/r1", outputs={"n": [1]})
    assert report(document, {"steps": [planned("review"), planned("fix", "review")]}) == (
        "## review\n"
        "\n"
        "❌ **failed** · run `r1` · 2m10s · $0.84 · branch `cpool/review/r1`\n"
        "\n"
        "step \\`fix\\` failed\n"
        "\n"
        "| step | status | attempts | time | cost | |\n"
        "| --- | --- | --- | --- | --- | --- |\n"
        "| `review` | ✅ success | 1 | 1m30s | $0.84 |  |\n"
        "| `fix` | ❌ failed | 1 | 1m30s |  | \\`make\\` ended \\| with \\<2\\> |\n"
        "\n"
        "```mermaid\n"
        "flowchart TD\n"
        '  s_review["review"]\n'
        '  s_fix["fix"]\n'
        "  s_review --> s_fix\n"
        "  classDef success stroke:#1a7f37,stroke-width:2px\n"
        "  class s_review success\n"
        "  classDef failed stroke:#cf222e,stroke-width:3px\n"
        "  class s_fix failed\n"
        "```\n"
        "\n"
        "<details><summary><b>fix</b> `make` ended | with &lt;2&gt;</summary>\n"
        "\n"
        "````text\n"
        "fix, attempt 1: no\n"
        "@me: ```\n"
        "````\n"
        "\n"
        "</details>\n"
        "\n"
        "<details><summary>output <b>n</b></summary>\n"
        "\n"
        "```text\n"
        "[\n"
        "  1\n"
        "]\n"
        "```\n"
        "\n"
        "</details>\n"
    )


def test_of_a_fan_out_the_items_that_did_not_succeed_have_rows_and_of_a_group_its_steps() -> None:
    items = [step("each[0]"), step("each[1]", "failed", reason="no", steps=[step("inner", "failed")]), step("each[2]", "skipped")]
    rows = list(step_rows([step("each", "failed", items=items), step("group", steps=[step("a"), step("b")])]))
    assert [row.split(" | ")[:2] for row in rows] == [
        ["| `each`", "❌ failed 1/3"],
        ["| `each[1]`", "❌ failed"],
        ["| `each[1]/inner`", "❌ failed"],
        ["| `group`", "✅ success"],
        ["| `group/a`", "✅ success"],
        ["| `group/b`", "✅ success"],
    ]


def test_an_unknown_cost_is_not_zero() -> None:
    assert " · cost unknown" in report(run(step("a", attempts=[attempt(agent="codex")], cost_usd=None), cost_usd=None), None)
    assert " · no cost\n" in report(run(step("a", attempts=[attempt()])), None)


@pytest.mark.parametrize("limit", [200, 1000, 5000, 60_000, 400_000])
def test_a_report_is_cut_to_what_github_takes_failed_steps_first(limit: int) -> None:
    steps = [step(f"s{number}", "failed" if number == 4999 else "success", reason="é" * 100) for number in range(5000)]
    text = report(run(*steps, outputs={"big": "x" * 100_000}), {"steps": [planned("a")]}, limit)
    assert len(text.encode()) <= limit
    assert "Cut: the whole report is in the folder of the run `r1`" in text
    assert ("`s4999`" in text) == (limit >= 1000)


def test_a_report_that_fits_is_not_cut() -> None:
    whole = report(run(step("a")), None)
    assert report(run(step("a")), None, len(whole.encode())) == whole
    assert report(run(step("a")), None, 0) == ""


def test_a_graph_that_github_would_not_draw_is_left_out() -> None:
    steps = [planned("a"), *(planned(f"b{number}", "a") for number in range(500))]
    assert graph({"steps": steps}, run()).startswith("The graph of the steps is too large to be drawn here")


@given(st.text(alphabet=st.sampled_from(list("`~\n\r a|<>")), max_size=60))
def test_nothing_gets_out_of_a_fence(text: str) -> None:
    lines = fenced(text).split("\n")
    fence = lines[0].removesuffix("text")
    assert (lines[-1], set(fence)) == (fence, {"`"})
    assert not any(line.lstrip().startswith(fence) for line in lines[1:-1])


MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
TEMPTING = st.text(alphabet=st.sampled_from(list("\\\\`*_{}[]()<>#+-=.!|&~@:$^\"'/123abw \n")), max_size=40)


def texts(tokens: Sequence[Token]) -> str:
    """The text of a rendered document, and a mark for whatever else is in it."""
    return "".join(token.content if token.type == "text" else f"[{token.type}]" for token in tokens)


@given(st.one_of(TEMPTING, st.text(max_size=60)))
def test_of_a_plain_text_markdown_makes_nothing_in_a_paragraph_and_in_a_table(text: str) -> None:
    shown = printable(" ".join(text.split()))
    (paragraph,) = [token for token in MARKDOWN.parse(f"x\n\n{plain(text)}\n\nx") if token.type == "inline"][1:-1] or [None]
    assert ("" if paragraph is None else texts(paragraph.children or ())) == shown
    cells = [token for token in MARKDOWN.parse(f"| a | b |\n| --- | --- |\n| {plain(text)} | c |\n") if token.type == "inline"]
    assert [texts(cell.children or ()) for cell in cells] == ["a", "b", shown, "c"]


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("see https://example.org and www.example.org", "see https\\://example.org and www\\.example.org"),
        ("thanks @octocat, closes #12", "thanks \\@octocat, closes \\#12"),
        ("`make` ended with exit code 1: no (2) {3}", "\\`make\\` ended with exit code 1: no (2) {3}"),
        ("1. one", "1\\. one"),
        ("- one", "\\- one"),
        ("\x1b[31mred \u202eback", "\\\\x1b\\[31mred \\\\u202eback"),
    ],
)
def test_a_plain_text_can_still_be_read(text: str, made: str) -> None:
    assert plain(text) == made


@given(st.text(max_size=60))
def test_between_tags_a_text_is_no_tag(text: str) -> None:
    assert html.unescape(in_html(text)) == printable(" ".join(text.split()))
    assert not set(in_html(text)) & set('<>"\n')
