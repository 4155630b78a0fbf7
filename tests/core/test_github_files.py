"""What stands in this repository for GitHub: each action is pinned to a commit, and no job may more than it needs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from documents import blocks

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SHOWN = [*WORKFLOWS, ROOT / "action.yml", ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("file", SHOWN, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(file: Path) -> None:
    for line in re.findall(r"^\s*-?\s*(?:- )?uses: (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE):
        assert line == "./" or re.fullmatch(r"[\w./-]+@([0-9a-f]{40} # v\d+\.\d+\.\d+|COMMIT # .*)", line), f"{file.name}: {line}"


def shown_workflows() -> dict[str, str]:
    """Those of this repository, and those that its documents show."""
    found = {path.name: path.read_text(encoding="utf-8") for path in WORKFLOWS}
    for document in SHOWN:
        if document.suffix == ".md":
            yml = [block for block in blocks(document) if block.language == "yml" and block.file]
            found |= {f"{document.name} {block.file}": block.text for block in yml}
    return found


@pytest.mark.parametrize(("name", "text"), shown_workflows().items(), ids=shown_workflows())
def test_a_workflow_reads_and_every_job_of_it_comes_to_an_end(name: str, text: str) -> None:
    workflow: dict[Any, Any] = yaml.safe_load(text)
    assert (workflow["permissions"]["contents"], "concurrency" in workflow) == ("read", True)
    assert "write" not in workflow["permissions"].values(), "a job says what it writes"
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
