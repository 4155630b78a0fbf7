"""What stands in this repository for GitHub: each action is pinned to a commit, and no job may more than it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SHOWN = [*WORKFLOWS, ROOT / "action.yml", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", SHOWN, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(file: Path) -> None:
    for line in re.findall(r"^\s*-?\s*(?:- )?uses: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE):
        assert line == "./" or re.fullmatch(r"[\w./-]+@([0-9a-f]{40} # v\d+\.\d+\.\d+|COMMIT # .*)", line), f"{file.name}: {line}"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_reads_and_every_job_of_it_comes_to_an_end(file: Path) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert (workflow["permissions"], "concurrency" in workflow) == ({"contents": "read"}, True)
    for name, job in workflow["jobs"].items():
        assert 1 <= job["timeout-minutes"] <= 60, name
        for step in job["steps"]:
            assert "${{" not in step.get("run", ""), f"{name}: no expression stands in a script"
            if step.get("uses", "").startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False, name


def test_the_checks_of_this_project_run_and_its_own_action_is_used() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    assert "run: .ci/run" in workflow
    assert "uses: ./" in workflow
