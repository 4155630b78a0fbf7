"""A run's worktree is made from one commit, on its own branch, outside of the repository; or the run does not start."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from cases import cases
from cpool_flow.errors import InvalidInput
from cpool_flow.git import GitFailed
from cpool_flow.workspace.opening import open_worktree, plan_worktree
from cpool_flow.workspace.record import WorktreeRecord
from cpool_flow.workspace.repository import survey
from edges.git_runner import Scratch, git, write


@pytest.fixture
def scratch(tmp_path: Path) -> Scratch:
    return Scratch(tmp_path)


def test_a_worktree_stands_outside_on_a_branch_of_the_run_at_the_base(scratch: Scratch) -> None:
    before = scratch.state()
    place = asyncio.run(scratch.open())
    assert not place.directory.is_relative_to(scratch.repo)
    assert (place.directory / "src/app.py").read_text() == "print(1)\n"
    assert git(place.directory, "symbolic-ref", "HEAD") == "refs/heads/cpool/review/r1"
    assert git(place.directory, "rev-parse", "HEAD") == place.base == before[0]
    assert git(place.directory, "status", "--porcelain") == ""
    assert (place.fresh, place.notes) == (True, ())
    assert scratch.state() == before


def test_the_place_is_the_folder_where_the_run_was_started(scratch: Scratch) -> None:
    place = asyncio.run(scratch.open(at=scratch.repo / "src"))
    assert (place.directory / "app.py").exists()
    assert place.directory.name == "src"


def test_a_folder_that_git_does_not_have_is_made(scratch: Scratch) -> None:
    (scratch.repo / "new folder/inner").mkdir(parents=True)
    assert asyncio.run(scratch.open(at=scratch.repo / "new folder/inner")).directory.is_dir()


def test_the_survey_tells_what_a_run_does_not_see(scratch: Scratch) -> None:
    write(scratch.repo, {"README": "changed\n", "new/a": "1", "new/b": "2", "x.log": "ignored"})
    found = asyncio.run(scratch.repository(scratch.repo / "src"))
    assert (found.top_level, found.folder, found.branch) == (scratch.repo, Path("src"), "main")
    assert (found.uncommitted_files, found.bare, found.shallow) == (3, False, False)


def test_no_repository_is_none(scratch: Scratch) -> None:
    assert asyncio.run(survey(scratch.git, scratch.home)) is None


def test_a_repository_that_git_refuses_is_told_in_the_words_of_git(scratch: Scratch) -> None:
    (scratch.repo / ".git/config").write_text("[broken\n")
    with pytest.raises(InvalidInput, match="bad config line 1"):
        asyncio.run(survey(scratch.git, scratch.repo))


def test_an_owner_that_git_does_not_trust_is_told_in_the_words_of_git(scratch: Scratch) -> None:
    stranger = scratch.git.at(scratch.repo, GIT_TEST_ASSUME_DIFFERENT_OWNER="1")
    with pytest.raises(InvalidInput, match="dubious ownership"):
        asyncio.run(survey(stranger, scratch.repo))


def test_an_unborn_head_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    git(tmp_path, "init", "-q", "empty")
    with pytest.raises(InvalidInput, match="before the first commit"):
        asyncio.run(scratch.plan(at=tmp_path / "empty"))


def test_a_bare_repository_is_refused(tmp_path: Path, scratch: Scratch) -> None:
    git(tmp_path, "clone", "-q", "--bare", str(scratch.repo), "bare.git")
    with pytest.raises(InvalidInput, match="bare repository"):
        asyncio.run(scratch.plan(at=tmp_path / "bare.git"))


def test_submodules_are_refused(scratch: Scratch) -> None:
    git(scratch.repo, "update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},lib")
    git(scratch.repo, "commit", "-q", "-m", "a submodule")
    with pytest.raises(InvalidInput, match="submodules") as caught:
        asyncio.run(scratch.plan())
    assert caught.value.problems[0].help == "write `isolation: none`"


def test_a_detached_head_is_a_base(scratch: Scratch) -> None:
    git(scratch.repo, "checkout", "-q", "--detach")
    found = asyncio.run(scratch.repository())
    assert (found.branch, found.head is not None) == (None, True)
    place = asyncio.run(scratch.open())
    assert git(place.directory, "symbolic-ref", "--short", "HEAD") == place.branch


def test_a_shallow_clone_works(tmp_path: Path, scratch: Scratch) -> None:
    first = git(scratch.repo, "rev-parse", "HEAD")
    scratch.commit({"README": "two\n"}, "second")
    git(tmp_path, "clone", "-q", "--depth", "1", scratch.repo.as_uri(), "shallow clone")
    scratch.repo = tmp_path / "shallow clone"
    assert asyncio.run(scratch.repository()).shallow
    with pytest.raises(InvalidInput, match="this clone is shallow"):
        asyncio.run(scratch.plan(base=first))

    async def work() -> None:
        place = await scratch.open()
        write(place.directory, {"new": "1"})
        commit = await place.commit("step")
        assert commit is not None
        assert commit.changed_files == ("new",)
        assert (await place.close("branch")).branch == place.branch

    asyncio.run(work())
    assert scratch.show("cpool/review/r1:new") == "1"


def test_a_run_in_a_linked_worktree_has_its_head_as_base(scratch: Scratch) -> None:
    other = scratch.root / "linked"
    git(scratch.repo, "worktree", "add", "-q", "-b", "topic", str(other))
    write(other, {"topic": "1"})
    git(other, "add", "-A")
    git(other, "commit", "-q", "-m", "topic")
    place = asyncio.run(scratch.open(at=other))
    assert (place.directory / "topic").exists()


@pytest.mark.parametrize(
    "base",
    ["--upload-pack=touch PWNED", "HEAD; touch PWNED", "refs/heads/nope", ":/first", "", "HEAD^{/first}", "HEAD:README", "a\0b", "-"],
)
def test_a_base_that_is_no_commit_is_refused_before_anything_is_made(scratch: Scratch, base: str) -> None:
    with pytest.raises(InvalidInput, match="`base`"):
        asyncio.run(scratch.plan(base=base))
    assert not scratch.worktrees.exists()
    assert not list(scratch.root.rglob("PWNED"))


def test_the_hostile_bases_of_the_shared_cases_are_refused(scratch: Scratch) -> None:
    for case in cases("hostile/paths.json")["cases"]:
        if case["place"] == "base of a worktree":
            with pytest.raises(InvalidInput):
                asyncio.run(scratch.plan(base=case["value"]))
    assert not list(scratch.root.rglob("PWNED"))


def test_branch_tag_and_abbreviation_are_fixed_to_one_commit(scratch: Scratch) -> None:
    first = git(scratch.repo, "rev-parse", "HEAD")
    git(scratch.repo, "tag", "-a", "-m", "x", "v1")
    scratch.commit({"later": "1"}, "second")
    for base in ("v1", "HEAD~1", first[:10], "main~1"):
        assert asyncio.run(scratch.plan(base=base)).base == first


def test_worktrees_inside_the_repository_are_refused(scratch: Scratch) -> None:
    for folder in (scratch.repo / "wt", scratch.repo / ".git/wt"):
        scratch.worktrees = folder
        with pytest.raises(InvalidInput, match="inside the repository"):
            asyncio.run(scratch.plan())


@pytest.mark.parametrize("branch", ["cpool", "cpool/review", "cpool/review/r1", "cpool/review/r1/deeper"])
def test_a_branch_that_stands_in_the_way_is_named(scratch: Scratch, branch: str) -> None:
    git(scratch.repo, "branch", branch)
    with pytest.raises(InvalidInput, match=f"`{branch}` stands in the way"):
        asyncio.run(scratch.plan())


def test_a_second_worktree_of_the_same_run_is_refused_and_harms_nothing(scratch: Scratch) -> None:
    async def work() -> None:
        record = await scratch.plan()
        place = await open_worktree(scratch.git, record)
        write(place.directory, {"work": "1"})
        with pytest.raises(InvalidInput, match=r"stands in the way|already"):
            await open_worktree(scratch.git, record)
        assert (place.directory / "work").exists()
        assert place.branch in scratch.branches()

    asyncio.run(work())


def test_an_opening_that_fails_leaves_nothing_behind(scratch: Scratch) -> None:
    git(scratch.repo, "config", "filter.broken.smudge", "false")
    git(scratch.repo, "config", "filter.broken.required", "true")
    write(scratch.repo, {".gitattributes": "*.bin filter=broken\n"})
    git(scratch.repo, "-c", "filter.broken.clean=cat", "add", "-A")
    scratch.commit({"x.txt": "1"}, "attributes")
    git(scratch.repo, "update-index", "--add", "--cacheinfo", f"100644,{git(scratch.repo, 'rev-parse', 'HEAD:README')},a.bin")
    git(scratch.repo, "commit", "-q", "-m", "needs the filter")
    with pytest.raises(GitFailed, match="smudge filter broken failed"):
        asyncio.run(scratch.open())
    assert scratch.branches() == ["main"]
    assert "prunable" not in git(scratch.repo, "worktree", "list", "--porcelain")
    assert [path for path in scratch.worktrees.rglob("*") if path.is_file()] == []


def test_twenty_worktrees_at_once(scratch: Scratch) -> None:
    async def work() -> None:
        places = await asyncio.gather(*(scratch.open(f"r{number}") for number in range(20)))
        assert all((place.directory / "README").exists() for place in places)
        for place in places:
            write(place.directory, {"mine": place.record.run_id})
        await asyncio.gather(*(place.commit("step") for place in places))
        await asyncio.gather(*(place.close("branch") for place in places))

    asyncio.run(work())
    assert [scratch.show(f"cpool/review/r{number}:mine") for number in range(20)] == [f"r{number}" for number in range(20)]
    assert git(scratch.repo, "worktree", "list").count("\n") == 0


def test_uncommitted_changes_come_along_and_the_checkout_does_not_notice(scratch: Scratch) -> None:
    write(scratch.repo, {"README": "changed\n", "staged": "1", "new/file": "2", "x.log": "ignored"})
    (scratch.repo / "src/app.py").unlink()
    git(scratch.repo, "add", "staged")
    before = (scratch.state(), (scratch.repo / ".git/index").read_bytes())
    place = asyncio.run(scratch.open(include_changes=True))
    assert (scratch.state(), (scratch.repo / ".git/index").read_bytes()) == before
    assert (place.directory / "README").read_text() == "changed\n"
    assert scratch.files(place.branch) == [".gitignore", "README", "new/file", "staged"]
    assert git(scratch.repo, "rev-parse", f"{place.branch}~1") == place.base
    assert git(place.directory, "status", "--porcelain") == ""


def test_no_changes_make_no_commit(scratch: Scratch) -> None:
    place = asyncio.run(scratch.open(include_changes=True))
    assert git(scratch.repo, "rev-parse", place.branch) == place.base


def test_changes_belong_to_head_and_to_no_other_base(scratch: Scratch) -> None:
    scratch.commit({"b": "1"}, "second")
    with pytest.raises(InvalidInput, match="include_changes"):
        asyncio.run(scratch.plan(base="HEAD~1", include_changes=True))


def test_the_record_survives_the_journal(scratch: Scratch) -> None:
    record = asyncio.run(scratch.plan(include_changes=True))
    assert WorktreeRecord.from_json(json.loads(json.dumps(record.to_json()))) == record


def test_two_repositories_of_one_name_do_not_share_a_folder(tmp_path: Path, scratch: Scratch) -> None:
    other = Scratch(tmp_path / "other")
    other.worktrees = scratch.worktrees
    first, second = asyncio.run(scratch.open()), asyncio.run(other.open())
    assert first.directory != second.directory


def test_a_run_id_that_is_no_branch_name_is_refused(scratch: Scratch) -> None:
    repository = asyncio.run(scratch.repository())
    with pytest.raises(InvalidInput, match="no name for a git branch"):
        asyncio.run(plan_worktree(scratch.git, repository, run_id="x.lock", workflow="review", root=scratch.worktrees))


def test_a_sparse_checkout_gives_a_sparse_worktree(scratch: Scratch) -> None:
    scratch.commit({"docs/guide": "1", "big/blob": "2"}, "more")
    git(scratch.repo, "sparse-checkout", "set", "src")

    async def work() -> None:
        place = await scratch.open()
        assert (place.directory / "src/app.py").exists()
        assert not (place.directory / "big").exists()
        write(place.directory, {"src/new": "1", "outside/new": "2"})
        commit = await place.commit("step")
        assert commit is not None
        assert commit.changed_files == ("outside/new", "src/new")

    asyncio.run(work())
    assert "big/blob" in scratch.files("cpool/review/r1")
