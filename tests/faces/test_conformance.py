"""What each key must do: one file a key in `tests/conformance/`, a table of cases in each, run as a user runs them.

A case has a `flow`, and beside it `files`, `git` (a repository with one commit), `environment`, `options`. What must come of it: the exit
`code` (0), `steps`, `items`, `kinds` (error kinds of attempts), `outputs`, a part of the `error`, and what is there afterwards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from session import ROOT, Ended, Session

from cpool_flow.model import LATER_KEYS, Step, Workflow

FOLDER = ROOT / "tests" / "conformance"
MODELS = {"step": Step, "workflow": Workflow}


def cases() -> Iterator[Any]:
    for file in sorted(FOLDER.glob("*/*.yaml")):
        for case in yaml.safe_load(file.read_text(encoding="utf-8")):
            yield pytest.param(case, id=f"{file.parent.name} {file.stem}: it {case['it']}")


@pytest.mark.parametrize("kind", ["step", "workflow"])
def test_every_key_has_its_file(kind: str) -> None:
    keys = {field.alias or name.rstrip("_") for name, field in MODELS[kind].model_fields.items()}
    assert {file.stem for file in (FOLDER / kind).glob("*.yaml")} == keys - LATER_KEYS[kind]


@pytest.mark.parametrize("case", list(cases()))
def test_a_key_does_what_it_must(session: Session, case: dict[str, Any]) -> None:
    if case.get("git"):
        session.repository()
    session.file("flow.yaml", case["flow"])
    if case.get("git"):
        session.git("add", "-A")
        session.git("commit", "-q", "-m", "flow")
    for name, text in case.get("files", {}).items():
        session.file(name, text)
    ended = session.flow("run", "flow.yaml", "--json", *case.get("options", []), **case.get("environment", {}))
    assert ended.code == case.get("code", 0), ended.err
    assert case.get("error", "") in ended.out + ended.err
    if ended.code != 2:
        compare(session, case, ended)


def compare(session: Session, case: dict[str, Any], ended: Ended) -> None:
    result = ended.json()
    steps = {step["name"]: step for step in result["steps"]}
    assert {name: steps[name]["status"] for name in case.get("steps", {})} == case.get("steps", {}), ended.err
    assert {name: [item["status"] for item in steps[name]["items"]] for name in case.get("items", {})} == case.get("items", {})
    for name, kinds in case.get("kinds", {}).items():
        assert [attempt["error_kind"] for attempt in steps[name]["attempts"]] == kinds
    assert {name: result["outputs"].get(name) for name in case.get("outputs", {})} == case.get("outputs", {}), json.dumps(result["outputs"])
    if "branch" in case:
        assert str(result["branch"]).startswith(str(case["branch"]))
    if "directory" in case:
        assert (result["directory"] is not None and Path(result["directory"]).is_dir()) is case["directory"]
    if "same_session" in case:
        assert len({steps[name]["attempts"][0]["session_id"] for name in case["same_session"]}) == 1
    for name in case.get("artifacts", []):
        assert list(session.last_run().rglob(name))
    assert "present" not in case or (session.path / case["present"]).exists()
    assert "absent" not in case or not (session.path / case["absent"]).exists()
