"""What a run's agents and commands said and did, as files that people can read, and that the replay agent answers from.

    DIR/RUN/recording.json              the run: its workflow, its arguments
    DIR/RUN/review.0.1/exchange.json    one attempt: what was asked of whom, and what came of it
                       prompt.txt system.txt schema.json answer.txt changes.patch output.log   (those that there are)
            test.1/command.json         one attempt of a command, and its output.log

Knows the form of these files; not how an attempt is made. Texts come masked.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.json_value import JsonValue

HEAD = "recording.json"
EXCHANGE, COMMAND = "exchange.json", "command.json"
VERSION = 1
_PATCH, _ANSWER = "changes.patch", "answer.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One attempt of an agent. `result`: how it ended, field by field as in `AgentResult`, without the answer.
    `commits`: the messages of the commits that it made. That of a command has no `agent`, and only its place in the row counts."""

    task: str
    attempt: int
    agent: str | None = None
    item: JsonValue = None
    result: Mapping[str, JsonValue] = field(default_factory=dict)
    answer: str = ""
    patch: str = ""
    commits: Sequence[str] = ()

    @property
    def passing(self) -> bool:
        """Whether it came to nothing for a reason that lay outside of the work: somebody stopped it, or a usage limit did."""
        return self.result.get("kind") in ("cancelled", "rate_limited")


@dataclass(frozen=True, slots=True)
class Recording:
    """The exchanges of one run, in the order of their attempts. `name`: the run's id."""

    name: str
    exchanges: tuple[Exchange, ...]

    def find(self, task: str, attempt: int) -> Exchange | None:
        """What attempt N of a task (from 1) answers. What was cancelled, or had to wait for a usage limit, and was then made again, does
        not count."""
        own = [exchange for exchange in self.exchanges if exchange.task == task]
        lasting = [exchange for exchange in own if not exchange.passing] or own[-1:]
        found = lasting[attempt - 1] if attempt <= len(lasting) else None
        return found if found and found.agent else None

    def to_bytes(self) -> bytes:
        """The recording as one file, as a run owns it."""
        data = {"version": VERSION, "name": self.name, "exchanges": [asdict(exchange) for exchange in self.exchanges]}
        return json.dumps(data, ensure_ascii=False).encode("utf-8", "surrogatepass")


def begin(folder: Path, head: Mapping[str, JsonValue]) -> None:
    """Make the folder of a new recording. Raises InvalidInput where it cannot be made, or is there already."""
    try:
        folder.mkdir(parents=True)
        _write(folder / HEAD, _pretty({"version": VERSION, **head}))
    except FileExistsError:
        raise InvalidInput(
            f"`{folder}` exists: a recording is never written over", help="choose another --run-id, or another folder"
        ) from None
    except OSError as error:
        raise InvalidInput(f"the recording `{folder}` cannot be written: {error.strerror}") from None


def write(folder: Path, name: str, kind: str, data: Mapping[str, JsonValue], texts: Mapping[str, str], log: Path) -> None:
    """Add one attempt: `data` to the file `kind`, `texts` and the log to files of their own. It is there whole, or not at all.
    Raises OperationFailed."""
    unfinished, finished = folder / f".{name}", folder / name
    try:
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        for file, text in texts.items():
            if text:
                _write(unfinished / file, text)
        if log.exists():
            shutil.copyfile(log, unfinished / "output.log")
        _write(unfinished / kind, _pretty(data))
        shutil.rmtree(finished, ignore_errors=True)
        os.rename(unfinished, finished)
    except OSError as error:
        raise OperationFailed(f"the recording `{finished}` cannot be written: {error.strerror}") from error


def read(path: Path) -> Recording:
    """A recording from its folder, from the folder that was given to `--record` if it holds just one, or from the file that a run owns.
    Raises InvalidInput."""
    try:
        if path.is_file():
            return _packed(json.loads(path.read_text(encoding="utf-8", errors="surrogatepass")))
        folder = path if (path / HEAD).is_file() else _only(path)
        return Recording(folder.name, tuple(sorted(_exchanges(folder), key=lambda exchange: exchange.attempt)))
    except OSError as error:
        raise InvalidInput(f"the recording `{path}` cannot be read: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InvalidInput(f"the recording `{path}` is damaged ({type(error).__name__})") from None


def _only(path: Path) -> Path:
    if not path.is_dir():
        raise InvalidInput(f"there is no recording `{path}`", help="make one: `cpool-flow run FILE --record DIR`")
    found = sorted(each for each in path.iterdir() if (each / HEAD).is_file())
    if not found:
        raise InvalidInput(f"`{path}` holds no recording", help="make one: `cpool-flow run FILE --record DIR`")
    if len(found) > 1:
        names = ", ".join(f"`{each.name}`" for each in found[:5])
        raise InvalidInput(f"`{path}` holds {len(found)} recordings: {names}", help=f"name one of them: `{path / found[-1].name}`")
    return found[0]


def _exchanges(folder: Path) -> Iterator[Exchange]:
    for file in folder.glob(f"[!.]*/{COMMAND}"):
        data = json.loads(file.read_text(encoding="utf-8"))
        yield Exchange(task=data["task"], attempt=data["attempt"], result={"kind": data["kind"]})
    for file in folder.glob(f"[!.]*/{EXCHANGE}"):
        data = json.loads(file.read_text(encoding="utf-8"))
        known = {key: data[key] for key in ("task", "attempt", "agent", "item", "result", "commits")}
        yield Exchange(**known, answer=_text(file.with_name(_ANSWER)), patch=_text(file.with_name(_PATCH)))


def _packed(data: Mapping[str, Any]) -> Recording:
    return Recording(data["name"], tuple(Exchange(**exchange) for exchange in data["exchanges"]))


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", "surrogateescape") if path.exists() else ""


def _write(path: Path, text: str) -> None:
    path.write_bytes(text.encode("utf-8", "surrogateescape"))


def _pretty(data: Mapping[str, JsonValue]) -> str:
    return f"{json.dumps(data, ensure_ascii=False, indent=2)}\n"
