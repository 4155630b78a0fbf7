"""`run --record` keeps what agents and commands do; `--agent replay` does it again without an agent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from session import Ended, Session

ANSWERS = """\
    steps:
      plan: {answer: {n: 7}, cost_usd: 0.25, turns: 3}
      fix:
        - {item: a, edits: {src/a.txt: "A\\n"}, answer: did a, cost_usd: 0.5}
        - {item: b, error: overloaded}
        - {item: b, edits: {src/b.txt: "B\\n"}, delete: [old.txt], answer: did b}
      mend: {edits: {fixed.txt: "yes\\n"}, answer: mended}
      commit: {edits: {c.txt: "c"}, commit: "Made c", answer: committed}
    """
FLOW = """\
    version: 1
    config: {agent: scripted, script: answers.yaml}
    secrets: [TOKEN]
    steps:
      - name: hello
        run: echo "hello $TOKEN" | tee made.txt
        secrets: [TOKEN]
      - name: plan
        prompt: "Plan it: {{ steps.hello.output }}"
        output_schema: {type: object, required: [n]}
        output_vars: {n: n}
      - name: fix
        foreach: [a, b]
        prompt: "Fix {{ item }} with {{ steps.plan.n }}"
        verify: test -f src/{{ item }}.txt
        retries: 1
        retry: {delay: 1ms, on: [overloaded]}
      - name: mend
        run: test -f fixed.txt && echo fixed
        recovery_prompt: "Mend it: {{ error }}"
      - name: commit
        prompt: commit
        expect: {commit: true}
    outputs: {plan: "{{ steps.plan.json }}", fix: "{{ steps.fix.output }}", mend: "{{ steps.mend.output }}"}
    """
SECRET = "hunter2hunter2"


class Records:
    """A repository with the workflow above, and a folder for recordings outside of it."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.folder = session.home / "recordings"
        session.file("old.txt", "old\n")
        session.file("answers.yaml", ANSWERS)
        session.file("flow.yaml", FLOW)
        session.repository()
        session.environment["TOKEN"] = SECRET

    def record(self, *options: str, name: str = "one") -> Ended:
        return self.session.flow("run", "flow.yaml", "--record", str(self.folder), "--run-id", name, *options)

    def replay(self, *options: str, name: str = "again", **environment: str) -> Ended:
        return self.session.flow("run", "flow.yaml", "--recording", str(self.folder), "--run-id", name, *options, **environment)

    def texts(self) -> dict[str, str]:
        """All files of the recording."""
        return {str(path.relative_to(self.folder / "one")): path.read_text() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture
def records(session: Session) -> Records:
    return Records(session)


def attempts(document: Any) -> list[tuple[Any, ...]]:
    """What a result says of the agents' attempts."""
    tasks = [task for step in document["steps"] for task in step.get("items") or [step]]
    return [
        (attempt["status"], attempt["error_kind"], attempt["cost_usd"], attempt["turns"], attempt["model"])
        for task in tasks
        for attempt in task["attempts"]
        if attempt["agent"]
    ]


def test_a_recorded_run_is_done_again_without_an_agent(records: Records) -> None:
    first = records.record("--json").json()
    records.session.file("answers.yaml", "steps: {}\n")  # nobody asks it any more
    second = records.replay("--json").json()
    assert (first["status"], second["status"]) == ("success", "success"), second["error"]
    assert second["outputs"] == first["outputs"] == {"plan": {"n": 7}, "fix": '["did a", "did b"]', "mend": "fixed"}
    assert attempts(second) == attempts(first)
    assert second["cost_usd"] == first["cost_usd"] == 0.75
    assert {attempt["agent"] for step in second["steps"] for attempt in step["attempts"]} == {None, "replay"}
    assert records.session.git("diff", first["branch"], second["branch"]) == ""
    assert "Made c" in records.session.git("log", "--format=%s", second["branch"])


def test_the_files_of_a_recording_can_be_read_and_hold_no_secret(records: Records) -> None:
    records.record()
    texts = records.texts()
    assert json.loads(texts["recording.json"])["run_id"] == "one"
    assert texts["plan.1/prompt.txt"] == "Plan it: hello ***"
    assert texts["plan.1/answer.txt"] == '{"n": 7}'
    assert json.loads(texts["plan.1/schema.json"]) == {"type": "object", "required": ["n"]}
    assert texts["hello.1/output.log"] == "hello ***\n"
    command = json.loads(texts["hello.1/command.json"])
    assert (command["command"], command["exit_code"], command["kind"]) == ('echo "hello $TOKEN" | tee made.txt', 0, None)
    exchange = json.loads(texts["fix.1.2/exchange.json"])
    assert (exchange["task"], exchange["attempt"], exchange["item"], exchange["agent"]) == ("fix[1]", 2, "b", "scripted")
    assert "-old\n" in texts["fix.1.2/changes.patch"]
    assert json.loads(texts["commit.1/exchange.json"])["commits"] == ["Made c"]
    assert json.loads(texts["mend.1/command.json"])["exit_code"] == 1
    assert json.loads(texts["mend.2/exchange.json"])["kind"] == "recovery"
    assert not [name for name, text in texts.items() if SECRET in text]


def test_a_file_that_names_its_recording_is_replayed_as_it_is(records: Records) -> None:
    records.folder = records.session.path / "recorded"
    records.record()
    text = (records.session.path / "flow.yaml").read_text()
    records.session.file("flow.yaml", text.replace("{agent: scripted, script: answers.yaml}", "{agent: replay, recording: recorded/one}"))
    assert records.session.flow("validate", "flow.yaml").code == 0
    ended = records.session.flow("run", "flow.yaml", "--json")
    assert ended.json()["status"] == "success", ended.err


def test_a_run_owns_its_recording(session: Session) -> None:
    session.file("flow.yaml", """\
        version: 1
        config: {agent: command, command: [cat]}
        steps:
          - {name: ok, approve: Go on?}
          - {name: ask, prompt: hi}
        """)  # fmt: skip
    session.flow("run", "flow.yaml", "--auto-approve", "--record", "../rec")
    assert session.flow("run", "flow.yaml", "--recording", "../rec", "--run-id", "two").code == 4
    shutil.rmtree(session.path.parent / "rec")
    session.flow("approve", "two", "ok")
    assert session.flow("resume", "two", "--json").json()["status"] == "success"


def test_a_step_without_a_recorded_exchange_fails_by_its_name(records: Records) -> None:
    records.record()
    text = (records.session.path / "flow.yaml").read_text()
    records.session.file("flow.yaml", text.replace("  - name: commit\n", "  - name: review\n    prompt: Look at it.\n  - name: commit\n"))
    ended = records.replay()
    assert ended.code == 1
    assert "the recording `one` has no exchange of step `review`, attempt 1" in ended.err
    assert "flow.yaml:" in ended.err


def test_a_replay_may_be_recorded_and_replayed(records: Records) -> None:
    records.record()
    assert records.replay("--record", str(records.session.home / "second")).code == 0
    records.folder = records.session.home / "second"
    document = records.replay("--json", name="third").json()
    assert (document["status"], document["cost_usd"]) == ("success", 0.75)


def test_a_replay_spends_nothing_of_a_budget(records: Records) -> None:
    records.record()
    document = records.replay("--budget", "0.10", "--json").json()
    assert (document["status"], document["cost_usd"]) == ("success", 0.75), document["error"]


def test_a_failure_is_replayed_with_its_kind(records: Records) -> None:
    records.session.file("answers.yaml", "steps:\n  plan: {error: auth, message: Not signed in}\n")
    assert records.record().code == 1
    ended = records.replay("--json")
    (plan,) = [step for step in ended.json()["steps"] if step["name"] == "plan"]
    assert [(attempt["error_kind"], attempt["error"]) for attempt in plan["attempts"]] == [("auth", "plan, attempt 1: Not signed in")]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--agent", "replay"), "`agent: replay` needs `recording`"),
        (("--recording", "nowhere"), "there is no recording `nowhere`"),
        (("--record", "flow.yaml"), "cannot be written"),
    ],
)
def test_what_cannot_be_recorded_or_replayed_is_told_before_anything_starts(
    records: Records, options: tuple[str, ...], message: str
) -> None:
    ended = records.session.flow("run", "flow.yaml", *options)
    assert (ended.code, message in ended.err) == (2, True), ended.err
    assert not (records.session.path / ".cpool" / "runs").exists()


def test_a_recording_is_never_written_over(records: Records) -> None:
    (records.folder / "one").mkdir(parents=True)
    ended = records.record()
    assert (ended.code, "a recording is never written over" in ended.err) == (2, True)


def test_agents_that_work_at_once_leave_the_same_files_again(session: Session) -> None:
    session.file("flow.yaml", """\
        version: 1
        config: {agent: scripted, script: answers.yaml}
        steps:
          - name: all
            foreach: [a, b, c, d]
            prompt: "Write {{ item }}"
        """)  # fmt: skip
    calls = [{"item": item, "edits": {f"{item}.txt": f"{item}\n"}, "seconds": 0.05 * place} for place, item in enumerate("abcd")]
    session.file("answers.yaml", json.dumps({"steps": {"all": calls}}))
    session.repository()
    session.flow("run", "flow.yaml", "--record", "../rec", "--run-id", "one")
    ended = session.flow("run", "flow.yaml", "--recording", "../rec", "--run-id", "two", "--json")
    assert ended.json()["status"] == "success", ended.err
    assert session.git("diff", "cpool/flow/one", "cpool/flow/two") == ""


def test_binary_files_links_modes_and_odd_names_come_again(session: Session) -> None:
    script = "printf '\\0\\1\\377' > data.bin; ln -s data.bin link; printf x > 'odd\tname é'; chmod +x README; rm gone"
    session.file("flow.yaml", f"""\
        version: 1
        isolation: worktree
        steps:
          - name: odd
            prompt: do it
            config: {{agent: command, command: [sh, -c, {json.dumps(script + "; echo done")}]}}
        """)  # fmt: skip
    session.file("gone", "x\n")
    session.repository()
    assert session.flow("run", "flow.yaml", "--record", "../rec", "--run-id", "one").code == 0
    assert session.flow("run", "flow.yaml", "--recording", "../rec", "--run-id", "two").code == 0
    assert session.git("diff", "--binary", "cpool/flow/one", "cpool/flow/two") == ""
    assert session.git("diff", "--stat", "main", "cpool/flow/two") != ""


def test_outside_of_git_the_run_says_what_is_not_kept(session: Session) -> None:
    session.file("flow.yaml", "version: 1\nsteps:\n  - {name: a, prompt: hi, config: {agent: command, command: [cat]}}\n")
    ended = session.flow("run", "flow.yaml", "--record", "../rec", "--run-id", "one")
    assert ended.code == 0
    assert "the recording will hold no change of a file" in ended.err
    assert (session.path.parent / "rec" / "one" / "a.1" / "answer.txt").read_text() == "hi"
    assert session.flow("run", "flow.yaml", "--recording", "../rec", "--json").json()["status"] == "success"


def test_steps_of_a_sub_workflow_and_of_a_loop_have_exchanges_of_their_own(session: Session) -> None:
    session.file(
        "child.yaml",
        "version: 1\nsteps:\n  - {name: ask, prompt: one}\nconfig: {agent: command, command: [cat]}\noutputs: {a: '{{ steps.ask.output }}'}\n",
    )
    session.file("flow.yaml", """\
        version: 1
        config: {agent: command, command: [cat]}
        steps:
          - {name: call, workflow: child.yaml}
          - name: again
            repeat: {until: iteration == 2, max: 3}
            steps:
              - {name: ask, prompt: "round {{ iteration }}"}
        outputs: {a: "{{ steps.call.a }}", b: "{{ steps.again.output }}"}
        """)  # fmt: skip
    first = session.flow("run", "flow.yaml", "--record", "../rec", "--run-id", "one", "--json").json()
    names = {path.parent.name for path in Path(session.path.parent / "rec").rglob("exchange.json")}
    assert names == {"call.ask.1", "again.ask.1", "again-2.ask.1"}
    second = session.flow("run", "flow.yaml", "--recording", "../rec", "--json").json()
    assert second["outputs"] == first["outputs"] == {"a": "one", "b": "round 2"}
