"""`action.yml`, played as the runner plays a composite action: its scripts by bash, its inputs by `env`, its outputs from the file."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
import yaml
from session import ROOT, Ended, Session

from cpool_flow import __version__
from survivors import pid_in

ACTION: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS: list[dict[str, Any]] = ACTION["runs"]["steps"]


class Job:
    """A job with one step, which uses the action. A `cpool-flow` of the action's version is on the PATH."""

    def __init__(self, session: Session) -> None:
        self.session = session
        programs = session.home / "bin"
        programs.mkdir()
        (programs / "cpool-flow").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cpool_flow "$@"\n')
        (programs / "cpool-flow").chmod(0o755)
        for name in ("output", "path", "summary"):
            (session.home / name).touch()
        session.environment |= {
            "PATH": f"{programs}:{session.environment['PATH']}",
            "CI": "true",
            "GITHUB_ACTIONS": "true",
            "GITHUB_ACTION_PATH": str(ROOT),
            "GITHUB_WORKSPACE": str(session.path),
            "GITHUB_OUTPUT": str(session.home / "output"),
            "GITHUB_PATH": str(session.home / "path"),
            "GITHUB_STEP_SUMMARY": str(session.home / "summary"),
            "RUNNER_TEMP": str(session.home),
        }

    def command(self, step: Mapping[str, Any], inputs: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
        assert step["shell"] == "bash"
        script = self.session.home / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        given = {name: declared.get("default", "") for name, declared in ACTION["inputs"].items()} | dict(inputs)
        environment = {name: evaluated(value, given) for name, value in step["env"].items()}
        return ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", str(script)], environment

    def use(self, **inputs: str) -> Ended:
        """Play all steps; how the last one ended."""
        inputs = {name.replace("_", "-"): value for name, value in inputs.items()}
        for step in STEPS:
            argv, environment = self.command(step, inputs)
            ended = self.session.program(*argv, **environment)
            if ended.code:
                break
        return ended

    def outputs(self) -> dict[str, str]:
        """Those of the action, as its file says where they come from."""
        text = (self.session.home / "output").read_text(encoding="utf-8")
        found = {match[1]: match[3] for match in re.finditer(r"^(\S+)<<(\S+)\n(.*?)\n\2$", text, re.MULTILINE | re.DOTALL)}
        references = {
            name: re.fullmatch(r"\$\{\{ steps\.run\.outputs\.([\w-]+) \}\}", each["value"]) for name, each in ACTION["outputs"].items()
        }
        return {name: found.get(reference[1], "") for name, reference in references.items() if reference}


def evaluated(value: str, inputs: Mapping[str, str]) -> str:
    return re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda found: inputs[found[1]], value)


@pytest.fixture
def job(session: Session) -> Job:
    return Job(session)


FLOW = """
    args: {pr: {type: integer}, words: {type: array, default: []}}
    steps:
      - {name: say, run: ['printf', '%s %s', '{{ args.pr }}', '{{ args.words | tojson }}']}
    outputs: {said: '{{ steps.say.output }}'}
"""


def test_inputs_and_outputs_are_those_of_the_documents() -> None:
    assert sorted(ACTION["inputs"]) == sorted(["workflow", "args", "budget", "timeout", "version", "working-directory", "wait-max"])
    assert sorted(ACTION["outputs"]) == sorted(["run-id", "status", "outputs", "report", "branch", "cost-usd"])


def test_no_expression_stands_in_a_script_and_the_last_command_takes_the_place_of_the_shell() -> None:
    assert not any("${{" in step["run"] for step in STEPS)
    assert STEPS[-1]["run"].strip().split("\n")[-1].startswith("exec cpool-flow run ")


def test_a_workflow_runs_with_its_arguments_and_hands_on_its_outputs(job: Job) -> None:
    job.session.file("sub/flow.yaml", FLOW)
    ended = job.use(workflow="flow.yaml", args="pr: 42\nwords: [a, 'it''s']\n", working_directory="sub", timeout="5m", wait_max="1s")
    assert (ended.code, ended.err) == (0, ""), ended.out
    outputs = job.outputs()
    run_id = outputs.pop("run-id")
    assert json.loads(outputs.pop("outputs")) == {"said": '42 ["a", "it\'s"]'}
    report = str(job.session.path / "sub" / ".cpool" / "runs" / run_id / "report.md")
    assert outputs == {"status": "success", "branch": "", "cost-usd": "0", "report": report}
    assert (job.session.home / "path").read_text() == ""  # what was there already was taken


def test_arguments_may_be_json_and_may_be_left_out(job: Job) -> None:
    job.session.file("flow.yaml", FLOW)
    assert job.use(workflow="flow.yaml", args='{"pr": 7}').code == 0
    job.session.file("plain.yaml", "steps: [{run: 'env | grep -c ^CPOOL_ARGS= && exit 1; true'}]\n")
    assert job.use(workflow="plain.yaml", args=" \n").code == 0


@pytest.mark.parametrize("text", ["$(touch PWNED)", '"; touch PWNED; "', "`touch PWNED`", "'; touch PWNED #", "--version", "a\n::error::x"])
def test_no_input_is_ever_a_command_or_an_option(job: Job, text: str) -> None:
    job.session.file("flow.yaml", FLOW)
    ended = job.use(workflow=text, timeout="5m", args=text)
    assert ended.code == 2
    assert ended.out.startswith("error: ")
    assert job.use(workflow="flow.yaml", timeout=text, budget=text, wait_max=text, working_directory=text).code != 0
    assert not (job.session.path / "PWNED").exists()


def test_a_failure_is_the_failure_of_the_step_and_outputs_are_there(job: Job) -> None:
    job.session.file("flow.yaml", "steps: [{name: a, run: exit 3}]\noutputs: {a: 1}\n")
    assert job.use(workflow="flow.yaml").code == 1
    outputs = job.outputs()
    assert (outputs["status"], outputs["outputs"]) == ("failed", '{"a": 1}')


def test_an_empty_budget_is_no_budget_and_another_is_handed_on(job: Job) -> None:
    (job.session.home / "bin" / "cpool-flow").write_text(
        f'#!/bin/sh\ntest "$1" = --version && echo cpool-flow {__version__} && exit\nfor word; do echo "<$word>"; done; cat\n'
    )
    assert job.use(workflow="a b.yaml").out.split("\n")[:3] == ["<run>", "<-->", "<a b.yaml>"]
    ended = job.use(workflow="w", budget="2.5", args="{a: 1}")
    assert ended.out.split("\n")[:-1] == ["<run>", "<--budget>", "<2.5>", "<--args-file>", "<->", "<-->", "<w>", "{a: 1}"]


def test_a_cancel_of_the_job_reaches_the_run(job: Job) -> None:
    job.session.file("flow.yaml", "steps: [{name: slow, run: 'echo $$ > pid; exec sleep 600'}]\n")
    argv, environment = job.command(STEPS[-1], {"workflow": "flow.yaml"})
    process = subprocess.Popen(
        argv,
        cwd=job.session.path,
        env={**job.session.environment, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    pid_in(job.session.path / "pid")
    process.send_signal(signal.SIGINT)  # to the first process alone, as the runner does
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 130, out
    assert job.outputs()["status"] == "cancelled"


def test_without_a_python_that_will_do_the_installation_says_what_is_needed(job: Job) -> None:
    empty = job.session.home / "programs"
    empty.mkdir()
    for name in ("bash", "sed"):
        (empty / name).symlink_to(str(shutil.which(name)))
    job.session.environment["PATH"] = str(empty)
    ended = job.use(workflow="hello")
    assert (ended.code, ended.out) == (
        2,
        "::error::Python 3.11 or newer with venv is needed; put actions/setup-python before this step\n",
    )
    assert job.use(workflow="hello", version="1; touch x").out == "::error::the input `version` is no version\n"
