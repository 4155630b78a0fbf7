"""The child process of the scripted agent: one JSON task on stdin, stream-json events on stdout, in Claude Code's format.

Knows one call, not the file that it came from. Started once an attempt, so it imports only what starts fast and nothing
of ours. Files are changed inside the current folder only.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
from typing import Any

IDENTITY = ("-c", "user.name=scripted agent", "-c", "user.email=scripted@localhost", "-c", "commit.gpgSign=false")
API = {"is_error": True, "usage": {}, "total_cost_usd": 0}
# kind: (what an error result says, its text unless the call has one, the word of the assistant event)
ERRORS: dict[str, tuple[dict[str, Any], str, str]] = {
    "failed": ({"subtype": "error_during_execution", "is_error": True}, "failed by the script", ""),
    "overloaded": ({**API, "api_error_status": 529}, "API Error: 529 overloaded by the script", "server_error"),
    "rate_limited": ({**API, "api_error_status": 429}, "API Error: Request rejected (429) · limited by the script", "rate_limit"),
    "auth": ({**API, "api_error_status": 401}, "Failed to authenticate. API Error: 401", "authentication_failed"),
    "invalid": ({**API, "api_error_status": 404}, "There's an issue with the selected model", "model_not_found"),
    "max_turns": ({"subtype": "error_max_turns", "is_error": True}, "Reached maximum number of turns", ""),
    "budget": ({"subtype": "error_max_budget_usd", "is_error": True}, "Reached maximum budget", ""),
    "bad_output": ({"subtype": "error_max_structured_output_retries", "is_error": True}, "Failed to provide valid structured output", ""),
    "permission_denied": ({}, "I was refused a tool.", ""),
}


class Refused(Exception):
    """The call cannot be done here."""


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    task = json.load(sys.stdin)
    call = within_budget(task["call"], task.get("budget_usd"))
    if call.get("cost_usd"):
        signal.signal(signal.SIGINT, lambda number, frame: interrupted(call, task))
    emit(type="system", subtype="init", session_id=task["session_id"], cwd=os.getcwd(), model=task["model"], tools=[])
    time.sleep(call.get("seconds", 0))
    try:
        act(call, task)
    except (Refused, OSError) as error:
        place = f" ({task['place']})" if task.get("place") else ""
        call = {"error": "failed", "message": f"{error}{place}"}
    if call.get("hang"):
        while True:
            signal.pause()
    if call.get("error") == "lost":
        return int(call.get("exit_code", 1))
    failed = finish(call, task)
    return int(call.get("exit_code", failed))


def within_budget(call: dict[str, Any], budget: float | None) -> dict[str, Any]:
    """A call that would cost more than it may ends when that is spent."""
    if budget is None or (call.get("cost_usd") or 0) <= budget:
        return call
    return {"seconds": call.get("seconds", 0), "error": "budget", "message": f"Reached maximum budget (${budget:g})", "cost_usd": budget}


def interrupted(call: dict[str, Any], task: dict[str, Any]) -> None:
    """Whoever is interrupted still says what was spent, and leaves."""
    fields = {"subtype": "error_during_execution", "is_error": True, "terminal_reason": "aborted_tools", "num_turns": 1, "usage": {}}
    emit(type="result", session_id=task["session_id"], total_cost_usd=call["cost_usd"], permission_denials=[], **fields)
    os._exit(0)


def finish(call: dict[str, Any], task: dict[str, Any]) -> bool:
    """The last words: assistant text and result. Returns whether the result is an error."""
    fields, text, word = ERRORS.get(call.get("error", ""), ({}, answer(call, task["prompt"]), ""))
    text = call.get("message", text) if call.get("error") else text
    usage = {"input_tokens": len(task["prompt"]) // 4 + 1, "output_tokens": len(text) // 4 + 1}
    denials = call.get("denials") or (["Write"] if call.get("error") == "permission_denied" else [])
    if call.get("error") == "rate_limited" and "resets_in_seconds" in call:
        emit(type="rate_limit_event", rate_limit_info={"status": "rejected", "resetsAt": time.time() + call["resets_in_seconds"]})
    say(task, {"type": "text", "text": text}, error=word or None)
    result = {
        "subtype": "success",
        "is_error": False,
        "result": text,
        "num_turns": call.get("turns", 1),
        "total_cost_usd": call.get("cost_usd", 0),
        "usage": usage,
        "permission_denials": [{"tool_name": tool, "tool_use_id": f"denied-{number}"} for number, tool in enumerate(denials)],
        **fields,
    }
    emit(type="result", session_id=task["session_id"], **{**result, "total_cost_usd": call.get("cost_usd", result["total_cost_usd"])})
    return bool(result["is_error"])


def answer(call: dict[str, Any], prompt: str) -> str:
    if call.get("echo"):
        return prompt
    value = call.get("answer", "done")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def act(call: dict[str, Any], task: dict[str, Any]) -> None:
    """The changes of a call, each shown as a use of a tool. Raises Refused at the first that cannot be done."""
    for path, content in (call.get("edits") or {}).items():
        with tool(task, "Write", path):
            write(path, content)
    for path in call.get("delete") or ():
        with tool(task, "Bash", f"rm {path}"), contextlib.suppress(FileNotFoundError):
            os.unlink(inside(path))
    if "patch" in call:
        with tool(task, "Bash", "git apply"):
            execute(["git", "apply", "--whitespace=nowarn", "-"], call["patch"].encode())
    if "run" in call:
        with tool(task, "Bash", " ".join(call["run"])):
            execute(call["run"])
    if "commit" in call:
        with tool(task, "Bash", "git commit"):
            execute(["git", "add", "--all"])
            execute(["git", *IDENTITY, "commit", "--quiet", f"--message={call['commit']}"])


def write(path: str, content: str) -> None:
    target = inside(path)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with open(target, "w", encoding="utf-8", newline="") as stream:
        stream.write(content)


def inside(path: str) -> str:
    """The file itself, wherever links on the way lead; refused outside the current folder, and where it is a link."""
    here = os.path.realpath(".")
    folder, name = os.path.split(os.path.join(here, path))
    target = os.path.join(os.path.realpath(folder), name)
    if name in ("", ".", "..") or not target.startswith(here.rstrip("/") + "/") or os.path.islink(target):
        raise Refused(f"`{path}` is not a file inside {here}")
    return target


def execute(argv: list[str], stdin: bytes = b"") -> None:
    """Run a command, its output on our stderr. Raises Refused unless it exits with 0."""
    receiver, sender = os.pipe()
    actions = [(os.POSIX_SPAWN_DUP2, receiver, 0), (os.POSIX_SPAWN_DUP2, 2, 1)]
    try:
        child = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
    except OSError as error:
        os.close(sender)
        raise Refused(f"`{argv[0]}` cannot be run: {error.strerror}") from None
    finally:
        os.close(receiver)
    with contextlib.suppress(BrokenPipeError), open(sender, "wb") as stream:
        stream.write(stdin)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code != 0:
        raise Refused(f"`{' '.join(argv[:2])}` ended with exit code {code}")


@contextlib.contextmanager
def tool(task: dict[str, Any], name: str, detail: str) -> Any:
    identity = f"tool-{time.monotonic_ns()}"
    say(task, {"type": "tool_use", "id": identity, "name": name, "input": {"detail": detail}})
    yield
    result = {"type": "tool_result", "tool_use_id": identity, "content": "done"}
    emit(type="user", session_id=task["session_id"], message={"role": "user", "content": [result]})


def say(task: dict[str, Any], block: dict[str, Any], **fields: Any) -> None:
    message = {"id": "message-1", "role": "assistant", "model": task["model"], "content": [block]}
    emit(type="assistant", session_id=task["session_id"], message=message, **fields)


def emit(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
