"""The child process of the replay agent: one JSON task on stdin; makes the recorded changes and prints the recorded answer.

Started once an attempt, so it imports only what starts fast and nothing of ours. git itself refuses what leads out of the place.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sys

IDENTITY = ("-c", "user.name=replay agent", "-c", "user.email=replay@localhost", "-c", "commit.gpgSign=false")
QUIET = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "core.autocrlf=false")
ATTEMPTS = 3
FILE = re.compile(rb"^(?=diff --git )", re.MULTILINE)


def main() -> int:
    task = json.load(sys.stdin)
    patch = task["patch"].encode("utf-8", "surrogateescape")
    if patch or task["commits"]:
        code, top, words = git("rev-parse", "--show-toplevel")
        if code != 0:
            print(f"{os.getcwd()} is in no git repository: {words}", file=sys.stderr)
            return 1
        os.chdir(top.rstrip("\n"))
        if patch and not apply(patch):
            return 1
        if task["commits"] and not commit(task["commits"][-1]):
            return 1
    sys.stdout.buffer.write(task["answer"].encode("utf-8", "replace") + b"\n")
    return 0


def apply(patch: bytes) -> bool:
    """Make the changes: all at once where they fit, else file by file. What stands there already is no matter, for another step of that
    moment has made it, perhaps while we looked."""
    words = ""
    for _ in range(ATTEMPTS):
        code, _, words = git("apply", "--whitespace=nowarn", "-", stdin=patch)
        if code == 0 or git("apply", "--check", "--reverse", "--whitespace=nowarn", "-", stdin=patch)[0] == 0:
            return True
    files = split(patch)
    if len(files) > 1:
        return all(list(map(apply, files)))
    print(words, file=sys.stderr)
    return False


def split(patch: bytes) -> list[bytes]:
    return [part for part in FILE.split(patch) if part.startswith(b"diff --git ")]


def commit(message: str) -> bool:
    """All that the agent changed as one commit, with the message of its last."""
    for arguments in (
        ("add", "--all"),
        (*IDENTITY, "commit", "--quiet", "--allow-empty", "--no-verify", f"--message={message or 'commit'}"),
    ):
        code, _, words = git(*arguments)
        if code != 0:
            print(words, file=sys.stderr)
            return False
    return True


def git(*arguments: str, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a git command."""
    pipes = [os.pipe() for _ in range(3)]
    actions = [(os.POSIX_SPAWN_DUP2, pipes[0][0], 0), (os.POSIX_SPAWN_DUP2, pipes[1][1], 1), (os.POSIX_SPAWN_DUP2, pipes[2][1], 2)]
    argv = ["git", *QUIET, *arguments]
    try:
        child = os.posix_spawnp("git", argv, {**os.environ, "LC_ALL": "C"}, file_actions=actions)
    except OSError as error:
        return 127, "", f"git cannot be run: {error.strerror}"
    finally:
        for descriptor in (pipes[0][0], pipes[1][1], pipes[2][1]):
            os.close(descriptor)
    with contextlib.suppress(BrokenPipeError), open(pipes[0][1], "wb") as stream:
        stream.write(stdin)
    with open(pipes[1][0], "rb") as out, open(pipes[2][0], "rb") as err:
        printed, words = out.read(), err.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code, printed.decode("utf-8", "surrogateescape"), words.decode("utf-8", "replace").strip()


if __name__ == "__main__":
    sys.exit(main())
