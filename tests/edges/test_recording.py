"""The files of a recording, and which exchange of it an attempt gets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from agent_runs import Attempt, request

from cpool_flow import recording
from cpool_flow.agents.protocol import AgentResult
from cpool_flow.agents.replay import Replay
from cpool_flow.errors import InvalidInput
from cpool_flow.recording import Exchange, Recording

RESULT: dict[str, Any] = {
    "kind": None, "error": "", "cost_usd": 0.25, "turns": 3, "input_tokens": 10, "output_tokens": 5, "cached_tokens": 0,
    "session_id": "s", "model": "m", "denials": [], "resets_at": None,
}  # fmt: skip


def kept(folder: Path, task: str, attempt: int, *, item: Any = None, answer: str = "done", patch: str = "", **more: Any) -> None:
    """An exchange as a run keeps it."""
    result = {**RESULT, **{key: more.pop(key) for key in list(more) if key in RESULT}}
    data = {"task": task, "attempt": attempt, "agent": "claude", "item": item, "result": result, "commits": more.pop("commits", [])}
    texts = {"answer.txt": answer, "changes.patch": patch, "prompt.txt": "do it"}
    recording.write(folder, f"{task}.{attempt}", recording.EXCHANGE, data, texts, folder / "no-log")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "rec" / "run-1"
    recording.begin(made, {"run_id": "run-1"})
    return made


def test_what_was_written_is_read_again(folder: Path) -> None:
    kept(folder, "fix", 1, kind="overloaded", error="529", answer="")
    kept(folder, "fix", 2, item={"a": "ü"}, answer=" two\r\nlines \n", patch="diff --git a/x b/x\r\n", commits=["Fix it"])
    found = recording.read(folder)
    assert found.name == "run-1"
    first, second = found.exchanges
    assert (first.result["kind"], first.answer) == ("overloaded", "")
    assert (second.item, second.answer, second.patch, second.commits) == (
        {"a": "ü"},
        " two\r\nlines \n",
        "diff --git a/x b/x\r\n",
        ["Fix it"],
    )


def test_a_recording_is_one_file_for_a_run_that_owns_it(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, patch="half of a pair: \udc80")
    packed = tmp_path / "recording.json"
    packed.write_bytes(recording.read(folder).to_bytes())
    assert recording.read(packed) == recording.read(folder)


def test_the_folder_above_is_the_recording_while_it_holds_just_one(folder: Path) -> None:
    assert recording.read(folder.parent).name == "run-1"
    recording.begin(folder.parent / "run-2", {})
    with pytest.raises(InvalidInput, match=r"holds 2 recordings: `run-1`, `run-2`"):
        recording.read(folder.parent)


@pytest.mark.parametrize(("path", "message"), [("nowhere", "there is no recording"), (".", "holds no recording")])
def test_what_is_no_recording_is_told_with_the_way_to_make_one(tmp_path: Path, path: str, message: str) -> None:
    with pytest.raises(InvalidInput, match=message) as refused:
        recording.read(tmp_path / path)
    assert refused.value.problems[0].help == "make one: `cpool-flow run FILE --record DIR`"


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"task": 1}', '{"task": "a", "attempt": "x", "agent": "b", "item": 1, "result": 2, "commits": 3}']
)
def test_a_damaged_recording_is_told(folder: Path, text: str) -> None:
    kept(folder, "fix", 1)
    kept(folder, "fix", 2)
    (folder / "fix.1" / "exchange.json").write_text(text)
    with pytest.raises(InvalidInput, match="is damaged"):
        recording.read(folder)


def test_a_recording_is_never_written_over(folder: Path) -> None:
    with pytest.raises(InvalidInput, match="a recording is never written over"):
        recording.begin(folder, {})


def exchange(task: str, attempt: int, kind: str | None = None) -> Exchange:
    return Exchange(task=task, attempt=attempt, agent="claude", result={**RESULT, "kind": kind})


def test_attempts_are_counted_as_they_were_recorded_whatever_their_numbers() -> None:
    found = Recording("r", (exchange("a", 2), exchange("b", 1), exchange("a", 4)))
    assert [each and each.attempt for each in (found.find("a", 1), found.find("a", 2), found.find("a", 3))] == [2, 4, None]


def test_attempts_of_a_command_count_among_those_of_its_recovery() -> None:
    command = Exchange(task="a", attempt=1, result={"kind": "failed"})
    found = Recording("r", (command, exchange("a", 2)))
    assert (found.find("a", 1), found.find("a", 2)) == (None, exchange("a", 2))


def test_what_was_cancelled_and_made_again_does_not_count() -> None:
    again = Recording("r", (exchange("a", 1, "cancelled"), exchange("a", 2, "rate_limited"), exchange("a", 3)))
    assert again.find("a", 1) == exchange("a", 3)
    for_good = Recording("r", (exchange("a", 1, "cancelled"),))
    assert for_good.find("a", 1) == exchange("a", 1, "cancelled")


# ---- the agent ----


def played(folder: Path, place: Path, **more: Any) -> AgentResult:
    place.mkdir(exist_ok=True)
    asked = request(place, config={"agent": "replay", "recording": str(folder)}, **{"task": "fix", **more})
    return Attempt(Replay(), asked).run()


def test_an_attempt_ends_as_it_was_recorded(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, answer="the answer ü")
    kept(folder, "other", 1, kind="rate_limited", error="limit", answer="", resets_at=5.0, cost_usd=None)
    good, limited = (played(folder, tmp_path / "place", task=task) for task in ("fix", "other"))
    assert (good.kind, good.answer, good.cost_usd, good.turns, good.session_id, good.model) == (None, "the answer ü", 0.25, 3, "s", "m")
    assert (limited.kind, limited.error, limited.resets_at, limited.cost_usd) == ("rate_limited", "limit", 5.0, None)


def test_refused_tools_may_be_allowed_afterwards(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, kind="permission_denied", error="refused", denials=["Write"])
    assert played(folder, tmp_path / "place").kind == "permission_denied"
    assert played(folder, tmp_path / "place", allow_denials=True).kind is None


def test_a_step_that_was_not_recorded_is_told(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1)
    with pytest.raises(InvalidInput, match="the recording `run-1` has no exchange of step `fix`, attempt 2"):
        played(folder, tmp_path / "place", attempt=2)
    with pytest.raises(InvalidInput, match="no exchange of step `other`, attempt 1"):
        played(folder, tmp_path / "place", task="other")


def test_another_item_than_the_recorded_one_is_told(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, item={"path": "a.py"})
    assert played(folder, tmp_path / "place", item={"path": "a.py"}).kind is None
    with pytest.raises(InvalidInput, match=r'is that of another item: \{"path": "a.py"\}'):
        played(folder, tmp_path / "place", item={"path": "b.py"})


def test_an_item_that_was_masked_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, item="***")
    assert played(folder, tmp_path / "place", item="secret").kind is None


@pytest.mark.parametrize("config", [{"agent": "replay"}])
def test_without_a_recording_it_says_how_to_name_one(config: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="needs `recording`"):
        Replay().check(request(tmp_path, config=config).config, {})


def test_changes_outside_of_git_are_refused(folder: Path, tmp_path: Path) -> None:
    kept(folder, "fix", 1, patch="diff --git a/x b/x\nnew file mode 100644\n--- /dev/null\n+++ b/x\n@@ -0,0 +1 @@\n+x\n")
    found = played(folder, tmp_path / "place", environment={"PATH": "/usr/bin:/bin", "GIT_CEILING_DIRECTORIES": str(tmp_path)})
    assert found.kind == "failed"
    assert "the recorded changes cannot be made here" in found.error
    assert json.loads((folder / "fix.1" / "exchange.json").read_text())["result"]["kind"] is None
