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


@pytest.mark.parametrize(
    ("log", "taken", "title", "summary"),
    [
        ("TimeoutError", "retry", "Flaky test", 'The server didn\'t answer "in time"; `curl` gave up after $30. (confidence 0.7)'),
        ("ConnectionResetError", "warn", "Flaky test", "The connection was reset once. (confidence 0.69)"),
        ("AssertionError", None, "Test failure", "The sum is wrong. (confidence 0.95)"),
    ],
)
def test_11_the_answer_of_the_agent_decides_and_reaches_the_comment_unharmed(
    session: Session, log: str, taken: str | None, title: str, summary: str
) -> None:
    found = ran(session, 11, "--arg", f"log={log}", GH_TOKEN="a-token")
    assert {name for name in ("retry", "warn") if found.statuses[name] == "success"} == ({taken} if taken else set())
    assert found.outputs == {"comment": f"## {title}\n{summary}"}
    assert (session.path / "comment.md").read_text() == f"## {title}\n{summary}\n"
    if taken == "retry":
        assert found.steps["retry"]["output"] == "Flaky (0.7): " + summary.removesuffix(" (confidence 0.7)")


@pytest.mark.parametrize(("status", "attempts"), [("503", 5), ("404", 1), ("200", 1)])
def test_12_only_what_is_not_available_is_asked_again(session: Session, status: str, attempts: int) -> None:
    file = example(session, 12)
    file.write_text(file.read_text().replace("delay: 3s", "delay: 1ms"))
    ended = session.flow("run", file.name, "--arg", f"status={status}", "--json")
    assert ended.code == (0 if status == "200" else 1)
    assert len(ended.json()["steps"][0]["attempts"]) == attempts


@pytest.mark.parametrize(("visits", "pets"), [(2, ["rex", "tom"]), (9, ["rex", "tom", "kit", "bob"])])
def test_13_pets_are_seen_in_order_as_long_as_there_is_time(session: Session, visits: int, pets: list[str]) -> None:
    found = ran(session, 13, "--arg", f"visits={visits}")
    assert found.outputs == {
        "seen": [f"{index} {pet}" for index, pet in enumerate(pets)],
        "pets": [{"id": pet} for pet in pets],
    }
    assert found.steps["one_by_one"]["rounds"] == len(pets)


@pytest.mark.parametrize(("slow", "quick"), [("doctor", "nurse"), ("nurse", "doctor")])
def test_14_the_first_answer_is_enough_and_the_other_call_is_cancelled(session: Session, slow: str, quick: str) -> None:
    found = ran(session, 14, "--arg", f"slow={slow}")
    assert found.statuses == {f"call_{quick}": "success", f"call_{slow}": "cancelled", "tell": "success", "enough": "success"}
    assert found.outputs == {"answer": f"the {quick} comes"}


@pytest.mark.parametrize(
    ("kind", "taken", "order"),
    [
        ("electronic", "electronic", {"validate": True, "status": "fulfilled"}),
        ("physical", "physical", {"inventory": "clear", "items": 1, "address": "Elmer St"}),
        ("singing", "unknown", {"log": "warn", "message": "something's wrong"}),
    ],
)
def test_15_one_branch_is_taken_and_an_unknown_type_takes_the_default(
    session: Session, kind: str, taken: str, order: dict[str, object]
) -> None:
    found = ran(session, 15, "--arg", f"order_type={kind}")
    assert found.statuses == {name: "success" if name == taken else "skipped" for name in ("electronic", "physical", "unknown")}
    assert found.outputs == {"order": order}


def test_16_the_second_attempt_knows_that_it_is_the_last(session: Session) -> None:
    found = ran(session, 16)
    assert found.kinds("retry-me") == [("normal", "failed"), ("normal", "success")]
    assert (found.steps["retry-me"]["output"], found.steps["hello-world"]["output"]) == ("This is the last attempt.", "hello world")
    assert moves(session)[-3:] == [("ends", "retry-me"), ("starts", "hello-world"), ("ends", "hello-world")]


def test_17_numbers_go_from_step_to_step_and_out_of_the_run(session: Session) -> None:
    assert ran(session, 17).outputs == {"sum": 22, "partial_sum": 12, "all_sum": "22-12"}


def test_18_an_include_adds_to_combinations_and_overwrites_nothing(session: Session) -> None:
    common, old, test = ("path/to/common/package/", "path/to/go117/context", "-cover -v")
    assert ran(session, 18).outputs["built"] == [
        f"linux/amd64 and go1.17 flags?  context? {old} package? {common}",
        f"linux/amd64 and go1.18.1 flags?  context?  package? {common}",
        f"linux/ppc64le and go1.17 flags?  context? {old} package? {common}",
        f"linux/ppc64le and go1.18.1 flags?  context?  package? {common}",
        f"linux/s390x and go1.17 flags? {test} context? {old} package? {common}",
        f"linux/s390x and go1.18.1 flags? {test} context?  package? {common}",
        "I-do-not-exist and  flags?  context?  package? ",
    ]


def test_19_all_cleanups_run_after_a_failure_which_stays_the_reason(session: Session) -> None:
    found = ran(session, 19, code=1)
    assert found.statuses == {"cmd": "failed", "hangs": "failed", "failing": "failed", "echo": "success", "task-1": "success"}
    assert found.result["error"] == "step `cmd` failed"
    assert found.steps["hangs"]["attempts"][0]["error_kind"] == "timeout"
    assert found.steps["task-1"]["output"] == "task-1 ran after a failure"
    assert [task for move, task in moves(session) if move == "starts"] == ["cmd", "hangs", "failing", "echo", "task-1"]


def test_19_a_cleanup_that_fails_is_no_failure_of_the_run(session: Session) -> None:
    found = ran(session, 19, "--arg", "exit_code=0")
    assert (found.statuses["failing"], found.steps["task-1"]["output"]) == ("failed", "task-1 ran successfully")


def test_20_every_kind_of_list_is_gone_through_once(session: Session) -> None:
    found = ran(session, 20)
    product = [f"{system}/{machine}" for system in ("windows", "linux", "darwin") for machine in ("amd64", "arm64")]
    assert found.outputs == {
        "explicit": ["a", "b", "c"],
        "product": product,
        "product_of_arguments": product,
        "globbed": ["bar", "foo"],
        "parts_of_a_text": ["foo", "bar"],
    }
    different = {name: step["output"] for name, step in found.steps.items() if name.startswith("different_tasks[") and step["output"]}
    assert different == {"different_tasks[0]/task-1": "1", "different_tasks[1]/task-2": "2", "different_tasks[2]/task-3": "3"}


def test_20_what_stands_twice_in_a_list_makes_two_tasks(session: Session) -> None:
    found = ran(session, 20, "--arg", 'os=["linux", "linux"]', "--arg", 'arch=["arm64"]')
    assert found.outputs["product_of_arguments"] == ["linux/arm64", "linux/arm64"]


def test_20_a_matrix_over_a_text_is_refused_by_the_name_of_the_text(session: Session) -> None:
    file = example(session, 20)
    file.write_text(file.read_text().replace("arch: args.arch", "arch: args.names"))
    ended = session.flow("run", file.name)
    assert ended.code == 2
    assert ended.err.splitlines()[0] == "error: `matrix.arch` takes a list, and `args.names` is declared as string"
