"""The configuration that our git reads is a copy that says the same, less what would start programs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from cpool_flow.workspace.view import configuration_text
from edges.git_runner import git

texts = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r"), max_size=20)
keys = st.one_of(
    st.sampled_from(["core.autocrlf", "user.name", "filter.lfs.clean"]),
    st.builds(
        "filter.{}.clean".format,
        st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\n\r"), min_size=1, max_size=10),
    ),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(keys, st.one_of(st.none(), texts)), max_size=8))
def test_git_reads_what_was_written(values: list[tuple[str, str | None]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config"
        path.write_text(configuration_text(values), encoding="utf-8")
        read = git(Path(folder), "config", "--file", str(path), "--null", "--list")
    expected = "".join(f"{key}\0" if value is None else f"{key}\n{value}\0" for key, value in values)
    assert read == expected.rstrip("\n")
