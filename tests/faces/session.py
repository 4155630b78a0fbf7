"""`cpool-flow` as a user calls it: a real process, a folder of its own, nothing of the caller's environment that matters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zygote import fits, zygote

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 90


@dataclass(frozen=True)
class Ended:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class Session:
    """A project folder and a home of its own. Files are given as dedented text."""

    def __init__(self, path: Path) -> None:
        self.path = path / "project"
        self.home = path / "home"
        self.path.mkdir(parents=True, exist_ok=True)
        self.home.mkdir(exist_ok=True)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(ROOT / "runner"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "GIT_CONFIG_NOSYSTEM": "1",
        }
        self._usual = dict(self.environment)

    def file(self, name: str, text: str) -> Path:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "cpool_flow", *arguments]

    def flow(self, *arguments: str, stdin: str = "", **environment: str) -> Ended:
        """Run a command to its end."""
        whole = {**self.environment, **environment}
        if not fits(whole, self._usual):
            return self.program(*self.command(*arguments), stdin=stdin, **environment)
        code, out, err = zygote().run(arguments, self.path, whole, stdin.encode(), TIMEOUT_SECONDS)
        return Ended(code, out.decode("utf-8", "surrogateescape"), err.decode("utf-8", "surrogateescape"))

    def program(self, *argv: str, stdin: str = "", cwd: str | Path | None = None, **environment: str) -> Ended:
        """Run any program to its end, in the project if nothing else is said."""
        ended = subprocess.run(
            argv,
            cwd=cwd or self.path,
            env={**self.environment, **environment},
            input=stdin.encode(),
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
        return Ended(ended.returncode, ended.stdout.decode("utf-8", "surrogateescape"), ended.stderr.decode("utf-8", "surrogateescape"))

    def start(self, *arguments: str, wrapper: tuple[str, ...] = (), **environment: str) -> subprocess.Popen[bytes]:
        """Start a command (by a `wrapper` such as nohup) and leave it running. Its output goes to `out.txt` and `err.txt` in the home."""
        with open(self.home / "out.txt", "ab") as out, open(self.home / "err.txt", "ab") as err:
            return subprocess.Popen(
                [*wrapper, *self.command(*arguments)],
                cwd=self.path,
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def git(self, *arguments: str) -> str:
        environment = {
            **self.environment,
            "GIT_AUTHOR_NAME": "t",
            "GIT_AUTHOR_EMAIL": "t@t",
            "GIT_COMMITTER_NAME": "t",
            "GIT_COMMITTER_EMAIL": "t@t",
        }
        ended = subprocess.run(["git", *arguments], cwd=self.path, env=environment, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def repository(self) -> None:
        """Make the project a git repository with one commit."""
        self.git("init", "-q", "-b", "main")
        self.file("README", "a project\n")
        self.git("add", "-A")
        self.git("commit", "-q", "-m", "first")

    def last_run(self) -> Path:
        return sorted((self.path / ".cpool" / "runs").iterdir())[-1]

    def mark(self, run: str = "last") -> str:
        """What the processes of the run's latest coordinator carry in their environment."""
        marks = [event["mark"] for event in self.events(run) if event.get("mark")]
        return str(marks[-1])

    def events(self, run: str = "last") -> list[Any]:
        """What the journal of a run has recorded."""
        return [json.loads(line) for line in self.flow("events", run).out.splitlines()]

    def status(self, run: str = "last") -> Any:
        return self.flow("status", run, "--json").json()
