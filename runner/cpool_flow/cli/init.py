"""`init`: a first workflow file that runs without a key, and what to type next."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from cpool_flow import library
from cpool_flow.errors import InvalidInput, did_you_mean


@click.command("init", short_help="Write a first workflow file that runs without a key.")
@click.argument("file", default="first.yaml")
@click.option("--example", metavar="NAME", default="first", show_default=True, help="Which example to write.")
def init_command(file: str, example: str) -> int:
    """Write a first workflow FILE (default `first.yaml`) and the answers of its scripted agent beside it."""
    examples = library.bundled("workflows") / "examples"
    known = sorted(path.stem for path in examples.glob("*.yaml") if not path.stem.endswith("-answers"))
    if example not in known:
        near = did_you_mean(example, known)
        raise InvalidInput(f"no example `{example}`{f', {near}' if near else ''}", help=f"there is {', '.join(known)}")
    target = Path(file)
    answers = target.with_name(f"{target.stem}-answers.yaml")
    texts = {
        target: library.read_text(examples / f"{example}.yaml").replace(f"{example}-answers.yaml", answers.name),
        answers: library.read_text(examples / f"{example}-answers.yaml"),
    }
    for path in texts:
        if os.path.lexists(path):
            raise InvalidInput(f"there is already a file `{path}`", help="cpool-flow init OTHER.yaml")
    try:
        for path, text in texts.items():
            with open(path, "x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        raise InvalidInput(f"cannot write `{path}`: {(error.strerror or '').lower()}") from error
    print(f"wrote {target} and {answers} (the answers of a scripted agent: no key is needed)", file=sys.stderr)
    print(
        f"  cpool-flow plan {target}       what would run\n  cpool-flow run {target}        run it\n  cpool-flow logs last           what the steps printed"
    )
    return 0
