"""An agent that `cpool.yaml` describes: how it is started, and what is made of what it prints."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cpool_flow.agents.own import Own
from cpool_flow.agents.protocol import AgentResult, Invocation
from cpool_flow.errors import InvalidInput
from cpool_flow.own_agent import OwnAgent

SEES = "import json, os, sys; print(json.dumps({'argv': sys.argv[1:], 'stdin': sys.stdin.read(), 'env': dict(os.environ)}))"


def agent(**form: Any) -> Own:
    return Own("mycli", OwnAgent.model_validate(form))


def prepared(folder: Path, form: dict[str, Any], **more: Any) -> Invocation:
    return agent(**{"command": ["mycli"], **form}).prepare(request(folder, **{"session_id": "ID", **more}))


def run(folder: Path, script: str, prompt: str = "do it", form: dict[str, Any] | None = None, **more: Any) -> AgentResult:
    """Play a shell script as the agent."""
    place = folder / "place"
    place.mkdir(exist_ok=True)
    own = agent(**{"command": ["sh", "-c", script], **(form or {})})
    return Attempt(own, request(place, prompt, **more)).run()


def test_the_prompt_goes_to_stdin_to_an_argument_or_to_a_file(tmp_path: Path) -> None:
    by_stdin = prepared(tmp_path, {})
    assert (by_stdin.argv, by_stdin.stdin) == (("mycli",), b"say hi")
    by_argument = prepared(tmp_path, {"prompt": "argument", "command": ["mycli", "--ask={prompt}", "-v"]})
    assert (by_argument.argv, by_argument.stdin) == (("mycli", "--ask=say hi", "-v"), b"")
    by_file = prepared(tmp_path, {"prompt": "file"})
    (file,) = by_file.files
    assert (by_file.argv, file.data) == (("mycli", file.path), b"say hi")


def test_a_prompt_too_long_for_an_argument_is_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="200,000 bytes"):
        prepared(tmp_path, {"prompt": "argument"}, prompt="x" * 200_000)


def test_options_come_from_the_configuration_in_the_order_of_the_file(tmp_path: Path) -> None:
    options = {
        "model": ["--model", "{}"], "allowed_tools": ["--tool={}"], "permission_mode": {"acceptEdits": ["--yes"], "plan": ["--read", "-n"]},
        "max_budget_usd": ["--cap", "{}"], "system_prompt": ["--system={}"], "mcp_servers": ["--mcp", "{}"], "max_turns": ["-t", "{}"],
    }  # fmt: skip
    config = {"max_turns": 3, "permission_mode": "plan", "allowed_tools": ["Edit", "Bash"], "model": "m", "max_budget_usd": 2}
    servers = {"github": {"env": {"TOKEN": "secret-token"}}}
    invocation = prepared(
        tmp_path, {"options": options}, config={**config, "mcp_servers": servers}, system_prompt="Be brief", budget_usd=0.5
    )
    (file,) = invocation.files
    assert invocation.argv == (
        "mycli", "--model", "m", "--tool=Edit", "--tool=Bash", "--read", "-n", "--cap", "0.500000", "--system=Be brief", "--mcp", file.path,
        "-t", "3",
    )  # fmt: skip
    assert json.loads(file.data) == servers
    assert invocation.stdin == b"say hi"


def test_instructions_without_an_option_stand_before_the_prompt(tmp_path: Path) -> None:
    schema = {"type": "object"}
    told = prepared(tmp_path, {}, system_prompt="Be brief", schema=schema).stdin.decode()
    assert told.startswith("<instructions>\nBe brief\n\nYour final answer must be one JSON value")
    assert told.endswith("</instructions>\n\nsay hi")
    handed = prepared(tmp_path, {"options": {"output_schema": ["--schema", "{}"]}}, schema=schema)
    assert (handed.stdin, json.loads(handed.files[0].data)) == (b"say hi", schema)


def test_a_session_is_gone_on_with_where_there_is_an_option_for_it(tmp_path: Path) -> None:
    options = {"options": {"resume": ["--session", "{}"], "fork": ["--copy={}"]}}
    assert prepared(tmp_path, options, resume="ID").argv == ("mycli", "--session", "ID")
    assert prepared(tmp_path, options, resume="OTHER").argv == ("mycli", "--copy=OTHER")
    assert prepared(tmp_path, options).argv == ("mycli",)
    with pytest.raises(InvalidInput, match="has no option `resume`"):
        prepared(tmp_path, {}, resume="ID")


def test_what_it_can_do_follows_from_its_description() -> None:
    can = agent(
        command=["x"], output="json", answer="a", cost_usd="c", input_tokens="i", output_tokens="o",
        options={"model": ["{}"], "permission_mode": {"plan": []}, "resume": ["{}"], "output_schema": ["{}"]},
    ).capabilities  # fmt: skip
    assert (can.resume, can.fork, can.schema, can.cost, can.tokens) == (True, False, True, True, True)
    assert can.keys == {"model", "permission_mode", "system_prompt"}
    assert (can.takes("permission_mode", "plan"), can.takes("permission_mode", "auto")) == (True, False)
    plain = agent(command=["x"]).capabilities
    assert (plain.keys, plain.resume, plain.cost) == ({"system_prompt"}, False, False)


def test_its_environment_is_scrubbed_but_for_its_credentials(tmp_path: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "MYCLI_KEY": "k", "OTHER_KEY": "o"}
    found = run(tmp_path, "env", form={"credentials": ["MYCLI_KEY"]}, environment=environment)
    assert "MYCLI_KEY=k" in found.answer.splitlines()
    assert "OTHER_KEY" not in found.answer


def test_a_missing_program_says_what_the_description_says(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as refused:
        agent(command=["no-such-cli"], install="pip install no-such-cli").check(request(tmp_path).config, {"PATH": "/nowhere"})
    assert refused.value.problems[0].help == "pip install no-such-cli"
    agent(command=["./beside"]).check(request(tmp_path).config, {"PATH": "/nowhere"})


# ---- what it prints ----


def test_the_answer_is_the_text_or_its_last_line(tmp_path: Path) -> None:
    assert run(tmp_path, "echo one; echo two").answer == "one\ntwo"
    assert run(tmp_path, "echo thinking; echo two; echo", form={"output": "last_line"}).answer == "two"


JSON = {"output": "json", "answer": "result.text", "cost_usd": "usage[0].cost", "session_id": "session", "error": "error.message"}


def says(**document: Any) -> str:
    return f"cat <<'END'\n{json.dumps(document, indent=1)}\nEND\n"


def test_values_stand_in_json_by_their_paths(tmp_path: Path) -> None:
    found = run(tmp_path, says(result={"text": " the answer \n"}, usage=[{"cost": 0.25}], session="s-1"), form=JSON)
    assert (found.kind, found.answer, found.cost_usd, found.session_id) == (None, "the answer", 0.25, "s-1")
    assert found.input_tokens is None


@pytest.mark.parametrize(("cost", "known"), [(-1, None), ("much", None), (None, None), (0, 0.0)])
def test_a_cost_that_is_none_is_unknown(tmp_path: Path, cost: Any, known: float | None) -> None:
    assert run(tmp_path, says(result={"text": "x"}, usage=[{"cost": cost}]), form=JSON).cost_usd == known


def test_an_answer_that_is_data_is_its_json(tmp_path: Path) -> None:
    assert run(tmp_path, says(result={"text": {"n": [1]}}), form=JSON).answer == '{"n": [1]}'


def test_warnings_before_the_json_are_no_matter(tmp_path: Path) -> None:
    assert run(tmp_path, 'echo warning; echo \'{"result": {"text": "x"}}\'', form=JSON).answer == "x"


@pytest.mark.parametrize(
    ("script", "kind", "error"),
    [
        ("echo no json", "lost", "without an answer in its output"),
        ("true", "lost", "without an answer in its output"),
        (says(result={"text": "  "}), "failed", "the answer is empty"),
        (says(result={"text": "x"}, error={"message": "the model is gone"}), "failed", "the model is gone"),
        (says(error={"message": "Usage limit reached. Try again in 2 hours"}), "rate_limited", "Usage limit reached"),
        (says(result={"text": "x"}) + "exit 3", "failed", "exit code 3"),
        (says(result={"text": "x"}) + "kill -9 $$", "lost", "signal 9"),
        ("echo why >&2; exit 75", "overloaded", "exit code 75: why"),
        ("echo why >&2; exit 4", "auth", "exit code 4: why"),
        (says(result={"text": "x"}) + "exit 10", None, ""),
    ],
)
def test_a_failure_has_its_kind(tmp_path: Path, script: str, kind: str | None, error: str) -> None:
    codes = {"overloaded": [75, 76], "auth": 4, "success": 10}
    found = run(tmp_path, script, form={**JSON, "exit_codes": codes})
    assert (found.kind, error in found.error) == (kind, True), found.error


def test_a_limit_names_its_end(tmp_path: Path) -> None:
    text = "You've hit your usage limit, try again at Nov 24th, 2030 6:00 AM."
    environment = {"PATH": "/usr/bin:/bin", "TZ": "UTC"}
    found = run(tmp_path, says(error={"message": text}), form=JSON, environment=environment)
    assert found.resets_at == datetime(2030, 11, 24, 6, tzinfo=UTC).timestamp()


LINES = {
    "output": "json_lines", "event_key": "kind", "answer": {"event": "say", "path": "text", "all": True},
    "session_id": {"event": "start", "path": "id"}, "cost_usd": {"event": "end", "path": "spent"}, "error": {"event": "broken", "path": "why"},
    "input_tokens": {"event": "end", "path": "tokens[0]"}, "output_tokens": {"event": "end", "path": "tokens[1]"},
}  # fmt: skip


def lines(*events: dict[str, Any]) -> str:
    return "\n".join(["cat <<'END'", *map(json.dumps, events), "END"])


def test_values_stand_in_lines_by_their_events(tmp_path: Path) -> None:
    script = lines(
        {"kind": "start", "id": "s"}, {"kind": "say", "text": "one "}, {"kind": "think", "text": "hm"}, {"kind": "say", "text": "two"},
        {"kind": "say"}, {"kind": "end", "spent": 0.5, "tokens": [7, 2]},
    )  # fmt: skip
    found = run(tmp_path, f"echo noise; {script}", form=LINES)
    assert (found.kind, found.answer, found.session_id, found.cost_usd) == (None, "one two", "s", 0.5)
    assert (found.input_tokens, found.output_tokens) == (7, 2)


def test_the_last_line_holds_where_they_are_not_joined(tmp_path: Path) -> None:
    form = {"output": "json_lines", "answer": "text"}
    assert run(tmp_path, lines({"text": "one"}, {"text": "two"}, {"other": 1}), form=form).answer == "two"


def test_what_is_told_message_by_message_is_added_up(tmp_path: Path) -> None:
    places = {"cost_usd": "usd", "input_tokens": "in", "output_tokens": "out"}
    form = {"output": "json_lines", "answer": "text", **{name: {"path": path, "all": True} for name, path in places.items()}}
    lines = """echo '{"usd": 0.25, "in": 10, "out": 1}'; echo '{"text": "hi"}'; echo '{"usd": 0.5, "in": 20, "out": 2}'"""
    found = run(tmp_path, lines, form=form)
    assert (found.kind, found.cost_usd, found.input_tokens, found.output_tokens) == (None, 0.75, 30, 3)
    broken = run(tmp_path, f"""{lines}; echo '{{"usd": -1}}'; echo '{{"usd": 1}}'""", form=form)
    assert (broken.kind, broken.cost_usd) == (None, None)


def test_an_error_among_the_lines_is_a_failure(tmp_path: Path) -> None:
    found = run(tmp_path, lines({"kind": "say", "text": "x"}, {"kind": "broken", "why": "no"}), form=LINES)
    assert (found.kind, found.error) == ("failed", "no")


def test_output_without_end_is_not_kept(tmp_path: Path) -> None:
    script = "head -c 20000000 /dev/zero | tr '\\0' x"
    assert run(tmp_path, script).error == "the answer is longer than 16 MB"


def test_the_program_is_called_without_a_shell(tmp_path: Path) -> None:
    place = tmp_path / "place"
    place.mkdir()
    own = agent(command=[sys.executable, "-c", SEES, "$(touch PWNED)"], options={"model": ["{}"]}, output="json", answer=".")
    found = Attempt(own, request(place, "`touch PWNED`", config={"model": "; touch PWNED"})).run()
    seen = json.loads(found.answer)
    assert (seen["argv"], seen["stdin"]) == (["$(touch PWNED)", "; touch PWNED"], "`touch PWNED`")
    assert list(place.iterdir()) == []
