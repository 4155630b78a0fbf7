"""What `list` and `show` can say of workflows and skills."""

from __future__ import annotations

from pathlib import Path

from cpool_flow.catalog import Entry, entries, workflows_here
from cpool_flow.library import listing, places

GOOD = """
description: Ship it.
args: {pr: {type: integer}}
steps: [{run: make}]
"""


def here(project: Path) -> dict[str, Entry]:
    return {entry.found.path.name: entry for entry in workflows_here([project], places("workflow", project, project, project / "none"))}


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_workflows_of_the_project_are_listed_with_descriptions_and_arguments(tmp_path: Path) -> None:
    write(tmp_path / "workflows" / "ship.yaml", GOOD)
    write(tmp_path / ".cpool" / "workflows" / "mine.yml", GOOD)
    write(tmp_path / "top.yaml", GOOD)
    found = here(tmp_path)
    assert list(found) == ["mine.yml", "ship.yaml", "top.yaml"]
    assert {(entry.description, *entry.arguments) for entry in found.values()} == {("Ship it.", "pr")}


def test_files_of_other_tools_are_not_taken_for_workflows(tmp_path: Path) -> None:
    write(tmp_path / "azure-pipelines.yml", "trigger: [main]\nsteps:\n- script: echo\n")
    write(tmp_path / "action.yml", "runs:\n  steps:\n  - run: x\n")
    write(tmp_path / "compose.yaml", "services: {}\n")
    write(tmp_path / "broken-but-not-ours.yaml", "a: [\n")
    write(tmp_path / "first.answers.yaml", "steps:\n  greet: Hello\n")
    write(tmp_path / "large.yaml", "steps:\n- run: x\n" + "#" * 2_000_000)
    (tmp_path / "folder.yaml").mkdir()
    assert here(tmp_path) == {}


def test_broken_workflows_are_listed_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "workflows" / "none.yaml", "hello\n")
    write(tmp_path / "workflows" / "binary.yaml", "\x00\x01")
    write(tmp_path / "top.yaml", "steps:\n- run: [\n")
    found = here(tmp_path)
    assert found["none.yaml"].problem == "it has no list of `steps`"
    assert all(entry.problem and entry.problem.isprintable() for entry in found.values())
    assert "line" in str(found["top.yaml"].problem)


def test_odd_values_in_a_workflow_do_not_break_the_list(tmp_path: Path) -> None:
    write(tmp_path / "workflows" / "odd.yaml", "description: [1]\nargs: {a: 1, b: {}}\nsteps: [1]\n")
    (entry,) = here(tmp_path).values()
    assert (entry.description, dict(entry.arguments), entry.problem) == ("", {"b": {}}, None)


def test_skills_are_listed_and_broken_ones_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path / "skills" / "bad" / "SKILL.md", "no front matter")
    found = {entry.found.name: entry for entry in entries(listing("skill", places("skill", tmp_path, tmp_path, tmp_path / "none")))}
    assert list(found["implement"].arguments) == ["description"]
    assert found["implement"].description.startswith("Make one described change")
    assert found["bad"].problem == "a skill begins with front matter between two lines `---` (line 1)"
