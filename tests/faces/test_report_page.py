"""The HTML report in a real browser: drawn, readable in every light and width, and nothing in it but what we put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from session import Session

from browser import NARROW, WIDE, Page, browser
from cpool_flow.model import Workflow
from cpool_flow.report.page import page
from cpool_flow.reported import assets
from run_documents import attempt, report, run, task

HOSTILE = (
    "</script><script>window.harm='script'</script>",
    "<img src=x onerror=\"window.harm='img'\">",
    "\"><svg/onload=window.harm='svg'>",
    "'><a href=javascript:window.harm='link'>click</a>",
    "<!-- --!> ]]> <style>*{display:none}</style><base href=//evil.example/><meta http-equiv=refresh content=0;url=//evil.example>",
    "{{ 7 * 7 }} ${7*7} &lt;b&gt; &#60;",
    "\u202egnp.exe\u202c \u2067right\u2069 \u200b\u2028 שלום עולם",
    "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x9b1m \x08\x7f",
    "Z" * 20000,
    "Z\u0351\u034b" * 50,
)
FLOW = """
    version: 1
    name: review
    description: Everything that a report can show.
    isolation: none
    args: {hostile: {type: string}, list: {type: array}}
    config: {agent: scripted, script: answers.yaml}
    slots: 3
    steps:
      - name: list
        run: cat; echo oops >&2
        stdin: "{{ args.hostile }}"
      - name: each
        foreach: args.list
        as: word
        on_failure: continue
        steps:
          - name: build
            run: cat
            stdin: "{{ word }}"
          - name: check
            run: cat >&2; [ {{ index }} != 3 ]
            stdin: "{{ word }}"
      - name: ask
        needs: list
        prompt: "Say something."
        output: json
        output_vars: {said: said}
      - name: again
        needs: list
        repeat: {until: "iteration == 2", max: 3}
        run: date +%N; cat
        stdin: "{{ args.hostile }}"
      - name: long-name-of-a-step-that-does-not-end-anywhere-near-here
        needs: [each, ask, again]
        run: cat >&2; exit 3
        stdin: "{{ args.hostile }}"
        verify: cat
      - name: never
        run: echo never
    finally:
      - name: tidy
        run: echo tidy
    outputs: {said: "{{ steps.ask.said }}", text: "{{ steps.list.output }}"}
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


@pytest.fixture(scope="module")
def hostile(pages: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a run in which every text is hostile."""
    session = Session(tmp_path_factory.mktemp("hostile"))
    session.file("review.yaml", FLOW)
    session.file("answers.yaml", json.dumps({"steps": {"ask": {"answer": json.dumps({"said": HOSTILE}), "cost_usd": 0.42, "turns": 3}}}))
    session.file("args.json", json.dumps({"hostile": "\n".join(HOSTILE), "list": HOSTILE}))
    tags = [part for text in HOSTILE[:4] for part in ("--tag", text)]
    ended = session.flow("run", "review.yaml", "--args-file", "args.json", "--quiet", *tags)
    assert ended.code == 1, ended.err
    return written(session)


@pytest.fixture(scope="module")
def large(pages: Page, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a fan-out of 5,000 items, of which one failed."""
    flow = Workflow.model_validate({"steps": [{"name": "each", "foreach": "args.n", "run": "x"}]})
    bad = attempt(status="failed", error_kind="failed", error="each[4321], attempt 1: no\nlast line")
    items = [task(f"each[{number}]", "success", attempt(), item=number) for number in range(5000)]
    items[4321] = task("each[4321]", "failed", bad, item=4321, reason="no")
    path = tmp_path_factory.mktemp("large") / "report.html"
    made = report(flow, run(task("each", "failed", items=items), status="failed", error="step `each` failed"))
    path.write_text(page(made, assets()), encoding="utf-8")
    return path


def written(session: Session) -> Path:
    ended = session.flow("report", "-o", "report.html")
    assert (ended.code, ended.out, ended.err) == (0, "", "")
    return session.path / "report.html"


def open_all(page: Page) -> None:
    page.driver.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true })")


@pytest.mark.parametrize(("size", "dark"), [(WIDE, False), (WIDE, True), (NARROW, False), (NARROW, True)])
def test_a_page_of_hostile_texts_is_only_text(pages: Page, hostile: Path, size: tuple[int, int], dark: bool) -> None:
    pages.open(hostile, size=size, dark=dark)
    pages.picture(f"hostile-{'dark' if dark else 'light'}-{size[0]}")
    open_all(pages)
    pages.picture(f"hostile-{'dark' if dark else 'light'}-{size[0]}-open")
    assert pages.logged() == []
    assert pages.requests() == [hostile.as_uri()]
    assert pages.asked("window.harm") is None
    assert pages.asked("document.title").startswith("✘ review · ")
    assert pages.asked("document.querySelectorAll('img, iframe, object, embed, link, form, base, input, style ~ style').length") == 0
    assert pages.asked("[...document.querySelectorAll('a')].filter((a) => !a.getAttribute('href').startsWith('#')).length") == 0
    assert pages.asked("document.querySelectorAll('script').length") == 3
    foreign = r"/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069]/.test(arguments[0])"
    text = pages.asked(
        "[document.title, ...[...document.body.children].filter((each) => each.tagName !== 'SCRIPT').map((each) => each.textContent)].join()"
    )
    assert pages.asked(foreign, text) is False
    for part in (*HOSTILE[:6], "\\u202egnp.exe\\u202c", "שלום עולם", "\\x1b[31mred\\x1b[0m", "\\x9b1m \\x08\\x7f"):
        assert part in text


@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_nothing_is_wider_than_the_window(pages: Page, hostile: Path, large: Path, size: tuple[int, int]) -> None:
    for path in (hostile, large):
        pages.open(path, size=size)
        open_all(pages)
        assert pages.asked("[document.documentElement.scrollWidth, document.documentElement.clientWidth]") == [size[0], size[0]]


@pytest.mark.parametrize("dark", [False, True])
def test_all_text_can_be_read_against_what_is_behind_it(pages: Page, hostile: Path, dark: bool) -> None:
    pages.open(hostile, dark=dark)
    open_all(pages)
    assert pages.asked("matchMedia('(prefers-color-scheme: dark)').matches") is dark
    assert pages.asked(CONTRASTS, 4.5) == []


def test_the_graph_has_every_step_of_the_plan_in_a_box_that_is_large_enough(pages: Page, hostile: Path) -> None:
    pages.open(hostile)
    assert pages.asked("document.getElementById('listed').open") is False
    names = pages.asked("[...document.querySelectorAll('#drawing text:not(.detail)')].map((each) => each.textContent).sort()")
    assert names == ["again", "ask", "build", "check", "each ×", "list", "long-name-of-a-step-that-does-not…", "never", "tidy"]
    assert pages.asked(OUTSIDE_OF_THEIR_BOX) == []
    assert pages.asked("document.querySelectorAll('#drawing .edge').length") == 9
    states = "[...document.querySelectorAll('#drawing > svg > g')].map((each) => each.getAttribute('class')).sort()"
    assert pages.asked(states) == ["failed", "failed", "skipped", "success", "success", "success", "success"]


def test_a_step_of_the_graph_leads_to_what_became_of_it(pages: Page, hostile: Path) -> None:
    pages.open(hostile)
    pages.driver.execute_script(
        "document.querySelector('#drawing a[href=\"#step.again\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert pages.asked("document.getElementById('step.again').open") is True
    assert pages.asked("Math.abs(document.getElementById('step.again').getBoundingClientRect().top) < innerHeight") is True


def test_the_graph_is_drawn_anew_for_another_width(pages: Page, hostile: Path) -> None:
    pages.open(hostile)
    wide = pages.asked("document.querySelector('#drawing svg').clientHeight")
    pages.resize(*NARROW)
    pages.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert pages.asked("document.querySelector('#drawing svg').clientHeight") > wide


def test_without_scripts_everything_is_there_as_text(pages: Page, hostile: Path) -> None:
    pages.open(hostile, scripts=False)
    pages.picture("without-scripts")
    root = pages.driver.execute_cdp_cmd("DOM.getDocument", {})["root"]["nodeId"]
    seen = {name: pages.driver.execute_cdp_cmd("DOM.querySelector", {"nodeId": root, "selector": name})["nodeId"] for name in SELECTORS}
    assert {name for name, found in seen.items() if found} == SELECTORS - {"#drawing > svg"}
    assert pages.logged() == []


SELECTORS = {
    "#listed[open] ol.plan li",
    "#drawing[hidden]",
    "#drawing > svg",
    ".timeline svg rect.failed",
    "details.step pre",
    "#failures pre",
}


def test_a_script_that_somebody_adds_to_the_file_does_not_run(pages: Page, hostile: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    text = hostile.read_text(encoding="utf-8")
    changed.write_text(text.replace("</main>", "<script>window.harm=1</script><p onclick=window.harm=2>x</p></main>", 1), encoding="utf-8")
    pages.open(changed)
    assert pages.asked("window.harm") is None
    assert pages.requests() == [changed.as_uri()]
    logged = pages.logged()
    assert logged
    assert all("Content Security Policy" in line for line in logged)


def test_a_fan_out_of_5000_items_is_one_node_and_closed_until_it_is_opened(pages: Page, large: Path) -> None:
    pages.open(large)
    pages.picture("large")
    assert pages.logged() == []
    assert pages.asked("[...document.querySelectorAll('#drawing text')].map((each) => each.textContent)")[0] == "each ×"
    assert "4,999 of 5,000" in pages.asked("document.querySelector('#drawing text.detail').textContent")
    assert pages.asked("document.querySelectorAll('details[open]').length") == 0
    assert pages.asked("document.querySelectorAll('#steps tbody tr').length") >= 4999
    assert pages.asked("document.querySelector('#failures').textContent").count("each[4321]") == 1
    assert large.stat().st_size < 2_000_000


# Texts whose colour is too near to that of what is behind them.
CONTRASTS = """(() => {
  const light = (color) => {
    const [r, g, b] = color.match(/[0-9.]+/g).slice(0, 3).map((part) => part / 255)
      .map((part) => part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const box = each.namespaceURI.endsWith("svg") && each.parentElement?.closest("g")?.querySelector(":scope > rect.node");
      const color = getComputedStyle(box || each)[box ? "fill" : "backgroundColor"];
      if (!/, 0\\)$|none|transparent/.test(color)) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const element of document.querySelectorAll("body *:not(script):not(title):not(rect)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    const color = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [one, other] = [light(color), light(behind(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < arguments[0]) found.push(`${element.tagName}.${element.className.baseVal ?? element.className}: ${ratio.toFixed(2)}`);
  }
  return [...new Set(found)];
})()"""
OUTSIDE_OF_THEIR_BOX = """[...document.querySelectorAll("#drawing text")].filter((text) => {
  const [inner, outer] = [text.getBoundingClientRect(), text.closest("g").querySelector("rect").getBoundingClientRect()];
  return inner.left < outer.left || inner.right > outer.right || inner.top < outer.top || inner.bottom > outer.bottom;
}).map((text) => text.textContent)"""
