"""A place goes only when everything in it is on a branch, and an interruption between any two steps can be mended."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from cpool_flow.errors import OperationFailed
from cpool_flow.workspace.opening import open_worktree, reattach_worktree
from cpool_flow.workspace.place import Closed, Keep
from cpool_flow.workspace.record import WorktreeRecord
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def opened(scratch: Scratch) -> Worktree:
    return asyncio.run(scratch.open())


def close(place: Worktree, keep: Keep = "branch") -> Closed:
    return asyncio.run(place.close(keep))


def reattached(scratch: Scratch, record: WorktreeRecord, last_commit: str | None = None) -> Worktree:
    return asyncio.run(reattach_worktree(scratch.git, record, last_commit))


def leftovers(scratch: Scratch) -> list[str]:
    """What is left of runs: files below the folder for worktrees, and registrations in the repository."""
    files = [str(path.relative_to(scratch.worktrees)) for path in scratch.worktrees.rglob("*") if not path.is_dir()]
    return files + os.listdir(scratch.repo / ".git/worktrees")


def test_the_branch_stays_and_the_directory_goes(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1", "x.log": "ignored", "build/o": "2"})
    closed = close(place)
    assert (closed.branch, closed.directory) == (place.branch, None)
    assert closed.commit == git(scratch.repo, "rev-parse", place.branch)
    assert closed.notes == ("2 paths that git ignores went with the directory",)
    assert scratch.show(f"{place.branch}:a") == "1"
    assert leftovers(scratch) == []


def test_a_branch_without_changes_goes_too(scratch: Scratch) -> None:
    place = opened(scratch)
    closed = close(place)
    assert closed == Closed(None, None, place.base, (f"the branch {place.branch} had no changes and is gone",))
    assert scratch.branches() == ["main"]
    assert leftovers(scratch) == []


def test_commits_that_undo_each_other_are_still_commits(scratch: Scratch) -> None:
    place = opened(scratch)
    for text in ("changed\n", "hello\n"):
        write(place.directory, {"README": text})
        asyncio.run(place.commit("step"))
    assert close(place).branch == place.branch


def test_a_kept_worktree_is_everything_and_free_for_its_user(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1", "x.log": "ignored"})
    closed = close(place, "worktree")
    assert closed.directory == place.directory
    assert scratch.show(f"{place.branch}:a") == "1"
    assert (place.directory / "x.log").exists()
    git(scratch.repo, "worktree", "remove", "--force", str(place.directory))


def test_keep_none_drops_a_merged_branch_and_no_other(scratch: Scratch) -> None:
    merged, other = asyncio.run(scratch.open("r1")), asyncio.run(scratch.open("r2"))
    for place in (merged, other):
        write(place.directory, {place.record.run_id: "1"})
        asyncio.run(place.commit("step"))
    git(scratch.repo, "merge", "-q", merged.branch)
    assert close(merged, "none").notes == (f"the branch {merged.branch} was merged and is gone",)
    assert close(other, "none").notes == (f"the branch {other.branch} stays: it is not merged",)
    assert scratch.branches() == [other.branch, "main"]


def test_a_branch_that_is_checked_out_elsewhere_stays(scratch: Scratch) -> None:
    place = opened(scratch)
    git(scratch.repo, "checkout", "-q", "--ignore-other-worktrees", place.branch)
    closed = close(place)
    assert closed.branch == place.branch
    assert closed.notes == (f"the branch {place.branch} stays: it is checked out at {scratch.repo}",)
    assert git(scratch.repo, "status", "--porcelain") == ""


def test_removing_never_follows_a_link(scratch: Scratch) -> None:
    place = opened(scratch)
    write(scratch.root, {"outside/precious": "1"})
    write(place.directory, {"build/x": "1"})
    (place.directory / "build/link").symlink_to(scratch.root / "outside")
    (place.directory / "link").symlink_to("/")
    close(place)
    assert (scratch.root / "outside/precious").exists()
    assert leftovers(scratch) == []


def test_what_a_step_wrote_beside_its_place_stays(scratch: Scratch) -> None:
    place = opened(scratch)
    asyncio.run(scratch.open("r2"))
    write(place.directory, {"../outside.txt": "1"})
    assert close(place).notes[0] == f"a step wrote outside of its place, which stays: {place.directory.parent / 'outside.txt'}"
    assert (place.directory.parent / "outside.txt").exists()


def test_folders_without_the_right_to_write_go_too(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"build/cache/x": "1"})
    (place.directory / "build/cache").chmod(0o500)
    assert close(place).directory is None
    assert leftovers(scratch) == []


def test_a_repository_inside_with_commits_keeps_the_directory(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory / "inner", {"a": "1"})
    git(place.directory / "inner", "init", "-q")
    git(place.directory / "inner", "add", "-A")
    closed = close(place)
    assert closed.directory == place.directory
    assert closed.notes == ("the directory stays: inner is a git repository with commits of its own",)
    assert scratch.show(f"{place.branch}:inner/a") == "1"
    shutil.rmtree(place.directory / "inner/.git")
    assert close(place).directory is None


def test_a_repository_inside_keeps_the_directory_also_when_its_files_were_committed_before(scratch: Scratch) -> None:
    place = asyncio.run(scratch.open())
    write(place.directory / "deep/inner", {"a": "1"})
    git(place.directory / "deep/inner", "init", "-q")
    git(place.directory / "deep/inner", "add", "-A")
    asyncio.run(place.commit("step"))
    closed = asyncio.run(place.close("none"))
    assert closed.directory == place.directory
    assert closed.notes == ("the directory stays: deep/inner is a git repository with commits of its own",)


def test_another_worktree_inside_keeps_the_directory_also_where_git_ignores_it(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "worktree", "add", "-q", "-b", "inner", "build/inner")
    write(place.directory, {"build/inner/dirty": "1"})
    closed = close(place)
    assert closed.directory == place.directory
    assert (place.directory / "build/inner/dirty").exists()


def test_a_lock_of_somebody_else_keeps_the_directory(scratch: Scratch) -> None:
    place = opened(scratch)
    git(scratch.repo, "worktree", "unlock", str(place.directory))
    git(scratch.repo, "worktree", "lock", "--reason", "I am looking at it", str(place.directory))
    assert close(place).notes == ("the directory stays: it is locked: I am looking at it",)
    assert place.directory.is_dir()


def test_our_lock_keeps_git_from_pruning_a_worktree_that_runs(scratch: Scratch) -> None:
    place = opened(scratch)
    place.directory.rename(scratch.root / "away")
    git(scratch.repo, "worktree", "prune", "--expire=now")
    (scratch.root / "away").rename(place.directory)
    assert git(place.directory, "status", "--porcelain") == ""


def test_a_directory_that_somebody_removed_closes_with_what_was_committed(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    shutil.rmtree(place.directory)
    assert close(place).branch == place.branch
    assert scratch.show(f"{place.branch}:a") == "1"
    assert leftovers(scratch) == []


def test_a_second_close_does_nothing(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    first = close(place)
    assert close(reattached(scratch, place.record)).commit == first.commit


def test_worktrees_of_others_are_never_touched(scratch: Scratch) -> None:
    other, gone = scratch.root / "theirs", scratch.root / "gone"
    git(scratch.repo, "worktree", "add", "-q", "-b", "theirs", str(other))
    git(scratch.repo, "worktree", "add", "-q", "-b", "gone", str(gone))
    shutil.rmtree(gone)
    write(other, {"dirty": "1"})
    place = opened(scratch)
    shutil.rmtree(place.directory)
    close(reattached(scratch, place.record))
    assert (other / "dirty").exists()
    assert git(scratch.repo, "worktree", "list").count("\n") == 2


# -- resume


def test_a_place_that_is_there_is_used_with_what_is_in_it(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1", "x.log": "ignored"})
    again = reattached(scratch, place.record)
    assert (again.fresh, again.notes, again.directory) == (False, (), place.directory)
    assert (again.directory / "x.log").exists()
    assert close(again).branch == place.branch


def test_a_place_that_is_gone_is_made_again_from_its_branch(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    git(place.directory, "checkout", "-q", "--detach", place.base)
    write(place.directory, {"detached": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "detached")
    shutil.rmtree(place.directory)
    again = reattached(scratch, place.record)
    assert again.fresh
    assert again.notes == (
        "commits on a detached HEAD are kept on the branch cpool/review/r1-kept-1",
        "the worktree was made again from the branch cpool/review/r1; what was not committed there is not in it",
    )
    assert (again.directory / "a").exists()
    assert git(again.directory, "status", "--porcelain") == ""


def test_a_closed_place_is_made_again_when_its_run_is_resumed(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    close(place)
    again = reattached(scratch, place.record)
    assert (again.directory / "a").exists()
    write(again.directory, {"b": "1"})
    assert close(again).branch == place.branch
    assert scratch.files(place.branch) == [".gitignore", "README", "a", "b", "src/app.py"]


def test_a_branch_that_went_is_made_again_from_the_last_known_commit(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    commit = close(place).commit
    git(scratch.repo, "branch", "-q", "-D", place.branch)
    assert (reattached(scratch, place.record, commit).directory / "a").exists()


def test_a_branch_without_changes_is_made_again_from_the_base(scratch: Scratch) -> None:
    place = opened(scratch)
    close(place)
    assert (reattached(scratch, place.record).directory / "README").exists()


def test_a_branch_that_moved_is_taken_as_it_is(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    close(place)
    git(scratch.repo, "checkout", "-q", place.branch)
    scratch.commit({"by the user": "1"}, "user")
    git(scratch.repo, "checkout", "-q", "main")
    assert (reattached(scratch, place.record).directory / "by the user").exists()


def test_a_branch_that_is_checked_out_elsewhere_is_a_clear_error(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    close(place)
    git(scratch.repo, "checkout", "-q", place.branch)
    with pytest.raises(OperationFailed, match=r"is checked out at .*my repo: switch that checkout"):
        reattached(scratch, place.record)
    git(scratch.repo, "checkout", "-q", "main")
    assert (reattached(scratch, place.record).directory / "a").exists()


def test_a_place_is_made_where_git_gc_has_removed_the_folder_of_worktrees(scratch: Scratch) -> None:
    place = opened(scratch)
    shutil.rmtree(scratch.repo / ".git/worktrees")
    assert asyncio.run(place.commit("step")) is not None
    shutil.rmtree(scratch.repo / ".git/worktrees")
    assert close(place).directory is None


def test_a_registration_that_was_pruned_is_made_again(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1", "x.log": "ignored"})
    shutil.rmtree(Path(git(place.directory, "rev-parse", "--absolute-git-dir")))
    again = reattached(scratch, place.record)
    assert again.notes == ("the worktree was no longer registered in its repository",)
    assert (again.directory / "x.log").exists()
    assert close(again).branch == place.branch
    assert scratch.show(f"{place.branch}:a") == "1"


def test_a_repository_that_is_gone_is_a_clear_error(scratch: Scratch) -> None:
    place = opened(scratch)
    shutil.rmtree(scratch.repo)
    with pytest.raises(OperationFailed, match="repository of the run is gone"):
        reattached(scratch, place.record)
    assert place.directory.is_dir()


def test_our_own_folder_may_be_lost(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    shutil.rmtree(place.record.private)
    again = reattached(scratch, place.record)
    assert not again.fresh
    assert close(again).branch == place.branch
    assert scratch.show(f"{place.branch}:a") == "1"


# -- kill -9 before any change that we make


CHANGES = frozenset(
    {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.symlink", "os.link", "os.chmod", "os.utime", "shutil.rmtree", "subprocess.Popen"}
)


def is_change(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether Python is about to change the disk or to start a process."""
    if event == "open":
        return isinstance(arguments[2], int) and bool(arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    return event in CHANGES


def killed_before_change(number: int, work: Callable[[], object]) -> bool:
    """Do the work in a process that dies without a word before its change of this number; False when it made fewer."""
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code in (0, 9), "the work failed by itself"
        return code == 9
    changes = 0

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal changes
        if is_change(event, arguments):
            changes += 1
            if changes > number:
                os._exit(9)

    try:
        sys.addaudithook(count)
        work()
        os._exit(0)
    finally:
        os._exit(1)


STRIDE = 4


@pytest.mark.parametrize("offset", range(STRIDE))
def test_an_opening_killed_at_any_point_is_finished_by_resume(scratch: Scratch, offset: int) -> None:
    write(scratch.repo, {"uncommitted": "1", ".worktreeinclude": "*.log\n", "x.log": "1"})
    for number in itertools.count(offset, STRIDE):
        record = asyncio.run(scratch.plan(f"r{number}", include_changes=True))
        was_killed = killed_before_change(number, lambda record=record: asyncio.run(open_worktree(scratch.git, record)))
        place = reattached(scratch, record)
        assert (place.directory / "uncommitted").read_text() == "1"
        assert (place.directory / "x.log").exists()
        assert git(place.directory, "status", "--porcelain") == ""
        assert git(scratch.repo, "rev-parse", f"{record.branch}~1") == record.base
        write(place.directory, {"a": "1"})
        assert close(place).branch == record.branch
        if not was_killed:
            break
    assert number > 40
    assert leftovers(scratch) == []


@pytest.mark.parametrize("offset", range(STRIDE))
def test_a_close_killed_at_any_point_is_finished_by_another(scratch: Scratch, offset: int) -> None:
    for number in itertools.count(offset, STRIDE):
        place = asyncio.run(scratch.open(f"r{number}"))
        write(place.directory, {"a": "1", "build/x": "ignored"})
        (place.directory / "README").unlink()
        was_killed = killed_before_change(number, lambda place=place: close(place))
        closed = close(reattached(scratch, place.record))
        assert (closed.branch, closed.directory) == (place.branch, None)
        assert scratch.files(place.branch) == [".gitignore", "a", "src/app.py"]
        if not was_killed:
            break
    assert number > 40
    assert leftovers(scratch) == []


def test_a_directory_half_removed_is_no_deletion_of_files(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    place.directory.rename(place.record.private / "removed")
    (place.record.private / "removed/a").unlink()
    assert close(reattached(scratch, place.record)).branch == place.branch
    assert scratch.show(f"{place.branch}:a") == "1"


def test_a_checkout_half_made_is_no_deletion_of_files(scratch: Scratch) -> None:
    place = opened(scratch)
    (place.record.private / "being-made").touch()
    (place.record.private / "tip").unlink()
    (place.directory / "README").unlink()
    again = reattached(scratch, place.record)
    assert again.fresh
    assert (again.directory / "README").exists()
    assert close(again).branch is None
