"""Trusted files for agents in a place whose branch has others: they stand there, and nothing of the exchange is committed."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from cpool_flow.errors import OperationFailed
from cpool_flow.workspace.agent_files import AgentFile, is_agent_file, save_agent_files
from cpool_flow.workspace.opening import open_worktree, reattach_worktree
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def opened(scratch: Scratch, trusted: Mapping[str, str | AgentFile]) -> Worktree:
    """A worktree of what is committed, with these trusted files."""

    async def opening() -> Worktree:
        folder = scratch.root / "trusted"
        folder.mkdir()
        files = {name: file if isinstance(file, AgentFile) else AgentFile(file.encode()) for name, file in trusted.items()}
        save_agent_files(files, folder / "agents")
        return await open_worktree(scratch.git, replace(await scratch.plan(), trusted=str(folder)))

    return asyncio.run(opening())


def found(place: Worktree) -> dict[str, str]:
    """All files for agents that stand in the place."""
    walked = (Path(here, name) for here, _, names in os.walk(place.directory) for name in names)
    names = {path: path.relative_to(place.directory).as_posix() for path in walked}
    return {name: "link" if path.is_symlink() else path.read_text() for path, name in names.items() if is_agent_file(name)}


def committed(place: Worktree) -> tuple[str, ...]:
    """What a commit of the place changes."""
    commit = asyncio.run(place.commit("step"))
    return commit.changed_files if commit is not None else ()


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        *(
            (name, True)
            for name in ("CLAUDE.md", "a/b/CLAUDE.md", ".claude/settings.json", "web/.claude/hooks/x.sh", ".mcp.json", ".claude")
        ),
        *((name, True) for name in ("AGENTS.md", "GEMINI.md", ".codex/config.toml", "CLAUDE.md/x", "opencode.json", ".gemini/x")),
        *((name, False) for name in ("CLAUDE.md.txt", "claude.md", "docs/claude/x", "mcp.json", "src/agents.py", ".claudeignore")),
    ],
)
def test_which_files_are_read_by_agents(path: str, is_one: bool) -> None:
    assert is_agent_file(path) is is_one


def test_trusted_files_stand_there_and_others_do_not(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "evil", "web/CLAUDE.md": "evil", ".claude/settings.json": "evil", ".claude/x": "same"}, "evil")
    trusted = {"CLAUDE.md": "good", ".claude/x": "same", "new/.mcp.json": "good", ".claude/run.sh": AgentFile(b"#!", executable=True)}
    place = opened(scratch, trusted)
    assert found(place) == {"CLAUDE.md": "good", ".claude/x": "same", "new/.mcp.json": "good", ".claude/run.sh": "#!"}
    assert (place.directory / ".claude/run.sh").stat().st_mode & 0o777 == 0o755
    assert committed(place) == ()
    assert git(place.directory, "status", "--porcelain", "--untracked-files=no") == ""
    write(place.directory, {"src/app.py": "print(2)\n"})
    assert committed(place) == ("src/app.py",)
    assert asyncio.run(place.changed_files(str(place.branch))) == ()


def test_what_a_step_writes_there_is_committed_as_it_left_it_and_then_exchanged(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "evil", ".mcp.json": "evil"}, "evil")
    place = opened(scratch, {"CLAUDE.md": "good"})
    write(place.directory, {"CLAUDE.md": "good and mine"})
    assert committed(place) == ("CLAUDE.md",)
    assert scratch.show(f"{place.branch}:CLAUDE.md") == "good and mine"
    assert found(place) == {"CLAUDE.md": "good"}
    assert committed(place) == ()
    assert scratch.files(str(place.branch)) == [".gitignore", ".mcp.json", "CLAUDE.md", "README", "src/app.py"]


def test_a_step_that_commits_everything_itself_commits_no_exchange(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "evil", ".mcp.json": "evil"}, "evil")
    place = opened(scratch, {"CLAUDE.md": "good"})
    write(place.directory, {"made": "x"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-a", "-m", "own")
    assert git(place.directory, "diff", "--name-only", "main", "HEAD") == "made"
    assert committed(place) == ("made",)


def test_links_and_folders_in_their_place_give_way_and_nothing_outside_is_touched(scratch: Scratch) -> None:
    outside = scratch.root / "outside"
    write(outside, {"settings.json": "theirs", "CLAUDE.md": "theirs"})
    scratch.commit({"CLAUDE.md/deep/x": "evil", "tools/settings.json": "evil"}, "evil")
    (scratch.repo / ".claude").symlink_to(outside)
    (scratch.repo / "sub").symlink_to(outside)
    (scratch.repo / ".mcp.json").symlink_to("tools/settings.json")
    git(scratch.repo, "add", "-A")
    git(scratch.repo, "commit", "-q", "-m", "links")
    place = opened(scratch, {"CLAUDE.md": "good", ".claude/settings.json": "good", "sub/CLAUDE.md": "good", ".mcp.json": "good"})
    assert found(place) == {"CLAUDE.md": "good", ".claude/settings.json": "good", ".mcp.json": "good"}
    assert {path.name: path.read_text() for path in outside.iterdir()} == {"settings.json": "theirs", "CLAUDE.md": "theirs"}
    assert stat.S_ISLNK((place.directory / "sub").lstat().st_mode)
    assert committed(place) == ()


def test_a_place_that_is_found_again_keeps_what_a_step_has_left_and_one_that_is_made_again_has_them(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "evil", ".mcp.json": "evil"}, "evil")
    place = opened(scratch, {"CLAUDE.md": "good", ".mcp.json": "good"})
    write(place.directory, {"CLAUDE.md": "mine"})
    again = asyncio.run(reattach_worktree(scratch.git, place.record))
    assert found(again) == {"CLAUDE.md": "mine", ".mcp.json": "good"}
    closed = asyncio.run(again.close("branch"))
    assert (closed.branch, closed.directory) == (place.branch, None)
    assert git(scratch.repo, "diff", "--name-only", "main", str(place.branch)) == "CLAUDE.md"
    made = asyncio.run(reattach_worktree(scratch.git, place.record))
    assert found(made) == {"CLAUDE.md": "good", ".mcp.json": "good"}


def test_where_the_branch_has_the_trusted_files_a_change_is_committed_and_exchanged_as_well(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "good"}, "good")
    place = opened(scratch, {"CLAUDE.md": "good"})
    write(place.directory, {"CLAUDE.md": "injected", "web/.claude/x": "injected"})
    assert committed(place) == ("CLAUDE.md", "web/.claude/x")
    assert found(place) == {"CLAUDE.md": "good"}
    assert scratch.show(f"{place.branch}:CLAUDE.md") == "injected"


@pytest.mark.parametrize("trusted", [{"CLAUDE.md": "good"}, {}, {"CLAUDE.md": "good", ".mcp.json": "good"}])
def test_a_worktree_goes_on_to_a_commit_that_changes_the_branchs_own_files(scratch: Scratch, trusted: dict[str, str]) -> None:
    scratch.commit({"CLAUDE.md": "own"}, "own")
    place = opened(scratch, trusted)
    commit = scratch.commit({"CLAUDE.md": "changed", "other.txt": "new", ".mcp.json": "new"}, "merged")
    asyncio.run(place.advance(commit))
    assert found(place) == trusted
    assert (place.directory / "other.txt").read_text() == "new"
    assert committed(place) == ()
    assert git(scratch.repo, "rev-parse", place.branch) == commit


def test_after_an_interruption_between_the_two_the_trusted_files_stand_there_again(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "own"}, "own")
    place = opened(scratch, {"CLAUDE.md": "good"})
    write(place.directory, {"CLAUDE.md": "own"})
    (place.record.private / "agent-files-out").touch()
    again = asyncio.run(reattach_worktree(scratch.git, place.record))
    assert found(again) == {"CLAUDE.md": "good"}
    assert committed(again) == ()


def test_nobody_mends_a_merge_in_which_the_other_side_has_changed_files_that_are_exchanged(scratch: Scratch) -> None:
    scratch.commit({"CLAUDE.md": "own", "a.txt": "one"}, "own")
    place = opened(scratch, {})
    onto = scratch.commit({"CLAUDE.md": "changed", "a.txt": "two"}, "other side")
    write(place.directory, {"a.txt": "three"})
    with pytest.raises(OperationFailed, match="the other side has changed"):
        asyncio.run(place.lay_out(onto, "work", lambda name: True))
    assert found(place) == {}
    assert committed(place) == ()
    assert scratch.show(f"{place.branch}:a.txt") == "three"
