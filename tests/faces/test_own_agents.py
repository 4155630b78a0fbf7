"""An agent that `cpool.yaml` describes in ten lines works like any other."""

from __future__ import annotations

import pytest
from agent_stage import Stage
from session import Session

POOL = """\
    agents:
      mycli:
        command: [mycli, --json]
        options: {model: [--model, "{}"], permission_mode: {acceptEdits: [--yes]}, resume: [--session, "{}"]}
        output: json
        answer: result
        cost_usd: usage.cost
        session_id: session
        exit_codes: {overloaded: 75}
        credentials: [MYCLI_KEY]
    """
# Answers with its prompt, writes a file where it may, is overloaded at first, and shows its key.
PROGRAM = """\
import json, os, sys
prompt = sys.stdin.read()
if not os.path.exists(os.environ["SEEN"]):
    open(os.environ["SEEN"], "w").close()
    sys.exit(75)
if "--yes" in sys.argv:
    open("made.txt", "w").write("made")
known = [word for word in sys.argv[1:] if word not in ("--json", "--yes")]
print(json.dumps({"result": f"{prompt} {known} {os.environ['MYCLI_KEY']}", "usage": {"cost": 0.25}, "session": "s-1"}))
"""
FLOW = """\
    version: 1
    config: {agent: mycli, model: small}
    steps:
      - name: ask
        prompt: One
        env: {SEEN: "SEEN_FILE"}
        retry: {delay: 1ms}
      - name: more
        prompt: Two
        session: {continue: ask}
        env: {SEEN: "SEEN_FILE"}
        config: {permission_mode: acceptEdits}
        expect: {changes: true}
    outputs: {ask: "{{ steps.ask.output }}", more: "{{ steps.more.output }}"}
    """


@pytest.fixture
def stage(session: Session) -> Stage:
    session.file("cpool.yaml", POOL)
    stage = Stage(session)
    stage.program("mycli", PROGRAM)
    session.file("flow.yaml", FLOW.replace("SEEN_FILE", str(session.home / "seen")))
    session.environment["MYCLI_KEY"] = "key-of-somebody"
    return stage


def test_a_run_of_an_agent_that_nobody_has_written_an_adapter_for(stage: Stage) -> None:
    document = stage.run("--json").json()
    assert document["status"] == "success", document["error"]
    assert document["outputs"] == {"ask": "One ['--model', 'small'] ***", "more": "Two ['--model', 'small', '--session', 's-1'] ***"}
    ask, more = document["steps"]
    assert [(attempt["agent"], attempt["error_kind"]) for attempt in ask["attempts"]] == [("mycli", "overloaded"), ("mycli", None)]
    assert (ask["attempts"][1]["cost_usd"], more["attempts"][0]["session_id"]) == (0.25, "s-1")
    assert "key-of-somebody" not in "".join(path.read_text() for path in (stage.session.last_run() / "logs").iterdir())


def test_a_run_keeps_the_description_that_it_was_started_with(stage: Stage) -> None:
    text = (stage.session.path / "flow.yaml").read_text()
    stage.session.file("flow.yaml", text.replace("steps:\n", "steps:\n  - {name: ok, approve: Go on?}\n", 1))
    assert stage.run("--run-id", "one").code == 4
    stage.session.file("cpool.yaml", "slots: 2\n")
    stage.session.flow("approve", "one", "ok")
    assert stage.session.flow("resume", "one", "--json").json()["status"] == "success"


def test_it_can_stand_in_for_every_other_agent(stage: Stage) -> None:
    stage.session.file("other.yaml", f"version: 1\nsteps:\n  - {{name: a, prompt: Hi, env: {{SEEN: {stage.programs}}}}}\n")
    document = stage.session.flow("run", "other.yaml", "--agent", "mycli", "--json").json()
    assert document["steps"][0]["output"] == "Hi [] ***"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("{agent: mycli, model: small}", "{agent: mycly}"), "unknown agent `mycly`"),
        (("permission_mode: acceptEdits", "effort: high, agent: mycli"), "agent `mycli` does not take `effort`"),
        (("permission_mode: acceptEdits", "permission_mode: plan, agent: mycli"), "agent `mycli` does not take `permission_mode: plan`"),
        (("continue: ask", "fork: ask"), "agent `mycli` cannot copy an earlier session"),
    ],
)
def test_what_it_was_not_said_to_take_is_refused_beforehand(stage: Stage, change: tuple[str, str], message: str) -> None:
    text = (stage.session.path / "flow.yaml").read_text()
    stage.session.file("flow.yaml", text.replace(*change))
    ended = stage.session.flow("validate", "flow.yaml")
    assert (ended.code, message in ended.err + ended.out) == (2, True), ended.err + ended.out


def test_an_unknown_agent_of_the_command_line_names_the_nearest(stage: Stage) -> None:
    ended = stage.run("--agent", "mycl")
    assert (ended.code, "no agent `mycl`, did you mean `mycli`?" in ended.err) == (2, True)


def test_a_missing_program_is_told_before_the_run(stage: Stage) -> None:
    (stage.programs / "mycli").unlink()
    ended = stage.run()
    assert (ended.code, "the program `mycli` was not found on the PATH" in ended.err) == (2, True)


def test_doctor_names_it(stage: Stage) -> None:
    lines = stage.session.flow("doctor", PATH=f"{stage.programs}:/usr/bin:/bin").out.splitlines()
    at = next(number for number, line in enumerate(lines) if "agent mycli" in line)
    assert lines[at] == f"ok      agent mycli        {stage.programs}/mycli, from cpool.yaml"
    assert lines[at + 1] == "        can:  go on in a session, report its cost; config: model permission_mode system_prompt"
