"""Files that hold what the program gives: compared whole, written anew with `UPDATE_GOLDEN=1`."""

from __future__ import annotations

import os
from pathlib import Path


def check_golden(path: Path, text: str) -> None:
    """The file holds exactly this text."""
    if os.environ.get("UPDATE_GOLDEN") == "1":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert path.exists(), f"{path} is missing: run this test with UPDATE_GOLDEN=1"
    assert path.read_text(encoding="utf-8") == text, f"{path} is out of date: run this test with UPDATE_GOLDEN=1"
