"""kill -9 of the coordinator at every named point, then resume: nothing that had finished is done twice, nothing is lost.

Every step appends to a ledger outside of the run, so "not twice" is seen in the world, not believed from the journal.
"""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from session import Session

from cpool_flow.faults import POINTS

COUNTS = (1, 2, 3, 4, 6, 9)

WORKFLOW = """
    version: 1
    isolation: worktree
    slots: 2
    setup: echo setup >> "$LEDGER"
    steps:
      - name: one
        run: |
          echo one >> "$LEDGER"
          echo first > one.txt
          echo "value one"
      - name: many
        foreach: [red, green]
        run: |
          echo "many-{{ index }}" >> "$LEDGER"
          echo {{ item }} > "many-{{ index }}.txt"
          echo "value {{ item }}"
      - name: last
        run: |
          test "$(cat one.txt many-0.txt many-1.txt)" = "$(printf 'first\\nred\\ngreen')"
          echo last >> "$LEDGER"
          echo {{ steps.one.output }} / {{ steps.many.items | map(attribute='output') | join(', ') }}
    finally:
      - name: tidy
        run: echo tidy >> "$LEDGER"
    outputs: {all: "{{ steps.last.output }}"}
"""


@pytest.fixture
def project(session: Session) -> Session:
    session.repository()
    session.file("flow.yaml", WORKFLOW)
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "flow")
    session.environment["LEDGER"] = str(session.home / "ledger")
    return session


@pytest.mark.parametrize("point", POINTS)
def test_a_run_killed_at_this_point_resumes_without_repeating_or_losing_anything(project: Session, point: str) -> None:
    hit = 0
    for count in COUNTS:
        ledger = Path(project.environment["LEDGER"])
        ledger.unlink(missing_ok=True)
        run_id = f"r-{point}-{count}"
        first = project.flow("run", "flow.yaml", "--run-id", run_id, CPOOL_FAULT=f"{point}:{count}")
        if first.code == 0:
            break
        assert first.code == -signal.SIGKILL, first.err
        hit += 1
        if point == "before-create":
            assert not (project.path / ".cpool" / "runs" / run_id / "journal.db").exists()
            continue
        check_resumed(project, run_id, ledger)
    assert hit, f"the fault point {point} was never reached"


def test_a_run_killed_again_and_again_ends_well(project: Session) -> None:
    ledger = Path(project.environment["LEDGER"])
    ended = project.flow("run", "flow.yaml", "--run-id", "again", CPOOL_FAULT="after-append:1")
    for count in range(2, 12):
        assert ended.code == -signal.SIGKILL, ended.err
        ended = project.flow("resume", "again", CPOOL_FAULT=f"after-append:{count}")
        if ended.code == 0:
            break
    check_resumed(project, "again", ledger)


def check_resumed(project: Session, run_id: str, ledger: Path) -> None:
    resumed = project.flow("resume", run_id)
    assert resumed.code == 0, resumed.err
    result = project.status(run_id)
    assert result["status"] == "success"
    assert result["outputs"] == {"all": "value one / value red, value green"}
    branch = result["branch"]
    assert project.git("show", f"{branch}:one.txt", f"{branch}:many-0.txt", f"{branch}:many-1.txt") == "first\nred\ngreen\n"
    assert not Path(result["directory"] or "/nonexistent").exists()
    assert project.git("status", "--porcelain") == ""
    assert len(project.git("worktree", "list").splitlines()) == 1
    assert_not_twice(result, ledger)


def assert_not_twice(result: dict[str, Any], ledger: Path) -> None:
    """A line of the ledger more than once only for an attempt that was lost with its coordinator."""
    lines = Counter(ledger.read_text().split())
    for step in result["steps"]:
        for task in step["items"] or [step]:
            lost = sum(attempt["error_kind"] == "lost" for attempt in task["attempts"])
            name = f"many-{result_index(task)}" if step["items"] else step["name"]
            allowed = 1 + lost + (lines["tidy"] if name == "tidy" else 0)
            assert 1 <= lines[name] <= allowed, (name, lines, lost)
            assert [attempt["status"] for attempt in task["attempts"]].count("success") == 1 or name == "tidy"


def result_index(task: dict[str, Any]) -> int:
    return int(task["name"].rpartition("[")[2][:-1])
