"""`schemas/skill.schema.json` is what is read of a skill's front matter: the file, and its verdict on mutated front matter."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator
from mutations import mutations_of

from cpool_flow.errors import InvalidInput
from cpool_flow.skill import parse_skill
from cpool_flow.skill_schema import skill_schema
from golden import check_golden

SCHEMA = Path(__file__).resolve().parents[2] / "schemas" / "skill.schema.json"
CONFIG: dict[str, Any] = {"agent": "claude", "model": "m", "effort": "high", "max_turns": 3, "allowed_tools": ["Read"], "env": {"A": 1}}
FRONTS: tuple[dict[str, Any], ...] = (
    {},
    {"name": "fix", "description": "Fix it.", "license": "MIT", "allowed-tools": "Read, Bash(git diff:*)"},
    {"argument-hint": ["issue-number"], "allowed-tools": ["Read"], "metadata": {"version": "1.0", "config": CONFIG}},
    {"argument-hint": "<what>", "metadata": {"arguments": {"a": {}, "b": {"required": False}, "c": {"default": 3}}}},
    {"metadata": {"arguments": ["a", {"name": "b", "description": "x", "required": False}]}},
)


@cache
def validator() -> Draft202012Validator:
    return Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def is_read(front: Any) -> bool:
    try:
        parse_skill(f"---\n{json.dumps(front)}\n---\nFix it.\n".encode(), "skills/fix/SKILL.md")
    except InvalidInput as error:
        # Which JSON Schema an argument may have, and that it stands once, is not said by ours.
        return all(problem.message.startswith("argument `") for problem in error.problems)
    return True


def test_the_shipped_schema_is_the_one_that_is_made() -> None:
    check_golden(SCHEMA, json.dumps(skill_schema(), indent=2) + "\n")
    Draft202012Validator.check_schema(skill_schema())


def test_every_key_is_described() -> None:
    kinds = [skill_schema(), *skill_schema()["$defs"].values()]
    assert [name for kind in kinds for name, key in kind.get("properties", {}).items() if not key.get("description")] == []


@pytest.mark.parametrize("front", FRONTS)
def test_schema_and_reader_agree_on_what_is_valid(front: dict[str, Any]) -> None:
    assert is_read(front)
    assert validator().is_valid(front)


@settings(max_examples=300, deadline=None)
@given(mutations_of(FRONTS))
def test_schema_and_reader_agree_on_mutated_front_matter(data: Any) -> None:
    assert validator().is_valid(data) == is_read(data)
