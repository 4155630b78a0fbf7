"""Runs whose slots keep the real Claude CLI warm, over a model of our own: the verdicts are right, and nothing outlives the run."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from session import Session
from terminal import Terminal

from claude_cli import claude_cli as claude_cli
from model_server import ModelServer, Reply
from survivors import alive, eventually, survivors


@pytest.fixture
def people(session: Session, claude_cli: str) -> Session:
    """A session in which `claude` is the real CLI, behind a script that notes each start."""
    program = session.home / "bin" / "claude"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho $$ >> {session.home}/starts\nexec {os.path.realpath(claude_cli.split(":")[0] + "/claude")} "$@"\n')
    program.chmod(0o755)
    session.environment |= {"PATH": f"{program.parent}:{os.environ['PATH']}", "ANTHROPIC_API_KEY": "sk-test-dummy"}
    return session


def starts(session: Session) -> list[int]:
    return [int(line) for line in (session.home / "starts").read_text().split()]


@contextmanager
def model(session: Session, *replies: Reply, answer: Callable[[dict[str, Any]], Reply] | None = None) -> Iterator[ModelServer]:
    with ModelServer(replies, answer) as server:
        session.environment["ANTHROPIC_BASE_URL"] = server.url
        yield server


def test_a_chain_of_agent_steps_is_done_by_one_process_and_its_work_is_on_the_branch(people: Session) -> None:
    people.repository()
    people.file(
        "flow.yaml",
        """
        config: {permission_mode: acceptEdits}
        steps:
          - {name: one, prompt: first}
          - {name: two, prompt: second, verify: test -s made.txt}
          - {name: three, prompt: third}
        """,
    )

    def answer(body: dict[str, Any]) -> Reply:
        place = re.search(r"Primary working directory: (\S+?)\\n", json.dumps(body))
        assert place is not None
        if "second" in asked(body) and not done(body):
            return Reply(tool=("Write", {"file_path": f"{place[1]}/made.txt", "content": "data\n"}))
        return Reply("done")

    with model(people, answer=answer):
        ended = people.flow("run", "flow.yaml", "--json")
    assert (ended.code, [step["status"] for step in ended.json()["steps"]]) == (0, ["success"] * 3)
    attempts = [step["attempts"][0] for step in ended.json()["steps"]]
    assert [(attempt["exit_code"], attempt["turns"]) for attempt in attempts] == [(0, 1), (0, 2), (0, 1)]
    assert len({attempt["session_id"] for attempt in attempts}) == 3
    assert all(Path(attempt["log"]).read_bytes().count(b'"subtype":"init"') == 1 for attempt in attempts)
    assert len(starts(people)) == 1
    assert people.git("show", f"{ended.json()['branch']}:made.txt") == "data\n"
    assert survivors(people.mark()) == []


def asked(body: dict[str, Any]) -> str:
    """The prompt of a request, without what the CLI adds."""
    texts = [block.get("text", "") for block in body["messages"][0]["content"]]
    return next(text for text in reversed(texts) if not text.startswith("<"))


def done(body: dict[str, Any]) -> int:
    """How many tools have been used in the conversation so far."""
    return json.dumps(body["messages"]).count('"type": "tool_result"')


CASES = ["ok"] * 18 + ["tool"] * 6 + ["busy"] * 3 + ["denied"] * 3 + ["broken"] * 3 + ["limit"] * 2 + ["killed"] * 3 + ["silent"] * 2
EXPECTED = {
    "ok": ("success", (None,)),
    "tool": ("success", (None,)),
    "busy": ("failed", ("overloaded",) * 3),
    "denied": ("failed", ("permission_denied",)),
    "broken": ("failed", ("failed",)),
    "limit": ("success", ("rate_limited", None)),
    "killed": ("success", ("lost", None)),
    "silent": ("failed", ("timeout",)),
}


class Fates:
    """Answers each task as its prompt says; the first request of a task may be told something else than the later ones."""

    def __init__(self) -> None:
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, body: dict[str, Any]) -> Reply:
        task = asked(body)
        with self._lock:
            self._asked[task] += 1
            first = self._asked[task] == 1
        kind = task.split()[0]
        if kind == "busy":
            return Reply(status=529)
        if kind == "broken":
            return Reply(status=400, message="no")
        if kind == "limit" and first:
            reset = {"status": "rejected", "reset": str(int(time.time()) + 2), "representative-claim": "five_hour"}
            return Reply(status=429, headers={f"anthropic-ratelimit-unified-{name}": value for name, value in reset.items()})
        if kind == "silent":
            return Reply("never", hangs=True)
        commands = {"tool": "sleep 0.05; echo worked", "killed": "kill -9 $PPID; sleep 60"}
        if kind in commands and not done(body) and (kind == "tool" or first):
            return Reply(tool=("Bash", {"command": commands[kind]}))
        if kind == "denied" and not done(body):
            return Reply(tool=("Write", {"file_path": "/nowhere/x", "content": "x"}))
        return Reply(f"done: {task}")


def test_forty_tasks_on_four_warm_slots_get_exactly_the_right_verdicts(people: Session) -> None:
    del people.environment["ANTHROPIC_API_KEY"]
    people.environment["CLAUDE_CODE_OAUTH_TOKEN"] = "sk-ant-oat01-dummy"
    people.file(
        "flow.yaml",
        """
        isolation: none
        slots: 4
        args: {tasks: {type: array}}
        config: {allowed_tools: [Bash]}
        steps:
          - name: work
            foreach: args.tasks
            prompt: "{{ item }}"
            retry: {delay: 1ms}
            idle_timeout: 5s
            on_failure: continue
        """,
    )
    tasks = [f"{case} {number}" for number, case in enumerate(CASES)]
    tasks = [tasks[(number * 7) % 40] for number in range(40)]  # mixed
    people.file("args.json", json.dumps({"tasks": tasks}))
    with model(people, answer=Fates()):
        ended = people.flow("run", "flow.yaml", "--args-file", "args.json", "--json")
    items = ended.json()["steps"][0]["items"]
    told = [(item["item"], item["status"], tuple(attempt["error_kind"] for attempt in item["attempts"])) for item in items]
    assert told == [(task, *EXPECTED[task.split()[0]]) for task in tasks]
    assert [item["output"] for item in items if item["status"] == "success"] == [f"done: {task}" for task in tasks if EXPECTED[task.split()[0]][0] == "success"]  # fmt: skip
    assert all(attempt["cost_usd"] is not None for item in items for attempt in item["attempts"] if attempt["error_kind"] != "lost")
    assert len({attempt["session_id"] for item in items for attempt in item["attempts"]}) == sum(len(item["attempts"]) for item in items)
    attempts = sum(len(item["attempts"]) for item in items)
    assert len(starts(people)) < attempts * 3 / 4
    assert survivors(people.mark()) == []


TWO = """
    isolation: none
    slots: 2
    config: {allowed_tools: [Bash]}
    steps:
      - {name: quick, prompt: quick}
      - {name: wait, needs: quick, prompt: wait}
      - {name: other, needs: [], prompt: other}
"""


def waiting(began: Path) -> Callable[[dict[str, Any]], Reply]:
    """A model that has `wait` run a command that never ends."""

    def answer(body: dict[str, Any]) -> Reply:
        if asked(body) == "wait" and not done(body):
            return Reply(tool=("Bash", {"command": f"touch {began}; setsid sleep 300 & exec sleep 300"}))
        return Reply("done")

    return answer


def test_nothing_lives_on_when_the_coordinator_is_killed(people: Session) -> None:
    people.file("flow.yaml", TWO)
    began = people.home / "began"
    with model(people, answer=waiting(began)):
        process = people.start("run", "flow.yaml")
        assert eventually(began.exists)
        assert len(starts(people)) == 2  # one at work, one that waits for its next task
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert eventually(lambda: not survivors(people.mark(), *starts(people)))
        # What was killed is done again.
        resumed = people.start("resume", "last")
        assert eventually(lambda: len(starts(people)) >= 3)
        resumed.send_signal(signal.SIGKILL)
        resumed.wait()
        assert eventually(lambda: not survivors(people.mark(), *starts(people)))


def test_ctrl_c_breaks_off_a_warm_turn_and_its_cost_is_known(people: Session) -> None:
    people.file("flow.yaml", TWO)
    began = people.home / "began"
    with model(people, answer=waiting(began)):
        process = people.start("run", "flow.yaml")
        assert eventually(began.exists)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert survivors(people.mark(), *starts(people)) == []
    steps = {step["name"]: step for step in people.status()["steps"]}
    assert (steps["quick"]["status"], steps["wait"]["status"]) == ("success", "cancelled")
    assert steps["wait"]["attempts"][0]["cost_usd"] > 0


ASKS = """
    isolation: none
    steps:
      - {name: work, prompt: work}
      - {name: may, approve: Go on?}
      - {name: more, prompt: more}
"""


def test_a_run_that_waits_for_a_person_keeps_no_process(people: Session) -> None:
    people.file("flow.yaml", ASKS)
    with model(people, Reply("done")):
        assert people.flow("run", "flow.yaml").code == 4
        assert survivors(people.mark(), *starts(people)) == []
        people.flow("approve", "last", "may")
        assert people.flow("resume", "last").code == 0
        assert survivors(people.mark(), *starts(people)) == []


def test_while_it_waits_at_a_terminal_no_process_waits_with_it(people: Session) -> None:
    people.file("flow.yaml", ASKS)
    with model(people, Reply("done")):
        terminal = Terminal(people, "run", "flow.yaml")
        terminal.read_until("Go on?")
        assert eventually(lambda: not any(map(alive, starts(people))))
        terminal.press_ctrl_c()
        assert terminal.end() == 130


def test_it_can_be_switched_off(people: Session) -> None:
    people.file("flow.yaml", TWO)
    with model(people, Reply("done")):
        assert people.flow("run", "flow.yaml", CPOOL_WARM="off").code == 0
    assert len(starts(people)) == 3


def test_sessions_go_on_from_step_to_step(people: Session) -> None:
    people.file(
        "flow.yaml",
        """
        isolation: none
        steps:
          - {name: plan, prompt: PLAN-PROMPT}
          - {name: other, prompt: OTHER-PROMPT}
          - {name: build, prompt: BUILD-PROMPT, session: {continue: plan}}
          - {name: check, prompt: CHECK-PROMPT, session: {fork: plan}}
          - {name: last, prompt: LAST-PROMPT}
        """,
    )
    with model(people, Reply("done")) as server:
        ended = people.flow("run", "flow.yaml", "--json")
    assert ended.code == 0
    seen = [re.findall(r"[A-Z]+-PROMPT", json.dumps(request["messages"])) for request in server.requests]
    assert seen == [["PLAN-PROMPT"], ["OTHER-PROMPT"], ["PLAN-PROMPT", "BUILD-PROMPT"], ["PLAN-PROMPT", "BUILD-PROMPT", "CHECK-PROMPT"], ["LAST-PROMPT"]]  # fmt: skip
    sessions = [step["attempts"][0]["session_id"] for step in ended.json()["steps"]]
    assert sessions[0] == sessions[2]
    assert len(set(sessions)) == 4
    assert len(starts(people)) == 3  # one for the fresh ones


def test_an_mcp_server_that_does_not_start_is_said_and_the_run_goes_on(people: Session) -> None:
    people.file(
        "flow.yaml",
        """
        steps:
          - {name: ask, prompt: hello, config: {mcp_servers: {docs: {command: no-such-program}}}}
          - {name: next, prompt: hello}
        """,
    )
    with model(people, Reply("hi")):
        ended = people.flow("run", "flow.yaml")
    told = "`ask`: the MCP server `docs` did not start, and its agent went on without it"
    assert (ended.code, ended.err.count(f"  note: {told}\n")) == (0, 1)
    assert told in people.flow("report", "last").out.replace("\\", "")
