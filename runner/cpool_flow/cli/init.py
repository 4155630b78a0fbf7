"""`init`: a first workflow file that runs without a key, and the three commands to type next."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import click

from cpool_flow import library
from cpool_flow.cli import completing
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, printable

FIRST = "first"
FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*\.ya?ml")


@completing.offered
def _examples(context: click.Context, word: str) -> completing.Names:
    return ((example.stem, "") for example in examples())


@click.command("init", short_help="Write a first workflow file that runs without a key.")
@click.argument("file", required=False, shell_complete=completing.files)
@click.option(
    "--example",
    metavar="NAME",
    default=FIRST,
    show_default=True,
    shell_complete=_examples,
    help="What to begin with: first, checks, fix or review.",
)
def init_command(file: str | None, example: str) -> int:
    """Write a workflow FILE (default: NAME.yaml) that runs without a key, and print the commands to type next.

    The answers of its scripted agent, if it has one, stand beside it. No file is overwritten.

    \b
    cpool-flow init
    cpool-flow init flows/mend.yaml --example fix
    """
    source = _example(example)
    target = _target(file or f"{example}.yaml")
    texts = {target: _renamed(source, source, target)}
    answers = answers_of(source)
    if answers.exists():
        texts[answers_of(target)] = _renamed(answers, source, target)
    _write(texts)
    for command in first_commands(library.read_text(source)):
        print(command.replace(source.name, shlex.quote(str(target))))
    return 0


def examples() -> list[Path]:
    """The workflow files that `init` can write."""
    return sorted(path for path in library.bundled("examples").glob("*.yaml") if "." not in path.stem)


def answers_of(workflow: Path) -> Path:
    """Where the answers of a workflow's scripted agent stand."""
    return workflow.with_name(f"{workflow.stem}.answers.yaml")


def first_commands(text: str) -> list[str]:
    """The commands with which an example begins, as comments."""
    return re.findall(r"^#   (.+)$", text, re.MULTILINE)


def _example(name: str) -> Path:
    known = {path.stem: path for path in examples()}
    if name in known:
        return known[name]
    message = f"no example `{printable(name[:80])}`"
    raise InvalidInput(Problem(message, hint=did_you_mean(name, known), help=f"there is {', '.join(f'`{one}`' for one in known)}"))


def _target(text: str) -> Path:
    path = Path(text)
    if FILE_NAME.fullmatch(path.name):
        return path
    shown = printable(text[:80])
    if text in [example.stem for example in examples()]:
        raise InvalidInput(f"`{shown}` is an example, and this asks for a file to write", help=f"cpool-flow init --example {text}")
    raise InvalidInput(
        f"`{shown}` cannot be a workflow file", help="letters, digits, `.`, `_` and `-`, ending in `.yaml`, such as `first.yaml`"
    )


def _renamed(path: Path, source: Path, target: Path) -> str:
    """The text of an example's file, with the names that its files will have."""
    text = library.read_text(path).replace(source.name, target.name)
    return text.replace(answers_of(source).name, answers_of(target).name)


def _write(texts: Mapping[Path, str]) -> None:
    """Write all files, or none. Raises InvalidInput."""
    for path in texts:
        if os.path.lexists(path):
            raise InvalidInput(f"there is already a file `{path}`", help="name another one: `cpool-flow init OTHER.yaml`")
    written: list[Path] = []
    try:
        for path, text in texts.items():
            with open(path, "x", encoding="utf-8") as stream:
                written.append(path)
                stream.write(text)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise InvalidInput(f"cannot write `{path}`: {(error.strerror or str(error)).lower()}") from error
