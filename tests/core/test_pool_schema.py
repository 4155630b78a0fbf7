"""`schemas/pool.schema.json` is what the model says: the file, its descriptions, and its verdict on mutated pool files."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from mutations import mutations_of

from cpool_flow.document import load
from cpool_flow.errors import render_problem
from cpool_flow.findings import Findings
from cpool_flow.pool_file import PoolFile
from cpool_flow.pool_schema import pool_schema
from cpool_flow.shape import read_whole
from golden import check_golden

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "pool.schema.json"
POOLS: tuple[dict[str, Any], ...] = (
    {},
    {"slots": 4},
    {
        "config": {"agent": "claude", "model": "sonnet", "allowed_tools": ["Read"], "env": {"A": 1}},
        "profiles": {"deep": {"model": "opus", "effort": "high"}},
        "slots": [
            {"name": "writer", "count": 2, "config": {"permission_mode": "acceptEdits"}},
            {"name": "reviewer", "role": "Reviewer", "description": "Reads.", "labels": ["python", "careful"]},
            {},
        ],
        "prices": {
            "codex": {"gpt-5": {"input": 1.25, "output": 10, "cache_read": 0.125, "cache_write": 0}, "*": {"input": 2, "output": 12}}
        },
        "budgets": {"day": 50},
        "worktrees": "~/worktrees",
        "notify": [
            {"on": "failed", "command": ["notify-send", "failed", 1]},
            {"on": ["success", "waiting", "cancelled"], "command": ["x"]},
        ],
    },
)


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def complaints(data: Any) -> list[str]:
    text = json.dumps(data, ensure_ascii=False, indent=1)
    findings = Findings(load(text.encode(), "cpool.yaml"), PoolFile)
    pool = read_whole(findings, PoolFile)
    assert (pool is None) == bool(findings.errors)
    return [render_problem(problem, {"cpool.yaml": text}) for problem in findings.errors]


def test_the_shipped_schema_is_the_one_that_the_model_makes() -> None:
    check_golden(SCHEMA, json.dumps(pool_schema(), indent=2) + "\n")
    Draft202012Validator.check_schema(pool_schema())


def test_every_key_is_described() -> None:
    kinds = [pool_schema(), *pool_schema()["$defs"].values()]
    assert [name for kind in kinds for name, key in kind.get("properties", {}).items() if not key.get("description")] == []


@pytest.mark.parametrize("pool", POOLS)
def test_schema_and_model_agree_on_what_is_valid(pool: dict[str, Any]) -> None:
    assert complaints(pool) == []
    assert validator().is_valid(pool)


@settings(max_examples=500, deadline=None)
@given(mutations_of(POOLS))
def test_schema_and_model_agree_on_mutated_pools(data: Any) -> None:
    assert validator().is_valid(data) == (complaints(data) == [])
