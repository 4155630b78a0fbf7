"""What `--help` says, and the nearest word for one that is unknown."""

from __future__ import annotations

import re

import click
import pytest
from session import Session

from cpool_flow.cli.main import COMMANDS, GROUPS, LATER_COMMANDS, main


def help_of(command: str) -> str:
    with click.Context(main, info_name="cpool-flow") as context:
        found = main.get_command(context, command)
        assert found is not None
        with click.Context(found, info_name=command, parent=context) as inner:
            return found.get_help(inner)


def test_every_command_stands_in_one_group_of_the_help() -> None:
    grouped = [name for names in GROUPS.values() for name in names]
    assert sorted(grouped) == sorted([*COMMANDS, *LATER_COMMANDS])


def test_the_help_shows_the_groups_and_the_exit_codes(session: Session) -> None:
    shown = session.flow("--help").out
    assert re.findall(r"^(\w.*):$", shown, re.MULTILINE)[1:] == [
        title for title, names in GROUPS.items() if any(name in COMMANDS for name in names)
    ]
    assert "\n    2    file, arguments or usage wrong: nothing was started\n" in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_has_an_example(command: str) -> None:
    assert re.search(rf"^  (source <\()?cpool-flow {command}\b", help_of(command), re.MULTILINE)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_does(command: str) -> None:
    with click.Context(main) as context:
        found = main.get_command(context, command)
    assert found is not None
    silent = [option.opts[0] for option in found.params if isinstance(option, click.Option) and not option.hidden and not option.help]
    assert silent == []


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("stauts", "no command `stauts`, did you mean `status`?"),
        ("run flow.yaml --budgte 3", "no option `--budgte`\nhint: did you mean `--budget`?\nhelp: see `cpool-flow run --help`"),
        (
            "run flow.yaml --progress plian",
            "`--progress` cannot be `plian`: one of `auto`, `plain`, `json`, `quiet`\nhint: did you mean `plain`?",
        ),
        ("run flwo", "did you mean `flow`?"),
        ("run flwo.yaml", "did you mean `flow.yaml`?"),
        ("validate workflows/flwo.yaml", "did you mean `workflows/flow.yaml`?"),
        ("run flow --arg paht=3", "did you mean `path`?"),
        ("run flow --agent cluade", "did you mean `claude`?"),
        ("show helo", "did you mean `hello`?"),
        ("show code_reviwe", "did you mean `code_review`?"),
        ("status gamam", "did you mean `gamma`?"),
        ("logs gamma biuld", "did you mean `build`?"),
        ("explain gamma biuld", "did you mean `build`?"),
        ("approve gamma biuld", "did you mean `build`?"),
        ("resume gamma --decide biuld=rerun", "did you mean `build`?"),
        ("init --example frist", "did you mean `first`?"),
        ("test flow --case frist", "no case `frist`, did you mean `first`?"),
        ("runs --workflow flwo", "did you mean `flow`?"),
        (
            "schema resutl",
            "`NAME` cannot be `resutl`: one of `workflow`, `skill`, `pool`, `events`, `result`\nhint: did you mean `result`?",
        ),
    ],
)
def test_an_unknown_name_names_the_nearest(line: str, hint: str, named: Session) -> None:
    ended = named.flow(*line.split())
    assert ended.code == (0 if line.startswith("runs") else 2)
    assert hint in ended.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("run", "`FILE|NAME` is missing"),
        ("run a b", "nothing can stand here: `b`"),
        ("run a --slot 3", "no option `--slot`\nhint: did you mean `--slots`?"),
        ("run a --slots x", "`--slots` cannot be `x`: it is a whole number"),
        ("run a --slots 0", "`--slots` cannot be `0`: from 1 to 1000"),
        ("run a --arg", "`--arg` needs a value after it"),
        ("run a --json=3", "`--json` takes no value"),
        ("runs --limit 0", "`--limit` cannot be `0`: at least 1"),
        ("status --budget 3", "no option `--budget`"),
        ("completion", "`SHELL` is missing: one of `bash`, `zsh`, `fish`"),
    ],
)
def test_a_wrong_use_is_told_in_the_words_of_all_errors(line: str, message: str, named: Session) -> None:
    ended = named.flow(*line.split())
    assert (ended.code, ended.err) == (2, f"error: {message}\nhelp: see `cpool-flow {line.split()[0]} --help`\n")


@pytest.mark.parametrize(("line", "same"), [("help", "--help"), ("help runs", "runs --help")])
def test_help_can_be_asked_for_as_a_command(line: str, same: str, named: Session) -> None:
    ended = named.flow(*line.split())
    assert (ended.code, ended.out) == (0, named.flow(*same.split()).out)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A project with a workflow, cases and a failed run `gamma`."""
    session = Session(tmp_path_factory.mktemp("named"))
    session.file("workflows/flow.yaml", "args: {path: {default: 1}}\nsteps:\n  - {name: build, run: exit 1}\n")
    session.file("workflows/flow.test.yaml", "cases:\n  - {name: first, expect: {status: failed}}\n")
    session.file("flow.yaml", "steps: [{name: build, run: exit 1}]\n")
    session.flow("run", "flow", "--run-id", "gamma")
    return session
