"""Starts `cpool-flow` by a fork of a process that has imported it already: a real process for each command, without the third of a
second that the imports take.

One such process for each test worker. It forks for each command a child that waits and tells the exit code, and that one forks the
command itself. Where the environment changes how Python starts, the command is started as anybody would.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, NoReturn

ROOT = Path(__file__).resolve().parents[2]
_STARTS_PYTHON_OTHERWISE = ("PYTHON", "LC_", "CPOOL_FAULT", "COVERAGE")


class Zygote:
    def __init__(self) -> None:
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                cwd=ROOT,
                env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT / "runner"), "HOME": "/nonexistent"},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
            )

    def run(
        self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str], stdin: bytes, timeout: float
    ) -> tuple[int, bytes, bytes]:
        """Exit code, stdout and stderr of one command. Raises TimeoutExpired, with the command killed."""
        told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        pipes = [os.pipe() for _ in range(3)]
        handed = [pipes[0][0], pipes[1][1], pipes[2][1], tells.fileno()]
        request = json.dumps({"arguments": list(arguments), "cwd": str(cwd), "environment": dict(environment)}).encode()
        descriptor = os.memfd_create("request")
        os.write(descriptor, request)
        socket.send_fds(self._ours, [b"run"], [*handed, descriptor])
        for each in (*handed[:3], descriptor):
            os.close(each)
        tells.close()
        with told, told.makefile("rb") as words:
            pid = int(words.readline())
            return self._collect(pid, words, pipes[0][1], pipes[1][0], pipes[2][0], stdin, timeout)

    def _collect(
        self, pid: int, words: IO[bytes], write: int, out: int, err: int, stdin: bytes, timeout: float
    ) -> tuple[int, bytes, bytes]:
        # `communicate` knows how to feed and read pipes at once: a process that has ended lends itself to it.
        with subprocess.Popen(["true"]) as reader:
            reader.wait()
            reader.stdin, reader.stdout, reader.stderr = os.fdopen(write, "wb"), os.fdopen(out, "rb"), os.fdopen(err, "rb")
            try:
                printed, complained = reader.communicate(stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                os.kill(pid, signal.SIGKILL)
                raise
        return int(words.readline()), printed, complained

    def close(self) -> None:
        self._ours.close()
        self._process.wait()


@cache
def zygote() -> Zygote:
    """The one of this worker."""
    made = Zygote()
    atexit.register(made.close)
    return made


def fits(environment: Mapping[str, str], usual: Mapping[str, str]) -> bool:
    """Whether Python would start the same way."""
    return not any(
        value != usual.get(name) and (name == "LANG" or name.startswith(_STARTS_PYTHON_OTHERWISE)) for name, value in environment.items()
    )


# ---- the process itself -------------------------------------------------------------------------------------


def serve(control: socket.socket) -> None:
    _import_all()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait for commands are nobody's concern
    while True:
        message, descriptors, _, _ = socket.recv_fds(control, 16, 5)
        if not message:
            return
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            control.close()
            _wait_for_command(descriptors)
        for each in descriptors:
            os.close(each)


def _import_all() -> None:
    import cpool_flow

    for module in pkgutil.walk_packages(cpool_flow.__path__, "cpool_flow."):
        if not module.name.endswith(("__main__", "scripted_cli", "stand_in")):
            importlib.import_module(module.name)


def _wait_for_command(descriptors: Sequence[int]) -> NoReturn:
    stdin, stdout, stderr, tells, request = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(tells)
        _be_command(stdin, stdout, stderr, request)
    for each in (stdin, stdout, stderr, request):
        os.close(each)
    os.write(tells, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(tells, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def _be_command(stdin: int, stdout: int, stderr: int, request: int) -> NoReturn:
    with os.fdopen(request, "rb") as file:
        file.seek(0)
        asked = json.load(file)
    for number, descriptor in enumerate((stdin, stdout, stderr)):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    sys.argv[1:] = asked["arguments"]
    from cpool_flow.cli.main import entry

    entry()


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
