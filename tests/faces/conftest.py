from __future__ import annotations

from pathlib import Path

import pytest
from session import Session


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return Session(tmp_path)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a program in our own process: nothing of the developer's is read, and nothing is left there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def here(tmp_path: Path, own_home: None) -> Path:
    """The folder of a project for such a program."""
    folder = tmp_path / "project"
    folder.mkdir()
    return folder
