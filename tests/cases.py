"""Where the shared test cases stand; tests that need them skip with a reason where they are missing."""

from __future__ import annotations

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
