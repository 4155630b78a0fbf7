"""Where workflows and skills are found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cases import cases
from cpool_flow.errors import InvalidInput
from cpool_flow.library import Found, Kind, bundled, find, find_project, find_workflow, listing, places, read_bytes, read_text


class Home:
    """A project and a configuration folder in which skills and workflows can be put."""

    def __init__(self, root: Path) -> None:
        self.config = root / "config"
        self.project = root / "project"
        self.flows = self.project / "flows"
        self.flows.mkdir(parents=True)

    def skill(self, folder: Path, name: str) -> Path:
        path = folder / name / "SKILL.md"
        path.parent.mkdir(parents=True)
        path.write_text("---\nname: x\n---\nDo it.\n")
        return path

    def workflow(self, folder: Path, name: str) -> Path:
        path = folder / name
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text("steps: [{run: true}]\n")
        return path

    def find(self, kind: Kind, name: str) -> Found:
        return find(kind, name, places(kind, self.project, self.flows, self.config))

    def find_workflow(self, text: str) -> Found:
        return find_workflow(text, self.project, places("workflow", self.project, self.project, self.config))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


def refusal(error: pytest.ExceptionInfo[InvalidInput]) -> str:
    (problem,) = error.value.problems
    text = " | ".join(part for part in (problem.message, problem.hint, problem.help) if part)
    assert text.isprintable()
    return text


def test_the_skill_that_is_nearest_to_the_workflow_wins_and_knows_what_it_overrides(home: Home) -> None:
    folders = [
        bundled("skills"),
        home.config / "cpool-flow" / "skills",
        home.project / ".claude" / "skills",
        home.project / ".cpool" / "skills",
        home.flows / "skills",
    ]
    for count, folder in enumerate(folders[1:], start=2):
        newest = home.skill(folder, "implement")
        found = home.find("skill", "implement")
        assert found.path == newest
        assert [older.path for older in found.overrides] == [older / "implement" / "SKILL.md" for older in reversed(folders[: count - 1])]
    assert found.source == "beside the workflow"
    assert [older.source for older in found.overrides] == ["project", "project (Claude Code)", "user", "built in"]


def test_the_workflow_of_the_project_wins_over_the_users_and_the_bundled_one(home: Home) -> None:
    assert home.find_workflow("hello").source == "built in"
    home.workflow(home.config / "cpool-flow" / "workflows", "hello.yaml")
    assert home.find_workflow("hello").source == "user"
    newest = home.workflow(home.project / "workflows", "hello.yml")
    assert home.find_workflow("hello").path == newest
    assert [older.source for older in home.find_workflow("hello").overrides] == ["user", "built in"]


def test_a_workflow_beside_the_one_that_names_it_wins_over_that_of_the_project(home: Home) -> None:
    home.workflow(home.project / ".cpool" / "workflows", "x.yaml")
    home.workflow(home.project / "workflows", "x.yaml")
    newest = home.workflow(home.flows / "workflows", "x.yaml")
    found = home.find("workflow", "x")
    assert found.path == newest
    assert [other.path.parent for other in found.overrides] == [home.project / "workflows", home.project / ".cpool" / "workflows"]


def test_of_two_suffixes_yaml_wins(home: Home) -> None:
    home.workflow(home.project / "workflows", "x.yml")
    newest = home.workflow(home.project / "workflows", "x.yaml")
    assert home.find_workflow("x").path == newest


def test_everything_by_name_is_listed_once_and_sorted(home: Home) -> None:
    home.skill(home.project / ".cpool" / "skills", "deploy")
    home.skill(home.project / ".cpool" / "skills", "Not A Name")
    (home.project / ".cpool" / "skills" / "empty").mkdir()
    (home.project / ".cpool" / "skills" / "README.md").write_text("")
    names = [found.name for found in listing("skill", places("skill", home.project, home.flows, home.config))]
    assert names == sorted({"code_review", "deploy", "implement", "refactor", "summarize", "write_tests"} | set(names))
    assert "empty" not in names


def test_answers_beside_a_bundled_workflow_are_no_workflow() -> None:
    assert all("." not in found.name for found in listing("workflow", places("workflow", Path("/"), Path("/"), Path("/"))))


def test_an_unknown_name_names_the_nearest_and_what_there_is(home: Home) -> None:
    with pytest.raises(InvalidInput) as error:
        home.find("skill", "implment")
    assert refusal(error).startswith("no skill `implment` | did you mean `implement`? | there is `code_review`, `describe_change`")


def test_a_skill_name_is_never_a_path(home: Home) -> None:
    home.skill(home.project, "x")
    hostile = [case["value"] for case in cases("hostile/paths.json")["cases"] if case["place"] == "skill name"]
    assert hostile
    for name in [*hostile, "../x", "skills/../../x", "/etc", "", "..", "-x", "X", "x\n", "x\x00", "a.b", "\udc80", "x" * 65]:
        with pytest.raises(InvalidInput) as error:
            home.find("skill", name)
        assert refusal(error).startswith("no skill `")


def test_a_workflow_is_found_by_its_path_from_here(home: Home) -> None:
    path = home.workflow(home.flows, "release.yaml")
    assert home.find_workflow("flows/release.yaml") == Found("workflow", "release", path, "file")
    assert home.find_workflow(str(path)).path == path
    home.workflow(home.project, "here.yml")
    assert home.find_workflow("here.yml").name == "here"
    (home.project / "link.yaml").symlink_to(path)
    assert home.find_workflow("link.yaml").path == home.project / "link.yaml"


def test_a_name_that_is_a_file_here_is_told_its_path(home: Home) -> None:
    home.workflow(home.project, "release.yaml")
    with pytest.raises(InvalidInput) as error:
        home.find_workflow("release")
    assert refusal(error).endswith("the file is called by its path: `release.yaml`")


def test_a_workflow_that_is_no_file_is_refused_and_nothing_is_read_into_the_message(home: Home) -> None:
    os.mkfifo(home.project / "fifo.yaml")
    (home.project / "folder.yaml").mkdir()
    (home.project / "loop.yaml").symlink_to("loop.yaml")
    hostile = [case["value"] for case in cases("hostile/paths.json")["cases"] if case["place"].startswith("workflow:")]
    assert hostile
    for text in [
        *hostile,
        "fifo.yaml",
        "folder.yaml",
        "loop.yaml",
        "nope.yaml",
        "/dev/null",
        "/dev/zero",
        "x" * 5000 + ".yaml",
        "a\x1b.yaml",
        "\udc80/",
    ]:
        with pytest.raises(InvalidInput) as error:
            home.find_workflow(text)
        assert len(refusal(error)) < 600


def test_a_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, limit=5) == b"12345"
    with pytest.raises(InvalidInput, match="larger than 4 bytes"):
        read_bytes(path, limit=4)


def test_text_is_utf_8_without_its_mark(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("\ufeffé\r\n".encode())
    assert read_text(path) == "é\r\n"
    path.write_bytes(b"abc\xff")
    with pytest.raises(InvalidInput, match=r"cannot read `notes`: byte 4 is not UTF-8 text"):
        read_text(path, shown="notes")


# ---- the project ----


def test_the_project_is_the_nearest_marked_folder_upwards(tmp_path: Path) -> None:
    inner = tmp_path / "outer" / "repo" / "src"
    inner.mkdir(parents=True)
    assert find_project(inner, None) == inner
    (tmp_path / "outer" / "repo" / ".git").mkdir()
    assert find_project(inner, None) == tmp_path / "outer" / "repo"
    (tmp_path / "outer" / "cpool.yaml").touch()
    assert find_project(inner, None) == tmp_path / "outer"
    (inner.parent / ".cpool").mkdir()
    assert find_project(inner, None) == inner.parent
    (inner / "cpool.yaml").touch()
    assert find_project(inner, None) == inner


def test_runs_in_the_home_folder_do_not_take_every_folder_below_it(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / ".cpool").mkdir()
    assert find_project(work, tmp_path) == work
    assert find_project(tmp_path, tmp_path) == tmp_path
    (tmp_path / "cpool.yaml").touch()
    assert find_project(work, tmp_path) == tmp_path


def test_a_folder_that_everybody_may_write_to_is_no_project_of_those_below(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (tmp_path / "cpool.yaml").touch()
    tmp_path.chmod(0o1777)
    assert find_project(work, None) == work
    assert find_project(tmp_path, None) == tmp_path


def test_nothing_above_a_folder_that_everybody_may_write_to_is_the_project_of_those_below(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    work = shared / "work"
    work.mkdir(parents=True)
    (tmp_path / ".cpool").mkdir()
    assert find_project(work, None) == tmp_path
    shared.chmod(0o1777)
    assert find_project(work, None) == work
