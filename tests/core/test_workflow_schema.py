"""`schemas/workflow.schema.json` is what the model says: the file, its descriptions, and its verdict on mutated workflows."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from mutations import WORKFLOWS, mutated

from cpool_flow import model
from cpool_flow.document import load
from cpool_flow.errors import render_problem
from cpool_flow.findings import Findings
from cpool_flow.shape import read_shape
from cpool_flow.workflow_schema import workflow_schema
from golden import check_golden

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "schemas" / "workflow.schema.json"


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_shipped_schema_is_the_one_that_the_model_makes() -> None:
    check_golden(SCHEMA, json.dumps(workflow_schema(), indent=2) + "\n")


def test_the_schema_is_a_schema_with_a_name_of_its_own() -> None:
    made = workflow_schema()
    Draft202012Validator.check_schema(made)
    assert (made["$schema"], made["$id"]) == ("https://json-schema.org/draft/2020-12/schema", "urn:cpool-flow:schema:workflow:1")


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every key that the schema knows, with what it says of it."""
    if isinstance(schema, list):
        for inner in schema:
            yield from properties(inner, path)
    elif isinstance(schema, dict):
        for name, inner in schema.get("properties", {}).items():
            yield f"{path}{name}", inner
        for key, inner in schema.items():
            yield from properties(inner, f"{path}{key}/")


def test_every_key_is_described() -> None:
    assert [place for place, key in properties(workflow_schema()) if not key.get("description")] == []


def test_what_this_version_does_not_do_is_not_in_the_schema() -> None:
    definitions = workflow_schema()["$defs"]
    assert set(workflow_schema()["properties"]) & model.LATER_KEYS["workflow"] == set()
    assert set(definitions["Step"]["properties"]) & model.LATER_KEYS["step"] == set()


@pytest.mark.parametrize("path", sorted((ROOT / "workflows").glob("*.y*ml")), ids=lambda path: path.name)
def test_what_is_bundled_fits_the_schema(path: Path) -> None:
    if not path.stem.endswith(".answers"):
        assert list(validator().iter_errors(load(path.read_bytes(), path.name).data)) == []


# ---- one verdict ----


def complaints(data: Any) -> list[str]:
    """What is wrong with the shape of a workflow file that holds this."""
    text = json.dumps(data, ensure_ascii=False, indent=1)
    findings = Findings(load(text.encode(), "f.yaml"))
    workflow = read_shape(findings)
    assert (workflow is None) <= bool(findings.errors)
    return [render_problem(problem, {"f.yaml": text}) for problem in findings.errors]


@settings(max_examples=1200, deadline=None)
@given(mutated())
def test_schema_and_model_agree_on_mutated_workflows(data: Any) -> None:
    assert validator().is_valid(data) == (complaints(data) == [])


@pytest.mark.parametrize("workflow", WORKFLOWS)
def test_schema_and_model_agree_on_what_is_valid(workflow: dict[str, Any]) -> None:
    assert complaints(workflow) == []
    assert validator().is_valid(workflow)


def test_how_long_a_duration_is_only_the_model_knows() -> None:
    assert "at most 366 days" in complaints({"timeout": "367d", "steps": [{"run": "true"}]})[0]
    assert validator().is_valid({"timeout": "367d", "steps": [{"run": "true"}]})
