"""Where the shared test cases stand; tests that need them skip with a reason where they are missing."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases"


def case_path(name: str) -> Path:
    """The path of a file or folder of the shared cases."""
    path = CASES / name
    if not path.exists():
        pytest.skip(f"shared cases are not beside this checkout: {name}", allow_module_level=True)
    return path


def cases(name: str) -> Any:
    """The parsed JSON of a file of the shared cases."""
    return json.loads(case_path(name).read_text(encoding="utf-8"))


def dag_judge() -> Any:
    """`bounds.py` of the cases: it knows the bounds of a graph and what is wrong with a schedule, and nothing of us."""
    spec = importlib.util.spec_from_file_location("bounds", case_path("dags/bounds.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
