"""The README, taken literally: its installation in a copy of this checkout, its example against a GitHub of our own."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from session import ROOT, Session

from documents import Block, blocks

README = ROOT / "README.md"
NO_INDEX = re.compile(r"NewConnectionError|Temporary failure in name resolution|Connection refused|timed out")
GH = """\
#!/bin/sh
test "$*" = "pr diff 42" && test "$GH_REPO" = acme/shop && test "$GITHUB_TOKEN" = a-token-of-the-test || exit 9
echo "+    total = sum(prices) * 100"
"""
PYTEST = """\
#!/bin/sh
grep -q 'sum(prices)$' cart.py || { echo "1 failed: test_total"; exit 1; }
"""
ANSWERS = """\
steps:
  review:
    - {item: security, answer: '{"findings": []}'}
    - {item: correctness, answer: '{"findings": ["the total is in cents"]}'}
    - {item: style, answer: Nothing to say.}
    - {item: style, answer: '{"findings": []}'}
  fix:
    - {edits: {cart.py: "total = sum(prices) / 100\\n"}, answer: Divided.}
    - {when: "1 failed: test_total", edits: {cart.py: "total = sum(prices)\\n"}, answer: Fixed.}
  report: One finding, fixed.
"""


def shell_block(holding: str) -> Block:
    return next(block for block in blocks(README) if block.language == "sh" and holding in block.text)


@pytest.mark.timeout(300)
def test_the_two_commands_of_the_installation_work_in_a_clone(tmp_path: Path) -> None:
    clone = tmp_path / "cpool-flow"
    shutil.copytree(ROOT, clone, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "build"))
    ended = subprocess.run(
        ["bash", "-euc", shell_block("-m venv").text],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": "", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    if ended.returncode and NO_INDEX.search(ended.stdout + ended.stderr):
        pytest.skip("no package index can be reached from here")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("card =\n  Hello, world!\n  Hola, world!\n  Jambo, world!\n")


@pytest.fixture
def shop(session: Session) -> Session:
    """A repository with a wrong total, a `gh` and a `pytest` of ours, and the workflow of the README with a scripted agent."""
    session.repository()
    for name, text in (("gh", GH), ("pytest", PYTEST)):
        program = session.home / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(text)
        program.chmod(0o755)
    session.environment |= {"PATH": f"{session.home / 'bin'}:{session.environment['PATH']}", "GITHUB_TOKEN": "a-token-of-the-test"}
    (example,) = [block for block in blocks(README) if block.file == "review.yaml"]
    asked = "config: {model: sonnet}"
    assert example.text.count(asked) == 1
    session.file("review.yaml", example.text.replace(asked, "config: {agent: scripted, script: answers.yaml, model: sonnet}"))
    session.file("answers.yaml", ANSWERS)
    session.file("cart.py", "total = sum(prices) * 100\n")
    session.git("add", "-A")
    session.git("commit", "-q", "-m", "shop")
    return session


def test_the_example_reviews_fixes_and_reports(shop: Session) -> None:
    result = shop.flow("run", "review.yaml", "--arg", "pr=42", "--json").json()
    assert result["status"] == "success", result["error"]
    assert result["outputs"] == {"report": "One finding, fixed."}
    assert [(step["name"], step["status"]) for step in result["steps"]] == [
        (name, "success") for name in ("diff", "review", "fix", "report", "tidy")
    ]
    kinds = {step["name"]: [attempt["kind"] for attempt in step["attempts"]] for step in result["steps"]}
    assert kinds["fix"] == ["normal", "recovery"]
    assert shop.git("show", f"{result['branch']}:cart.py") == "total = sum(prices)\n"
    assert shop.git("status", "--porcelain") == ""


def test_the_commands_around_the_example_all_work(shop: Session) -> None:
    commands = [shlex.split(line, comments=True) for line in shell_block("cpool-flow resume").text.splitlines()]
    assert [command[1] for command in commands] == ["validate", "plan", "run", "resume", "merge"]
    for program, *arguments in commands:
        assert program == "cpool-flow"
        ended = shop.flow(*arguments)
        assert ended.code == 0, ended.err


def test_ci_installs_and_checks_as_the_readme_says() -> None:
    install, check = shell_block("./check").text.splitlines()
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert shlex.split(install)[-1] == ".[dev,claude-cli]"
    assert "--editable '.[dev,claude-cli]'\n" in ci
    assert ci.rstrip().endswith(f"exec {check}")
