"""Isolation `none`: the directory itself; git only looks, and nothing is ever committed in the user's checkout."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cpool_flow.workspace.place import Closed
from cpool_flow.workspace.plain import PlainPlace, open_plain
from edges.git_runner import Scratch, git, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def opened(scratch: Scratch, directory: Path | None = None) -> PlainPlace:
    async def work() -> PlainPlace:
        where = directory or scratch.repo
        return await open_plain(scratch.git, where, await scratch.repository(where), scratch.root / "private")

    return asyncio.run(work())


def test_changes_are_seen_and_nothing_is_written(scratch: Scratch) -> None:
    place = opened(scratch, scratch.repo / "src")
    before = asyncio.run(place.tree())
    assert before is not None
    index = (scratch.repo / ".git/index").read_bytes()
    write(scratch.repo, {"README": "changed\n", "new": "1", "x.log": "ignored"})
    assert asyncio.run(place.changed_files(before)) == ("README", "new")
    assert asyncio.run(place.commit("step")) is None
    assert asyncio.run(place.repair()) is None
    assert (scratch.repo / ".git/index").read_bytes() == index
    assert git(scratch.repo, "status", "--porcelain").split() == ["M", "README", "??", "new"]
    assert asyncio.run(place.close("none")) == Closed(None, scratch.repo / "src", None)


def test_a_commit_of_a_step_moves_head(scratch: Scratch) -> None:
    place = opened(scratch)
    before = asyncio.run(place.head())
    assert before == git(scratch.repo, "rev-parse", "HEAD")
    assert asyncio.run(place.head()) == before
    assert scratch.commit({"a": "1"}, "by a step") == asyncio.run(place.head())


def test_a_repository_before_its_first_commit_has_a_tree(tmp_path: Path, scratch: Scratch) -> None:
    git(tmp_path, "init", "-q", "empty")
    place = opened(scratch, tmp_path / "empty")
    trees = [asyncio.run(place.tree())]
    write(tmp_path / "empty", {"a": "1"})
    trees.append(asyncio.run(place.tree()))
    assert asyncio.run(place.head()) is None
    assert len(set(trees)) == 2


def test_changes_in_a_submodule_are_changes(scratch: Scratch) -> None:
    other = Scratch(scratch.root / "other")
    git(scratch.repo, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other.repo), "lib")
    scratch.commit({}, "a submodule")
    place = opened(scratch)
    before = asyncio.run(place.tree())
    assert before is not None
    write(scratch.repo, {"lib/README": "changed"})
    assert asyncio.run(place.changed_files(before)) == ("lib/README",)


def test_planted_commands_are_not_run(scratch: Scratch) -> None:
    place = opened(scratch)
    git(scratch.repo, "config", "core.fsmonitor", f"touch '{scratch.root}/PWNED'")
    git(scratch.repo, "config", "filter.evil.clean", f"touch '{scratch.root}/PWNED'; cat")
    write(scratch.repo, {".gitattributes": "* filter=evil\n", "a": "1"})
    asyncio.run(place.tree())
    assert not (scratch.root / "PWNED").exists()


def test_outside_git_there_is_no_tree(scratch: Scratch) -> None:
    async def work() -> PlainPlace:
        return await open_plain(scratch.git, scratch.home, None, scratch.root / "private")

    place = asyncio.run(work())
    assert asyncio.run(place.tree()) is None
    assert asyncio.run(place.changed_files("x")) is None
    assert asyncio.run(place.head()) is None
    assert not (scratch.root / "private").exists()
