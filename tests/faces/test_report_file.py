"""`report`: made from the journal alone, on stdout or into a file that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from session import ROOT, Session

FLOW = """
    version: 1
    name: checks
    isolation: none
    args: {word: {type: string, default: "<b>|`x`"}}
    steps:
      - name: list
        run: seq 3
        output: lines
      - name: each
        foreach: steps.list.json
        run: echo "[{{ item }}]"; [ {{ item }} != 2 ] || { echo no such thing >&2; exit 3; }
        verify: echo checked
      - name: after
        run: echo never
    finally:
      - run: echo tidy
    outputs: {list: "{{ steps.list.json }}"}
"""


@pytest.fixture
def failed_run(session: Session) -> Session:
    session.file("checks.yaml", FLOW)
    assert session.flow("run", "checks.yaml", "--quiet", "--run-id", "r1").code == 1
    return session


def leftovers(session: Session) -> list[str]:
    return sorted(name for name in os.listdir(session.path) if name not in (".cpool", "checks.yaml"))


def test_without_a_file_the_report_is_markdown_on_stdout(failed_run: Session) -> None:
    ended = failed_run.flow("report", "r1")
    assert (ended.code, ended.err) == (0, "")
    for part in (
        "## checks\n\n❌ **failed** · run `r1`",
        "step \\`each\\` failed",
        "* argument word: \\<b\\>\\|\\`x\\`",
        "| `list` | ✅ success | 1 |",
        "| `each` | ❌ failed 2/3 | 3 |",
        "| `each[1]` | ❌ failed | 1 |",
        "| `after` | ⏭️ skipped |  |  |  | upstream failed |",
        '```mermaid\nflowchart TD\n  s_list["list"]\n  s_each["each ×"]',
        "no such thing\n```",
        "<details><summary>output <b>list</b></summary>",
        "cpool-flow resume r1",
    ):
        assert part in ended.out


def test_the_ending_of_the_file_says_what_is_written(failed_run: Session) -> None:
    for name, beginning in (
        ("r.md", "## checks"),
        ("r.json", '{"run_id": "r1"'),
        ("r.html", "<!doctype html>\n<html"),
        ("R.HTML", "<!doctype html>"),
    ):
        ended = failed_run.flow("report", "-o", name)
        assert (ended.code, ended.out) == (0, "")
        assert (failed_run.path / name).read_text(encoding="utf-8").startswith(beginning)
    assert leftovers(failed_run) == ["R.HTML", "r.html", "r.json", "r.md"]


def test_the_json_is_the_result_with_the_ends_of_the_logs_and_fits_its_schema(failed_run: Session) -> None:
    assert failed_run.flow("report", "last", "-o", "r.json").code == 0
    document = json.loads((failed_run.path / "r.json").read_text(encoding="utf-8"))
    schema = json.loads((ROOT / "schemas" / "result.schema.json").read_text(encoding="utf-8"))
    assert [error.message for error in Draft202012Validator(schema).iter_errors(document)] == []
    logs = [[(log["text"], log["is_verify"]) for log in item["attempts"][0]["log_ends"]] for item in document["steps"][1]["items"]]
    assert logs == [[("[1]\n", False), ("checked\n", True)], [("[2]\nno such thing\n", False)], [("[3]\n", False), ("checked\n", True)]]
    assert document["next"][-1] == {"what": "go on", "command": "cpool-flow resume r1"}
    status = failed_run.status("r1")
    assert status["outputs"] == document["outputs"]
    assert status.keys() <= document.keys()


@pytest.mark.parametrize("name", ["report", "report.pdf", "report.htm", "", ".html/", "r.yaml"])
def test_a_file_whose_ending_says_nothing_is_refused(failed_run: Session, name: str) -> None:
    ended = failed_run.flow("report", "-o", name)
    assert (ended.code, ended.out) == (2, "")
    assert "does not say what kind of report it is" in ended.err
    assert "help: its name ends in .html, .md or .json" in ended.err
    assert leftovers(failed_run) == []


def test_a_path_that_cannot_be_written_is_one_clear_line_and_leaves_nothing(failed_run: Session) -> None:
    (failed_run.path / "folder.html").mkdir()
    os.mkfifo(failed_run.path / "pipe.md")
    for name, why in {
        "folder.html": "it is a folder",
        "pipe.md": "it is no regular file",
        "no/such/r.html": "no such file or directory",
        "checks.yaml/r.md": "not a directory",
        f"{'x' * 300}.md": "file name too long",
        "/proc/r.json": "no such file or directory",
    }.items():
        ended = failed_run.flow("report", "-o", name)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("error: cannot write `")
        assert ended.err.rstrip("\n").endswith(why)
        assert ended.err.count("\n") == 1
    assert leftovers(failed_run) == ["folder.html", "pipe.md"]


def test_a_report_that_cannot_be_written_whole_leaves_the_one_before(failed_run: Session) -> None:
    failed_run.file("r.html", "the report before\n")
    limited = ("bash", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "-")
    ended = failed_run.program(*limited, *failed_run.command("report", "-o", "r.html"))
    assert (ended.code, ended.out) == (2, "")
    assert "cannot write `r.html`: file too large" in ended.err
    assert (failed_run.path / "r.html").read_text() == "the report before\n"
    assert leftovers(failed_run) == ["r.html"]


def test_a_link_is_followed_and_the_mode_of_a_file_is_kept(failed_run: Session) -> None:
    kept = failed_run.file("kept.md", "old")
    kept.chmod(0o640)
    (failed_run.path / "link.md").symlink_to("kept.md")
    assert failed_run.flow("report", "-o", "link.md").code == 0
    assert (failed_run.path / "link.md").is_symlink()
    assert kept.read_text(encoding="utf-8").startswith("## checks")
    assert kept.stat().st_mode & 0o777 == 0o640


def test_a_run_that_does_not_exist_is_refused(failed_run: Session) -> None:
    ended = failed_run.flow("report", "r2", "-o", "r.html")
    assert ended.code == 2
    assert "there is no run `r2`" in ended.err
    assert leftovers(failed_run) == []


def test_of_a_run_that_goes_on_and_of_one_that_was_killed_there_is_a_report(session: Session) -> None:
    session.file(
        "flow.yaml", 'steps:\n  - name: slow\n    run: echo begun; echo "{{ run.id }}" > begun; exec sleep 60\n  - run: echo never\n'
    )
    process = session.start("run", "flow.yaml", "--run-id", "r1")
    try:
        while not (session.path / "begun").exists():
            assert process.poll() is None
        running = session.flow("report")
        page = _page(session)
        assert "**running** · run `r1`" in running.out
        assert "cpool-flow status r1 --watch" in running.out
        assert "cpool-flow cancel r1" in page
        assert "begun\n" in page
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed = session.flow("report", "r1")
    assert "**interrupted** · run `r1`" in killed.out
    assert "cpool-flow resume r1" in killed.out
    assert "interrupted" in _page(session)


def test_every_round_of_a_loop_is_in_the_report(session: Session) -> None:
    session.file(
        "loop.yaml",
        'steps:\n  - name: turn\n    repeat: {until: "iteration == 3", max: 5}\n    run: echo "round {{ iteration }}"; date +%N\n',
    )
    assert session.flow("run", "loop.yaml", "--quiet").code == 0
    page = _page(session)
    assert all(f"round {number}\n" in page for number in (1, 2, 3))


def test_no_secret_is_in_a_report(session: Session) -> None:
    session.file("flow.yaml", 'secrets: [TOKEN]\nsteps:\n  - run: echo "say $TOKEN"; echo $TOKEN >&2; exit 1\n    secrets: [TOKEN]\n')
    assert session.flow("run", "flow.yaml", "--quiet", TOKEN="hunter2-hunter2").code == 1
    for name in ("r.md", "r.html", "r.json"):
        assert session.flow("report", "-o", name).code == 0
        text = (session.path / name).read_text(encoding="utf-8")
        assert "hunter2" not in text
        assert "***" in text


def test_the_reader_may_have_enough(failed_run: Session) -> None:
    command = " ".join(failed_run.command("report", "r1"))
    ended = failed_run.program("bash", "-c", f"{command} | head -n 1; exit ${{PIPESTATUS[1]}}")
    assert (ended.out, ended.err) == ("## checks\n", "")


def _page(session: Session) -> str:
    assert session.flow("report", "-o", "page.html").code == 0
    path: Path = session.path / "page.html"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    return text


def test_what_a_person_is_asked_and_how_to_answer_is_in_the_report(session: Session) -> None:
    session.file("flow.yaml", 'steps:\n  - {name: ask, approve: "Release <1.4>?\\nSay **yes**."}\n')
    assert session.flow("run", "flow.yaml", "--quiet", "--run-id", "r1").code == 4
    text = session.flow("report").out
    assert "`ask` asks:\n\n```text\nRelease <1.4>?\nSay **yes**.\n```" in text
    assert "cpool-flow approve r1 ask" in text
    assert "Release &lt;1.4&gt;?\nSay **yes**." in _page(session)


def test_a_report_can_be_made_of_a_run_that_another_project_has_sent(failed_run: Session, tmp_path: Path) -> None:
    other = Session(tmp_path / "other")
    (other.path / ".cpool" / "runs").mkdir(parents=True)
    shutil.copytree(failed_run.path / ".cpool" / "runs" / "r1", other.path / ".cpool" / "runs" / "r1")
    shutil.rmtree(failed_run.path / ".cpool")
    ended = other.flow("report", "r1")
    assert (ended.code, "no such thing" in ended.out) == (0, True)
    assert "no such thing" in _page(other)
