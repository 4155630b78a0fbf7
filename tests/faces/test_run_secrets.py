"""Secrets in whole runs: no byte of one is in anything that a run writes or a command prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from session import Ended, Session

from cases import cases

TOKEN = "tok_5f2c9a71e0b84d36"
READERS = [["status"], ["status", "--json"], ["events"], ["logs"], ["runs", "--json"]]


def written(session: Session) -> dict[str, bytes]:
    """Every file that runs have written, its name with it: in the run's folder and where worktrees live."""
    places = [session.path / ".cpool", session.home / "state"]
    files = [path for place in places for path in sorted(place.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {str(path): str(path).encode() + b"\n" + path.read_bytes() for path in files}


def shown(session: Session) -> bytes:
    """What the commands that read a run print; one process for all of them is much faster than one for each."""
    program = f"from cpool_flow.cli.main import run_main\nassert not any([run_main(command) for command in {READERS!r}])"
    ended = subprocess.run([sys.executable, "-c", program], cwd=session.path, env=session.environment, capture_output=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout + ended.stderr


def assert_hidden(session: Session, ended: Ended, *forbidden: str) -> None:
    places = {"the run": (ended.out + ended.err).encode("utf-8", "surrogateescape"), **written(session), "readers": shown(session)}
    found = [(place, text) for place, content in places.items() for text in forbidden if text.encode() in content]
    assert not found


# ---- the shared cases ---------------------------------------------------------------------------------------

OUTPUTS = "stdout of a shell step", "stderr", "GitHub Actions"
CASES = [pytest.param(case, id=case["id"]) for case in cases("hostile/secrets.json")["cases"]]


def of(*places: str) -> list[Any]:
    chosen = [case for case in CASES if case.values[0]["where"] in places]
    assert chosen
    return chosen


def environment(case: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in case["secrets"].items() if value is not None}


def workflow(session: Session, case: Mapping[str, Any], rest: str) -> None:
    session.file("flow.yaml", f"version: 1\nsecrets: {json.dumps(list(case['secrets']))}\n" + rest)


@pytest.mark.parametrize("case", of(*OUTPUTS))
def test_what_a_command_prints_is_masked_wherever_it_goes(session: Session, case: dict[str, Any]) -> None:
    around = bytes.fromhex(case.get("around_hex", ""))
    writes = [case["text"]] if isinstance(case["text"], str) else case["text"]
    for number, text in enumerate(writes):
        (session.home / f"write-{number}").write_bytes(around + text.encode() + around)
    redirect = " >&2" if case["where"] == "stderr" else ""
    commands = "; sleep 0.1; ".join(f'cat "$HOME/write-{number}"{redirect}' for number in range(len(writes)))
    rest = f"""steps:
  - name: first
    run: '{commands}{"; exit 3" if case.get("fails") else ""}'
  - name: next
    join: done
    env: {{GIVEN: "{{{{ steps.first.output | default(steps.first.error) }}}}"}}
    run: printf %s "$GIVEN"
outputs: {{all: "{{{{ steps.next.output }}}}"}}
"""
    workflow(session, case, rest)
    ended = session.flow("run", "flow.yaml", "--events", **environment(case))
    if case.get("level") == "error at start":
        assert ended.code == 2
        assert f"`{next(iter(case['secrets']))}`" in ended.err
        assert not (session.path / ".cpool").exists()
        return
    assert ended.code == (1 if case.get("fails") else 0), ended.err
    assert_hidden(session, ended, *case["must_not_appear"])
    if case["must_not_appear"] and case["where"] == "stdout of a shell step":
        assert "***" in session.status()["outputs"].get("all", "***")


@pytest.mark.parametrize("case", of("agent's answer"))
@pytest.mark.parametrize("mode", ["text", "json"])
def test_what_an_agent_answers_is_masked_wherever_it_goes(session: Session, case: dict[str, Any], mode: str) -> None:
    session.file("answers.yaml", json.dumps({"default": {"answer": case["text"]}}))
    rest = f"""config: {{agent: scripted, script: answers.yaml}}
steps:
  - {{name: ask, prompt: Which?, output: {mode}}}
  - name: use
    run: ["printf", "%s", "{{{{ steps.ask.{"json" if mode == "json" else "output"} }}}}"]
outputs: {{all: "{{{{ steps.use.output }}}}", data: "{{{{ steps.ask.json }}}}"}}
"""
    workflow(session, case, rest)
    ended = session.flow("run", "flow.yaml", "--json", **environment(case))
    assert ended.code == 0, ended.err
    assert json.loads(ended.json()["outputs"]["all"]) == {"***": 1}
    assert_hidden(session, ended, *case["must_not_appear"])


@pytest.mark.parametrize("case", of("run text"))
def test_a_secret_that_a_command_uses_is_in_no_process_arguments_and_not_in_the_plan(session: Session, case: dict[str, Any]) -> None:
    secret = case["secrets"]["TOKEN"] + os.urandom(4).hex()  # no other process of this machine can have it
    look = 'for each in /proc/[0-9]*/cmdline; do tr "\\0" " " < "$each"; echo; done 2>/dev/null > "$HOME/arguments"'
    session.file("curl", f"#!/bin/sh\n{look}\n").chmod(0o755)
    rest = """steps:
  - name: fetch
    secrets: [TOKEN]
    run: |
      # curl -H "auth: $TOKEN" …
      test "${TOKEN%_*}" = tok
      ./curl
      true
    verify: test "${TOKEN%_*}" = tok
"""
    workflow(session, case, rest)
    ended = session.program(*session.command("run", "flow.yaml"), TOKEN=secret)  # whose own arguments are looked at as well
    assert ended.code == 0, ended.err
    arguments = (session.home / "arguments").read_text()
    assert "cpool_flow run flow.yaml" in arguments
    assert 'bash -euo pipefail -c # curl -H "auth: $TOKEN"' in arguments
    assert secret not in arguments
    assert_hidden(session, ended, secret)
    plan = session.flow("plan", "flow.yaml", TOKEN=secret)
    assert plan.code == 0, plan.err
    assert '"auth: $TOKEN"' in plan.out
    assert_hidden(session, plan, secret)


FANS = {
    "in the file": "foreach: [{0}, other]",
    "in an argument": "foreach: \"{{{{ [args.v, 'other'] }}}}\"",
    "in an output": 'foreach: "{{{{ steps.before.json }}}}"',
}


@pytest.mark.parametrize("fan", FANS.values(), ids=list(FANS))
@pytest.mark.parametrize("case", of("foreach item"))
def test_an_item_that_is_a_secret_names_no_file_and_is_written_nowhere(session: Session, case: dict[str, Any], fan: str) -> None:
    session.repository()
    (session.home / "items").write_text(json.dumps([case["text"], "other"]))
    rest = f"""args: {{v: {{type: string, default: ""}}}}
isolation: worktree
steps:
  - {{name: before, run: 'cat "$HOME/items"', output: json}}
  - name: each
    {fan.format(case["text"])}
    run: printf %s {{{{ item }}}} | tee "made-{{{{ index }}}}"
outputs: {{all: "{{{{ steps.each.json }}}}"}}
"""
    workflow(session, case, rest)
    ended = session.flow("run", "flow.yaml", "--json", "--arg", f"v={case['text']}", **environment(case))
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"]["all"] == ["***", "other"]
    assert [item["item"] for item in ended.json()["steps"][1]["items"]] == ["***", "other"]
    assert_hidden(session, ended, *case["must_not_appear"])
    assert case["text"] not in session.git("for-each-ref")
    assert case["text"] not in session.git("log", "--all", "--format=%B", "--name-only")


@pytest.mark.parametrize("case", of("workflow outputs"))
def test_an_output_of_the_workflow_that_holds_a_secret_is_masked(session: Session, case: dict[str, Any]) -> None:
    rest = f"""steps: [{{name: show, secrets: [TOKEN], run: 'printf %s "$TOKEN"'}}]
outputs: {{shown: "{{{{ steps.show.output }}}}", literal: {case["text"]}}}
"""
    workflow(session, case, rest)
    ended = session.flow("run", "flow.yaml", **environment(case))
    assert ended.code == 0, ended.err
    assert_hidden(session, ended, case["text"])


@pytest.mark.parametrize("case", of("environment of the agent"))
def test_only_the_steps_that_name_a_secret_have_it_in_their_environment(session: Session, case: dict[str, Any]) -> None:
    look = 'sh -c "env | grep -c ^TOKEN= || true"'
    rest = f"""setup: test -z "${{TOKEN+set}}"
config: {{agent: command, command: [sh, -c, "env | grep -c ^TOKEN= || true"]}}
steps:
  - {{name: shell, run: {look}, verify: 'test -z "${{TOKEN+set}}"'}}
  - {{name: agent, prompt: Look, verify: 'test -z "${{TOKEN+set}}"'}}
  - {{name: named_shell, run: {look}, secrets: [TOKEN], verify: 'test -n "$TOKEN"'}}
  - {{name: named_agent, prompt: Look, secrets: [TOKEN], verify: 'test -n "$TOKEN"'}}
finally:
  - {{name: last, run: {look}}}
"""
    workflow(session, case, rest)
    ended = session.flow("run", "flow.yaml", "--json", **environment(case))
    assert ended.code == 0, ended.err
    assert [step["output"] for step in ended.json()["steps"]] == ["0", "0", "1", "1", "0"]


@pytest.mark.parametrize("case", of("internal error"))
def test_a_bug_of_ours_prints_no_value(session: Session, case: dict[str, Any]) -> None:
    workflow(session, case, "steps: [{run: 'true'}]\n")
    assert session.flow("run", "flow.yaml", "--run-id", "one", **environment(case)).code == 0
    inputs = session.last_run() / "inputs" / "inputs.json"
    inputs.write_text(inputs.read_text().replace('"version": 1', f'"version": "{TOKEN}"'))
    for debug in ("0", "1"):
        ended = session.flow("status", "one", CPOOL_DEBUG=debug, **environment(case))
        assert ended.code == 5
        assert not [text for text in case["must_not_appear"] if text in ended.err + ended.out]


@pytest.mark.parametrize("case", of("resume"))
def test_after_kill_9_a_resume_masks_the_old_value_and_the_new_one(session: Session, case: dict[str, Any]) -> None:
    new = "tok_new_8f1d02"
    rest = """steps:
  - {name: first, secrets: [TOKEN], run: 'echo "first $TOKEN"'}
  - {name: second, secrets: [TOKEN], run: 'echo "second $TOKEN"; printf "unfinished %s" "$TOKEN"'}
"""
    workflow(session, case, rest)
    killed = session.flow("run", "flow.yaml", "--run-id", "one", CPOOL_FAULT="after-exit:2", **environment(case))
    assert killed.code == -9
    assert_hidden(session, killed, *case["must_not_appear"])
    missing = session.flow("resume", "one")
    assert missing.code == 2
    assert "`TOKEN`" in missing.err
    ended = session.flow("resume", "one", TOKEN=new)
    assert ended.code == 0, ended.err
    assert [step["output"] for step in session.status("one")["steps"]] == ["first ***", "second ***\nunfinished ***"]
    assert_hidden(session, ended, *case["must_not_appear"], new)
    assert session.flow("resume", "one").code == 0, "nothing runs: nothing is needed"
