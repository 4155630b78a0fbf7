"""A stand-in for Claude Code that does one task after another, as `claude -p --input-format=stream-json`: what a prompt says, it does.

    answer              says its pid
    hang, deaf          is silent after its init; `deaf` also ignores an interrupt
    child, daemon       answers, and leaves a process: its child, or one in a session of its own
    late                answers, and says something that nobody asked for when it should wait for its next task
    die, die-in-turn    ends with exit code 1, before any event or after its init
    die-after           answers, then ends with exit code 3
    grow                answers, and holds 64 MB more from then on
    tool NAME           answers after it used this tool
    background          answers while a background task of it is open, which ends when it gets no more input

FAKE_CLEAR says what `/clear` does wrong: `same` keeps the session, `moved` is in another folder afterwards, `silent` never answers, `spends` costs
tokens. FAKE_VERSION is the version that it claims. FAKE_REFUSES: it knows no `--input-format` and answers in the old way.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid

session = next((word.split("=")[1] for word in sys.argv if word.startswith("--session-id=")), str(uuid.uuid4()))
held: list[bytearray] = []
talkative = False
folder = os.getcwd()
spent = 0.0


def emit(**event: object) -> None:
    print(json.dumps({"session_id": session, **event}), flush=True)


def init() -> None:
    version = os.environ.get("FAKE_VERSION", "2.1.331")
    emit(
        type="system",
        subtype="init",
        cwd=folder,
        model="fake",
        permissionMode="default",
        tools=[],
        mcp_servers=[],
        claude_code_version=version,
    )


def result(text: str, cost: float = 0.01, **more: object) -> None:
    global spent
    spent += cost
    usage = {"input_tokens": 10 if cost else 0, "output_tokens": 5 if cost else 0}
    good = {"subtype": "success", "is_error": False, "num_turns": 1, "result": text, "total_cost_usd": round(spent, 2), "usage": usage}
    emit(type="result", permission_denials=[], **{**good, **more})


def clear() -> None:
    global session, folder
    how = os.environ.get("FAKE_CLEAR")
    if how == "silent":
        return
    session = session if how == "same" else str(uuid.uuid4())
    folder = "/" if how == "moved" else folder
    init()
    result("", cost=0.01 if how == "spends" else 0.0, num_turns=0)
    if talkative:
        time.sleep(0.2)
        init()


def task(prompt: str) -> None:
    global talkative
    word, _, rest = prompt.partition(" ")
    if word == "die":
        sys.exit(1)
    init()
    if word == "die-in-turn":
        sys.exit(1)
    if word in ("hang", "deaf"):
        interrupted(word == "deaf")
        return
    if word == "tool":
        emit(type="assistant", message={"id": "m1", "content": [{"type": "tool_use", "id": "t1", "name": rest, "input": {}}]})
    if word == "background":
        emit(type="system", subtype="task_started", task_id="b1")
    if word == "child":
        subprocess.Popen(["sleep", "300"])
    if word == "daemon":
        subprocess.Popen(["sh", "-c", "setsid sleep 300 </dev/null >/dev/null 2>&1 & exit 0"]).wait()
    if word == "grow":
        held.append(bytearray(os.urandom(1) * (64 << 20)))
    if word == "die-after":
        subprocess.Popen(["sleep", "0.2"])  # so that we are looked at a second time
        result("a good answer")
        sys.exit(3)
    talkative = word == "late"
    result(f"pid {os.getpid()}")


def interrupted(deaf: bool) -> None:
    while True:
        if not sys.stdin.readline():
            sys.exit(0)
        if not deaf:
            result("", subtype="error_during_execution", is_error=True, terminal_reason="aborted_streaming")
            return


def main() -> None:
    with contextlib.suppress(KeyError), open(os.environ["FAKE_STARTS"], "a", encoding="utf-8") as starts:
        starts.write(f"{os.getpid()}\n")
    streaming = "--input-format=stream-json" in sys.argv
    if os.environ.get("FAKE_REFUSES"):
        if streaming:
            sys.exit("error: unknown option '--input-format=stream-json'")
        task(sys.stdin.read())
        return
    while line := sys.stdin.readline():
        event = json.loads(line)
        prompt = event.get("message", {}).get("content", "")
        if prompt == "/clear":
            clear()
        elif prompt:
            task(prompt)


main()
