"""Workflows of other tools, said in our format: each shows what the table of the shared cases says that it must. Rows 1 to 20."""

from __future__ import annotations

import re

import pytest
from peers import PEERS, at_once, example, moves, ran, resumed, workflows
from session import Session

from cases import case_path

A_LINE = '"; touch PWNED; "'


def test_each_row_of_the_table_has_a_translation_that_names_its_original() -> None:
    rows = re.findall(r"(?m)^\| `(\d\d)-\S+` \| (\S+)@\w+ `(\S+)`", case_path("peers/INDEX.md").read_text(encoding="utf-8"))
    assert [int(number) for number, _, _ in rows] == list(workflows()) == list(range(1, 31))
    for number, repository, path in rows:
        title = (PEERS / workflows()[int(number)]).read_text(encoding="utf-8").splitlines()[0]
        assert title == f"# Translation of `{path}` of {repository}."


def test_nothing_about_the_translations_is_worth_a_warning(session: Session) -> None:
    ended = session.flow("validate", "--strict", *(str(PEERS / name) for name in workflows().values()))
    assert (ended.code, ended.out + ended.err) == (0, f"{len(workflows())} files valid\n")


def test_01_b_and_c_overlap_and_d_waits_for_both(session: Session) -> None:
    assert ran(session, 1).outputs == {"a": "A", "b": "B", "c": "C", "d": "D"}
    found = moves(session)
    assert found[:4] == [("starts", "a"), ("ends", "a"), ("starts", "b"), ("starts", "c")]
    assert found[6:] == [("starts", "d"), ("ends", "d")]


def test_02_each_number_of_the_list_is_an_item(session: Session) -> None:
    found = ran(session, 2)
    assert found.outputs == {"slept": [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30]}
    assert found.items("rest", "output")[:2] == [f"sleeping for {number} hundredths of a second\ndone" for number in (20, 21)]


def test_02_a_text_is_not_taken_apart_into_characters(session: Session) -> None:
    ended = session.flow("test", example(session, 2).name)
    assert (ended.code, ended.err) == (0, "2 passed, 0 failed\n")


def test_03_the_fourth_attempt_succeeds(session: Session) -> None:
    # The waits themselves are asserted where time is virtual: tests/core/test_peer_waits.py.
    file = example(session, 3)
    file.write_text(file.read_text().replace("delay: 1s", "delay: 1ms"))
    ended = session.flow("run", file.name)
    assert ended.code == 0
    assert [event["reason"] for event in session.events() if event["type"] == "RetryScheduled"] == [
        "failed, retry 1 of 10",
        "failed, retry 2 of 10",
        "failed, retry 3 of 10",
    ]


def test_04_a_failure_is_told_by_name_and_cried_over(session: Session) -> None:
    found = ran(session, 4, code=1)
    assert found.statuses == {
        "work": "failed",
        "work/prepare": "success",
        "work/intentional-fail": "failed",
        "notify": "success",
        "celebrate": "skipped",
        "cry": "success",
    }
    first, second = found.outputs["notice"].splitlines()[:2]
    assert first == "exit-handlers: failed"
    assert second == 'work/intentional-fail, attempt 1: `echo "intentional failure"` ended with exit code 1'


def test_04_a_success_is_celebrated(session: Session) -> None:
    found = ran(session, 4, "--arg", "exit_code=0")
    assert found.outputs == {"notice": "exit-handlers: success\nno step failed"}
    assert (found.statuses["celebrate"], found.statuses["cry"]) == ("success", "skipped")


@pytest.mark.parametrize(
    ("options", "printed"),
    [
        ([], {"compared", "one_of_several", "in_braces", "boolean"}),
        (["--arg", "should_print=false"], {"boolean"}),
        (["--arg", "should_print=false", "--arg", "really=false"], set()),
    ],
)
def test_05_a_condition_that_does_not_hold_skips_and_the_run_succeeds(session: Session, options: list[str], printed: set[str]) -> None:
    statuses = ran(session, 5, *options).statuses
    assert {name for name, status in statuses.items() if status == "success"} == printed
    assert {status for name, status in statuses.items() if name not in printed} <= {"skipped"}


def test_06_the_run_waits_over_a_restart_for_what_a_person_says(session: Session) -> None:
    waiting = ran(session, 6, code=4)
    assert waiting.statuses == {"approve": "waiting", "release": "pending"}
    assert resumed(session, code=4).statuses == {"approve": "waiting", "release": "pending"}
    assert session.flow("approve", "last", "approve", "--answer", f"Hello, world!{A_LINE}").code == 0
    assert resumed(session).outputs == {"message": f"Hello, world!{A_LINE}"}
    assert not (session.path / "PWNED").exists()


def test_07_each_worker_does_its_jobs_one_by_one_beside_the_others(session: Session) -> None:
    found = ran(session, 7)
    assert found.outputs == {"done": [[f"{worker} {job}" for job in "abcd"] for worker in (1, 2, 3, 4)]}
    assert sum(move == "starts" for move, _ in moves(session)) == 16
    for tasks in at_once(session):
        workers = [task.split("/")[0] for task in tasks]
        assert len(workers) == len(set(workers))
    assert max(map(len, at_once(session))) == 4


def test_08_what_needs_either_runs_and_what_needs_both_does_not(session: Session) -> None:
    found = ran(session, 8, code=1)
    assert found.statuses == {
        "a": "success",
        "b": "success",
        "c": "failed",
        "should-execute-1": "success",
        "should-execute-2": "success",
        "should-not-execute": "skipped",
        "should-execute-3": "success",
    }
    assert found.steps["should-not-execute"]["reason"] == "upstream failed"


def test_09_a_version_that_fails_does_not_stop_the_others(session: Session) -> None:
    found = ran(session, 9, "--arg", "broken=3.9", code=1)
    assert found.items("build", "item") == [{"python": "3.8"}, {"python": "3.9"}, {"python": "3.10"}]
    assert found.outputs["results"] == ["success", "failed", "success"]
    assert [name for name, status in found.statuses.items() if status != "success"] == ["build", "build[1]/test"]
    assert len([name for name in found.statuses if "/" in name]) == 9
    assert found.steps["build[2]/lint"]["output"] == "flake8 with 3.10"


def test_09_all_versions_pass(session: Session) -> None:
    assert ran(session, 9).outputs == {"tested": ["3.8", "3.9", "3.10"], "results": ["success"] * 3}


@pytest.mark.parametrize("name", [None, f"x{A_LINE}"])
def test_10_a_name_is_only_a_name(session: Session, name: str | None) -> None:
    options = [] if name is None else ["--arg", f"name={name}"]
    assert ran(session, 10, *options).outputs == {"greeting": f"Hello {name or 'World'}"}
    assert not (session.path / "PWNED").exists()
