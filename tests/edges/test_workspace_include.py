"""`.worktreeinclude`: a fresh worktree gets files that git leaves out, and only from inside the repository."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from cases import cases
from cpool_flow.errors import InvalidInput
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    scratch = Scratch(tmp_path)
    scratch.commit({".gitignore": ".env\n*.log\nbuild/\nnode_modules/\n"}, "ignore")
    return scratch


def opened(scratch: Scratch, include: str) -> Worktree:
    write(scratch.repo, {".worktreeinclude": include})
    return asyncio.run(scratch.open())


def test_named_files_that_git_ignores_are_copied_with_mode_and_time(scratch: Scratch) -> None:
    write(scratch.repo, {".env": "SECRET=1", "packages/web/.env": "SECRET=2", "x.log": "no", "build/tool": "#!"})
    (scratch.repo / "build/tool").chmod(0o755)
    os.utime(scratch.repo / "build/tool", (1, 2))
    place = opened(scratch, "# environment\n.env\n\n/build/\n")
    assert (place.directory / ".env").read_text() == "SECRET=1"
    assert (place.directory / "packages/web/.env").read_text() == "SECRET=2"
    status = (place.directory / "build/tool").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o755, 2.0)
    assert not (place.directory / "x.log").exists()
    assert asyncio.run(place.commit("step")) is None


def test_patterns_are_those_of_git(scratch: Scratch) -> None:
    write(scratch.repo, {"a.log": "1", "b.log": "2", "deep/c.log": "3", "build/keep/x": "4", "build/other": "5"})
    place = opened(scratch, "*.log\n!b.log\nbuild/keep\n")
    found = sorted(
        str(path.relative_to(place.directory)) for path in place.directory.rglob("*") if path.suffix == ".log" or path.name in "x other"
    )
    assert found == ["a.log", "build/keep/x", "deep/c.log"]


def test_tracked_files_are_those_of_the_commit(scratch: Scratch) -> None:
    write(scratch.repo, {"README": "changed in the checkout\n", "src/new.py": "untracked"})
    place = opened(scratch, "*\n!/.worktreeinclude\n")
    assert (place.directory / "README").read_text() == "hello\n"
    assert (place.directory / "src/new.py").read_text() == "untracked"
    assert not (place.directory / ".git").is_dir()


def test_files_that_git_would_not_ignore_are_not_committed_as_work_of_a_step(scratch: Scratch) -> None:
    names = ["notes.txt", "a [1]?*.md", "sp ace /x y", "#hash", "!bang", "tail ", "new\nline"]
    write(scratch.repo, dict.fromkeys(names, "1"))
    place = opened(scratch, "\n".join(["notes.txt", "*.md", "sp*", "\\#hash", "\\!bang", "tail*", "new*"]))
    assert all((place.directory / name).exists() for name in names)
    assert asyncio.run(place.commit("step")) is None
    write(place.directory, {"b.md": "work"})
    commit = asyncio.run(place.commit("step"))
    assert commit is not None
    assert commit.changed_files == ("b.md",)


def test_links_are_copied_as_links_and_never_followed(scratch: Scratch) -> None:
    write(scratch.root, {"outside/precious": "1"})
    (scratch.repo / "build").mkdir()
    (scratch.repo / "build/link").symlink_to(scratch.root / "outside")
    (scratch.repo / "build/gone").symlink_to("nowhere")
    (scratch.repo / "node_modules").symlink_to("/")
    place = opened(scratch, "build\nnode_modules\n")
    assert os.readlink(place.directory / "build/link") == str(scratch.root / "outside")
    assert os.readlink(place.directory / "build/gone") == "nowhere"
    assert os.readlink(place.directory / "node_modules") == "/"


def test_nothing_is_written_through_a_link_of_the_commit(scratch: Scratch) -> None:
    (scratch.root / "outside").mkdir()
    (scratch.repo / "config").symlink_to(scratch.root / "outside")
    scratch.commit({}, "a link")
    (scratch.repo / "config").unlink()
    write(scratch.repo, {"config/.env": "SECRET"})
    place = opened(scratch, ".env\n")
    assert os.listdir(scratch.root / "outside") == []
    assert place.notes == (".worktreeinclude: config/.env was not copied: its folder is something else in the worktree",)


def test_what_is_no_file_is_left_out_and_git_folders_too(scratch: Scratch) -> None:
    write(scratch.repo, {"node_modules/x/index.js": "1", ".cpool/runs/r0/journal": "1", ".cpool/runs/.gitignore": "*\n"})
    os.mkfifo(scratch.repo / "node_modules/pipe")
    git(scratch.repo / "node_modules/x", "init", "-q")
    place = opened(scratch, "node_modules\n.git\n.cpool\n*\n")
    assert (place.directory / "node_modules/x/index.js").exists()
    for name in ("node_modules/pipe", "node_modules/x/.git", ".cpool/runs/r0"):
        assert not os.path.lexists(place.directory / name)


@pytest.mark.parametrize("line", ["/tmp/x", "../x", "a/../../x", "~/.ssh", "!../x", "/etc/passwd"])
def test_a_line_that_names_something_outside_is_an_error_with_its_place(scratch: Scratch, line: str) -> None:
    write(scratch.repo, {".worktreeinclude": f"# mine\n.env\n{line}\n"})
    with pytest.raises(InvalidInput, match="outside of the repository") as caught:
        asyncio.run(scratch.plan())
    location = caught.value.problems[0].location
    assert location is not None
    assert str(location) == ".worktreeinclude:3:1"
    assert not scratch.worktrees.exists()


@pytest.mark.parametrize("line", ["/.env", "/build/", "/packages/*/.env", "/README", "**/x", "a..b"])
def test_a_leading_slash_is_the_top_of_the_repository(scratch: Scratch, line: str) -> None:
    write(scratch.repo, {".worktreeinclude": line})
    asyncio.run(scratch.plan())


def test_the_hostile_lines_of_the_shared_cases_copy_nothing_from_outside(scratch: Scratch) -> None:
    for number, case in enumerate(case for case in cases("hostile/paths.json")["cases"] if case["place"] == ".worktreeinclude line"):
        write(scratch.repo, {".worktreeinclude": case["value"] + "\n", "node_modules/x": "1", "key.pem": "1"})
        if case["value"].startswith("/"):
            with pytest.raises(InvalidInput, match="outside of the repository"):
                asyncio.run(scratch.open(f"r{number}"))
        else:
            place = asyncio.run(scratch.open(f"r{number}"))
            expected = {"node_modules": ["node_modules"], "*.pem": ["key.pem"]}.get(case["value"], [])
            assert set(os.listdir(place.directory)) - {".git", ".gitignore", "README", "src"} == set(expected)


def test_a_large_folder_is_copied_in_reasonable_time(scratch: Scratch) -> None:
    for folder in range(50):
        (scratch.repo / f"node_modules/{folder}").mkdir(parents=True)
        for number in range(100):
            (scratch.repo / f"node_modules/{folder}/{number}.js").write_bytes(b"x")
    started = time.monotonic()
    place = opened(scratch, "node_modules\n")
    assert sum(len(names) for _, _, names in os.walk(place.directory / "node_modules")) == 5000
    assert time.monotonic() - started < 30
