"""A run in GitHub Actions: what its runner obeys, and the files that later steps of the job read."""

from __future__ import annotations

import json
import re
import signal
from collections import Counter
from typing import Any

import pytest
from session import Ended, Session

from actions_runner import Obeyed, Runner
from cases import cases
from survivors import eventually, pid_in, survivors

HOSTILE = r"""
    config: {agent: scripted, script: answers.yaml}
    secrets: [TOKEN]
    isolation: none
    steps:
      - name: prints
        run: |
          printf 'ok\r::set-env name=PATH::/tmp\r\n'
          printf '\342\200\203::error::from the step\n  ::stop-commands::x\n'
          printf '\033[0m ##[group]x\n::add-mask::e\n##[set-output name=a]b\n::endgroup::\n::'
          sleep 0.05
          printf 'error::cut in two, without an end'
        on_failure: continue
      - name: answers
        prompt: Say it.
      - name: each
        foreach: ["::error::item", "##[error]item"]
        run: echo {{ item }}; exit 3
        verify: "true"
        on_failure: continue
      - name: asks
        approve: |
          {{ steps.prints.output }}
      - name: fails
        run: printf '::warning::last words\r##[error]and more\n'; exit 4
    outputs:
      said: "{{ steps.prints.output }}"
      answer: "{{ steps.answers.output }}"
"""
ANSWERS = r"""
    steps:
      answers:
        answer: "first\r::error::from the agent\n##[add-mask]a\n::set-output name=x::y"
"""


@pytest.fixture
def job(session: Session) -> Session:
    """A step of a job."""
    for name in ("output", "summary"):
        (session.home / name).touch()
    session.environment |= {
        "GITHUB_ACTIONS": "true",
        "CI": "true",
        "GITHUB_WORKSPACE": str(session.path),
        "GITHUB_OUTPUT": str(session.home / "output"),
        "GITHUB_STEP_SUMMARY": str(session.home / "summary"),
        "TOKEN": "line-one-of-it\n}\nline-two%",
    }
    return session


def read(stream: str) -> Runner:
    return Runner(stream.encode("utf-8", "surrogateescape"))


def given(job: Session) -> dict[str, str]:
    """The outputs of the step, as the runner reads its file."""
    found: dict[str, str] = {}
    text = (job.home / "output").read_text(encoding="utf-8")
    while text:
        name, _, text = text.partition("<<")
        delimiter, _, text = text.partition("\n")
        value, _, text = text.partition(f"\n{delimiter}\n")
        found[name] = value
    return found


def test_of_all_that_a_run_prints_the_runner_obeys_only_what_we_say(job: Session) -> None:
    job.file("flow.yaml", HOSTILE)
    job.file("answers.yaml", ANSWERS)
    ended = job.flow("run", "flow.yaml", "--auto-approve")
    assert (ended.code, ended.err) == (1, "")
    seen = read(ended.out)
    assert not seen.stopped
    assert seen.names()[:2] == ["add-mask", "add-mask"]
    assert seen.of("add-mask") == [Obeyed("add-mask", "line-one-of-it"), Obeyed("add-mask", "line-two%")]
    assert ended.out.startswith("::add-mask::")
    groups = ["prints · success", "answers · success", "each[0] · failed", "each[1] · failed", "fails · failed"]
    assert sorted(group.data for group in seen.of("group")) == sorted(groups)
    assert Counter(seen.names()) == {"add-mask": 2, "group": 5, "endgroup": 5, "error": 1, "warning": 2}
    (failed,), (before, passed) = seen.of("error"), seen.of("warning")
    assert before.data.startswith("step `answers` may change files, and `isolation: none`")
    assert failed.properties == {"file": "flow.yaml", "line": "24", "col": "5"}
    assert (
        failed.data.split("\n")[0] == r"failed fails: `printf '::warning::last words\r## [error]and more\n'; exit 4` ended with exit code 4"
    )
    assert passed.properties == {"file": "flow.yaml", "line": "16", "col": "5"}
    assert "::error::cut in two, without an end" in seen.text
    assert len(set(re.findall(r"^::stop-commands::(.*)$", ended.out, re.MULTILINE))) == 6


def test_where_there_is_nothing_of_others_to_show_no_command_is_stopped(job: Session) -> None:
    job.file("flow.yaml", "steps: [{name: a, run: exit 1}]\n")
    ended = job.flow("run", "flow.yaml", "--quiet")
    assert (ended.code, "stop-commands" in ended.out) == (1, False)


def test_no_hostile_answer_of_an_agent_is_obeyed_in_log_outputs_or_summary(job: Session) -> None:
    texts = {case["id"]: case["text"] for case in cases("hostile/agent_answers.json")["cases"] if case["text"].strip()}
    job.file("args.json", json.dumps({"texts": list(texts.values())}))
    job.file(
        "flow.yaml",
        """
        args: {texts: {type: array}}
        config: {agent: command, command: [cat]}
        steps:
          - {name: say, foreach: args.texts, prompt: "{{ item }}", effects: none, max_parallel: 4}
          - {name: fail, run: "cat; exit 3", stdin: "{{ steps.say.output }}", on_failure: continue}
        outputs: {said: "{{ steps.say.items | map(attribute='output') | list }}"}
        """,
    )
    ended = job.flow("run", "flow.yaml", "--args-file", "args.json")
    assert (ended.code, ended.err) == (0, ""), ended.out
    seen = read(ended.out)
    assert not seen.stopped
    assert Counter(seen.names()) == {"group": len(texts) + 1, "endgroup": len(texts) + 1, "warning": 1}
    assert json.loads(given(job)["said"]) == [text.strip() for text in texts.values()]
    summary = (job.home / "summary").read_text(encoding="utf-8")
    assert not re.search("[\\x00-\\x08\\x0b-\\x1f\u202e]", summary)


def test_with_json_stdout_is_one_document_and_the_rest_goes_to_stderr(job: Session) -> None:
    job.file("flow.yaml", HOSTILE)
    job.file("answers.yaml", ANSWERS)
    ended = job.flow("run", "flow.yaml", "--auto-approve", "--json")
    assert (ended.code, ended.out.count("\n"), "##[" in ended.out) == (1, 1, False)
    assert read(ended.out).obeyed == []
    assert ended.json()["outputs"]["answer"] == "first\r::error::from the agent\n##[add-mask]a\n::set-output name=x::y"
    assert Counter(read(ended.err).names()) == {"add-mask": 2, "group": 5, "endgroup": 5, "error": 1, "warning": 2}
    assert r"\u0023#[add-mask]a" in ended.out


def test_with_events_each_line_is_a_document_without_a_command(job: Session) -> None:
    job.file("flow.yaml", "steps: [{name: one, run: 'echo \"##[error]x\"'}]\n")
    ended = job.flow("run", "flow.yaml", "--events")
    assert [json.loads(line)["type"] for line in ended.out.splitlines()][-1] == "RunFinished"
    assert (read(ended.out).obeyed, "##[" in ended.out) == ([], False)
    assert read(ended.err).names() == ["group", "endgroup"]


def test_problems_of_the_file_are_annotated_where_they_are(job: Session) -> None:
    job.file("flows/broken.yaml", "steps:\n  - {name: x, run: echo ok, '##[error]a': 1}\n")
    job.environment["GITHUB_WORKSPACE"] = str(job.path.parent)
    ended = job.flow("run", "flows/broken.yaml")
    assert (ended.code, ended.err) == (2, "")
    (error,) = read(ended.out).obeyed
    assert error.properties == {"file": "project/flows/broken.yaml", "line": "2", "col": "29"}
    assert error.data.startswith("unknown key `## [error]a` in a step")
    assert not (job.path / ".cpool").exists()


def test_validate_says_problems_as_text_and_as_annotations(job: Session) -> None:
    job.file("flow.yaml", "args: {unused: {type: string}}\nsteps: [{run: echo hi}]\n")
    ended = job.flow("validate", "flow.yaml")
    assert read(ended.err).obeyed == [Obeyed("warning", "argument `unused` is not used", {"file": "flow.yaml", "line": "1", "col": "8"})]
    assert "warning: argument `unused` is not used" in ended.err
    assert job.flow("validate", "flow.yaml", "--format", "json").err == ""


def test_outputs_are_handed_on_and_about_the_run_as_well(job: Session) -> None:
    (job.home / "output").write_text("before=1")  # without a line end
    job.file(
        "flow.yaml",
        'steps: [{name: a, run: "printf \'x\\ny\'"}]\noutputs: {report: "{{ steps.a.output }}", list: [1, "é"], status: mine}\n',
    )
    ended = job.flow("run", "flow.yaml", "--run-id", "r1")
    assert ended.code == 0, ended.out
    text = (job.home / "output").read_text()
    assert text.startswith("before=1\n")
    (job.home / "output").write_text(text.removeprefix("before=1\n"))
    values = given(job)
    assert json.loads(values.pop("outputs")) == {"report": "x\ny", "list": [1, "é"], "status": "mine"}
    assert values == {"run-id": "r1", "status": "mine", "branch": "", "cost-usd": "0", "report": "x\ny", "list": '[1, "é"]'}
    assert len(set(re.findall(r"<<(\S+)$", text, re.MULTILINE))) == 1


def test_in_the_action_the_outputs_are_those_about_the_run(job: Session) -> None:
    job.file("flow.yaml", "steps: [{name: a, run: 'true'}]\noutputs: {status: mine, more: 1}\n")
    assert job.flow("run", "flow.yaml", "--run-id", "r1", CPOOL_ACTION="true").code == 0
    report = str(job.last_run() / "report.md")
    values = given(job)
    assert json.loads(values.pop("outputs")) == {"status": "mine", "more": 1}
    assert values == {"run-id": "r1", "status": "success", "branch": "", "cost-usd": "0", "report": report}


def test_an_output_that_is_too_large_is_handed_on_by_its_path(job: Session) -> None:
    job.file(
        "flow.yaml",
        "steps: [{name: a, run: \"head -c 900000 /dev/zero | tr '\\\\0' a\"}]\noutputs: {big: '{{ steps.a.output }}', small: ok}\n",
    )
    assert job.flow("run", "flow.yaml").code == 0
    values = given(job)
    assert values["small"] == "ok"
    with open(values["big"], encoding="utf-8") as file:
        assert file.read() == "a" * 900_000
    told = json.loads(values["outputs"])["big"]
    assert (len(told) < 101_000, values["big"] in told) == (True, True)
    assert len((job.home / "summary").read_bytes()) < 1024 * 1024


def test_outputs_that_could_not_be_handed_on_are_told_before_anything_runs(job: Session) -> None:
    job.file("flow.yaml", "steps: [{run: touch ran}]\n")
    ended = job.flow("run", "flow.yaml", GITHUB_OUTPUT=str(job.home / "no" / "such"))
    assert (ended.code, (job.path / "ran").exists()) == (2, False)
    (error,) = read(ended.out).obeyed
    assert error.data.startswith(f"cannot write the file of `$GITHUB_OUTPUT`, `{job.home}/no/such`: no such file or directory")


def test_outputs_that_can_no_longer_be_handed_on_at_the_end_are_an_error_and_nothing_is_lost(job: Session) -> None:
    (job.home / "files").mkdir()
    job.file("flow.yaml", "steps: [{name: a, run: rm -r $HOME/files}]\noutputs: {a: b}\n")
    ended = job.flow("run", "flow.yaml", "--run-id", "r1", GITHUB_OUTPUT=str(job.home / "files" / "output"))
    assert ended.code == 5
    (error,) = read(ended.out).of("error")
    assert error.data.startswith("cannot write the file of `$GITHUB_OUTPUT`")
    assert (job.status("r1")["status"], job.status("r1")["outputs"]) == ("success", {"a": "b"})
    assert job.flow("resume", "r1").code == 0
    assert given(job)["a"] == "b"


def test_a_summary_that_cannot_be_written_is_a_warning(job: Session) -> None:
    job.file("flow.yaml", "steps: [{run: 'true'}]\noutputs: {a: b}\n")
    ended = job.flow("run", "flow.yaml", GITHUB_STEP_SUMMARY=str(job.home / "no" / "such"))
    assert (ended.code, given(job)["a"]) == (0, "b")
    (warning,) = read(ended.out).obeyed
    assert (warning.name, "GITHUB_STEP_SUMMARY" in warning.data) == ("warning", True)


def test_the_summary_has_the_steps_the_graph_and_what_failed_and_no_markup_of_others(job: Session) -> None:
    (job.home / "summary").write_text("# Before\n")
    job.file(
        "flow.yaml",
        r"""
        steps:
          - {name: one, run: 'true'}
          - name: two
            run: |
              printf '```\n</details>\n@octocat ![x](https://a.example)\n````\n'; exit 3 # | <b> @octocat `x`
        outputs: {fence: "{{ steps.one.output }}"}
        """,
    )
    assert job.flow("run", "flow.yaml", "--run-id", "r1").code == 1
    text = (job.home / "summary").read_text(encoding="utf-8")
    assert text.startswith("# Before\n## flow\n\n❌ **failed** · run `r1` · ")
    assert re.search(r"^\| `one` \| ✅ success \| 1 \| [0-9.]+s \|  \|  \|$", text, re.MULTILINE)
    (row,) = re.findall(r"^\| `two` .*$", text, re.MULTILINE)
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    assert not re.search(r"(?<!\\)[@<\]]", row)
    assert "```mermaid\nflowchart TD\n" in text
    assert "`````text\n" in text


def test_of_a_failure_that_is_no_steps_the_reason_is_annotated(job: Session) -> None:
    job.file("flow.yaml", "timeout: 100ms\nsteps: [{name: a, run: sleep 60}]\n")
    ended = job.flow("run", "flow.yaml", "--run-id", "r1")
    assert ended.code == 3
    errors = [error.data for error in read(ended.out).of("error")]
    assert errors == ["failed: the run's time of 100ms is over; cpool-flow resume r1"]


def test_a_run_that_waits_for_a_person_says_how_to_answer(job: Session) -> None:
    job.file("flow.yaml", "steps: [{name: ask, approve: 'Go on? ##[error]x'}]\n")
    ended = job.flow("run", "flow.yaml", "--run-id", "r1", "--wait-max", "50ms")
    assert ended.code == 4
    (error,) = read(ended.out).obeyed
    assert error.name == "error"
    assert "cpool-flow approve r1 ask" in error.data
    assert given(job)["status"] == "waiting"


def test_quiet_prints_no_groups(job: Session) -> None:
    job.file("flow.yaml", "secrets: [TOKEN]\nsteps: [{name: a, run: echo hi}]\noutputs: {a: '{{ steps.a.output }}'}\n")
    ended = job.flow("run", "flow.yaml", "--quiet")
    assert (ended.code, read(ended.out).names(), read(ended.out).text) == (0, ["add-mask", "add-mask"], ["a = hi", ""])


def test_a_run_that_is_left_alone_prints_its_id_and_nothing_for_the_runner(job: Session) -> None:
    job.file("flow.yaml", "steps: [{name: a, run: 'true'}]\noutputs: {a: 1}\n")
    ended = job.flow("run", "flow.yaml", "--detach", "--run-id", "r1")
    assert (ended.code, ended.out) == (0, "r1\n")
    assert job.flow("status", "r1", "--watch", "--exit-status").code == 0
    assert given(job) == {}


def test_a_run_within_a_step_is_no_step_of_the_job(job: Session) -> None:
    job.environment["CPOOL_FLOW"] = " ".join(job.command())
    job.file("inner.yaml", "steps: [{name: a, run: echo hi}]\noutputs: {a: '{{ steps.a.output }}'}\n")
    job.file("flow.yaml", "steps: [{name: a, run: $CPOOL_FLOW run inner.yaml --quiet}]\noutputs: {outer: '{{ steps.a.output }}'}\n")
    ended = job.flow("run", "flow.yaml", "--json")
    assert ended.json()["outputs"] == {"outer": "a = hi"}
    assert "a" not in given(job)


@pytest.mark.parametrize(
    "command", [("logs", "r1"), ("status", "r1"), ("explain", "r1", "a"), ("show", "flow.yaml"), ("plan", "flow.yaml")]
)
def test_no_other_command_says_anything_to_the_runner(job: Session, command: tuple[str, ...]) -> None:
    text = "description: '::error::d ##[error]d'\nsteps: [{name: a, run: \"printf '::error::x\\n##[group]y\\n'; exit 3\"}]\n"
    job.file("flow.yaml", text)
    assert job.flow("run", "flow.yaml", "--run-id", "r1").code == 1
    ended = job.flow(*command)
    assert (read(ended.out).obeyed, read(ended.err).obeyed) == ([], [])
    assert "error" in ended.out


def stopped(job: Session, *numbers: int) -> Ended:
    """A run whose step ignores what it is asked, stopped by these signals."""
    job.repository()
    job.file(
        "flow.yaml",
        """
        isolation: worktree
        steps: [{name: slow, run: 'trap "" TERM INT; echo work > made; echo $$ > $PIDS/pid; while :; do sleep 0.05; done'}]
        outputs: {a: 1}
        """,
    )
    process = job.start("run", "flow.yaml", "--run-id", "r1", PIDS=str(job.path))
    pid_in(job.path / "pid")
    for number in numbers:
        process.send_signal(number)
        assert eventually(lambda: "stopping" in (job.home / "out.txt").read_text())
    code = process.wait(60)
    return Ended(code, (job.home / "out.txt").read_text(), (job.home / "err.txt").read_text())


def test_a_cancelled_job_leaves_journal_branch_outputs_and_no_process(job: Session) -> None:
    ended = stopped(job, signal.SIGINT, signal.SIGTERM)
    assert (ended.code, ended.err) == (130, "")
    assert not survivors(job.mark("r1"))
    result: Any = job.status("r1")
    assert result["status"] == "cancelled"
    assert job.git("show", f"{result['branch']}:made") == "work\n"
    assert given(job)["status"] == "cancelled"
    assert "**cancelled**" in (job.home / "summary").read_text()


def test_a_token_that_every_command_sees_is_warned_of_where_an_agent_may_have_written_the_command(job: Session) -> None:
    job.file("answers.yaml", "steps: {a: {answer: hi}}\n")
    flow = "config: {agent: scripted, script: answers.yaml}\nsteps: [{name: a, prompt: Hi.}]\n"
    job.file("flow.yaml", flow)
    job.file("declared.yaml", f"secrets: [GITHUB_TOKEN]\n{flow}")
    ended = job.flow("run", "flow.yaml", GITHUB_TOKEN="a-token-of-it")
    warnings = [warning.data for warning in read(ended.out).of("warning")]
    assert any(
        each.startswith("every command of the run sees `GITHUB_TOKEN`, also code that an agent has written; declare it")
        for each in warnings
    )
    assert "GITHUB_TOKEN" not in job.flow("run", "declared.yaml", GITHUB_TOKEN="a-token-of-it").out
