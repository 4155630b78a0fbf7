"""What codex, gemini and opencode printed, and what we make of it: all recorded runs, and lines that nobody should print."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, case_path, cases
from cpool_flow.agents.codex_reader import CodexReader
from cpool_flow.agents.gemini_reader import GeminiReader
from cpool_flow.agents.opencode_reader import OpencodeReader
from cpool_flow.agents.protocol import AgentResult, Ending, Reader
from cpool_flow.pool_file import Price

READERS: dict[str, Callable[..., Reader]] = {"codex": CodexReader, "gemini": GeminiReader, "opencode": OpencodeReader}
NOW = datetime(2026, 11, 23, 16, 0, tzinfo=UTC).timestamp()
CANCELLED = {"codex-0.169.0-sig-SIGTERM", "codex-0.169.0-sig-SIGINT", "gemini-0.61.0-sigterm-norelaunch", "opencode-1.18.33-sig-SIGTERM"}
# Recorded before stderr was asked for: silence is all that there is, and our time-out ends it.
SILENT = {"opencode-1.18.33-http-429", "opencode-1.18.33-http-529", "opencode-1.18.33-cut"}
OTHERWISE = {
    # What fits a schema is asked of the answer, not by the reader.
    "codex-0.169.0-schema-notfollowed": "success",
    # A tool that is not offered is a tool refused, as the notes of these say.
    "gemini-0.61.0-tool-denied": "permission_denied",
    "gemini-0.61.0-shell-denied": "permission_denied",
    "opencode-1.18.33-tool-denied": "permission_denied",
    # We never ask for this form, in which nothing proves success.
    "gemini-0.61.0-json-success": "lost",
    # Without the log on stderr nothing tells it from a server that is overloaded.
    "opencode-1.18.33-http-429": "overloaded",
    # The same words as for an unknown model; neither is tried again.
    "opencode-1.18.33-nokey": "invalid",
}


def recorded() -> list[dict[str, Any]]:
    if not CASES.exists():
        return []
    return [case for case in cases("agents/cases.json") if case["case"].split("-")[0] in READERS]


def named(name: str) -> dict[str, Any]:
    return next(case for case in recorded() if case["case"] == name)


def replay(case: dict[str, Any], **options: Any) -> AgentResult:
    name, folder = case["case"], case_path("agents")
    reader = READERS[name.split("-")[0]](**options)
    for stream, take in (("stdout", reader.feed), ("stderr", reader.warn)):
        for line in (folder / case[stream]).read_bytes().splitlines() if case[stream] else ():
            take(line)
    if name in CANCELLED or name in SILENT:
        reader.stopping("cancelled" if name in CANCELLED else "timeout")
    code = case["exit_code"]
    stderr = (folder / case["stderr"]).read_text() if case["stderr"] else ""
    signal = None if code is None or code >= 0 else -code
    return reader.finish(Ending(exit_code=None if signal else code, signal=signal, stderr=stderr[-4096:], now=NOW))


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
def test_all_recorded_runs_of_the_three_are_here() -> None:
    assert [sum(case["case"].startswith(name) for case in recorded()) for name in READERS] == [25, 22, 18]


@pytest.mark.parametrize("case", recorded(), ids=lambda case: str(case["case"]))
def test_a_recorded_run_has_the_listed_verdict(case: dict[str, Any]) -> None:
    found = replay(case)
    assert (found.kind or "success") == OTHERWISE.get(case["case"], case["verdict"]), found.error
    assert found.kind is None or found.error


@pytest.mark.parametrize("case", recorded(), ids=lambda case: str(case["case"]))
def test_a_recorded_run_has_its_answer_its_session_and_its_cost(case: dict[str, Any]) -> None:
    found, read = replay(case), case["read"]
    if case["case"] == "gemini-0.61.0-json-success":
        return
    assert found.session_id == read.get("session_id")
    if found.kind is None:
        text = read["text"].rpartition("\n")[2] if case["case"].startswith("opencode") else read["text"]
        assert found.answer == text  # of opencode, what it said after its last tool
        assert found.cost_usd == read.get("cost_usd")
        assert found.input_tokens
        assert found.output_tokens


needs_cases = pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")


@needs_cases
def test_refused_tools_are_named_and_may_be_allowed() -> None:
    for name, tool in (
        ("gemini-0.61.0-tool-denied", "write_file"),
        ("opencode-1.18.33-tool-denied", "bash"),
        ("opencode-1.18.33-tool-ask", "bash"),
    ):
        assert replay(named(name)).denials == (tool,)
    assert replay(named("gemini-0.61.0-tool-denied"), allow_denials=True).kind is None
    assert replay(named("opencode-1.18.33-tool-denied"), allow_denials=True).kind is None
    # It ends its turn after the refusal: there is no answer.
    assert replay(named("opencode-1.18.33-tool-ask"), allow_denials=True).kind == "lost"


@needs_cases
@pytest.mark.parametrize(
    ("name", "resets_at"),
    [
        ("codex-0.169.0-usage-limit", datetime(2026, 11, 24, 6, 0, tzinfo=UTC).timestamp()),
        ("codex-0.169.0-failed-ratelimit", NOW + 1.898),
        ("codex-0.169.0-http-429", None),
        ("gemini-0.61.0-429-sj", NOW + 8 * 3600 + 44 * 60 + 7),
        ("gemini-0.61.0-429-json", NOW + 8 * 3600 + 44 * 60 + 7),
        ("gemini-0.61.0-429-terminal", None),
    ],
)
def test_a_limit_says_when_it_ends(name: str, resets_at: float | None) -> None:
    assert replay(named(name)).resets_at == resets_at


@needs_cases
def test_a_value_that_was_asked_for_and_did_not_come_is_bad_output() -> None:
    for name in ("codex-0.169.0-empty-text", "opencode-1.18.33-empty"):
        assert replay(named(name), schema_asked=True).kind == "bad_output"


# ---- the rules, where no recording shows them ----

END = Ending(exit_code=0, now=NOW)
RETRY = b'level=ERROR message="stream error" providerID=x small=false agent=build error.error="AI_APICallError: %s"'


def fed(reader: Reader, *lines: bytes, errors: tuple[bytes, ...] = (), end: Ending = END) -> AgentResult:
    for line in lines:
        reader.feed(line)
    for line in errors:
        reader.warn(line)
    return reader.finish(end)


def test_a_resumed_thread_that_is_another_is_no_success() -> None:
    lines = (
        b'{"type":"thread.started","thread_id":"other"}',
        b'{"type":"item.completed","item":{"type":"agent_message","text":"hi"}}',
        b'{"type":"turn.completed","usage":{"input_tokens":1,"output_tokens":1}}',
    )
    assert fed(CodexReader(resumed="mine"), *lines).kind == "invalid"
    assert fed(CodexReader(resumed="other"), *lines).kind is None


def test_a_tool_of_codex_stops_the_clock_and_a_list_of_plans_does_not() -> None:
    reader = CodexReader()
    reader.feed(b'{"type":"item.started","item":{"id":"a","type":"todo_list"}}')
    assert not reader.tool_running
    reader.feed(b'{"type":"item.started","item":{"id":"b","type":"command_execution","command":"pytest"}}')
    assert reader.tool_running
    reader.feed(b'{"type":"item.completed","item":{"id":"b","type":"command_execution","status":"declined"}}')
    assert not reader.tool_running
    usage = b'{"type":"turn.completed","usage":{"input_tokens":1,"output_tokens":1}}'
    assert fed(reader, b'{"type":"item.completed","item":{"type":"agent_message","text":"x"}}', usage).kind == "permission_denied"


@pytest.mark.parametrize(("words", "kind"), [(b"Overloaded", "overloaded"), (b"Too Many Requests", "rate_limited")])
def test_opencode_that_asks_again_and_again_is_given_up_at_the_third_time(words: bytes, kind: str) -> None:
    reader = OpencodeReader()
    reader.warn(RETRY % words)
    reader.warn((RETRY % words).replace(b"small=false", b"small=true"))  # the request for a title does not count
    reader.warn(RETRY % words)
    assert not reader.futile
    reader.warn(RETRY % words)
    assert reader.futile
    found = reader.finish(Ending(exit_code=None, signal=15, now=NOW, ended_by_us=True))
    assert (found.kind, words.decode() in found.error) == (kind, True)


def test_an_answer_in_between_begins_the_count_of_refusals_anew() -> None:
    reader = OpencodeReader()
    for _ in range(2):
        reader.warn(RETRY % b"x")
    reader.feed(b'{"type":"text","part":{"text":"hello"}}')
    reader.warn(RETRY % b"x")
    assert not reader.futile


def test_turns_of_opencode_are_counted_and_capped() -> None:
    step = b'{"type":"step_finish","part":{"reason":"%s","cost":0.5,"tokens":{"input":1,"output":1,"cache":{"read":3,"write":2}}}}'
    reader = OpencodeReader(max_turns=2)
    reader.feed(step % b"tool-calls")
    assert not reader.futile
    assert fed(reader, b'{"type":"text","part":{"text":"done"}}', step % b"stop").turns == 2
    capped = OpencodeReader(max_turns=1)
    capped.feed(step % b"tool-calls")
    assert capped.futile
    found = capped.finish(END)
    assert (found.kind, found.cost_usd, found.input_tokens, found.cached_tokens) == ("max_turns", 0.5, 6, 3)


def test_opencode_is_ended_where_it_may_spend_no_more() -> None:
    step = b'{"type":"step_finish","part":{"reason":"%s","cost":0.5,"tokens":{"input":1,"output":1}}}'
    reader = OpencodeReader(budget_usd=1.0)
    reader.feed(step % b"tool-calls")
    assert not reader.futile
    reader.feed(step % b"tool-calls")
    assert reader.futile
    found = reader.finish(END)
    assert (found.kind, found.error, found.cost_usd) == ("budget", "the agent has spent $1, and may spend $1", 1.0)
    done = OpencodeReader(budget_usd=0.5)
    assert fed(done, b'{"type":"text","part":{"text":"done"}}', step % b"stop").kind is None


def test_opencode_that_tells_tokens_only_is_ended_by_their_price() -> None:
    step = b'{"type":"step_finish","part":{"reason":"tool-calls","cost":0,"tokens":{"input":1000000,"output":100000,"cache":{"read":1000000}}}}'
    price = Price(input=0.25, output=1, cache_read=0.05)
    reader = OpencodeReader(budget_usd=0.5, price=price)
    reader.feed(step)
    assert not reader.futile
    reader.feed(step)
    assert (reader.futile, reader.finish(END).error) == (True, "the agent has spent $0.8, and may spend $0.5")


def test_of_opencode_that_was_cut_off_in_a_step_the_cost_is_at_least_that_of_the_steps_before() -> None:
    reader = OpencodeReader()
    reader.feed(b'{"type":"step_finish","part":{"reason":"tool-calls","cost":0.5,"tokens":{"input":1,"output":1}}}')
    reader.feed(b'{"type":"step_start"}')
    reader.stopping("cancelled")
    found = reader.finish(END)
    assert (found.kind, found.cost_usd, found.cost_at_least) == ("cancelled", 0.5, True)


def test_a_cost_of_nothing_for_tokens_that_were_spent_is_unknown() -> None:
    step = b'{"type":"step_finish","part":{"reason":"stop","cost":0,"tokens":{"input":1,"output":1}}}'
    assert fed(OpencodeReader(), b'{"type":"text","part":{"text":"done"}}', step).cost_usd is None


def test_gemini_that_asks_again_and_again_is_given_up_at_the_third_time() -> None:
    reader = GeminiReader()
    for number in (1, 2, 3):
        assert not reader.futile
        reader.warn(b"Attempt %d failed with status 503. Retrying with backoff..." % number)
    assert reader.futile
    assert reader.finish(Ending(exit_code=0, now=NOW, ended_by_us=True)).kind == "overloaded"


def test_a_loop_that_gemini_has_found_is_no_success() -> None:
    lines = (
        b'{"type":"message","role":"assistant","content":"I look."}',
        b'{"type":"error","severity":"warning","message":"Loop detected, stopping execution"}',
        b'{"type":"result","status":"success","stats":{"input_tokens":1,"output_tokens":1}}',
    )
    found = fed(GeminiReader(), *lines)
    assert (found.kind, found.error) == ("failed", "Loop detected, stopping execution")


MEGABYTE = "x" * (1 << 20)


@pytest.mark.parametrize(
    ("reader", "line"),
    [
        (GeminiReader(), {"type": "message", "role": "assistant", "content": MEGABYTE}),
        (OpencodeReader(), {"type": "text", "part": {"text": MEGABYTE}}),
    ],
)
def test_an_answer_without_end_is_not_kept(reader: Reader, line: dict[str, Any]) -> None:
    for _ in range(40):
        reader.feed(json.dumps(line).encode())
    reader.feed(b'{"type":"result","status":"success","stats":{"input_tokens":1,"output_tokens":1}}')
    reader.feed(b'{"type":"step_finish","part":{"reason":"stop","cost":1,"tokens":{"input":1,"output":1}}}')
    found = reader.finish(END)
    assert (found.kind, found.error) == ("failed", "the answer is longer than 16 MB")
    assert len(found.answer) <= 16 << 20


def test_a_line_of_stderr_that_would_take_for_ever_to_look_at_is_cut() -> None:
    OpencodeReader().warn(b'message="stream error"' + b" small=false " * 1_000_000)


@pytest.mark.parametrize("name", READERS)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=80),
            st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5), st.lists).map(lambda v: repr(v).encode()),
        ),
        max_size=8,
    )
)
def test_no_output_breaks_a_reader(name: str, lines: list[bytes]) -> None:
    assert fed(READERS[name](), *lines, errors=tuple(lines)).kind is not None


KINDS = [
    "thread.started",
    "item.completed",
    "item.started",
    "turn.completed",
    "turn.failed",
    "init",
    "message",
    "tool_use",
    "tool_result",
    "error",
]
KINDS += ["result", "text", "step_finish", "step_start"]
ODD: list[Any] = [None, 7, "x", [], {}, True, 1e400]


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_known_event_with_values_of_any_kind_breaks_no_reader(name: str, kind: str) -> None:
    fields = (
        "thread_id",
        "item",
        "usage",
        "error",
        "session_id",
        "role",
        "content",
        "tool_id",
        "status",
        "stats",
        "part",
        "sessionID",
        "message",
    )
    for value in ODD:
        event = {"type": kind, **dict.fromkeys(fields, value)}
        nested = {
            "type": kind,
            **{
                field: dict.fromkeys(("type", "text", "state", "tokens", "cost", "message", "data", "tool", "id"), value)
                for field in fields
            },
        }
        lines = [json.dumps(each).encode() for each in (event, nested)]
        fed(READERS[name](), *lines)


@pytest.mark.parametrize(
    ("words", "code", "kind"),
    [
        ("exceeded retry limit, last status: 429 Too Many Requests", 1, "rate_limited"),
        ("unexpected status 401 Unauthorized: x", 1, "auth"),
        ("Reconnecting... 1/5 (stream disconnected before completion)", 1, "overloaded"),
        ("something odd", 1, "lost"),
        ("exceeded retry limit, last status: 429 Too Many Requests", 0, "lost"),
    ],
)
def test_a_codex_that_ends_after_an_error_without_a_result_is_judged_by_that_error(words: str, code: int, kind: str):
    reader = CodexReader()
    reader.feed(json.dumps({"type": "error", "message": words}).encode())
    found = reader.finish(Ending(exit_code=code, now=NOW))
    assert found.kind == kind
    assert words in found.error


def test_a_failure_that_is_a_text_and_a_status_that_is_a_text_are_read():
    codex, opencode = CodexReader(), OpencodeReader()
    codex.feed(json.dumps({"type": "turn.failed", "error": "unexpected status 503 Service"}).encode())
    assert codex.finish(Ending(exit_code=1, now=NOW)).kind == "overloaded"
    opencode.feed(json.dumps({"type": "error", "error": {"name": "APIError", "data": {"message": "x", "statusCode": "429"}}}).encode())
    assert opencode.finish(Ending(exit_code=1, now=NOW)).kind == "rate_limited"
