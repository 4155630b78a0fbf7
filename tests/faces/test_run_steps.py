"""What a `run:` step does: where it runs, with what, what its output is, and what its success is. By the real command line."""

from __future__ import annotations

import json
from typing import Any

import pytest
from session import Session


def run(session: Session, text: str, *arguments: str, code: int = 0) -> dict[str, Any]:
    """The steps of a run of this file, by name, as the result has them."""
    session.file("flow.yaml", text)
    ended = session.flow("run", "flow.yaml", "--json", *arguments)
    assert ended.code == code, ended.err
    return {step["name"]: step for step in ended.json()["steps"]}


def outputs(steps: dict[str, Any]) -> dict[str, Any]:
    return {name: step["output"] for name, step in steps.items()}


def failures(steps: dict[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """How the last attempt of each step failed: its kind, and the first line of what people read."""
    last = {name: step["attempts"][-1] for name, step in steps.items() if step["attempts"]}
    return {name: (attempt["error_kind"], (attempt["error"] or "").split("\n")[0]) for name, attempt in last.items()}


def test_a_string_goes_to_bash_and_a_list_to_no_shell(session: Session) -> None:
    steps = run(
        session,
        """
        args: {x: {default: "a  b; $(echo c)"}}
        steps:
          - {name: string, run: 'printf "<%s>" {{ args.x }} "$BASH_VERSION" | cut -c1-18'}
          - {name: list, run: [printf, "<%s>", "{{ args.x }}", "$HOME", 7]}
          - {name: strict, needs: [], run: "false | cat; echo unreached", on_failure: continue}
          - {name: unset, needs: [], run: 'echo "$NO_SUCH_VARIABLE"', on_failure: continue}
          - {name: sh, needs: [], shell: sh -c, run: 'echo "$0"'}
          - {name: python, needs: [], shell: [python3, -c], run: "import sys; print(sys.argv[1:])"}
        """,
    )
    found = outputs(steps)
    assert found["string"].startswith("<a  b; $(echo c)>")
    assert found["list"] == "<a  b; $(echo c)><$HOME><7>"
    assert (found["sh"], found["python"]) == ("sh", "[]")
    assert (steps["strict"]["status"], steps["unset"]["status"]) == ("failed", "failed")


def test_the_output_is_stdout_without_exactly_one_last_newline(session: Session) -> None:
    steps = run(
        session,
        r"""
        steps:
          - {name: none, run: "true"}
          - {name: one, run: 'printf "a\n"'}
          - {name: two, run: 'printf "a\n\n"'}
          - {name: bare, run: 'printf "  a"'}
          - {name: stderr, run: 'echo out; echo err >&2'}
          - {name: crlf, run: 'printf "a\r\n"'}
          - {name: bytes, run: 'printf "\377\n"'}
        """,
    )
    assert outputs(steps) == {"none": "", "one": "a", "two": "a\n", "bare": "  a", "stderr": "out", "crlf": "a\r", "bytes": "\ufffd"}
    with open(steps["stderr"]["attempts"][0]["log"], encoding="utf-8") as log:
        assert log.read() == "out\nerr\n"


def test_json_lines_schema_and_variables_are_read_from_the_output(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - name: data
            run: [printf, '{"a": {"b": [1, {"c": "deep"}]}, "n": 2.5}']
            output_schema: {type: object, required: [a]}
            output_vars:
              deep: a.b[1].c
              all: .
              missing: {path: a.nothing, default: [fallback]}
          - {name: lines, run: 'printf "one\\n\\ntwo\\n"', output: lines}
          - name: reads
            run: >-
              echo {{ steps.data.deep }} {{ steps.data.json.a.b[0] + steps.data.json.n }} {{ steps.data.missing[0] }}
              {{ steps.lines.json | length }} {{ steps.data.vars.deep }}
        """,
    )
    assert steps["data"]["vars"]["deep"] == "deep"
    assert steps["data"]["vars"]["all"]["n"] == 2.5
    assert outputs(steps)["reads"] == "deep 3.5 fallback 2 deep"


def test_an_output_that_is_not_what_it_should_be_says_where_and_why(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: nojson, needs: [], output: json, run: echo hello}
          - {name: two, needs: [], output: json, run: echo 1 2}
          - {name: schema, needs: [], run: [echo, '{"n": "x"}'], output_schema: {properties: {n: {type: integer}}}}
          - {name: path, needs: [], run: [echo, '{"name": 1}'], output_vars: {x: nam}}
        """,
        code=1,
    )
    found = failures(steps)
    assert {kind for kind, _ in found.values()} == {"bad_output"}
    assert found["nojson"][1].startswith("nojson, attempt 1: the output is not one JSON value")
    assert "at `/n`: expected integer, found " in found["schema"][1]
    assert "output variable `x` (`nam`): the output has no `nam` (it has `name`); did you mean `name`?" in found["path"][1]


def test_env_stdin_cwd_and_identity(session: Session) -> None:
    session.file("sub/dir/here.txt", "found\n")
    steps = run(
        session,
        """
        env: {TOP: top, BOTH: top, SUM: "{{ args.n + 1 }}"}
        args: {n: {type: integer, default: 4}}
        steps:
          - {name: env, env: {BOTH: "step {{ env.TOP }}", NUMBER: 8080}, run: 'echo "$TOP/$BOTH/$NUMBER/$SUM"'}
          - {name: stdin, stdin: "{{ steps.env.output }} {{ args.n }}", run: cat}
          - {name: nothing, run: cat}
          - {name: cwd, cwd: "sub/{{ 'dir' }}", run: cat here.txt}
          - {name: identity, run: 'echo "$CPOOL_RUN_ID $CPOOL_SLOT $CPOOL_PORT_OFFSET"; test -d "$CPOOL_RUN_DIR"'}
          - {name: slotless, slot: none, run: 'echo "[$CPOOL_SLOT]"'}
        """,
        "--run-id",
        "mine",
    )
    assert outputs(steps) == {
        "env": "top/step top/8080/5",
        "stdin": "top/step top/8080/5 4",
        "nothing": "",
        "cwd": "found",
        "identity": "mine slot-1 100",
        "slotless": "[]",
    }


def test_work_that_cannot_be_done_is_errored_and_what_the_file_asks_wrongly_is_invalid(session: Session) -> None:
    (session.path / "link").symlink_to("/tmp")
    steps = run(
        session,
        """
        args: {up: {default: ".."}}
        steps:
          - {name: missing, needs: [], cwd: nowhere, run: "true"}
          - {name: outside, needs: [], cwd: "{{ args.up }}", run: "true"}
          - {name: link, needs: [], cwd: link, run: "true"}
          - {name: program, needs: [], run: [no-such-program-here, x]}
          - {name: again, needs: [], cwd: nowhere, run: "true", retries: 1, retry: {delay: 0s}}
        """,
        code=1,
    )
    found = failures(steps)
    assert found["missing"] == ("errored", "missing, attempt 1: `cwd` is no directory of the run's place: `nowhere`")
    assert found["outside"][0] == "invalid"
    assert found["link"][0] == "invalid"
    assert found["program"][0] == "errored"
    assert "`no-such-program-here` was not found on the PATH" in found["program"][1]
    assert len(steps["again"]["attempts"]) == 2


def test_exit_codes_signals_and_ok_codes(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: seven, needs: [], run: exit 7}
          - {name: killed, needs: [], run: 'kill -9 $$'}
          - {name: fine, needs: [], run: exit 3, ok_codes: [3, 4]}
          - {name: zero, needs: [], run: "true", ok_codes: [3]}
          - {name: other, needs: [], run: exit 5, ok_codes: [3]}
        """,
        code=1,
    )
    found = failures(steps)
    assert found["seven"] == ("failed", "seven, attempt 1: `exit 7` ended with exit code 7")
    assert found["killed"] == ("failed", "killed, attempt 1: `kill -9 $$` ended with signal SIGKILL")
    assert [steps[name]["status"] for name in ("fine", "zero", "other")] == ["success", "success", "failed"]
    assert [steps[name]["attempts"][0]["exit_code"] for name in ("seven", "killed", "fine", "zero", "other")] == [7, None, 3, 0, 5]


def test_verify_decides_and_is_told_apart_from_the_command(session: Session) -> None:
    steps = run(
        session,
        """
        steps:
          - {name: good, needs: [], run: "echo x > made", verify: ["test -e made", "grep -q {{ args.x }} made"]}
          - {name: bad, needs: [], run: echo ran, verify: ["true", "echo looked; exit 4", "touch unreached"]}
          - {name: unasked, needs: [], run: exit 1, verify: touch unreached}
        args: {x: {default: x}}
        """,
        code=1,
    )
    assert steps["good"]["status"] == "success"
    assert steps["bad"]["attempts"][0]["error"] == "bad, attempt 1: verify `echo looked; exit 4` ended with exit code 4\nlooked"
    assert steps["bad"]["output"] == "ran"
    assert not (session.path / "unreached").exists()


def test_expect_looks_at_the_place_of_the_step(session: Session) -> None:
    session.repository()
    for isolation in ("worktree", "none"):
        steps = run(
            session,
            """
            steps:
              - {name: changes, needs: [], run: "echo x > a", expect: {changes: true, files: ["a", "**/READ*"]}}
              - {name: nothing, needs: [], run: "true", expect: {changes: true}}
              - {name: clean, needs: [], run: "true", expect: {changes: false, commit: false}}
              - {name: dirty, needs: [], run: "echo y > b", expect: {changes: false}}
              - {name: files, needs: [], run: "true", expect: {files: ["*.none", README]}}
              - {name: commits, needs: [], run: "echo c > d; git add -A && git -c user.name=t -c user.email=t@t commit -qm c", expect: {commit: true}}
              - {name: uncommitted, needs: [], run: "echo z > c", expect: {commit: true}}
            """,
            "--isolation",
            isolation,
            code=1,
        )
        status = {name: step["status"] for name, step in steps.items()}
        assert {name for name in status if status[name] == "success"} == {"changes", "clean", "commits"}, isolation
        found = failures(steps)
        assert found["nothing"][1] == "nothing, attempt 1: expected changes, but no file has changed"
        assert found["dirty"][1] == "dirty, attempt 1: expected no changes, but files have changed"
        assert found["files"][1] == "files, attempt 1: expected files are missing: `*.none`"
        assert found["uncommitted"][1] == "uncommitted, attempt 1: expected a commit, but there is none"


def test_what_only_git_can_tell_is_refused_where_there_is_no_git(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: a, run: 'true', expect: {changes: true}}\n")
    ended = session.flow("run", "flow.yaml")
    assert ended.code == 2
    assert "`expect: changes` of step `a` needs a git repository" in ended.err
    assert not (session.path / ".cpool").exists()


def test_a_large_output_is_in_a_file_of_the_run_and_later_steps_have_it_whole(session: Session) -> None:
    steps = run(
        session,
        r"""
        steps:
          - {name: big, run: "python3 -c 'print(\"x\" * 200_000)'"}
          - {name: edge, run: "python3 -c 'print(\"y\" * 65_535)'"}
          - {name: read, stdin: "{{ steps.big.output }}", run: wc -c}
          - {name: counted, run: 'echo {{ steps.big.output | length }} {{ steps.edge.output | length }}'}
        """,
    )
    assert steps["big"]["output"] is None
    with open(steps["big"]["output_file"], "rb") as file:
        assert file.read(steps["big"]["output_bytes"]) == b"x" * 200_000
    assert steps["edge"]["output"] == "y" * 65_535
    assert (steps["read"]["output"], steps["counted"]["output"]) == ("200000", "200000 65535")
    assert len((session.last_run() / "journal.db").read_bytes()) < 150_000


def test_a_value_alone_reaches_stdin_whatever_its_size_and_with_nul_characters(session: Session) -> None:
    steps = run(
        session,
        r"""
        steps:
          - {name: big, run: "head -c 20000000 /dev/zero | tr '\\0' x"}
          - {name: odd, run: "printf 'a\\0b'"}
          - {name: large, stdin: "{{ steps.big.output }}", run: [wc, -c]}
          - {name: alone, stdin: "{{ steps.odd.output }}", run: [wc, -c]}
          - {name: in_text, stdin: "<{{ steps.odd.output }}>", run: [wc, -c]}
          - {name: number, stdin: "{{ 1 + 1 }}", run: [cat]}
          - {name: list, stdin: "{{ ['a', 1] }}", run: [cat]}
        """,
    )
    sizes = [steps[name]["output"].strip() for name in ("large", "alone", "in_text", "number", "list")]
    assert sizes == ["20000000", "3", "5", "2", '["a", 1]']


def test_values_of_the_run_and_of_earlier_steps(session: Session) -> None:
    steps = run(
        session,
        """
        name: values
        context: {team: payments}
        steps:
          - {name: first-one, run: echo 1}
          - name: second
            run: [printf, "%s|", "{{ previous.output }}", "{{ steps['first-one'].status }}", "{{ run.workflow }}", "{{ run.id }}",
                  "{{ run.branch }}", "{{ context.team }}", "{{ attempt }}", "{{ error }}", "{{ steps['first-one'].cost_usd }}",
                  "{{ steps['first-one'].duration >= 0 }}", "{{ steps['first-one'].error is none }}"]
        outputs:
          list: "{{ [1, 'two', none, true] }}"
          number: "{{ steps.second.output | length }}"
          text: "n = {{ 1 + 1 }}"
          literal: {a: ["{{ run.workflow }}", 3]}
        """,
        "--run-id",
        "r1",
    )
    assert steps["second"]["output"] == "1|success|values|r1||payments|1||0|true|true|"
    result = session.status()
    assert result["outputs"] == {
        "list": [1, "two", None, True],
        "number": len(steps["second"]["output"]),
        "text": "n = 2",
        "literal": {"a": ["values", 3]},
    }


@pytest.mark.timeout(300)
def test_a_step_that_prints_a_gigabyte_is_no_trouble(session: Session) -> None:
    session.file("flow.yaml", "steps:\n  - {name: big, run: [head, -c, 1G, /dev/zero]}\n  - {name: small, run: echo on}\n")
    (session.home / "measure.py").write_text(
        "import resource, subprocess, sys\n"
        "code = subprocess.run(sys.argv[1:]).returncode\n"
        "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    measured = {}
    for name, text in (("big", None), ("none", "steps:\n  - {run: 'true'}\n")):
        if text:
            session.file("flow.yaml", text)
        ended = session.program(
            "python3", str(session.home / "measure.py"), *session.command("run", "flow.yaml", "--json", "--run-id", name)
        )
        *_, last = ended.out.splitlines()
        code, kilobytes = map(int, last.split())
        assert code == 0, ended.err
        measured[name] = kilobytes
    big = session.status("big")["steps"][0]
    assert (big["status"], big["output_bytes"]) == ("success", 2**30)
    assert json.loads(session.flow("status", "big", "--json").out)["steps"][1]["output"] == "on"
    assert measured["big"] - measured["none"] < 40 * 1024
