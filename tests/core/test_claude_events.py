"""What Claude Code printed, and what we make of it: all recorded runs of two versions, and lines that nobody should print."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import CASES, case_path, cases
from cpool_flow.agents.claude_reader import ClaudeReader
from cpool_flow.agents.protocol import MAX_LINE_BYTES, AgentResult, Ending

NOW = 1_795_446_000.0
# The verdict of these needs what only the sender of a signal knows; the second turn of a warm process is in `TURNS`.
STOPPED = {"sig-p-SIGTERM-bash", "sig-p-SIGINT-bash", "sig-p-SIGINT-stream"}
# Text output holds no event: there is nothing to prove success with.
TEXT_OUTPUT = {"text-success"}


def ending(exit_code: int | None = 0, **more: Any) -> Ending:
    return Ending(exit_code=exit_code, now=NOW, **more)


def read(lines: Iterable[bytes], end: Ending | None = None, **options: Any) -> AgentResult:
    reader = ClaudeReader(**options)
    for line in lines:
        reader.feed(line)
    return reader.finish(end or ending())


def event(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


def result(text: str | None = "done", **fields: Any) -> bytes:
    usage = {"input_tokens": 120, "output_tokens": 30}
    good = {"subtype": "success", "is_error": False, "result": text, "num_turns": 2, "total_cost_usd": 0.01, "usage": usage}
    return event(type="result", **{**good, "permission_denials": [], **fields})


def tool_use(identity: str) -> bytes:
    block = {"type": "tool_use", "id": identity, "name": "Bash", "input": {"command": "pytest -q"}}
    return event(type="assistant", message={"id": "m", "content": [block]})


def tool_result(identity: str) -> bytes:
    return event(type="user", message={"content": [{"type": "tool_result", "tool_use_id": identity}]})


INIT = event(type="system", subtype="init", session_id="s", model="fake-model")


def retry(attempt: int, status: int | None, word: str) -> bytes:
    return event(type="system", subtype="api_retry", attempt=attempt, max_retries=10, error_status=status, error=word)


@pytest.mark.parametrize(
    ("status", "word", "kind"),
    [(401, "authentication_failed", "auth"), (429, "rate_limit", "rate_limited"), (None, "authentication_failed", "auth")],
)
def test_a_server_that_refuses_is_not_asked_for_minutes(status: int | None, word: str, kind: str) -> None:
    reader = ClaudeReader()
    for line in (INIT, retry(1, status, word), retry(2, status, word)):
        reader.feed(line)
        assert not reader.futile
    reader.feed(retry(3, status, word))
    assert reader.futile
    found = reader.finish(ending(None, signal=2))
    assert (found.kind, found.error.startswith("the API refuses again and again (")) == (kind, True)
    reader.feed(result(subtype="error_during_execution", is_error=True, terminal_reason="aborted_streaming"))
    assert reader.finish(ending(0, ended_by_us=True)).kind == kind


def test_an_answer_after_retries_is_an_answer() -> None:
    reader = ClaudeReader()
    for line in (INIT, *(retry(number, 429, "rate_limit") for number in range(1, 5)), tool_use("a"), tool_result("a")):
        reader.feed(line)
    assert not reader.futile
    assert reader.finish(ending(1)).kind == "lost"


@pytest.mark.parametrize(("status", "word"), [(529, "overloaded"), (500, "server_error"), (None, "overloaded")])
def test_an_overloaded_server_may_be_asked_ten_times_again(status: int | None, word: str) -> None:
    reader = ClaudeReader()
    for number in range(1, 11):
        reader.feed(retry(number, status, word))
        assert not reader.futile
    reader.feed(retry(11, status, word))
    assert (reader.futile, reader.finish(ending(None, signal=2)).kind) == (True, "overloaded")


@pytest.mark.parametrize(
    "fields", [{"error_status": 429}, {"error_status": "429", "attempt": "third"}, {"error": "rate_limit", "attempt": 0}]
)
def test_retries_are_counted_here_where_their_event_does_not_count_them(fields: dict[str, Any]) -> None:
    reader = ClaudeReader()
    for _ in range(2):
        reader.feed(event(type="system", subtype="api_retry", **fields))
    assert not reader.futile
    reader.feed(event(type="system", subtype="api_retry", **fields))
    assert (reader.futile, reader.finish(ending(None, signal=2)).kind) == (True, "rate_limited")


# ---- recorded runs ----


def recorded() -> list[dict[str, Any]]:
    if not CASES.exists():
        return []
    return [case for case in cases("agents/cases.json") if case["case"].startswith("claude-")]


@dataclass(frozen=True)
class Recording:
    lines: list[bytes]
    end: Ending
    options: dict[str, Any]

    def turns(self) -> list[list[bytes]]:
        """The lines up to each result, and what followed the last one."""
        turns: list[list[bytes]] = [[]]
        for line in self.lines:
            turns[-1].append(line)
            if b'"type":"result"' in line:
                turns.append([])
        return turns


def recording(case: dict[str, Any]) -> Recording:
    folder = case_path("agents")
    code, arguments = case["exit_code"], case["args"]
    stderr = (folder / case["stderr"]).read_text() if case["stderr"] else ""
    end = ending(None, signal=-code, stderr=stderr) if code is not None and code < 0 else ending(code, stderr=stderr)
    text = (folder / case["stdout"]).read_bytes() if case["stdout"] else b""
    return Recording(text.splitlines(), end, {"schema_asked": "--json-schema" in arguments, "allow_denials": False})


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
def test_all_recorded_cases_of_both_versions_are_here() -> None:
    assert len(recorded()) == 146


@pytest.mark.parametrize("case", [case for case in recorded() if "-warm-" not in case["case"]], ids=lambda case: str(case["case"]))
def test_a_recorded_run_has_the_listed_verdict(case: dict[str, Any]) -> None:
    name = case["case"].split("-", 2)[2]
    run = recording(case)
    reader = ClaudeReader(**run.options)
    if name in STOPPED:
        reader.stopping("cancelled")
    for line in run.lines:
        reader.feed(line)
    found = reader.finish(run.end)
    if name in TEXT_OUTPUT:
        assert found.kind == "lost"
    elif name == "schema-text-only":
        # Here the text is a valid value: the rule leaves it to the check of the output, which is not the reader's.
        assert (found.kind, found.answer) == (None, '{"name":"x","n":1}')
    else:
        assert (found.kind or "success") == case["verdict"], found.error


@pytest.mark.parametrize("case", recorded(), ids=lambda case: str(case["case"]))
def test_each_turn_of_a_recorded_process_has_its_own_verdict_answer_and_cost(case: dict[str, Any]) -> None:
    run = recording(case)
    spent = 0.0
    for turn, expected in zip(run.turns(), case["read"].get("results", []), strict=False):
        found = read(turn, ending(ended_by_us=True), dollars_before=spent, **run.options)
        kind = {"local": "failed"}.get(expected["kind"], expected["kind"])
        if case["case"].endswith("schema-text-only"):
            kind = "success"
        assert (found.kind or "success") == kind
        if expected.get("structured_output") is None:
            assert found.answer == (expected.get("result") or "")
        else:
            assert json.loads(found.answer) == expected["structured_output"]
        since = expected["cost_since_last_result"]
        total = expected["total_cost_usd"]
        assert found.cost_usd == pytest.approx(since if since is not None else total - spent)
        assert found.session_id == expected["session_id"]
        spent = total


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
@pytest.mark.parametrize(("version", "cost"), [("2.1.197", 0.000175), ("2.1.330", 0.00014)])
def test_a_resumed_session_costs_only_what_this_process_spent(version: str, cost: float) -> None:
    run = recording(next(case for case in recorded() if case["case"] == f"claude-{version}-resume"))
    assert read(run.lines).cost_usd == pytest.approx(cost)


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
def test_a_turn_is_not_over_while_a_background_command_runs() -> None:
    for version, over in (("2.1.330", [False, True]), ("2.1.197", [False])):
        run = recording(next(case for case in recorded() if case["case"] == f"claude-{version}-bg-task-at-end"))
        reader = ClaudeReader()
        seen = []
        for line in run.lines:
            reader.feed(line)
            if b'"type":"result"' in line:
                seen.append(reader.turn_over)
        assert seen == over
        assert reader.turn_over
        assert not reader.tool_running


@pytest.mark.skipif(not CASES.exists(), reason="shared cases are not beside this checkout")
def test_a_rejected_subscription_names_its_reset_by_the_event() -> None:
    run = recording(next(case for case in recorded() if case["case"] == "claude-2.1.330-sub-rejected-5h"))
    assert read(run.lines, run.end).resets_at == 1795454308


@pytest.mark.parametrize("case", [case for case in recorded() if case["verdict"] == "success"], ids=lambda case: str(case["case"]))
def test_our_count_of_turns_is_not_above_that_of_the_cli(case: dict[str, Any]) -> None:
    for turn in recording(case).turns():
        reader = ClaudeReader()
        for line in turn:
            reader.feed(line)
        seen = reader.transcript
        assert seen.result is None or seen.messages <= seen.reported_turns


# ---- the rules, where no recording shows them ----


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("API Error: 500 internal server error", "overloaded"),
        ('API Error: 529 {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}', "overloaded"),
        ('API Error (529 {"type":"error"})', "overloaded"),
        ("API Error: Repeated 529 Overloaded errors", "overloaded"),
        ("Invalid API key · Please run /login", "auth"),
        ('API Error: 401 {"type":"error"}', "auth"),
        ("Credit balance is too low", "auth"),
        ("Claude AI usage limit reached|1762952400", "rate_limited"),
        ("You've hit your session limit", "rate_limited"),
        ("429 rate_limit_error: try again in 2 hours 5 minutes", "rate_limited"),
        ("API Error: Request rejected (429) · slow down", "rate_limited"),
        ("API Error: 400 bad request", "failed"),
        ("404 files were read", "failed"),
    ],
)
def test_an_error_without_fields_is_judged_by_its_text(text: str, kind: str) -> None:
    assert read([result(text, is_error=True)], ending(1)).kind == kind


def test_an_error_in_the_middle_of_the_work_is_judged_by_its_text_too() -> None:
    for text, kind in (
        ("You've hit your session limit", "rate_limited"),
        ("API Error: 529 Overloaded", "overloaded"),
        ("No such file", "failed"),
    ):
        assert read([INIT, result(text, subtype="error_during_execution", is_error=True)], ending(1)).kind == kind


def test_a_status_that_stands_as_text_is_a_status() -> None:
    assert read([result("boom", is_error=True, api_error_status="429")], ending(1)).kind == "rate_limited"


@pytest.mark.parametrize(
    ("stderr", "kind"),
    [
        ("Claude AI usage limit reached|1762952400\n", "rate_limited"),
        ("warning: x\nYou've hit your session limit · resets 11pm (UTC)", "rate_limited"),
        ("Invalid API key · Please run /login", "auth"),
        ("Segmentation fault", "lost"),
    ],
)
def test_an_agent_that_does_nothing_says_on_stderr_why(stderr: str, kind: str) -> None:
    assert read([], ending(1, stderr=stderr)).kind == kind
    assert read([INIT], ending(1, stderr=stderr)).kind == "lost"  # a tool of the agent may have printed it


def test_an_account_that_was_rejected_is_limited_also_where_no_result_followed() -> None:
    rejected = event(type="rate_limit_event", rate_limit_info={"status": "rejected", "resetsAt": 1795454308})
    found = read([INIT, rejected], ending(1))
    assert (found.kind, found.resets_at) == ("rate_limited", 1795454308)
    assert read([INIT, rejected, tool_use("a")], ending(1)).kind == "lost"
    assert read([INIT, rejected, result()]).kind is None


def test_a_refusal_of_the_model_is_no_success() -> None:
    found = read([result("I cannot help with that.", stop_reason="refusal")])
    assert (found.kind, found.error) == ("failed", "the model refused to answer: I cannot help with that.")


def test_a_lost_result_says_that_a_line_was_too_long() -> None:
    assert "after a line longer than 16 MB" in read([INIT, b"x" * (MAX_LINE_BYTES + 1)]).error


@pytest.mark.parametrize("denials", ["Bash", {"tool_name": "Bash"}, [None]])
def test_denials_in_another_form_are_denials(denials: Any) -> None:
    assert read([result(permission_denials=denials)]).kind == "permission_denied"


def test_a_limit_quoted_in_a_good_answer_is_no_limit() -> None:
    assert read([result("The docs say 'Claude AI usage limit reached|1767225600'.")]).kind is None


def test_a_limit_text_names_the_reset() -> None:
    found = read([result("You've hit your limit · try again in 2 hours 5 minutes", is_error=True)], ending(1))
    assert found.resets_at == NOW + 125 * 60


def test_stopping_before_the_result_was_read_is_the_verdict_whatever_comes() -> None:
    reader = ClaudeReader()
    reader.feed(INIT)
    reader.stopping("timeout")
    reader.feed(result())
    assert reader.finish(ending()).kind == "timeout"


def test_stopping_after_a_whole_result_does_not_count() -> None:
    reader = ClaudeReader()
    reader.feed(result())
    reader.stopping("timeout")
    assert reader.finish(ending(143)).kind is None


def test_an_exit_code_after_a_good_result_counts_unless_we_ended_it() -> None:
    assert read([result()], ending(1)).kind == "failed"
    assert read([result()], ending(None, signal=9)).kind == "failed"
    assert read([result()], ending(143, ended_by_us=True)).kind is None


def test_a_refused_start_is_invalid_and_costs_nothing() -> None:
    found = read([], ending(1, stderr="error: unknown option '--x'"))
    assert (found.kind, found.cost_usd) == ("invalid", 0.0)


def test_the_same_words_after_events_do_not_make_it_invalid() -> None:
    found = read([INIT], ending(1, stderr="warning: settings: the key is invalid"))
    assert (found.kind, found.cost_usd) == ("lost", None)


def test_denials_fail_unless_the_step_allows_them() -> None:
    line = result(permission_denials=[{"tool_name": "Bash", "tool_use_id": "t1"}])
    assert read([line]).kind == "permission_denied"
    allowed = read([line], allow_denials=True)
    assert (allowed.kind, allowed.denials) == (None, ("Bash",))


def test_more_turns_than_allowed_are_no_success() -> None:
    assert read([result(num_turns=500)], max_turns=499).kind == "max_turns"
    assert read([result(num_turns=500)], max_turns=500).kind is None


def test_the_turn_in_which_a_structured_answer_is_handed_in_does_not_count() -> None:
    assert read([result(num_turns=2, structured_output={"n": 1})], max_turns=1).kind is None


def test_messages_of_a_subagent_are_no_turns_of_the_task() -> None:
    lines = [event(type="assistant", message={"id": f"m{n}", "content": []}, parent_tool_use_id="t") for n in range(9)]
    assert read([*lines, result(num_turns=1)], max_turns=1).kind is None


def test_messages_counted_by_us_win_over_a_smaller_claim() -> None:
    lines = [event(type="assistant", message={"id": f"m{n}", "content": []}) for n in range(9)]
    assert read([*lines, result(num_turns=1)], max_turns=5).kind == "max_turns"


@pytest.mark.parametrize("text", ["", " \n\t", None])
def test_an_empty_answer_is_a_failure(text: str | None) -> None:
    assert read([result(text)]).kind == "failed"
    assert read([result(text)], schema_asked=True).kind == "bad_output"


@pytest.mark.parametrize("fields", [{"usage": {}, "num_turns": 1}, {"num_turns": 0}, {"usage": None}, {"usage": {"output_tokens": "many"}}])
def test_a_claim_without_tokens_or_turns_is_a_failure(fields: dict[str, Any]) -> None:
    assert read([result(**fields)]).kind == "failed"


@pytest.mark.parametrize("cost", [float("nan"), float("inf"), -3, None, "0.1", True, 10**400, 1e300])
def test_a_cost_that_is_no_amount_is_unknown(cost: Any) -> None:
    found = read([result(total_cost_usd=cost)])
    assert (found.kind, found.cost_usd) == (None, None)


def test_the_cost_of_two_results_is_the_running_total_and_the_last_answer_counts() -> None:
    found = read([result("first", total_cost_usd=0.01), result("second", total_cost_usd=0.03)])
    assert found.answer == "second"
    assert found.cost_usd == pytest.approx(0.03)


def test_a_model_without_a_price_makes_the_cost_unknown() -> None:
    assert read([result(model_usage_since_last_result={"a": {"costUSD": 0.1}, "b": {}})]).cost_usd is None
    assert read([result(model_usage_since_last_result={"a": {"costUSD": 0.1}, "b": {"costUSD": 0.2}})]).cost_usd == pytest.approx(0.3)


def test_a_tool_runs_between_its_use_and_its_result() -> None:
    reader = ClaudeReader()
    assert reader.feed(tool_use("t1")) == "Bash pytest -q"
    assert reader.tool_running
    reader.feed(tool_use("t2"))
    reader.feed(tool_result("t1"))
    assert reader.tool_running
    reader.feed(tool_result("t2"))
    assert not reader.tool_running


def test_a_tool_that_never_reported_does_not_run_on_after_the_result() -> None:
    reader = ClaudeReader()
    reader.feed(tool_use("t1"))
    reader.feed(result())
    assert reader.turn_over
    assert not reader.tool_running


def test_a_turn_that_the_cli_began_after_a_background_task_is_waited_for() -> None:
    reader = ClaudeReader()
    for line, over in ((INIT, False), (result("started"), True), (INIT, False), (result("done"), True)):
        reader.feed(line)
        assert reader.turn_over is over
    assert reader.finish(ending()).answer == "done"


def test_a_running_total_that_falls_makes_the_cost_unknown() -> None:
    assert read([result(total_cost_usd=0.03), result(total_cost_usd=0.01)]).cost_usd is None


def test_a_usage_limit_is_known_by_its_field_alone() -> None:
    fields = {"is_error": True, "api_error": "usage_limit_reached", "api_error_status": 400}
    assert read([result("new words for it", **fields)], ending(1)).kind == "rate_limited"


def test_who_looks_on_is_told_what_happens() -> None:
    reader = ClaudeReader()
    told = [
        (event(type="system", subtype="init", mcp_servers=[{"name": "github", "status": "failed"}]), "MCP servers that failed: github"),
        (event(type="assistant", message={"content": [{"type": "text", "text": "\n I will look.\nThen"}]}), "\n I will look.\nThen"),
        (event(type="system", subtype="api_retry", error="overloaded"), "the API asks to wait: overloaded"),
        (event(type="system", subtype="model_fallback", fallback_model="haiku"), "falls back to haiku"),
        (event(type="system", subtype="permission_denied", tool_name="Write"), "refused: Write"),
        (result(), None),
    ]
    assert [reader.feed(line) for line, _ in told] == [words for _, words in told]


def test_events_after_the_result_change_nothing() -> None:
    reader = ClaudeReader()
    for line in (INIT, result("the answer"), event(type="assistant", message={"content": [{"type": "text", "text": "by the way"}]})):
        reader.feed(line)
    assert reader.turn_over
    assert reader.finish(ending()).answer == "the answer"


def test_lines_that_are_no_events_are_skipped() -> None:
    lines = [
        b"{not json",
        b"Warning: update",
        b"",
        b"[1, 2]",
        b"null",
        b'{"type": 7}',
        b"{}",
        b'{"type":"brand_new"}',
        b'{"type":["result"]}',
    ]
    lines += [
        b'{"type":"assistant","message":{"content":[{"type":"text","text":"\xff\xfe"}]}}',
        b"[" * 100_000,
        b'{"x":' + b"9" * 6000 + b"}",
    ]
    assert read([*lines, result()]).kind is None


def test_a_result_line_that_was_cut_is_no_result() -> None:
    assert read([INIT, result()[:60]]).kind == "lost"


def test_an_event_of_eight_megabytes_is_an_event() -> None:
    assert read([result("x" * 8_000_000)]).answer == "x" * 8_000_000


def test_half_of_a_surrogate_pair_does_not_reach_anyone() -> None:
    line = result().replace(b'"done"', b'"a\\ud800b"')
    assert read([line]).answer == "a?b"
    assert read([result(structured_output={"a": "\ud800"})]).answer == '{"a": "?"}'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=8,
)
KEYS = [
    "subtype",
    "result",
    "is_error",
    "num_turns",
    "session_id",
    "total_cost_usd",
    "usage",
    "permission_denials",
    "errors",
    "message",
    "content",
    "id",
    "model",
    "error",
    "patch",
    "task_id",
    "tasks",
    "rate_limit_info",
    "model_usage_since_last_result",
    "structured_output",
    "api_error_status",
    "status",
    "resetsAt",
    "parent_tool_use_id",
]
TYPES = st.sampled_from(["system", "assistant", "user", "result", "rate_limit_event", "other"])
SUBTYPES = st.sampled_from(["init", "success", "task_started", "task_updated", "background_tasks_changed", "error_during_execution", "x"])
EVENTS = st.builds(
    lambda kind, subtype, rest: {**rest, "type": kind, "subtype": subtype},
    TYPES,
    SUBTYPES | JSON,
    st.dictionaries(st.sampled_from(KEYS), JSON | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=4), max_size=8),
)


@given(st.lists(EVENTS, max_size=6))
def test_no_event_whatever_its_types_breaks_the_reader(events: list[dict[str, Any]]) -> None:
    found = read([json.dumps(one).encode() for one in events], max_turns=3)
    assert found.cost_usd is None or 0 <= found.cost_usd < 1e10
    assert isinstance(found.answer, str)
    found.answer.encode()


def test_tokens_of_a_cache_count_among_the_input_and_are_named() -> None:
    usage = {"input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 70, "output_tokens": 5}
    found = read([INIT, result(usage=usage)])
    assert (found.input_tokens, found.output_tokens, found.cached_tokens) == (100, 5, 70)
