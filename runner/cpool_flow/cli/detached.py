"""`--detach`: a coordinator of its own, which no terminal and no Ctrl-C reaches."""

from __future__ import annotations

import os
import sys
import time

from cpool_flow.cli.json_output import print_json
from cpool_flow.errors import printable
from cpool_flow.journal import is_alive
from cpool_flow.run_folder import RunFolder

LOG = "coordinator.log"
PAUSE_SECONDS = 0.01
SHOWN_LINES = 20


def start_detached_run(folder: RunFolder, starting: bool, options: list[str], as_json: bool) -> int:
    """Start it and come back when it works on the run: from then on the run can be followed and cancelled. The exit code."""
    project = folder.path.parents[2]
    arguments = ["--project", str(project), "resume", folder.run_id, "--quiet", *(["--starting"] if starting else []), *options]
    code = _start(folder, arguments)
    if code:
        return code
    if as_json:
        print_json({"run_id": folder.run_id})
    else:
        print(folder.run_id)
        print(f"follow it: cpool-flow status {folder.run_id} --watch", file=sys.stderr)
    return 0


def _start(folder: RunFolder, arguments: list[str]) -> int:
    """0 once the coordinator has the run in its hands, or had; else its exit code, after what it said."""
    from cpool_flow.process import start_detached

    log = folder.path / LOG
    said_before = log.stat().st_size if log.exists() else 0
    # -P: no module of the folder that we stand in is taken for one of ours.
    argv = (sys.executable, "-P", "-m", "cpool_flow", *arguments)
    pid = start_detached(argv, str(log), os.getcwd(), os.environ)
    while not is_alive(folder.path):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            return _complaint(log, said_before, code) if code in (2, 5) or code < 0 else 0
        time.sleep(PAUSE_SECONDS)
    return 0


def _complaint(log: os.PathLike[str], start: int, code: int) -> int:
    with open(log, "rb") as file:
        file.seek(start)
        lines = file.read().decode("utf-8", "replace").splitlines()
    for line in lines[-SHOWN_LINES:]:
        print(printable(line), file=sys.stderr)
    return code if code > 0 else 5
