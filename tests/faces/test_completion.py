"""Command lines that a shell completes: the scripts sourced by real shells on a terminal, and what they are told."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Iterator

import click
import pytest
from session import Session
from terminal import Terminal

from cpool_flow.cli.main import COMMANDS, main

FLOW = """
    description: A flow.
    args: {pr: {type: integer, default: 1, description: Pull request}, path: {default: x}}
    steps:
      - {name: build, run: echo built}
      - {name: each, foreach: [a, b], run: echo}
      - {name: ask, approve: Go?}
"""


@pytest.fixture
def project(session: Session) -> Session:
    """Runs `alpha` and `beta`, which wait for an answer; `cpool-flow` is on the PATH."""
    programs = session.home / "bin"
    programs.mkdir()
    program = programs / "cpool-flow"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m cpool_flow "$@"\n')
    program.chmod(0o755)
    session.environment["PATH"] = f"{programs}:{session.environment['PATH']}"
    session.file("workflows/review.yaml", FLOW)
    session.file("flow.yaml", FLOW)
    session.file("flows/other.yml", FLOW)
    session.file("notes.txt", "")
    session.file("$(touch owned).yaml", FLOW)
    for run in ("alpha", "beta"):
        assert session.flow("run", "review", "--run-id", run).code == 4
    return session


def told(session: Session, line: str) -> list[str]:
    """What bash is told of a line of which the last word is begun."""
    words = line.split(" ")
    ended = session.flow(_CPOOL_FLOW_COMPLETE="bash_complete", COMP_WORDS=f"cpool-flow {line}", COMP_CWORD=str(len(words)))
    assert (ended.code, ended.err) == (0, "")
    return [word.removeprefix("plain,") for word in ended.out.splitlines() if word]


def test_what_can_stand_in_each_place_is_offered(project: Session) -> None:
    offered = {
        "re": ["resume", "rerun", "report"],
        "--pro": ["--project"],
        "run --pro": ["--progress"],
        "run --progress ": ["auto", "plain", "json", "quiet"],
        "run r": ["refactor_and_test", "review", "review_and_fix"],
        "run f": ["flow.yaml", "flows/"],
        "run flows/": ["flows/other.yml"],
        "run ./f": ["./flow.yaml", "./flows/"],
        "run review --arg p": ["path=", "pr="],
        "run review --only b": ["build"],
        "rerun alpha --from e": ["each"],
        "run review --args-file ": ["file,"],
        "validate fl": ["flow.yaml", "flows/"],
        "show code": ["code_review"],
        "status ": ["last", "beta", "alpha"],
        "logs al": ["alpha"],
        "logs alpha ": ["build", "each", "ask"],
        "logs alpha each[": ["each[0]", "each[1]"],
        "logs nobody ": [],
        "approve beta ": ["ask"],
        "init --example ": ["checks", "first", "fix", "review"],
        "completion ": ["bash", "zsh", "fish"],
        "runs --status fa": ["failed"],
        "nonsense --": [],
    }
    offered = {line: sorted(words) for line, words in offered.items()}
    found = {line: sorted(told(project, line)) for line in offered}
    found["run r"] = [word for word in found["run r"] if word in offered["run r"]]
    found["nonsense --"] = [word for word in found["nonsense --"] if word not in ("--help", "--project", "--version")]
    assert found == offered
    name = told(project, "explain alpha ")
    assert name == told(project, "logs alpha ")
    assert not (project.path / "owned").exists()


def test_where_nothing_can_be_known_nothing_is_offered_and_nothing_is_said(session: Session) -> None:
    assert told(session, "logs last ") == []
    assert told(session, "--project /nowhere status ") == []
    ended = session.program(
        "bash",
        "-c",
        f"mkdir gone; cd gone; rmdir ../gone; {shlex.join(session.command())}; exit 0",
        _CPOOL_FLOW_COMPLETE="bash_complete",
        COMP_WORDS="cpool-flow run ",
        COMP_CWORD="2",
    )
    assert ended.err == ""


@pytest.mark.parametrize("command", COMMANDS)
def test_every_run_step_and_file_of_every_command_can_be_completed(command: str) -> None:
    with click.Context(main, resilient_parsing=True) as context:
        found = main.get_command(context, command)
    assert found is not None
    words = [
        parameter for parameter in found.params if isinstance(parameter, click.Argument) and not isinstance(parameter.type, click.Choice)
    ]
    assert [parameter.name for parameter in words if parameter._custom_shell_complete is None] == []


SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(cpool-flow completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -d $HOME/dump; source <(cpool-flow completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "cpool-flow completion fish | source"),
}


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, project: Session) -> Iterator[Terminal]:
    """A shell on a terminal that has read the script."""
    program, setting_up = SHELLS[request.param]
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed here")
    terminal = Terminal(project, program=program, columns=250, lines=40, PS1="$ ")
    terminal.type(f"{setting_up}; echo read'y'\n")
    terminal.see("\nready")
    yield terminal
    terminal.process.kill()
    terminal.process.wait()


def test_a_shell_completes_commands_options_workflows_runs_and_steps(shell: Terminal) -> None:
    for typed, completed in (
        ("cpool-flow lo\t", "cpool-flow logs"),
        ("al\t", "cpool-flow logs alpha"),
        ("bu\t", "cpool-flow logs alpha build"),
        ("--fol\t", "cpool-flow logs alpha build --follow"),
        ("\x15cpool-flow run revie\t", "cpool-flow run review"),
        ("\x15cpool-flow run flows/\t", "cpool-flow run flows/other.yml"),
        ("\x15cpool-flow run review --arg pr\t", "cpool-flow run review --arg pr="),
        ("42 --tag x", "--arg pr=42 --tag x"),
        ("\x15cpool-flow run --args-file no\t", "cpool-flow run --args-file notes.txt"),
    ):
        shell.type(typed)
        shell.see(completed)


def test_a_shell_does_not_complete_what_it_would_execute(shell: Terminal, project: Session) -> None:
    shell.type("cpool-flow run flow.\t")
    shell.see("cpool-flow run flow.yaml")
    shell.type("\x15cpool-flow run '$'\t\x15echo on'e'\n")
    shell.see("\none")
    assert not (project.path / "owned").exists()


def test_the_scripts_are_for_three_shells(session: Session) -> None:
    assert session.flow("completion", "bash").out.startswith("# cpool-flow in bash")
    ended = session.flow("completion", "tcsh")
    assert ended.code == 2
    assert "`tcsh`: one of `bash`, `zsh`, `fish`" in ended.err
