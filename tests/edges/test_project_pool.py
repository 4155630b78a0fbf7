"""The `cpool.yaml` of a project on the disk: there or not, readable or not, with files beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpool_flow.errors import InvalidInput
from cpool_flow.pool_file import Price
from cpool_flow.project_pool import read_pool


def problems(project: Path) -> list[str]:
    with pytest.raises(InvalidInput) as error:
        read_pool(project)
    return [problem.message for problem in error.value.problems]


def test_a_project_without_one_has_an_empty_pool(tmp_path: Path) -> None:
    found = read_pool(tmp_path)
    assert (found.document, found.pool.slots, found.pool.config.model) == (None, None, None)


def test_an_empty_one_only_marks_the_project(tmp_path: Path) -> None:
    (tmp_path / "cpool.yaml").write_bytes(b"\xef\xbb\xbf# the project\r\n\r\n")
    assert read_pool(tmp_path).document is None


def test_what_it_says_is_there_in_types(tmp_path: Path) -> None:
    (tmp_path / "cpool.yaml").write_text("slots: 3\nbudgets: {day: 50}\nnotify: [{on: failed, command: [say, 1]}]\n")
    pool = read_pool(tmp_path).pool
    assert (pool.slots, pool.budgets.day, pool.notify[0].occasions, pool.notify[0].command) == (3, 50.0, ("failed",), ("say", "1"))


def test_prices_are_found_by_agent_and_model_and_a_star_stands_for_the_others(tmp_path: Path) -> None:
    (tmp_path / "cpool.yaml").write_text(
        "prices: {codex: {gpt-5: {input: 1.25, output: 10, cache_read: 0.125}, '*': {input: 2, output: 8}}, command: {mine: {input: 1, output: 1}}}"
    )
    pool = read_pool(tmp_path).pool
    assert pool.price("codex", "gpt-5") == Price(input=1.25, output=10, cache_read=0.125)
    assert pool.price("codex", "o9") == pool.price("codex", None) == Price(input=2, output=8)
    assert pool.price("command", "other") is pool.price("claude", "opus") is None


def test_tokens_of_a_cache_cost_what_all_others_do_unless_they_have_a_price() -> None:
    plain, cached = Price(input=2, output=10), Price(input=2, output=10, cache_read=0.5, cache_write=4)
    assert plain.cost_usd(1_000_000, 500_000, 250_000, 250_000) == 2 + 5 + 0.5 + 0.5
    assert cached.cost_usd(1_000_000, 500_000, 250_000, 250_000) == 2 + 5 + 0.125 + 1


def test_one_that_cannot_be_read_is_a_problem_and_not_an_empty_pool(tmp_path: Path) -> None:
    (tmp_path / "cpool.yaml").mkdir()
    assert "cannot read" in problems(tmp_path)[0]
    (tmp_path / "cpool.yaml").rmdir()
    (tmp_path / "cpool.yaml").symlink_to("nowhere.yaml")
    assert "cannot read" in problems(tmp_path)[0]
    (tmp_path / "cpool.yaml").unlink()
    (tmp_path / "cpool.yaml").symlink_to("/proc/self/environ")
    assert problems(tmp_path) == ["`cpool.yaml` is outside of the project"]
    (tmp_path / "cpool.yaml").unlink()
    os.mkfifo(tmp_path / "cpool.yaml")
    assert "no regular file" in problems(tmp_path)[0]


def test_a_script_stands_in_the_project(tmp_path: Path) -> None:
    (tmp_path / "secret.yaml").write_text("steps: {}")
    project = tmp_path / "project"
    project.mkdir()
    (project / "link.yaml").symlink_to("../secret.yaml")
    (project / "cpool.yaml").write_text("config: {agent: scripted, script: link.yaml}")
    assert problems(project) == ["`link.yaml` is outside of the project"]
