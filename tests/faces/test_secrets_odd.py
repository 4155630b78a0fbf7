"""Secrets where nobody looks for them: in names, halves, escapes, git's environment, and what kill -9 leaves."""

from __future__ import annotations

import base64
import json
import signal
import sqlite3
from pathlib import Path

import pytest
from session import Session
from test_run_secrets import TOKEN, assert_hidden

from survivors import eventually


def flow(session: Session, text: str, secrets: str = "TOKEN") -> None:
    session.file("flow.yaml", f"version: 1\nsecrets: [{secrets}]\n{text}")


def test_a_secret_that_json_writes_by_its_code_points_is_masked_in_the_data(session: Session) -> None:
    escaped = "".join(f"\\u{ord(character):04x}" for character in TOKEN)
    (session.home / "answer").write_text(json.dumps({"token": "X", "in a key": {"X": 1}}).replace("X", escaped))
    flow(
        session,
        """
steps:
  - {name: made, run: 'cat "$HOME/answer"', output: json, output_vars: {token: token}}
  - {name: read, run: 'cat "$HOME/answer"'}
  - name: wrong
    run: cat "$HOME/answer"
    output_schema: {type: object, properties: {token: {type: integer}}}
    on_failure: continue
  - {name: used, run: ["printf", "%s %s", "{{ steps.made.token }}", "{{ (steps.read.output | fromjson).token | file }}"]}
outputs: {all: "{{ steps.made.json }}", late: "{{ (steps.read.output | fromjson).token }}"}
""",
    )
    ended = session.flow("run", "flow.yaml", "--json", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == {"all": {"token": "***", "in a key": {"***": 1}}, "late": "***"}
    assert ended.json()["steps"][3]["output"].startswith("*** /")
    assert_hidden(session, ended, TOKEN)


@pytest.mark.parametrize("secret", ["true", "null", '", "', '": "', "1234", "success", "text", "steps"])
def test_a_secret_that_looks_like_json_or_like_a_word_of_ours_breaks_no_run(session: Session, secret: str) -> None:
    flow(
        session,
        """
args: {n: {type: integer, default: 1234}, flag: {type: boolean, default: true}}
steps:
  - {name: data, run: ["printf", "%s", '{"a": [true, null, "b", "c"], "n": 1}'], output: json, on_failure: continue}
  - name: each
    foreach: [true, null, 1234, a, "is true"]
    run: ["printf", "%s", "{{ item | tojson }}"]
outputs: {n: "{{ args.n }}", flag: "{{ args.flag }}", nothing: "{{ none }}", items: "{{ steps.each.json }}"}
""",
    )
    ended = session.flow("run", "flow.yaml", "--json", TOKEN=secret)
    assert ended.code == 0, ended.err
    outputs = session.status()["outputs"]
    assert outputs["flag"] is True
    assert outputs["nothing"] is None
    assert outputs["n"] == ("***" if secret == "1234" else 1234)
    assert outputs["items"][4] == ('"is ***"' if secret == "true" else '"is true"')


def test_a_secret_in_an_argument_is_masked_before_the_run_owns_it_and_a_warning_says_so(session: Session) -> None:
    flow(
        session,
        """
args: {v: {}, n: {type: integer, default: 3}}
steps: [{run: ["printf", "%s", "{{ args.v }}"]}]
""",
    )
    session.file("arguments.yaml", f"v: [a, {{b: 'x {TOKEN} y'}}]\n")
    for given in (("--arg", f"v={TOKEN}"), ("--args-file", "arguments.yaml"), ("--arg", f'v:=["{TOKEN}"]')):
        ended = session.flow("run", "flow.yaml", *given, "--tag", f"a {TOKEN} tag", TOKEN=TOKEN)
        assert ended.code == 0, ended.err
        assert "warning: argument `v` holds the value of a secret: the run sees `***` in its place" in ended.err
        assert session.status()["tags"] == ["a *** tag"]
        assert_hidden(session, ended, TOKEN)
    plan = session.flow("plan", "flow.yaml", "--arg", f"v={TOKEN}", TOKEN=TOKEN)
    assert_hidden(session, plan, TOKEN)
    for wrong in ((f"n={TOKEN}",), (f"{TOKEN}=1",), (f"v:={TOKEN}",)):
        refused = session.flow("run", "flow.yaml", "--arg", *wrong, TOKEN=TOKEN)
        assert refused.code == 2
        assert_hidden(session, refused, TOKEN)


def test_a_secret_in_the_workflow_file_is_masked_where_it_is_a_value_and_refused_where_it_is_a_name(session: Session) -> None:
    flow(session, f"steps:\n  - run: echo 'see {TOKEN}'\n    env: {{A: {TOKEN}}}\n")
    ended = session.flow("run", "flow.yaml", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert "warning: line 4 of the workflow file holds the value of a secret: the run sees `***` in its place" in ended.err
    assert session.status()["steps"][0]["output"] == "see ***"
    assert_hidden(session, ended, TOKEN)
    for text in (f"steps: [{{name: {TOKEN}, run: 'true'}}]", f"steps: [{{run: 'true', when: \"'{TOKEN}' == 'x'\"}}]"):
        flow(session, text)
        refused = session.flow("run", "flow.yaml", TOKEN=TOKEN)
        assert refused.code == 2
        assert "line 3 of the workflow file holds the value of a secret, where it cannot be masked" in refused.err
        assert TOKEN not in refused.err


def test_a_password_that_is_a_word_of_the_workflow_leaves_the_workflow_as_it_is(session: Session) -> None:
    flow(session, "steps: [{name: postgres, run: 'test postgres = \"$TOKEN\" && echo postgres', secrets: [TOKEN]}]\n")
    ended = session.flow("run", "flow.yaml", "--json", TOKEN="postgres")
    assert ended.code == 0, ended.err
    assert (ended.json()["steps"][0]["name"], ended.json()["steps"][0]["output"]) == ("postgres", "***")


def test_a_run_id_that_holds_a_secret_is_refused(session: Session) -> None:
    flow(session, "steps: [{run: 'true'}]\n")
    refused = session.flow("run", "flow.yaml", "--run-id", f"r-{TOKEN}", TOKEN=TOKEN)
    assert (refused.code, (session.path / ".cpool").exists()) == (2, False)
    assert TOKEN not in refused.err


def test_a_secret_in_the_name_of_a_file_that_a_step_leaves_is_masked(session: Session) -> None:
    session.repository()
    flow(
        session,
        """
isolation: worktree
steps:
  - {name: makes, secrets: [TOKEN], run: 'touch "a-$TOKEN.txt"; mkdir "b-$TOKEN"; git init -q "b-$TOKEN/c"; git -C "b-$TOKEN/c" commit -q --allow-empty -m x', env: {GIT_AUTHOR_NAME: a, GIT_AUTHOR_EMAIL: a, GIT_COMMITTER_NAME: a, GIT_COMMITTER_EMAIL: a}}
  - {name: shows, run: ["printf", "%s", "{{ steps.makes.changed_files }}"]}
""",
    )
    ended = session.flow("run", "flow.yaml", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert "a-***.txt" in session.status()["steps"][1]["output"]
    journal = "\n".join(data for (data,) in sqlite3.connect(session.last_run() / "journal.db").execute("SELECT data FROM events"))
    assert TOKEN not in journal + ended.err + ended.out


def test_a_setup_that_fails_shows_no_secret(session: Session) -> None:
    (session.home / "token").write_text(TOKEN)
    session.repository()
    flow(session, "isolation: worktree\nsetup: cat \"$HOME/token\"; exit 7\nsteps: [{run: 'true'}]\n")
    ended = session.flow("run", "flow.yaml", TOKEN=TOKEN)
    assert ended.code == 1, ended.err
    assert "***" in ended.err
    assert_hidden(session, ended, TOKEN)


def test_the_halves_of_a_secret_on_stdout_and_stderr_do_not_meet_in_the_log(session: Session) -> None:
    flow(
        session,
        'steps: [{name: halves, secrets: [TOKEN], run: \'printf %s "${TOKEN%e0b84d36}"; printf %s "${TOKEN#tok_5f2c9a71}" >&2\'}]\n',
    )
    ended = session.flow("run", "flow.yaml", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    assert_hidden(session, ended, TOKEN)


def test_the_credentials_of_an_agent_that_the_run_uses_are_masked(session: Session) -> None:
    program = session.home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text('#!/bin/sh\necho "my key is $ANTHROPIC_API_KEY"; echo "it is $ANTHROPIC_API_KEY" >&2; exit 1\n')
    program.chmod(0o755)
    session.environment["PATH"] = f"{program.parent}:{session.environment['PATH']}"
    flow(
        session,
        """
steps:
  - {name: ask, prompt: Hello, retries: 0, on_failure: continue}
  - {name: tell, run: 'echo "{{ steps.ask.error }} $ANTHROPIC_API_KEY"'}
""",
        secrets="",
    )
    key = "sk-ant-api03-5f2c9a71e0b84d36"
    ended = session.flow("run", "flow.yaml", ANTHROPIC_API_KEY=key)
    assert ended.code == 0, ended.err
    assert session.status()["steps"][1]["output"].endswith(" ***")
    assert_hidden(session, ended, key)


def test_what_kill_9_leaves_in_the_middle_of_a_secret_is_not_even_its_beginning(session: Session) -> None:
    flow(
        session,
        """
steps:
  - name: half
    secrets: [TOKEN]
    run: |
      printf 'all of it: %s, half of it: %s' "$TOKEN" "${TOKEN%e0b84d36}"
      touch "$HOME/half"
      test -e "$HOME/go" || sleep 60
      printf %s e0b84d36
""",
    )
    running = session.start("run", "flow.yaml", "--run-id", "one", TOKEN=TOKEN)
    spool = session.path / ".cpool" / "runs" / "one" / "logs"
    assert eventually(lambda: (session.home / "half").exists() and any(b"half of it" in path.read_bytes() for path in spool.iterdir()))
    running.send_signal(signal.SIGKILL)
    running.wait()
    (session.home / "go").touch()
    ended = session.flow("resume", "one", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    step = session.status()["steps"][0]
    assert step["output"] == "all of it: ***, half of it: ***"
    assert [attempt["error_kind"] for attempt in step["attempts"]] == ["lost", None]
    assert Path(step["attempts"][0]["log"]).read_text() == "all of it: ***, half of it: "
    assert_hidden(session, ended, TOKEN, TOKEN[:7])


def test_git_that_we_call_has_no_secret_in_its_environment(session: Session) -> None:
    session.repository()
    session.git("config", "filter.spy.clean", "sh -c 'env >> \"$HOME/seen\"; cat'")
    session.file(".gitattributes", "*.txt filter=spy\n")
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "spy")
    flow(session, "isolation: worktree\nsteps: [{run: 'echo x > made.txt', secrets: [TOKEN]}]\n")
    ended = session.flow("run", "flow.yaml", TOKEN=TOKEN)
    assert ended.code == 0, ended.err
    seen = (session.home / "seen").read_text()
    assert "GIT_INDEX_FILE=" in seen
    assert TOKEN not in seen


@pytest.mark.parametrize("isolation", ["none", "worktree"])
def test_tokens_of_the_git_configuration_are_not_in_the_folder_of_a_run(session: Session, isolation: str) -> None:
    session.repository()
    basic = base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()
    session.git("config", "http.https://example.com/.extraheader", f"AUTHORIZATION: basic {basic}")
    session.git("config", "remote.origin.url", f"https://user:{TOKEN}@example.com/a.git")
    session.git("config", f"url.https://{TOKEN}@example.com/.insteadOf", "https://example.com/")
    flow(session, f"isolation: {isolation}\nsteps: [{{run: 'echo x > made.txt', expect: {{changes: true}}}}]\n", secrets="")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 0, ended.err
    assert_hidden(session, ended, TOKEN, basic)


def test_a_detached_run_writes_no_secret_either(session: Session) -> None:
    flow(session, "steps: [{name: show, secrets: [TOKEN], run: 'echo \"is $TOKEN\"; exit 3'}]\n")
    started = session.flow("run", "flow.yaml", "--detach", "--run-id", "one", TOKEN=TOKEN)
    assert started.code == 0, started.err
    ended = session.flow("status", "one", "--watch", "--exit-status")
    assert ended.code == 1
    assert_hidden(session, ended, TOKEN)
