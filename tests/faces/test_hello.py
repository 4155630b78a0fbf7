"""The first command of the README: `cpool-flow run hello`, anywhere, without a key."""

from __future__ import annotations

import pytest
from session import ROOT, Session

CARD = "Hello, world!\nHola, world!\nJambo, world!"


@pytest.mark.parametrize("repository", [False, True], ids=["plain folder", "git repository"])
def test_hello_runs_anywhere_and_leaves_the_project_as_it_was(session: Session, repository: bool) -> None:
    if repository:
        session.repository()
    ended = session.flow("run", "hello", "--json")
    assert ended.code == 0, ended.err
    result = ended.json()
    assert result["outputs"] == {"card": CARD}
    assert [(step["name"], step["status"]) for step in result["steps"]] == [
        ("languages", "success"),
        ("greet", "success"),
        ("card", "success"),
    ]
    assert {path.name for path in session.path.iterdir()} <= {".cpool", ".git", "README"}
    assert not repository or session.git("status", "--porcelain") == ""


@pytest.mark.parametrize("repository", [False, True], ids=["plain folder", "git repository"])
def test_nothing_about_hello_is_worth_a_warning(session: Session, repository: bool) -> None:
    if repository:
        session.repository()
    assert "warning" not in session.flow("run", "hello").err
    assert session.flow("validate", str(ROOT / "workflows" / "hello.yaml"), "--strict").code == 0


def test_hello_shows_an_answer_that_is_refused_and_mended_and_three_tasks(session: Session) -> None:
    languages, greet, _ = session.flow("run", "hello", "--json").json()["steps"]
    assert [(attempt["kind"], attempt["error_kind"]) for attempt in languages["attempts"]] == [("normal", "bad_output"), ("recovery", None)]
    assert "at `/languages`: expected at least 3 items, found 2" in languages["attempts"][0]["error"]
    assert languages["vars"] == {"chosen": ["English", "Spanish", "Swahili"]}
    assert [(item["item"], item["output"]) for item in greet["items"]] == [("English", "Hello"), ("Spanish", "Hola"), ("Swahili", "Jambo")]


def test_hello_takes_any_name(session: Session) -> None:
    ended = session.flow("run", "hello", "--json", "--arg", "name={{ 1 }} $(touch x) '\"")
    assert ended.json()["outputs"]["card"].startswith("Hello, {{ 1 }} $(touch x) '\"!\n")
