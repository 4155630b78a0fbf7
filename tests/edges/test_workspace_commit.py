"""Whatever a step does to its worktree, what it left is committed on the run's branch, and nothing of ours runs its commands."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cases import case_path
from cpool_flow.errors import OperationFailed
from cpool_flow.workspace.place import Closed, Commit
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, nobody, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def opened(scratch: Scratch) -> Worktree:
    return asyncio.run(scratch.open())


def commit(place: Worktree, message: str = "step", since: str | None = None) -> Commit:
    found = asyncio.run(place.commit(message, since))
    assert found is not None
    return found


def plant(scratch: Scratch, place: Worktree) -> None:
    """Everything known that makes git start a command, in the configuration that all worktrees share."""
    touch = f"touch '{scratch.root}/PWNED'; cat"
    settings = {
        "core.fsmonitor": touch, "core.editor": touch, "core.sshCommand": touch, "core.pager": touch, "diff.external": touch,
        "filter.evil.clean": touch, "filter.evil.smudge": touch, "filter.evil.process": touch, "filter.evil.required": "true",
        "diff.evil.textconv": touch, "diff.evil.command": touch, "merge.evil.driver": touch, "alias.add": f"!{touch}",
        "alias.commit-tree": f"!{touch}", "credential.helper": f"!{touch}", "gpg.program": touch, "commit.gpgSign": "true",
        "hook.evil.command": touch, "hook.evil.event": "reference-transaction", "core.hooksPath": str(scratch.root / "hooks"),
        "core.attributesFile": str(scratch.root / "attributes"), "include.path": str(scratch.root / "included"),
        "extensions.worktreeConfig": "true", "core.excludesFile": str(scratch.root / "everything"), "core.worktree": "/",
    }  # fmt: skip
    write(scratch.root, {"attributes": "* filter=evil diff=evil merge=evil\n", "everything": "*\n", "included": "[core]\n\tbare = true\n"})
    for folder in (scratch.root / "hooks", scratch.repo / ".git/hooks"):
        for hook in (
            "post-checkout",
            "post-index-change",
            "reference-transaction",
            "pre-commit",
            "commit-msg",
            "post-commit",
            "prepare-commit-msg",
        ):
            write(folder, {hook: f"#!/bin/sh\ntouch '{scratch.root}/PWNED'\nexit 1\n"})
            (folder / hook).chmod(0o755)
    for key, value in settings.items():
        git(scratch.repo, "config", "--file", str(scratch.repo / ".git/config"), key, value)
    write(scratch.repo, {".git/info/attributes": "* filter=evil diff=evil\n", ".git/info/exclude": "*\n"})
    write(place.directory, {".gitattributes": "* filter=evil diff=evil\n"})


def test_what_a_step_left_is_one_commit_on_the_branch(scratch: Scratch) -> None:
    before = scratch.state()
    place = opened(scratch)
    write(place.directory, {"README": "new\n", "a/b c": "1", "x.log": "ignored"})
    (place.directory / "src/app.py").unlink()
    found = commit(place, "review: fix")
    assert found.changed_files == ("README", "a/b c", "src/app.py")
    assert found.notes == ()
    assert git(scratch.repo, "rev-parse", place.branch) == found.sha == asyncio.run(place.head())
    assert (
        git(scratch.repo, "log", "-1", "--format=%s|%an <%ae>|%cn", place.branch)
        == "review: fix|cpool-flow <cpool-flow@localhost>|cpool-flow"
    )
    assert scratch.files(place.branch) == [".gitignore", "README", "a/b c"]
    assert git(place.directory, "status", "--porcelain") == ""
    assert scratch.state() == before


def test_the_user_of_the_repository_is_the_author(scratch: Scratch) -> None:
    git(scratch.repo, "config", "user.name", 'Zoë "Z" O\\Neil')
    git(scratch.repo, "config", "user.email", "zoe@example.invalid")
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    commit(place)
    assert git(scratch.repo, "log", "-1", "--format=%an <%ae>", place.branch) == 'Zoë "Z" O\\Neil <zoe@example.invalid>'


def test_nothing_left_is_no_commit(scratch: Scratch) -> None:
    place = opened(scratch)
    assert asyncio.run(place.commit("step")) is None
    write(place.directory, {"a": "1"})
    commit(place)
    assert asyncio.run(place.commit("step")) is None


def test_a_step_that_commits_itself_needs_no_commit_of_ours(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "by the agent")
    tip = git(place.directory, "rev-parse", "HEAD")
    assert asyncio.run(place.head()) == tip
    assert commit(place) == Commit(tip, ("a",))


def test_changes_are_told_against_the_start_of_the_step(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"one": "1"})
    first = commit(place, "one")
    start = asyncio.run(place.tree())
    write(place.directory, {"two": "2"})
    assert asyncio.run(place.changed_files(start)) == ("two",)
    assert asyncio.run(place.changed_files(place.base)) == ("one", "two")
    assert commit(place, "two", since=first.sha).changed_files == ("two",)
    assert commit(place, "two", since=start).changed_files == ("two",)


def test_the_tree_sees_what_git_does_not_ignore_and_touches_no_index(scratch: Scratch) -> None:
    place = opened(scratch)
    trees = [asyncio.run(place.tree())]
    index = Path(git(place.directory, "rev-parse", "--git-path", "index"))
    before = index.read_bytes()
    for name, text in (("new", "1"), ("README", "2"), ("new", "3")):
        write(place.directory, {name: text})
        trees.append(asyncio.run(place.tree()))
    assert len(set(trees)) == 4
    write(place.directory, {"x.log": "ignored", "new": "1", "README": "hello\n"})
    (place.directory / "new").unlink()
    assert asyncio.run(place.tree()) == trees[0]
    assert index.read_bytes() == before


def test_a_file_of_the_same_size_and_time_is_seen_as_changed(scratch: Scratch) -> None:
    place = opened(scratch)
    path = place.directory / "README"
    first = asyncio.run(place.tree())
    for text in ("HELLO\n", "hallo\n", "hello\n"):
        status = path.stat()
        path.write_text(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (asyncio.run(place.tree()) == first) == (text == "hello\n")


def test_links_are_committed_as_links_and_never_followed(scratch: Scratch) -> None:
    place = opened(scratch)
    (place.directory / "root-link").symlink_to("/")
    shutil.rmtree(place.directory / "src")
    (scratch.root / "outside").mkdir()
    write(scratch.root / "outside", {"app.py": "print(1)\n"})
    (place.directory / "src").symlink_to(scratch.root / "outside")
    commit(place)
    assert git(scratch.repo, "ls-tree", place.branch, "root-link", "src").count("120000") == 2
    asyncio.run(place.close("branch"))
    assert (scratch.root / "outside/app.py").exists()


def test_files_that_an_index_hides_are_seen(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "update-index", "--assume-unchanged", "README")
    git(place.directory, "update-index", "--skip-worktree", "src/app.py")
    write(place.directory, {"README": "hidden\n", "src/app.py": "hidden\n"})
    assert commit(place).changed_files == ("README", "src/app.py")


def test_an_ignored_file_that_a_step_added_by_force_stays_and_one_that_it_took_out_goes(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"build/out": "1", "x.log": "2"})
    git(place.directory, "add", "-f", "build/out")
    assert commit(place).changed_files == ("build/out",)
    write(place.directory, {"build/out": "2"})
    assert commit(place).changed_files == ("build/out",)
    git(place.directory, "rm", "-q", "--cached", "build/out")
    git(place.directory, "commit", "-q", "-m", "do not track it")
    commit(place)
    assert "build/out" not in scratch.files(place.branch)


def test_a_broken_or_missing_index_costs_nothing(scratch: Scratch) -> None:
    place = opened(scratch)
    index = Path(git(place.directory, "rev-parse", "--git-path", "index"))
    for number, damage in enumerate((lambda: index.write_bytes(b"rubbish"), index.unlink, lambda: (index.unlink(), os.mkfifo(index)))):
        damage()
        write(place.directory, {"a": str(number)})
        assert commit(place).changed_files == ("a",)
        assert git(place.directory, "status", "--porcelain") == ""


def test_commits_on_another_branch_are_kept_named_and_followed(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "-b", "fix/it")
    write(place.directory, {"a": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "elsewhere")
    assert asyncio.run(place.head()) == place.base  # the run's branch has no commit of the step
    write(place.directory, {"b": "2"})
    found = commit(place)
    assert found.changed_files == ("a", "b")
    assert found.notes == ("a step left the place on the branch fix/it, which is kept",)
    assert scratch.show("fix/it:a") == "1"
    assert git(scratch.repo, "log", "--format=%s", f"main..{place.branch}").splitlines() == ["step", "elsewhere"]
    assert git(place.directory, "symbolic-ref", "--short", "HEAD") == place.branch


def test_a_branch_that_did_not_grow_from_ours_is_not_followed(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"mine": "1"})
    commit(place, "first")
    git(place.directory, "checkout", "-q", "-b", "other", place.base)
    write(place.directory, {"theirs": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "other")
    found = commit(place, "second")
    assert found.changed_files == ("mine", "theirs")
    assert git(scratch.repo, "log", "--format=%s", f"main..{place.branch}").splitlines() == ["second", "first"]


def test_commits_on_a_detached_head_are_on_the_branch(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "--detach")
    write(place.directory, {"a": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "detached")
    sha = git(place.directory, "rev-parse", "HEAD")
    assert commit(place) == Commit(sha, ("a",))


def test_a_detached_head_that_went_another_way_is_kept_on_a_branch(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"mine": "1"})
    commit(place)
    kept = []
    for number in (1, 2):
        git(place.directory, "checkout", "-q", "--detach", place.base)
        write(place.directory, {"lost": f"{number}"})
        git(place.directory, "add", "-A")
        git(place.directory, "commit", "-q", "-m", "detached")
        kept.append(git(place.directory, "rev-parse", "HEAD"))
        assert commit(place).notes == (f"commits on a detached HEAD are kept on the branch cpool/review/r1-kept-{number}",)
    assert [git(scratch.repo, "rev-parse", f"{place.branch}-kept-{number}") for number in (1, 2)] == kept


def test_a_detached_head_at_a_known_commit_makes_no_branch(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"mine": "1"})
    commit(place)
    git(place.directory, "checkout", "-q", "--detach", "main")
    commit(place, since=place.base)
    assert scratch.branches() == [place.branch, "main"]


def test_commits_that_a_step_rewrote_are_kept(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"one": "1"})
    first = commit(place)
    git(place.directory, "reset", "-q", "--hard", place.base)
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.notes == ("the commits before a step rewrote the branch are kept on the branch cpool/review/r1-kept-1",)
    assert git(scratch.repo, "rev-parse", "cpool/review/r1-kept-1") == first.sha


def test_a_deleted_branch_is_put_back(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"one": "1"})
    first = commit(place)
    git(place.directory, "checkout", "-q", "--detach")
    git(place.directory, "branch", "-q", "-D", place.branch)
    write(place.directory, {"two": "1"})
    second = commit(place)
    assert git(scratch.repo, "rev-parse", f"{second.sha}~1") == first.sha


def test_a_branch_made_a_link_to_one_of_the_user_moves_only_ours(scratch: Scratch) -> None:
    place = opened(scratch)
    main = git(scratch.repo, "rev-parse", "main")
    git(place.directory, "symbolic-ref", f"refs/heads/{place.branch}", "refs/heads/main")
    write(place.directory, {"a": "1"})
    found = commit(place)
    assert git(scratch.repo, "rev-parse", "main") == main
    assert git(scratch.repo, "rev-parse", place.branch) == found.sha


def test_an_orphan_branch_ends_on_ours(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "--orphan", "blank")
    write(place.directory, {"a": "1"})
    assert commit(place).changed_files == ("a",)
    assert git(place.directory, "symbolic-ref", "--short", "HEAD") == place.branch


def test_a_removed_git_file_is_told_and_put_back(scratch: Scratch) -> None:
    place = opened(scratch)
    (place.directory / ".git").unlink()
    write(place.directory, {"a": "1"})
    assert asyncio.run(place.tree())
    assert asyncio.run(place.repair()) == "the worktree's `.git` file was removed"
    assert asyncio.run(place.repair()) is None
    assert commit(place).changed_files == ("a",)
    assert git(place.directory, "status", "--porcelain") == ""


def test_a_git_file_that_points_to_the_users_repository_is_put_right(scratch: Scratch) -> None:
    before = scratch.state()
    place = opened(scratch)
    (place.directory / ".git").unlink()
    (place.directory / ".git").symlink_to(scratch.repo / ".git")
    write(place.directory, {"a": "1"})
    assert commit(place).notes == ("the worktree's `.git` file was changed",)
    assert scratch.state() == before
    assert (scratch.repo / ".git").is_dir()


@pytest.mark.parametrize("damage", ["all", "HEAD", "commondir", "gitdir"])
def test_a_registration_that_a_step_broke_is_made_again(scratch: Scratch, damage: str) -> None:
    place = opened(scratch)
    admin = Path(git(place.directory, "rev-parse", "--absolute-git-dir"))
    write(place.directory, {"a": "1"})
    if damage == "all":
        shutil.rmtree(admin)
    elif damage == "gitdir":
        (admin / "gitdir").unlink()
    else:
        (admin / damage).write_text("rubbish\n")
    asyncio.run(place.tree())
    found = commit(place)
    assert found.changed_files == ("a",)
    assert found.notes[0] == "the worktree was no longer registered in its repository"
    assert git(place.directory, "status", "--porcelain") == ""


def test_a_repository_in_place_of_the_worktree_keeps_the_directory(scratch: Scratch) -> None:
    place = opened(scratch)
    (place.directory / ".git").unlink()
    git(place.directory, "init", "-q")
    write(place.directory, {"a": "1"})
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "in a repository of its own")
    closed = asyncio.run(place.close("branch"))
    assert closed.directory == place.directory
    assert scratch.show(f"{place.branch}:a") == "1"
    assert git(place.directory, "log", "--format=%s") == "in a repository of its own"


def test_a_worktree_that_is_gone_is_no_commit_that_deletes_everything(scratch: Scratch) -> None:
    place = opened(scratch)
    shutil.rmtree(place.directory)
    with pytest.raises(OperationFailed, match="worktree is gone"):
        asyncio.run(place.commit("step"))
    assert git(scratch.repo, "rev-parse", place.branch) == place.base


def test_locks_that_a_step_left_stop_nothing(scratch: Scratch) -> None:
    place = opened(scratch)
    admin = Path(git(place.directory, "rev-parse", "--absolute-git-dir"))
    for lock in (admin / "index.lock", admin / "HEAD.lock", scratch.repo / f".git/refs/heads/{place.branch}.lock"):
        lock.touch()
    write(place.directory, {"a": "1"})
    assert commit(place).changed_files == ("a",)
    write(place.directory, {"b": "1"})
    git(place.directory, "add", "-A")


def test_a_conflict_in_the_middle_of_a_merge_is_committed_as_it_stands(scratch: Scratch) -> None:
    scratch.commit({"README": "main\n"}, "main")
    place = asyncio.run(scratch.open(base="HEAD~1"))
    write(place.directory, {"README": "ours\n"})
    commit(place)
    with pytest.raises(AssertionError, match=r"git .*merge"):
        git(place.directory, "merge", "-q", "main")
    found = commit(place)
    assert found.changed_files == ("README",)
    assert "<<<<<<<" in scratch.show(f"{place.branch}:README")


def test_files_of_a_repository_inside_are_committed_as_files(scratch: Scratch) -> None:
    place = opened(scratch)
    for name in ("blank", "with commits", "deep/er"):
        write(place.directory / name, {"a": name, "sub/b": "2", "c.log": "ignored"})
        git(place.directory / name, "init", "-q")
    git(place.directory / "with commits", "add", "a")
    git(place.directory / "with commits", "commit", "-q", "-m", "inner")
    write(place.directory / "deep/er/inner", {"x": "1"})
    git(place.directory / "deep/er/inner", "init", "-q")
    found = commit(place)
    names = ("blank", "deep/er", "with commits")
    expected = [f"{name}/{file}" for name in names for file in ("a", "sub/b")]
    assert found.changed_files == tuple(sorted([*expected, "deep/er/inner/x"]))
    assert found.notes == ()
    write(place.directory / "with commits", {"a": "more"})
    assert commit(place).changed_files == ("with commits/a",)


def test_a_repository_inside_that_a_step_committed_as_a_link_becomes_files(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory / "inner", {"a": "1"})
    git(place.directory / "inner", "init", "-q")
    git(place.directory / "inner", "add", "-A")
    git(place.directory / "inner", "commit", "-q", "-m", "inner")
    git(place.directory, "add", "-A")
    git(place.directory, "commit", "-q", "-m", "all")
    assert git(scratch.repo, "ls-tree", place.branch, "inner").startswith("160000")
    commit(place)
    assert scratch.show(f"{place.branch}:inner/a") == "1"


def test_a_worktree_inside_is_left_alone(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "worktree", "add", "-q", "-b", "inner", ".claude/worktrees/x")
    write(place.directory, {".claude/worktrees/x/dirty": "1", "a": "1"})
    assert commit(place).changed_files == ("a",)


def test_nothing_that_a_step_planted_is_run(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    write(place.directory / "inner", {"b": "1"})
    git(place.directory / "inner", "init", "-q")
    git(place.directory / "inner", "config", "core.fsmonitor", f"touch '{scratch.root}/PWNED'")
    plant(scratch, place)

    async def work() -> Closed:
        await place.tree()
        found = await place.commit("step")
        assert found is not None
        assert found.changed_files == (".gitattributes", "a", "inner/b")
        write(place.directory, {"later": "1"})
        assert await place.changed_files(found.sha) == ("later",)
        return await place.close("branch")

    closed = asyncio.run(work())
    assert closed.directory is None
    assert not list(scratch.root.rglob("PWNED"))
    (scratch.repo / ".git/config").write_text("[core]\n\trepositoryformatversion = 0\n")
    assert scratch.show(f"{place.branch}:a") == "1"


def test_a_configuration_that_a_step_broke_stops_no_commit(scratch: Scratch) -> None:
    place = opened(scratch)
    original = (scratch.repo / ".git/config").read_text()
    (scratch.repo / ".git/config").write_text(original + "[broken\n")
    write(place.directory, {"a": "1"})
    assert commit(place).changed_files == ("a",)
    (scratch.repo / ".git/config").write_text(original)
    assert git(place.directory, "status", "--porcelain") == ""


def filtered(scratch: Scratch) -> None:
    """A filter like that of LFS: a process of the user's, content aside in the git folder."""
    write(scratch.root, {"clean.sh": "tr a-z A-Z\n", "smudge.sh": "tr A-Z a-z\n"})
    for kind in ("clean", "smudge"):
        git(scratch.repo, "config", f"filter.upper.{kind}", f"sh '{scratch.root}/{kind}.sh'")
    git(scratch.repo, "config", "filter.upper.required", "true")
    scratch.commit({".gitattributes": "*.bin filter=upper\n", "x.bin": "large\n"}, "filter")


def test_a_filter_that_was_there_when_the_run_began_works(scratch: Scratch) -> None:
    filtered(scratch)
    place = opened(scratch)
    assert (place.directory / "x.bin").read_text() == "large\n"
    assert asyncio.run(place.commit("nothing")) is None
    write(place.directory, {"y.bin": "more\n"})
    commit(place)
    assert scratch.show(f"{place.branch}:x.bin") == "LARGE"
    assert scratch.show(f"{place.branch}:y.bin") == "MORE"


def test_a_filter_that_a_step_changed_is_the_old_one(scratch: Scratch) -> None:
    filtered(scratch)
    place = opened(scratch)
    git(scratch.repo, "config", "filter.upper.clean", f"touch '{scratch.root}/PWNED'; cat")
    write(place.directory, {"y.bin": "more\n"})
    commit(place)
    assert scratch.show(f"{place.branch}:y.bin") == "MORE"
    assert not (scratch.root / "PWNED").exists()


def test_a_filter_that_fails_loses_no_file(scratch: Scratch) -> None:
    filtered(scratch)
    place = opened(scratch)
    write(scratch.root, {"clean.sh": "exit 1\n"})
    write(place.directory, {"y.bin": "more\n", "a": "1"})
    closed = asyncio.run(place.close("branch"))
    assert closed.directory == place.directory
    assert "clean filter 'upper' failed" in closed.notes[0]
    assert (place.directory / "y.bin").exists()
    write(scratch.root, {"clean.sh": "cat\n"})
    assert asyncio.run(place.close("branch")).directory is None
    assert scratch.show(f"{place.branch}:y.bin") == "more"


def test_names_that_are_no_utf8_and_hold_line_breaks_are_committed(scratch: Scratch) -> None:
    place = opened(scratch)
    for name in ("new\nline", "byte-\udcff", "-dash", ":(exclude)x", "*"):
        (place.directory / name).write_text("1")
    assert commit(place).changed_files == ("*", "-dash", ":(exclude)x", r"byte-\xff", "new\nline")


@pytest.mark.parametrize(
    "case",
    [
        "edits",
        "commits-on-wrong-branch",
        "detaches-head",
        "deletes-git-file",
        "leaves-index-lock",
        "plants-git-commands",
        "links-outside",
        "writes-outside",
        "edits-then-fails",
    ],
)
def test_the_misbehaving_agents_lose_nothing_and_harm_nobody(scratch: Scratch, case: str) -> None:
    agent = case_path("misbehaving_agents") / "fake_agent.py"
    before = scratch.state()
    place = opened(scratch)
    subprocess.run(
        [sys.executable, str(agent), case],
        cwd=place.directory, env=nobody(scratch.home), stdin=subprocess.DEVNULL, capture_output=True, check=False,
    )  # fmt: skip
    left = {
        path.relative_to(place.directory)
        for path in place.directory.rglob("*")
        if path.name != ".git" and not path.is_symlink() and path.is_file()
    }
    closed = asyncio.run(place.close("branch"))
    assert closed.directory is None
    assert not place.directory.exists()
    names = scratch.files(place.branch) if closed.branch else scratch.files(place.base)
    assert left <= {Path(name) for name in names}
    assert not [path for path in scratch.root.rglob("PWNED*") if not path.is_symlink()]
    if case == "plants-git-commands":  # from here a person's git would run them
        git(scratch.repo, "config", "--unset-all", "core.fsmonitor")
    assert scratch.state() == before


def test_damage_is_seen_without_a_touch(scratch: Scratch) -> None:
    place = opened(scratch)
    assert place.damage() is None
    (place.directory / ".git").unlink()
    assert place.damage() == place.damage() == "the worktree's `.git` file was removed"
    assert not (place.directory / ".git").exists()
    asyncio.run(place.repair())
    assert place.damage() is None
    shutil.rmtree(Path(git(place.directory, "rev-parse", "--absolute-git-dir")))
    assert place.damage() == "the worktree is no longer registered in its repository"
