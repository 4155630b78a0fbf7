"""The folder of one run, `.cpool/runs/<run-id>/`: everything that belongs to it. Copy it and you have the bug report.

Knows names and places, not what stands in the files. Nothing of a run is written elsewhere but its worktree.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from cpool_flow.errors import InvalidInput, OperationFailed, did_you_mean
from cpool_flow.events import Stored

RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
INLINE_BYTES = 64 * 1024

_ADJECTIVES = [
    "amber",
    "bold",
    "brave",
    "brisk",
    "calm",
    "clear",
    "clever",
    "cool",
    "crisp",
    "dry",
    "eager",
    "early",
    "fair",
    "fast",
    "fine",
    "fresh",
    "glad",
    "gold",
    "good",
    "grand",
    "green",
    "happy",
    "keen",
    "kind",
    "late",
    "light",
    "loud",
    "lucky",
    "mild",
    "neat",
    "new",
    "noble",
    "odd",
    "old",
    "open",
    "pink",
    "plain",
    "plum",
    "proud",
    "quick",
    "quiet",
    "rare",
    "red",
    "ripe",
    "rosy",
    "round",
    "sharp",
    "shy",
    "silent",
    "silver",
    "sleek",
    "slow",
    "small",
    "smart",
    "soft",
    "spare",
    "steady",
    "still",
    "sunny",
    "swift",
    "tall",
    "tidy",
    "true",
    "vivid",
    "warm",
    "wide",
    "wild",
    "wise",
    "young",
]
_NOUNS = [
    "ant",
    "badger",
    "bat",
    "bear",
    "bee",
    "bird",
    "bison",
    "boar",
    "cat",
    "crane",
    "crow",
    "deer",
    "dove",
    "duck",
    "eagle",
    "eel",
    "elk",
    "falcon",
    "finch",
    "fish",
    "fox",
    "frog",
    "gecko",
    "goat",
    "goose",
    "gull",
    "hare",
    "hawk",
    "hen",
    "heron",
    "horse",
    "ibex",
    "jay",
    "koala",
    "lark",
    "lion",
    "lizard",
    "llama",
    "lynx",
    "mole",
    "moose",
    "moth",
    "mouse",
    "newt",
    "otter",
    "owl",
    "ox",
    "panda",
    "pony",
    "puma",
    "quail",
    "rabbit",
    "raven",
    "robin",
    "seal",
    "shark",
    "sheep",
    "snail",
    "sparrow",
    "squid",
    "stork",
    "swan",
    "tiger",
    "toad",
    "trout",
    "turtle",
    "wasp",
    "whale",
    "wolf",
    "wren",
    "yak",
    "zebra",
]


class RunFolder:
    """Paths of a run. Creating the object touches nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inputs = path / "inputs"
        self.logs = path / "logs"
        self.outputs = path / "outputs"
        self.files = path / "files"
        self.handed = path / "handed"
        self.trusted = path / "trusted"

    @property
    def run_id(self) -> str:
        return self.path.name

    def log(self, task: str, number: int) -> Path:
        """The log of one attempt."""
        return self.logs / log_name(task, number)

    def find(self, name: str) -> str | None:
        """The absolute path of a file of the run, by its path in the folder; None where there is none."""
        path = self.path / name
        return str(path) if path.exists() else None

    def finder(self) -> Callable[[str], str | None]:
        """The same for very many files: which logs there are is looked up once."""
        try:
            logs = frozenset(os.listdir(self.logs))
        except OSError:
            logs = frozenset()
        folder = str(self.logs)

        def find(name: str) -> str | None:
            if not name.startswith("logs/"):
                return self.find(name)
            return f"{folder}/{name[5:]}" if name[5:] in logs else None

        return find

    def keep(self, text: str, name: str) -> Stored:
        """`text` for the journal: inline up to 64 kB, above that in a file called `name`. Raises OperationFailed."""
        data = text.encode("utf-8", "surrogatepass")
        if len(data) <= INLINE_BYTES:
            return Stored(text=text)
        path = self.outputs / name
        try:
            self.outputs.mkdir(exist_ok=True)
            path.write_bytes(data)
        except OSError as error:
            raise OperationFailed(f"cannot write `{path}`: {error.strerror}") from error
        return Stored(file=f"outputs/{name}", bytes=len(data))

    def load(self, stored: Stored) -> str:
        """The text of `stored`. Raises OperationFailed where its file is gone."""
        if stored.file is None:
            return stored.text or ""
        try:
            with open(self.path / stored.file, "rb") as file:
                return file.read(stored.bytes).decode("utf-8", "replace")
        except OSError as error:
            raise OperationFailed(f"an output of the run is gone: `{self.path / stored.file}`: {error.strerror}") from error

    def clear_handed(self) -> None:
        """Take away what agents were handed by file that no longer work."""
        for file in self.handed.glob("*"):
            file.unlink(missing_ok=True)

    def write_value(self, text: str) -> str:
        """A file of the run that holds `text`, for a value too large for a variable. Returns its absolute path."""
        self.files.mkdir(mode=0o700, exist_ok=True)
        path = self.files / os.urandom(8).hex()
        path.write_text(text, encoding="utf-8", newline="", errors="surrogatepass")
        return str(path)


def log_name(task: str, number: int) -> str:
    """The name of the log of one attempt."""
    return f"{file_name(task)}.{number}.log"


def file_name(identity: str) -> str:
    """The id of a task or step (`review[2]/fix#3/test`) as the beginning of a file's name: `review.2.fix-3.test`. It names steps
    and positions, never an item: an item may be a secret or a path."""
    name = identity.translate(_FILE_NAME)
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}.{zlib.crc32(identity.encode()):08x}"


_FILE_NAME = str.maketrans({"/": ".", "[": ".", "]": None, "#": "-"})
LONGEST_NAME = 120


def runs_directory(project: Path) -> Path:
    return project / ".cpool" / "runs"


def create(project: Path, run_id: str) -> RunFolder:
    """A new folder for a run, with the `.gitignore` that hides `.cpool`. Raises InvalidInput: taken, bad name, read-only."""
    check_run_id(project, run_id)
    runs = runs_directory(project)
    try:
        runs.mkdir(parents=True, exist_ok=True)
        ignore = project / ".cpool" / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n", encoding="ascii")
        folder = RunFolder(runs / run_id)
        folder.path.mkdir(mode=0o700)
        folder.inputs.mkdir()
        folder.logs.mkdir()
        return folder
    except FileExistsError:
        raise _taken(run_id) from None
    except OSError as error:
        raise InvalidInput(f"cannot keep runs in `{runs}`: {error.strerror}", help="choose another folder with --project DIR") from error


def _taken(run_id: str) -> InvalidInput:
    return InvalidInput(f"there is already a run with the id `{run_id}`", help="leave out --run-id, or choose another")


def check_run_id(project: Path, run_id: str) -> None:
    """Raises InvalidInput unless `run_id` is new, can name a folder and the last part of a git branch, and means nothing else."""
    if run_id == "last":
        raise InvalidInput("`last` cannot be a run id: it means the latest run")
    bad = not RUN_ID.fullmatch(run_id) or ".." in run_id or run_id.endswith((".", ".lock"))
    if bad:
        raise InvalidInput(
            f"`{run_id[:80]}` cannot be a run id",
            help="letters, digits, `.`, `_` and `-`, at most 64, first a letter or digit, not ending in `.` or `.lock`",
        )
    if (runs_directory(project) / run_id).exists():
        raise _taken(run_id)


def find(project: Path, reference: str) -> RunFolder:
    """The run that `reference` means: an id, `last`, a short name, or the only id, else the only short name, that begins so. Raises
    InvalidInput."""
    folders = list(all_runs(project))
    exact = [folder for folder in folders if folder.run_id == reference]
    if exact:
        return exact[0]
    if not folders:
        raise InvalidInput(f"there are no runs in `{project}`", help="start one with `cpool-flow run FILE`")
    if reference == "last":
        return folders[-1]
    named = [folder for folder in folders if short_name(folder.run_id) == reference]
    found = named or [folder for folder in folders if reference and folder.run_id.startswith(reference)]
    found = found or [folder for folder in folders if reference and short_name(folder.run_id).startswith(reference)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidInput(
            f"`{reference}` means {len(found)} runs: {', '.join(folder.run_id for folder in found[:5])}", help="give more of the id"
        )
    near = did_you_mean(reference, [*(folder.run_id for folder in folders), *(short_name(folder.run_id) for folder in folders), "last"])
    raise InvalidInput(f"there is no run `{reference[:80]}`{f', {near}' if near else ''}", help="see `cpool-flow runs`")


def all_runs(project: Path) -> Iterator[RunFolder]:
    """The runs of a project, oldest first."""
    runs = runs_directory(project)
    found = []
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(runs) as entries:
        for entry in entries:
            with suppress(OSError):
                found.append(
                    (os.stat(Path(entry.path, "journal.db")).st_ino and os.stat(Path(entry.path, "inputs")).st_mtime_ns, entry.name)
                )
    return iter([RunFolder(runs / name) for _, name in sorted(found)])


def short_name(run_id: str) -> str:
    """A pronounceable name, made from the id alone."""
    number = zlib.crc32(run_id.encode())
    return f"{_ADJECTIVES[number % len(_ADJECTIVES)]}-{_NOUNS[number // len(_ADJECTIVES) % len(_NOUNS)]}"
