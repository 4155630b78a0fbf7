"""The translations in `examples/peers`: finds one by its number, runs it for real in a session's project, and reads what came of it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from session import ROOT, Session

PEERS = ROOT / "examples" / "peers"


def workflows() -> dict[int, str]:
    """The file of each translation by its number; what belongs to it has a second ending (`.answers.yaml`)."""
    return {int(path.name[:2]): path.name for path in sorted(PEERS.glob("*.yaml")) if "." not in path.stem}


def example(session: Session, number: int) -> Path:
    """The translation, put into the project of the session with everything that belongs to it."""
    name = workflows()[number]
    for path in PEERS.glob(f"{number:02}-*"):
        shutil.copy(path, session.path)
    if "skill:" in (PEERS / name).read_text(encoding="utf-8"):
        shutil.copytree(PEERS / "skills", session.path / "skills")
    return session.path / name


@dataclass(frozen=True)
class Ran:
    """A result as `run --json` prints it; steps by name, those inside of others by `outer/inner`."""

    result: dict[str, Any]

    @property
    def outputs(self) -> dict[str, Any]:
        outputs: dict[str, Any] = self.result["outputs"]
        return outputs

    @property
    def steps(self) -> dict[str, dict[str, Any]]:
        return dict(_named(self.result["steps"], ""))

    @property
    def statuses(self) -> dict[str, str]:
        return {name: step["status"] for name, step in self.steps.items()}

    def items(self, name: str, key: str) -> list[Any]:
        return [item[key] for item in self.steps[name]["items"]]

    def kinds(self, name: str) -> list[tuple[str, str]]:
        """Kind and status of each attempt of a step."""
        return [(attempt["kind"], attempt["status"]) for attempt in self.steps[name]["attempts"]]


def ran(session: Session, number: int, *options: str, code: int = 0, **environment: str) -> Ran:
    """Run a translation to its end, which must come with this exit code: as it is, or as the test has put it there and changed it."""
    name = workflows()[number]
    if not (session.path / name).exists():
        example(session, number)
    ended = session.flow("run", name, "--json", *options, **environment)
    assert ended.code == code, ended.err
    return Ran(ended.json())


def resumed(session: Session, code: int = 0) -> Ran:
    ended = session.flow("resume", "last", "--json")
    assert ended.code == code, ended.err
    return Ran(ended.json())


def moves(session: Session) -> list[tuple[str, str]]:
    """What started and ended in the last run, in the order in which the journal has it."""
    words = {"AttemptStarted": "starts", "AttemptFinished": "ends"}
    return [(words[event["type"]], event["task"]) for event in session.events() if event["type"] in words]


def at_once(session: Session) -> list[set[str]]:
    """The tasks that were running after each start and each end."""
    running: set[str] = set()
    seen = []
    for move, task in moves(session):
        running = running | {task} if move == "starts" else running - {task}
        seen.append(running)
    return seen


def _named(steps: list[dict[str, Any]], prefix: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for step in steps:
        yield f"{prefix}{step['name']}", step
        yield from _named(step.get("steps", []), f"{prefix}{step['name']}/")
        for index, item in enumerate(step["items"]):
            yield from _named(item.get("steps", []), f"{prefix}{step['name']}[{index}]/")
