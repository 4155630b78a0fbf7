"""`cwd` and `expect: files` see the place and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from cases import cases
from cpool_flow.errors import FlowError, InvalidInput, OperationFailed
from cpool_flow.workspace.plain import PlainPlace
from edges.git_runner import write


@pytest.fixture
def place(tmp_path: Path) -> PlainPlace:
    directory = tmp_path / "a place"
    write(
        directory,
        {"README": "", "src/app.py": "", "src/deep/er/x.py": "", ".hidden": "", "[odd]": "", ".git": "gitdir: x", "sub/.git/config": ""},
    )
    write(tmp_path, {"outside.txt": "", "outside/x.py": ""})
    (directory / "link").symlink_to("/")
    (directory / "near").symlink_to("../outside")
    (directory / "inner").symlink_to("src/deep")
    (directory / "file-out").symlink_to("../outside.txt")
    (directory / "file-in").symlink_to("README")
    (directory / "loop").symlink_to(".")
    (directory / "broken").symlink_to("nowhere")
    return PlainPlace(directory)


@pytest.mark.parametrize(
    "pattern",
    [
        "README",
        "*.md*",
        "READ??",
        "src/*.py",
        "**/x.py",
        "src/**",
        "**",
        "./README",
        "inner/er/x.py",
        "inn*/er/*.py",
        "file-in",
        ".hid*",
        "[[]odd]",
        "*",
        "**/**/app.py",
        "loop/loop/README",
    ],
)
def test_a_pattern_that_matches(place: PlainPlace, pattern: str) -> None:
    write(place.directory, {"x.md": ""})
    assert place.unmatched([pattern]) == ()


NOT_MATCHING = [
    *["", "/", "/etc/passwd", "link/etc/passwd", "link/x", "l*/etc/passwd", "near/x.py", "../outside.txt", "src/../README", "file-out"],
    *["file-*out", "~/.ssh/id_rsa", ".git", "sub/.git/config", "**/config", "src", "src/", "nope", "**/nope.txt", "$HOME/x", "broken"],
    *["a\0b", "readme", "src//app.py"],
]


@pytest.mark.parametrize("pattern", NOT_MATCHING)
def test_a_pattern_that_does_not(place: PlainPlace, pattern: str) -> None:
    assert place.unmatched(["README", pattern]) == (pattern,)


def test_the_hostile_globs_of_the_shared_cases_match_nothing(place: PlainPlace) -> None:
    values = [case["value"] for case in cases("hostile/paths.json")["cases"] if case["place"].startswith("expect.files")]
    assert place.unmatched(values) == tuple(values)


def test_a_folder_inside_is_found(place: PlainPlace) -> None:
    assert place.folder("src") == place.directory / "src"
    assert place.folder("src/../src/deep/") == place.directory / "src/deep"
    assert place.folder(".") == place.directory
    assert place.folder("inner") == place.directory / "src/deep"


@pytest.mark.parametrize("folder", ["../../tmp", "/etc", "link", "link/etc", "near", "..", ".git", "sub/.git", "a\0b", "/"])
def test_a_folder_outside_is_refused(place: PlainPlace, folder: str) -> None:
    with pytest.raises(InvalidInput, match="outside of the run's place"):
        place.folder(folder)


@pytest.mark.parametrize("folder", ["nope", "README", "broken", "src/nope"])
def test_what_is_no_folder_is_refused(place: PlainPlace, folder: str) -> None:
    with pytest.raises(OperationFailed, match="no directory of the run's place"):
        place.folder(folder)


def test_the_hostile_folders_of_the_shared_cases_are_refused(place: PlainPlace) -> None:
    for case in cases("hostile/paths.json")["cases"]:
        if case["place"] == "cwd":
            with pytest.raises(FlowError):
                place.folder(case["value"])
