"""The wheel as a stranger gets it: built from a copy of this checkout, installed where nothing else is, run without a key."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from session import ROOT

BUNDLED = ("schemas", "workflows", "skills", "examples", "assets")


def ran(*command: str, directory: Path, **environment: str) -> str:
    """What a command prints; it must end well."""
    ended = subprocess.run(
        command, cwd=directory, env={**os.environ, **environment}, capture_output=True, text=True, timeout=280, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that the checkout stays clean."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "build"))
    ran(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder / "dist"), ".", directory=source)
    (built,) = (folder / "dist").glob("*.whl")
    return built


def test_the_wheel_holds_all_that_is_bundled_and_says_that_it_is_typed(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for folder in BUNDLED:
        wanted = {f"cpool_flow/_bundled/{path.relative_to(ROOT)}" for path in (ROOT / folder).rglob("*.*") if path.is_file()}
        assert wanted
        assert wanted <= names
    assert "cpool_flow/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "runner/"))]


@pytest.mark.timeout(300)
def test_the_wheel_runs_a_bundled_workflow_in_an_environment_of_its_own(wheel: Path, tmp_path: Path) -> None:
    environment = tmp_path / "environment"
    ran(sys.executable, "-m", "venv", str(environment), directory=tmp_path)
    ran(str(environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", str(wheel), directory=tmp_path)
    project = tmp_path / "project"
    project.mkdir()
    program = str(environment / "bin" / "cpool-flow")
    outside = {"PYTHONPATH": "", "HOME": str(tmp_path)}
    assert ran(program, "run", "hello", "--quiet", directory=project, **outside).startswith("card =\n  Hello, world!")
    assert ran(program, "schema", "workflow", directory=project, **outside).startswith("{")
    assert "implement" in ran(program, "list", "skills", directory=project, **outside)
