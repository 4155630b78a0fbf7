"""GitHub Actions: what its runner is told of a run, and the files that it reads. Outside of it nothing here is called.

The thin edge: what is written where. How a command looks stands in `workflow_commands.py`, the report in `step_summary.py`.
"""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, TextIO

from cpool_flow.annotations import Annotations
from cpool_flow.cli.runner_stream import put, stand_before
from cpool_flow.errors import InvalidInput, Problem, printable
from cpool_flow.workflow_commands import assignment, foreign, group, masks

# A cancelled job gives SIGINT, SIGTERM after 7.5 s, and kills 2.5 s later.
GRACE_SECONDS = 5.0
SHOWN_LOG_BYTES = 1024 * 1024
# Of the summary of a step, in bytes of UTF-8: above it GitHub drops all of it. Of the outputs of a job, in bytes of UTF-16.
MOST_SUMMARY_BYTES = 1024 * 1024 - 1024
MOST_OUTPUT_BYTES = 1024 * 1024

_annotations: list[Annotations] = []


def in_actions(environment: Mapping[str, str]) -> bool:
    """Whether the runner reads what we print. Inside of a step of a run that is not so: there it is the step's output."""
    return environment.get("GITHUB_ACTIONS") == "true" and "CPOOL_RUN_ID" not in environment


def take_over_streams() -> None:
    """From now on nothing that is printed is a command by accident."""
    sys.stdout, sys.stderr = stand_before(sys.stdout), stand_before(sys.stderr)


def one_stream() -> None:
    """Everything goes to stdout: the runner reads two streams in no fixed order."""
    sys.stderr.flush()
    sys.stderr = sys.stdout


def annotate(problems: Sequence[Problem], stream: TextIO) -> None:
    """Show problems beside the lines of their files; those above ten of a kind, of all calls together, in one line of text."""
    if not _annotations:
        _annotations.append(Annotations(in_repository))
    commands, rest = _annotations[0].commands(problems)
    put(stream, commands)
    if rest:
        print(rest, file=stream, flush=True)


def in_repository(file: str) -> str | None:
    """The path of a file in the workspace of the job, None outside of it; as it is where nothing says where that is."""
    workspace = os.environ.get("GITHUB_WORKSPACE")
    if not workspace:
        return file if not os.path.isabs(file) else _below(file, os.getcwd()) or file
    return _below(os.path.join(os.getcwd(), file), workspace)


def _below(file: str, folder: str) -> str | None:
    path = os.path.relpath(os.path.realpath(file), os.path.realpath(folder))
    return None if path.startswith("..") else path


class RunnerLog:
    """Prints what only the runner's log has: masks, and the log of each attempt as a group that is folded. `quiet`: masks only."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet

    def mask(self, values: Iterable[str]) -> None:
        put(self._stream, masks(values))

    def show(self, title: str, logs: Iterable[Path]) -> None:
        """The logs that exist, as one group; none where all of them are empty."""
        lines = [line for log in logs for line in _lines(log)]
        if lines and not self._quiet:
            # The run goes on where nobody reads any more.
            with suppress(OSError):
                put(self._stream, group(printable(title), lines, token()))


def check_files(environment: Mapping[str, str]) -> None:
    """Raises InvalidInput where outputs could not be handed on at the end: better before anything has been paid."""
    file = environment.get("GITHUB_OUTPUT")
    if file:
        complaint = append(file, "", "GITHUB_OUTPUT")
        if complaint:
            raise InvalidInput(complaint, help="later steps of the job would miss the outputs; `env -u GITHUB_OUTPUT` goes on without")


def append(file: str, text: str, variable: str) -> str:
    """Add to one of the files that the runner reads. A sentence where that cannot be."""
    try:
        with open(file, "a+b") as stream:
            begins = b"\n" if text and _is_cut(stream) else b""
            stream.write(begins + text.encode("utf-8", "replace"))
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return f"cannot write the file of `${variable}`, `{file}`: {(why or 'it cannot be opened').lower()}"
    return ""


def _is_cut(stream: BinaryIO) -> bool:
    """Whether the last line has no end."""
    if not stream.seek(0, os.SEEK_END):
        return False
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) != b"\n"


def room_for_summary(file: str) -> int:
    """The bytes that a summary may still have: others may have written there."""
    try:
        return max(0, MOST_SUMMARY_BYTES - os.path.getsize(file))
    except OSError:
        return MOST_SUMMARY_BYTES


def fitting(values: Mapping[str, str], keep: Callable[[str, str], str], delimiter: str) -> str:
    """The outputs as `$GITHUB_OUTPUT` takes them. What would be too much is kept in a file, and its path is the value."""
    parts = []
    left = MOST_OUTPUT_BYTES
    for name, value in values.items():
        shown = value if _utf16_bytes(name + value) <= left else keep(name, value)
        left -= _utf16_bytes(name + shown)
        parts.append(assignment(name, shown, delimiter))
    return "".join(parts)


def _utf16_bytes(text: str) -> int:
    return len(text.encode("utf-16-le", "replace"))


def quoted(lines: Iterable[str]) -> list[str]:
    """Text of others, as lines that `put` may write."""
    return foreign([printable(line.replace("\t", "    ")) for line in lines], token())


def token() -> str:
    """What ends a text in which no command is obeyed: nobody can know it before."""
    return f"cpool-{secrets.token_hex(16)}"


def _lines(log: Path) -> Iterator[str]:
    from cpool_flow.executor.logs import read_end

    data, size = read_end(log, SHOWN_LOG_BYTES) or (b"", 0)
    if size > SHOWN_LOG_BYTES:
        yield f"… {size - SHOWN_LOG_BYTES:,} bytes before this are in {printable(str(log))}"
    for line in data.decode("utf-8", "replace").removesuffix("\n").split("\n") if data else ():
        yield printable(line.removesuffix("\r").replace("\t", "    "))
