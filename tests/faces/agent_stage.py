"""A project whose `claude` is a program of the test's own, and whole runs of it by the command line."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

from session import Ended, Session

from cases import case_path
from survivors import survivors


class Stage:
    """A git repository with one commit, and a folder for programs that comes first on the PATH."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.programs = session.home / "bin"
        self.programs.mkdir()
        session.environment["PATH"] = f"{self.programs}:{os.environ['PATH']}"
        session.repository()

    def program(self, name: str, text: str) -> Path:
        """Put a program on the PATH. Text without a `#!` line is Python."""
        path = self.programs / name
        path.write_text(text if text.startswith("#!") else f"#!{sys.executable} -IS\n{text}", encoding="utf-8")
        path.chmod(0o755)
        return path

    def fake_agent(self) -> None:
        """The agent that misbehaves on purpose, as `claude`; FAKE_AGENT_CASE of a step says how."""
        fake = case_path("misbehaving_agents/fake_agent.py")
        self.program("claude", f'#!/bin/sh\nexec {shlex.join([sys.executable, "-IS", str(fake)])} "$@"\n')

    def workflow(self, steps: list[dict[str, Any]], **top: Any) -> None:
        """Write `flow.yaml` without committing it: JSON is YAML."""
        self.session.file("flow.yaml", json.dumps({"version": 1, "isolation": "worktree", **top, "steps": steps}, indent=1))

    def run(self, *options: str, **environment: str) -> Ended:
        return self.session.flow("run", "flow.yaml", *options, **environment)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.session.flow("events", "last").out.splitlines()]

    def survivors(self) -> list[str]:
        """What still lives of the last run, on the whole machine."""
        marks = [event["mark"] for event in self.events() if event.get("mark")]
        return [line for mark in marks for line in survivors(mark)]

    def untouched(self) -> bool:
        """Whether the user's own checkout is as it was: the workflow file is all that is new."""
        return self.session.git("status", "--porcelain") == "?? flow.yaml\n" and self.session.git("branch", "--show-current") == "main\n"

    def on_branch(self, path: str) -> str:
        """A file as the branch of the last run holds it."""
        return self.session.git("show", f"{self.session.status()['branch']}:{path}")


def fake(case: str, *, name: str = "", **step: Any) -> dict[str, Any]:
    """A step whose agent plays this case; failures do not stop the others, and nothing waits between attempts."""
    env = {"FAKE_AGENT_CASE": case, "FAKE_AGENT_SECONDS": "300", **step.pop("env", {})}
    base = {"name": name or case, "needs": [], "prompt": "do it", "on_failure": "continue"}
    retry = {} if step.get("retries") == 0 else {"retry": {"delay": "1ms"}}
    return {**base, **retry, **step, "env": env}


def told(step: dict[str, Any]) -> tuple[Any, ...]:
    """What the result says of a step: its status, then what became of each attempt, with exit code and cost."""
    return (step["status"], *((attempt["error_kind"], attempt["exit_code"], attempt["cost_usd"]) for attempt in step["attempts"]))
