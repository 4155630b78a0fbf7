"""Shell text as the product makes it: parsed, rendered, and given to a real shell in a folder of its own.

No text of a value may reach the shell as a part of the script. Two scripts made with other values are the same text,
so `run` renders every script twice and compares.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cpool_flow.template import ShellScript, parse_shell
from cpool_flow.values import Record

SECONDS = 30


def _shell(name: str, *options: str) -> object:
    missing = pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")
    return pytest.param((name, *options, "-c"), id=name, marks=missing)


# As the product starts them; `sh` is dash on many systems.
BASH = _shell("bash", "-euo", "pipefail")
DASH = _shell("dash", "-eu")
each_shell = pytest.mark.parametrize("shell", [BASH, DASH])


@dataclass
class Files:
    """The host of a template: `| file` writes into a folder."""

    folder: Path
    written: list[Path] = field(default_factory=list)

    def write_file(self, text: str) -> str:
        path = self.folder / f"value {len(self.written) + 1}'s $HOME"
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
        self.written.append(path)
        return str(path)

    def nonce(self) -> str:
        return "n0nce"


@dataclass(frozen=True)
class Ran:
    """What a script printed. `pwned`: something that only a value can have asked for was done."""

    out: str
    err: str
    code: int
    pwned: bool


def rendered(text: str, values: Mapping[str, object], folder: Path) -> ShellScript:
    """The script for `args` with these values. Fails where any text of a value is in the script."""
    template = parse_shell(text)
    script = template.render({"args": Record(values)}, Files(folder))
    twin = folder / "twin"
    twin.mkdir(exist_ok=True)
    other = template.render({"args": Record({name: _other(value) for name, value in values.items()})}, Files(twin))
    assert script.script == other.script, "a value is in the script"
    return script


def run(shell: tuple[str, ...], text: str, values: Mapping[str, object], folder: Path) -> Ran:
    """Render the text and run it, in `folder`/here."""
    script = rendered(text, values, folder)
    here = folder / "here"
    here.mkdir(exist_ok=True)
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", **script.environment}
    done = subprocess.run(
        [*shell, script.script], cwd=here, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
    )
    out, err = (stream.decode("utf-8", "surrogateescape") for stream in (done.stdout, done.stderr))
    return Ran(out, err, done.returncode, (here / "PWNED").exists())


def _other(value: object) -> object:
    """A value of the same shape: an empty list stays empty, so that loops and conditions take the same way."""
    if isinstance(value, str):
        return "other" if value else ""
    if isinstance(value, list):
        return [_other(item) for item in value]
    return value
