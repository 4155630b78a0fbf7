"""What a caller may do to the streams and the folder of a command: close them, fill them, take them away."""

from __future__ import annotations

import json
import shlex
import subprocess

import pytest
from session import Session


def shell(session: Session, line: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in which `cpool-flow` is a function."""
    command = shlex.join(session.command())
    return subprocess.run(
        ["bash", "-c", f'cpool-flow() {{ {command} "$@"; }}\n{line}'],
        cwd=session.path,
        env=session.environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


@pytest.fixture
def project(session: Session) -> Session:
    session.file("flow.yaml", "steps: [{name: say, run: echo hi}]\noutputs: {said: '{{ steps.say.output }}'}")
    return session


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_leads_nowhere(project: Session, closed: str) -> None:
    ended = shell(project, f"cpool-flow run flow.yaml --json {closed}")
    assert ended.returncode == 0, ended.stderr
    assert "error" not in ended.stderr
    if ">&-" not in closed.replace("2>&-", ""):
        assert json.loads(ended.stdout)["outputs"] == {"said": "hi"}
    assert project.status()["status"] == "success"


@pytest.mark.parametrize("command", ["run flow.yaml --json", "status last", "events last"])
def test_output_that_cannot_be_written_is_one_error(project: Session, command: str) -> None:
    assert project.flow("run", "flow.yaml").code == 0
    ended = shell(project, f"cpool-flow {command} > /dev/full")
    assert (ended.returncode, ended.stderr.split("\n")[-2]) == (5, "error: the output cannot be written: no space left on device")


@pytest.mark.parametrize("command", ["run ../flow.yaml", "validate ../flow.yaml", "runs", "doctor"])
def test_a_folder_that_is_gone_is_one_error(project: Session, command: str) -> None:
    ended = shell(project, f"mkdir gone && cd gone && rmdir ../gone && cpool-flow {command}")
    assert ended.returncode == 2
    assert ended.stderr.startswith("error: the current folder cannot be used: no such file or directory\n")


def test_the_version_is_said_anywhere(project: Session) -> None:
    assert shell(project, "mkdir gone && cd gone && rmdir ../gone && cpool-flow --version").returncode == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("run nowhere.yaml --json", "cannot read `nowhere.yaml`: no such file or directory"),
        ("run broken.yaml --json", "unknown key `rnu` in a step"),
        ("status nobody --json", "there are no runs in `PROJECT`"),
        ("status last --json --wach", "no option `--wach`"),
        ("run --json", "`FILE|NAME` is missing"),
    ],
)
def test_with_json_an_error_is_a_document_as_well(session: Session, command: str, message: str) -> None:
    session.file("broken.yaml", "steps:\n  - rnu: echo hi\n")
    ended = session.flow(*command.split())
    assert ended.code == 2
    errors = ended.json()["errors"]
    assert errors[0]["message"].replace(str(session.path), "PROJECT") == message
    assert message.replace("PROJECT", str(session.path)) in ended.err
    if "broken" in command:
        assert (errors[0]["file"], errors[0]["line"], errors[0]["column"]) == ("broken.yaml", 2, 5)
