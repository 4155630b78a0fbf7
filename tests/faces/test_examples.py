"""Every example does what it says, in a plain folder and in a git repository, and leaves the project as it was."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
from session import ROOT, Session

OUTPUTS: dict[str, dict[str, Any]] = {
    "first": {
        "tests": "cart.py: an empty cart (its total divides by the number of items)\n"
        "login.py: the lock after five wrong passwords (nothing else stops a guesser)\n"
        "report.py: a month without sales (the chart has no axis then)"
    },
    "review": {
        "report": "3 changed lines\n"
        "line 2, security: the name goes into the SQL text; keep the parameter\n"
        "line 3, correctness: raises IndexError where there is no such user; before, it was None"
    },
    "fix": {"tests": "2 + 3 = 5"},
    "checks": {"report": "blanks: success\nconflicts: success\nscripts: success"},
}


@pytest.fixture
def repository(session: Session) -> Session:
    """A repository in which the examples are committed."""
    shutil.copytree(ROOT / "examples", session.path, dirs_exist_ok=True)
    session.repository()
    return session


def step(session: Session, name: str) -> Any:
    return next(step for step in session.status()["steps"] if step["name"] == name)


def test_every_example_is_tested_here() -> None:
    assert set(OUTPUTS) == {path.stem for path in (ROOT / "examples").glob("*.yaml") if "." not in path.stem}


@pytest.mark.parametrize("example", OUTPUTS)
def test_an_example_gives_its_outputs_and_leaves_the_checkout_as_it_was(repository: Session, example: str) -> None:
    ended = repository.flow("run", f"{example}.yaml", "--json")
    assert ended.code == 0, ended.err
    assert ended.json()["outputs"] == OUTPUTS[example]
    assert repository.git("status", "--porcelain") == ""


def test_first_mends_the_answer_that_cannot_be_read(repository: Session) -> None:
    repository.flow("run", "first.yaml")
    attempts = [[(attempt["kind"], attempt["error_kind"]) for attempt in item["attempts"]] for item in step(repository, "look")["items"]]
    assert attempts == [[("normal", None)], [("normal", "bad_output"), ("recovery", None)], [("normal", None)]]


def test_first_takes_as_many_files_as_it_is_told_to(repository: Session) -> None:
    ended = repository.flow("run", "first.yaml", "--arg", "limit=1", "--json")
    assert ended.json()["outputs"]["tests"] == "cart.py: an empty cart (its total divides by the number of items)"


def test_review_takes_a_change_from_a_file(repository: Session) -> None:
    repository.file("change.diff", "--- a/x\n+++ b/x\n@@ -1 +1 @@\n-old\n+new\n")
    ended = repository.flow("run", "review.yaml", "--arg", "diff=@change.diff", "--json")
    assert ended.json()["outputs"]["report"].startswith("2 changed lines\n")


def test_fix_needs_two_rounds_and_leaves_the_work_on_a_branch(repository: Session) -> None:
    result = repository.flow("run", "fix.yaml", "--json").json()
    attempts = result["steps"][1]["attempts"]
    assert [(attempt["kind"], attempt["status"]) for attempt in attempts] == [
        ("normal", "failed"),
        ("recovery", "success"),
        ("normal", "failed"),
        ("recovery", "success"),
        ("normal", "success"),
    ]
    assert repository.git("show", f"{result['branch']}:demo/add.sh") == "echo $(( $1 + $2 ))\n"


@pytest.mark.parametrize(
    ("check", "file", "text"),
    [("blanks", "notes.md", "a line \n"), ("conflicts", "notes.md", "<<<<<<< ours\n"), ("scripts", "tool.sh", "if true\n")],
)
def test_checks_names_the_check_that_fails_and_runs_the_others(repository: Session, check: str, file: str, text: str) -> None:
    repository.file(f"part/{file}", text)
    ended = repository.flow("run", "checks.yaml", "--arg", "folder=part", "--json")
    assert ended.code == 1
    expected = {name: "failed" if name == check else "success" for name in ("blanks", "conflicts", "scripts")}
    assert ended.json()["outputs"]["report"] == "\n".join(f"{name}: {status}" for name, status in expected.items())
