"""A clone of a run's own: a repository apart, cheap to make, of which nothing is lost when it goes."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cases import case_path
from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.workspace.opening import reattach_worktree
from cpool_flow.workspace.place import Closed
from cpool_flow.workspace.worktree import Worktree
from edges.git_runner import Scratch, git, nobody, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def opened(scratch: Scratch, **options: object) -> Worktree:
    return asyncio.run(scratch.open(kind="clone", **options))  # type: ignore[arg-type]


def close(place: Worktree) -> Closed:
    return asyncio.run(place.close("branch"))


def reattached(scratch: Scratch, place: Worktree) -> Worktree:
    return asyncio.run(reattach_worktree(scratch.git, place.record))


def commit(directory: Path, name: str) -> str:
    """As an agent does it."""
    write(directory, {name: name})
    git(directory, "add", "-A")
    git(directory, "commit", "-q", "-m", name)
    return git(directory, "rev-parse", "HEAD")


# ---- what it is ---------------------------------------------------------------------------------------------


def test_it_is_a_repository_of_its_own_that_copies_no_object(scratch: Scratch) -> None:
    place = opened(scratch)
    top = place.directory
    assert git(top, "rev-parse", "--path-format=absolute", "--git-common-dir") == str(top / ".git")
    assert git(top, "count-objects") == "0 objects, 0 kilobytes"
    assert git(top, "status", "--porcelain", "--branch") == "## cpool/review/r1"
    assert git(scratch.repo, "worktree", "list").count("\n") == 0
    assert (top / "README").read_text() == "hello\n"


def test_origin_tokens_identity_and_other_branches_are_those_of_the_repository(scratch: Scratch) -> None:
    git(scratch.repo, "remote", "add", "origin", "https://example.invalid/a.git")
    git(scratch.repo, "config", "http.https://example.invalid/.extraheader", "AUTHORIZATION: basic xyz")
    git(scratch.repo, "config", "user.email", "you@example.invalid")
    git(scratch.repo, "update-ref", "refs/remotes/origin/main", "HEAD")
    git(scratch.repo, "symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main")
    git(scratch.repo, "tag", "-a", "-m", "first", "v1")
    git(scratch.repo, "branch", "topic")
    place = opened(scratch)
    assert git(place.directory, "config", "remote.origin.url") == "https://example.invalid/a.git"
    assert git(place.directory, "config", "http.https://example.invalid/.extraheader") == "AUTHORIZATION: basic xyz"
    assert git(place.directory, "config", "user.email") == "you@example.invalid"
    assert (place.directory / ".git/config").stat().st_mode & 0o777 == 0o600
    names = git(place.directory, "for-each-ref", "--format=%(refname)").split()
    heads = ["refs/heads/cpool/review/r1", "refs/heads/main", "refs/heads/topic"]
    assert names == [*heads, "refs/remotes/origin/HEAD", "refs/remotes/origin/main", "refs/tags/v1"]
    assert git(place.directory, "describe") == "v1"
    git(place.directory, "fsck", "--strict")


def test_an_origin_that_is_a_folder_beside_the_repository_is_found_from_the_clone(scratch: Scratch) -> None:
    git(scratch.root, "init", "-q", "--bare", "up.git")
    git(scratch.repo, "remote", "add", "origin", "../up.git")
    place = opened(scratch)
    made = commit(place.directory, "a")
    git(place.directory, "push", "-q", "origin", "HEAD:refs/heads/fix")
    assert git(scratch.root / "up.git", "rev-parse", "fix") == made


def test_without_an_origin_there_is_none(scratch: Scratch) -> None:
    assert git(opened(scratch).directory, "remote") == ""


def test_the_hooks_of_the_repository_are_its_own_copies(scratch: Scratch) -> None:
    hook = scratch.repo / ".git/hooks/pre-commit"
    hook.write_text("#!/bin/sh\necho ran >> hook.log\n")
    hook.chmod(0o755)
    place = opened(scratch)
    commit(place.directory, "a")
    assert (place.directory / "hook.log").read_text() == "ran\n"
    (place.directory / ".git/hooks/pre-commit").write_text("#!/bin/sh\nexit 1\n")
    assert hook.read_text() == "#!/bin/sh\necho ran >> hook.log\n"


def test_a_worktree_and_a_shallow_clone_can_be_cloned(scratch: Scratch, tmp_path: Path) -> None:
    scratch.commit({"b": "2"}, "second")
    git(scratch.repo, "worktree", "add", "-q", "-b", "beside", str(tmp_path / "beside"))
    place = opened(scratch, at=tmp_path / "beside")
    assert asyncio.run(place.commit("nothing")) is None
    git(tmp_path, "clone", "-q", "--depth", "1", scratch.repo.as_uri(), "shallow clone")
    scratch.repo = tmp_path / "shallow clone"
    place = opened(scratch)
    made = commit(place.directory, "a")
    assert close(place).commit == made
    git(scratch.repo, "fsck", "--strict")


def test_a_clone_without_all_objects_can_be_cloned(scratch: Scratch) -> None:
    for number in (1, 2):
        scratch.commit({"README": str(number)}, f"change {number}")
    git(scratch.repo, "config", "uploadpack.allowFilter", "true")
    git(scratch.repo, "config", "uploadpack.allowAnySHA1InWant", "true")
    git(scratch.root, "clone", "-q", "--filter=blob:none", scratch.repo.as_uri(), "partial")
    scratch.repo = scratch.root / "partial"
    place = opened(scratch)
    git(place.directory, "revert", "--no-edit", "HEAD")
    write(place.directory, {"left": "1"})
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.changed_files == ("README", "left")
    assert close(place).directory is None
    assert scratch.show(f"{place.branch}:README") == "1"


def test_a_folder_that_git_would_take_for_the_repository_is_not_the_users(scratch: Scratch) -> None:
    before = scratch.state()
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    (place.record.top_level / ".git/commondir").write_text(f"{scratch.repo}/.git\n")
    assert asyncio.run(place.commit("step")) is not None
    assert git(place.directory, "rev-parse", "--path-format=absolute", "--git-common-dir") == str(place.directory / ".git")
    assert scratch.state() == before


def test_a_sparse_checkout_gives_a_sparse_clone(scratch: Scratch) -> None:
    scratch.commit({"docs/guide": "1", "big/blob": "2"}, "more")
    git(scratch.repo, "sparse-checkout", "set", "src")
    place = opened(scratch)
    (place.record.private / "index").unlink()
    assert not (place.directory / "big").exists()
    write(place.directory, {"src/new": "1", "outside/new": "2"})
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.changed_files == ("outside/new", "src/new")
    assert "big/blob" in scratch.files(place.branch)


def test_references_in_another_form_are_refused(scratch: Scratch) -> None:
    git(scratch.repo, "config", "extensions.refStorage", "reftable")
    with pytest.raises(InvalidInput, match="keeps its references as `reftable`"):
        opened(scratch)


# ---- what steps do in it ------------------------------------------------------------------------------------


def test_nothing_that_a_step_does_to_git_reaches_the_repository(scratch: Scratch) -> None:
    config = (scratch.repo / ".git/config").read_bytes()
    place = opened(scratch)
    top = place.directory
    git(top, "config", "core.hooksPath", "/nowhere")
    git(top, "config", "user.name", "somebody")
    git(top, "branch", "-D", "main")
    git(top, "tag", "v9")
    write(top, {"README": "changed\n"})
    git(top, "stash")
    assert (scratch.repo / ".git/config").read_bytes() == config
    assert git(scratch.repo, "stash", "list") == ""
    assert git(scratch.repo, "tag") == ""
    assert scratch.branches() == ["cpool/review/r1", "main"]


def test_what_steps_commit_and_what_they_leave_is_on_the_branch_of_the_repository(scratch: Scratch) -> None:
    place = opened(scratch)
    made = commit(place.directory, "theirs")
    write(place.directory, {"left": "1"})
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.changed_files == ("left", "theirs")
    assert git(scratch.repo, "rev-parse", f"{place.branch}^") == made
    assert git(place.directory, "rev-parse", "HEAD") == found.sha
    assert git(place.directory, "status", "--porcelain") == ""
    shutil.rmtree(place.record.top_level)
    git(scratch.repo, "fsck", "--strict")


def test_a_commit_of_a_step_is_seen_while_it_runs(scratch: Scratch) -> None:
    place = opened(scratch)
    made = commit(place.directory, "theirs")
    assert asyncio.run(place.head()) == made
    assert asyncio.run(place.messages(place.base)) == ("theirs",)
    assert git(scratch.repo, "rev-parse", place.branch) == made


def test_files_that_only_the_clones_index_knows_are_committed_with_their_contents(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"forced.log": "1", "staged": "2"})
    git(place.directory, "add", "--force", "forced.log", "staged")
    git(place.directory, "rm", "-q", "--cached", "README")
    write(place.directory, {".gitignore": "*.log\nbuild/\nREADME\n"})
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.changed_files == (".gitignore", "README", "forced.log", "staged")
    shutil.rmtree(place.record.top_level)
    assert scratch.show(f"{place.branch}:forced.log") == "1"
    assert "README" not in scratch.files(place.branch)
    git(scratch.repo, "fsck", "--strict")


def test_other_branches_stashes_and_detached_commits_are_kept_under_the_runs_name(scratch: Scratch) -> None:
    place = opened(scratch)
    top = place.directory
    git(top, "checkout", "-q", "-b", "side")
    side = commit(top, "s")
    git(top, "checkout", "-q", place.branch)
    write(top, {"README": "stashed\n"})
    git(top, "stash", "-q")
    stashed = git(top, "rev-parse", "stash")
    git(top, "worktree", "add", "-q", "--detach", str(scratch.root / "else"))
    elsewhere = commit(scratch.root / "else", "e")
    git(top, "tag", "v1")
    closed = close(place)
    assert closed.notes[:-1] == (
        f"the commits of the branch side of the clone are kept on the branch {place.branch}-kept-1",
        f"changes that a step has stashed are kept on the branch {place.branch}-kept-2",
        f"commits on a detached HEAD are kept on the branch {place.branch}-kept-3",
        "new tags of the clone went with it: `v1`",
    )
    kept = [git(scratch.repo, "rev-parse", f"{place.branch}-kept-{number}") for number in (1, 2, 3)]
    assert kept == [side, stashed, elsewhere]
    git(scratch.repo, "stash", "apply", "-q", f"{place.branch}-kept-2")
    assert (scratch.repo / "README").read_text() == "stashed\n"


def test_a_branch_on_which_a_step_left_the_clone_is_kept_at_once(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "--orphan", "side")
    side = commit(place.directory, "s")
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.notes == (
        "a step left the place on the branch side, whose commits are kept",
        f"the commits of the branch side of the clone are kept on the branch {place.branch}-kept-1",
    )
    shutil.rmtree(place.record.top_level)
    assert git(scratch.repo, "rev-parse", f"{place.branch}-kept-1") == side
    assert scratch.show(f"{place.branch}:s") == "s"


def test_a_branch_that_is_at_the_origin_is_not_kept_again(scratch: Scratch) -> None:
    git(scratch.root, "clone", "-q", "--bare", str(scratch.repo), "up.git")
    git(scratch.repo, "remote", "add", "origin", str(scratch.root / "up.git"))
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "-b", "side")
    commit(place.directory, "s")
    git(place.directory, "push", "-q", "origin", "side")
    git(place.directory, "checkout", "-q", place.branch)
    assert close(place).notes == (f"the branch {place.branch} had no changes and is gone",)
    assert scratch.branches() == ["main"]


def test_a_branch_that_its_user_deletes_meanwhile_does_not_come_back(scratch: Scratch) -> None:
    git(scratch.repo, "branch", "topic")
    git(scratch.repo, "checkout", "-q", "topic")
    scratch.commit({"t": "1"}, "topic")
    git(scratch.repo, "checkout", "-q", "main")
    place = opened(scratch)
    git(scratch.repo, "branch", "-D", "topic")
    commit(place.directory, "a")
    close(place)
    assert scratch.branches() == ["cpool/review/r1", "main"]


def test_a_rewritten_branch_is_followed_and_what_was_on_it_before_is_kept(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    first = asyncio.run(place.commit("step"))
    assert first is not None
    git(place.directory, "commit", "-q", "--amend", "-m", "amended")
    second = asyncio.run(place.commit("next"))
    assert second is not None
    assert second.notes == (f"the commits before a step rewrote the branch are kept on the branch {place.branch}-kept-1",)
    assert git(scratch.repo, "log", "-1", "--format=%s", place.branch) == "amended"
    assert git(scratch.repo, "rev-parse", f"{place.branch}-kept-1") == first.sha


def test_nothing_in_the_clones_configuration_or_hooks_is_started_by_us(scratch: Scratch) -> None:
    place = opened(scratch)
    top = place.directory
    trap = scratch.root / "trap"
    trap.write_text(f"#!/bin/sh\ntouch '{scratch.root}/PWNED'\n")
    trap.chmod(0o755)
    commit(top, "a")
    for name in ("core.fsmonitor", "core.sshCommand", "uploadpack.packObjectsHook", "filter.x.clean", "core.alternateRefsCommand"):
        git(top, "config", name, str(trap))
    write(top, {".gitattributes": "* filter=x\n", "b": "1"})
    for name in ("reference-transaction", "post-index-change", "post-checkout", "pre-commit"):
        shutil.copy(trap, top / ".git/hooks" / name) if (top / ".git/hooks").is_dir() else None
    asyncio.run(place.commit("step"))
    close(place)
    assert not (scratch.root / "PWNED").exists()
    assert scratch.show(f"{place.branch}:b") == "1"


@pytest.mark.parametrize(
    "what", ["all", "HEAD", "objects/info/alternates", "index", "config", "objects", "the branch", "a file", "a link", "another repository"]
)
def test_a_clone_that_a_step_broke_is_mended_and_its_files_are_kept(scratch: Scratch, what: str) -> None:
    place = opened(scratch)
    path = place.record.top_level / ".git"
    write(place.directory, {"left": "1"})
    match what:
        case "all" | "a file" | "a link" | "another repository":
            shutil.rmtree(path)
        case "HEAD":
            path.joinpath(what).write_text("nonsense")
        case "objects":
            commit(place.directory, "gone")
            shutil.rmtree(path / what)
            (path / what).mkdir()
        case "the branch":
            path.joinpath(place.record.reference).write_text("nonsense")
        case _:
            path.joinpath(what).unlink()
    if what == "a file":
        path.write_text(f"gitdir: {scratch.repo}/.git\n")
    if what == "a link":
        path.symlink_to(scratch.repo / ".git")
    if what == "another repository":
        git(place.directory, "init", "-q", "-b", "new")
        commit(place.directory, "theirs")
    before = scratch.state()
    told = {
        "all": "the clone's `.git` was removed",
        "a file": "something else stands where the clone's `.git` belongs",
        "a link": "something else stands where the clone's `.git` belongs",
    }
    assert place.damage() == told.get(what)
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert {"left"} <= set(found.changed_files)
    assert git(place.directory, "status", "--porcelain") == ""
    assert scratch.show(f"{place.branch}:left") == "1"
    assert scratch.state() == before
    assert close(place).directory is None


def test_branches_that_a_step_has_packed_survive_a_lost_head(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "checkout", "-q", "-b", "side")
    side = commit(place.directory, "s")
    git(place.directory, "checkout", "-q", place.branch)
    git(place.directory, "pack-refs", "--all")
    (place.record.top_level / ".git/HEAD").unlink()
    assert place.damage() == "the clone's `.git` is no repository any more"
    close(place)
    assert git(scratch.repo, "rev-parse", f"{place.branch}-kept-1") == side


def test_a_worktree_of_the_clone_inside_of_it_keeps_the_directory(scratch: Scratch) -> None:
    place = opened(scratch)
    git(place.directory, "worktree", "add", "-q", "-b", "inner", "build/inner")
    closed = close(place)
    assert closed.directory == place.directory
    assert closed.notes == ("the directory stays: build/inner is a git repository with commits of its own",)


@pytest.mark.parametrize(
    "case",
    ["edits", "commits-on-wrong-branch", "detaches-head", "deletes-git-file", "leaves-index-lock", "plants-git-commands", "links-outside"],
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
        if path.is_file() and not path.is_symlink() and ".git" not in path.relative_to(place.directory).parts
    }
    closed = close(place)
    assert closed.directory is None
    assert left <= {Path(name) for name in scratch.files(closed.commit or "")}
    assert not [path for path in scratch.root.rglob("PWNED*") if not path.is_symlink()]
    assert scratch.state() == before


# ---- the user's repository meanwhile ------------------------------------------------------------------------


def test_the_repository_may_be_packed_and_pruned_meanwhile(scratch: Scratch) -> None:
    git(scratch.repo, "checkout", "-q", "-b", "topic")
    scratch.commit({"t": "1"}, "topic")
    place = opened(scratch)
    git(scratch.repo, "checkout", "-q", "main")
    git(scratch.repo, "branch", "-q", "-D", "topic")
    write(place.directory, {"a": "1"})
    asyncio.run(place.tree())
    git(scratch.repo, "reflog", "expire", "--expire=now", "--all")
    git(scratch.repo, "gc", "-q", "--prune=now")
    assert git(place.directory, "show", "HEAD:t") == "1"
    commit(place.directory, "b")
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert found.changed_files == ("a", "b")
    git(scratch.repo, "gc", "-q", "--prune=now")
    git(place.directory, "gc", "-q", "--prune=now")
    git(place.directory, "fsck", "--connectivity-only", place.branch)
    assert close(place).directory is None
    git(scratch.repo, "fsck", "--strict")


def test_a_branch_that_is_checked_out_elsewhere_is_not_moved(scratch: Scratch) -> None:
    place = opened(scratch)
    git(scratch.repo, "checkout", "-q", place.branch)
    write(place.directory, {"a": "1"})
    with pytest.raises(OperationFailed, match=r"is checked out at .*my repo: switch that checkout"):
        asyncio.run(place.commit("step"))
    assert git(scratch.repo, "status", "--porcelain") == ""
    assert close(place).directory == place.directory
    git(scratch.repo, "checkout", "-q", "main")
    assert close(place).directory is None
    assert scratch.show(f"{place.branch}:a") == "1"


def test_a_branch_that_is_only_looked_at_elsewhere_stops_nothing(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    git(scratch.repo, "checkout", "-q", place.branch)
    assert asyncio.run(place.commit("nothing")) is None
    closed = close(place)
    assert (closed.directory, closed.commit) == (None, git(scratch.repo, "rev-parse", "HEAD"))
    assert closed.notes == (f"the branch {place.branch} stays: it is checked out at {scratch.repo}",)


def test_a_branch_that_has_moved_here_and_there_loses_neither(scratch: Scratch) -> None:
    place = opened(scratch)
    theirs = commit(place.directory, "theirs")
    tree = git(scratch.repo, "rev-parse", "HEAD^{tree}")
    ours = git(scratch.repo, "commit-tree", "-p", "HEAD", "-m", "ours", tree)
    git(scratch.repo, "update-ref", f"refs/heads/{place.branch}", ours)
    found = asyncio.run(place.commit("step"))
    assert found is not None
    assert git(scratch.repo, "rev-parse", f"{place.branch}-kept-1") == theirs
    assert git(scratch.repo, "rev-parse", f"{place.branch}^") == ours
    assert scratch.show(f"{place.branch}:theirs") == "theirs"


# ---- interrupted --------------------------------------------------------------------------------------------


def test_a_commit_that_the_clone_has_not_seen_is_handed_out_on_resume(scratch: Scratch) -> None:
    place = opened(scratch)
    first = git(place.directory, "rev-parse", "HEAD")
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    git(place.directory, "update-ref", f"refs/heads/{place.branch}", first)  # as if we had been killed before it was told
    (place.record.private / "tip").write_text(first)
    again = reattached(scratch, place)
    assert again.notes == ()
    assert git(place.directory, "log", "-1", "--format=%s") == "step"
    assert git(place.directory, "status", "--porcelain") == ""


def test_commits_of_an_interrupted_step_are_on_the_branch_after_a_resume(scratch: Scratch) -> None:
    place = opened(scratch)
    made = commit(place.directory, "a")
    reattached(scratch, place)
    assert git(scratch.repo, "rev-parse", place.branch) == made


def test_a_clone_that_is_gone_is_made_again_from_its_branch(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    shutil.rmtree(place.record.top_level)
    again = reattached(scratch, place)
    assert again.notes == (f"the clone was made again from the branch {place.branch}; what was not committed there is not in it",)
    assert git(again.directory, "status", "--porcelain", "--branch") == f"## {place.branch}"
    assert (again.directory / "a").read_text() == "1"


def test_nothing_is_left_of_a_clone_but_its_branch(scratch: Scratch) -> None:
    before = {path.name for path in (scratch.repo / ".git").iterdir()}
    place = opened(scratch)
    commit(place.directory, "a")
    close(place)
    assert {path.name for path in (scratch.repo / ".git").iterdir()} - before <= {"cpool-flow.lock", "worktrees"}
    assert git(scratch.repo, "for-each-ref", "--format=%(refname:short)").split() == ["cpool/review/r1", "main"]
    assert [path for path in scratch.worktrees.rglob("*") if not path.is_dir()] == []


def test_a_clone_catches_up_with_a_branch_that_was_moved_on_in_the_repository(scratch: Scratch) -> None:
    place = opened(scratch)
    write(place.directory, {"a": "1"})
    asyncio.run(place.commit("step"))
    git(scratch.repo, "worktree", "add", "-q", "--detach", str(scratch.root / "else"), place.branch)
    further = commit(scratch.root / "else", "b")
    git(scratch.repo, "update-ref", f"refs/heads/{place.branch}", further)
    asyncio.run(place.catch_up())
    assert (place.directory / "b").read_text() == "b"
    assert git(place.directory, "rev-parse", "HEAD") == further
    assert git(place.directory, "status", "--porcelain", "--branch") == f"## {place.branch}"
    assert asyncio.run(place.commit("nothing")) is None
