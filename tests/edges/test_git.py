"""Running git: what it is told, what it is not told, how its failure reads."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cpool_flow.errors import OperationFailed
from cpool_flow.git import GitFailed, GitMissing, is_object_id, safe_git
from edges.git_runner import Scratch, git, nobody, quiet_git, run_git


def test_variables_that_point_git_elsewhere_do_not_reach_it(tmp_path: Path) -> None:
    hostile = {"GIT_DIR": "/nowhere", "GIT_INDEX_FILE": "/nowhere", "GIT_WORK_TREE": "/nowhere", "GIT_EXTERNAL_DIFF": "touch PWNED"}
    kept = {"GIT_AUTHOR_NAME": "me", "GIT_SSH_COMMAND": "ssh -i key", "PATH": "/bin"}
    environment = safe_git(run_git, {**hostile, **kept}).environment
    assert not set(hostile) & set(environment)
    assert kept.items() <= environment.items()
    assert environment["GIT_TERMINAL_PROMPT"] == "0"


def test_a_failure_says_which_command_and_what_git_said(tmp_path: Path) -> None:
    scratch = Scratch(tmp_path)
    with pytest.raises(GitFailed, match=r"`git rev-parse` failed: fatal: Needed a single revision"):
        asyncio.run(scratch.git.at(scratch.repo).output("rev-parse", "--verify", "nope"))


def test_a_missing_git_is_told_from_a_missing_directory(tmp_path: Path) -> None:
    nothing = safe_git(run_git, {**nobody(tmp_path), "PATH": str(tmp_path)})
    with pytest.raises(GitMissing, match="git is not installed"):
        asyncio.run(nothing.at(tmp_path).output("version"))
    with pytest.raises(OperationFailed, match="does not exist"):
        asyncio.run(quiet_git(tmp_path).at(tmp_path / "gone").output("version"))


def test_a_path_is_read_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "blank and \udcff"
    folder.mkdir()
    git(folder, "init", "-q")
    assert asyncio.run(quiet_git(tmp_path).at(folder).line("rev-parse", "--show-toplevel")) == str(folder)


def test_only_a_full_hash_is_an_object_id() -> None:
    assert is_object_id("a" * 40)
    assert is_object_id("0" * 64)
    assert not any(is_object_id(text) for text in ("", "a" * 39, "HEAD", "-" + "a" * 39, "A" * 40, "a" * 40 + "\n"))
