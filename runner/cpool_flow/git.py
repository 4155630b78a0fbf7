"""Runs git: no shell, no prompt, no editor, nothing of the caller's repository variables.

Knows how a git process is called and how its failure reads. Does not know how a process is started (that comes in as
a `RunGit`), nor what a worktree or a run is.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from cpool_flow.dataclass import dataclass

from .errors import OperationFailed

# What git may take over from the caller's environment. `GIT_DIR`, `GIT_INDEX_FILE` and the like point git elsewhere.
_KEPT = (
    "GIT_CONFIG_", "GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL", "GIT_SSH", "GIT_ASKPASS",
    "GIT_SSL_", "GIT_HTTP_", "GIT_PROXY_", "GIT_LFS_", "GIT_EXEC_PATH", "GIT_ALLOW_PROTOCOL", "GIT_CEILING_DIRECTORIES",
    "GIT_DISCOVERY_ACROSS_FILESYSTEM", "GIT_ATTR_NOSYSTEM",
)  # fmt: skip
# Those of `git rev-parse --local-env-vars` that say where a repository is: whoever has them works there, wherever he stands.
POINTERS = frozenset(
    {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_ALTERNATE_OBJECT_DIRECTORIES"}
    | {"GIT_PREFIX", "GIT_NAMESPACE", "GIT_GRAFT_FILE", "GIT_SHALLOW_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INTERNAL_SUPER_PREFIX"}
)
_FIXED = {"GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "GIT_EDITOR": "true", "GIT_PAGER": "cat", "LC_ALL": "C"}
_OBJECT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


class Completed(Protocol):
    """A process that has ended."""

    @property
    def code(self) -> int: ...
    @property
    def stdout(self) -> bytes: ...
    @property
    def stderr(self) -> bytes: ...


class RunGit(Protocol):
    """Starts `argv` in `directory` with exactly this environment and waits for its end. No stdin means an empty one.

    Called many times, also at once. Raises `FileNotFoundError` where the program is missing.
    """

    def __call__(
        self, argv: Sequence[str], directory: str, environment: Mapping[str, str], stdin: bytes | None = None
    ) -> Awaitable[Completed]: ...


class GitMissing(OperationFailed):
    """There is no git on PATH."""


class GitFailed(OperationFailed):
    """A git command ended with an error; `complaint` is what it said."""

    def __init__(self, command: str, complaint: str) -> None:
        self.command, self.complaint = command, complaint
        super().__init__(f"`git {command}` failed: {complaint}")


@dataclass(frozen=True)
class Git:
    """git, called in one directory with one environment; made by `safe_git`."""

    run: RunGit
    environment: Mapping[str, str]
    directory: str = "/"

    def at(self, directory: Path | str, **variables: Path | str) -> Git:
        """The same git elsewhere, with more variables, such as `GIT_DIR`."""
        more = {name: str(value) for name, value in variables.items()}
        return replace(self, directory=str(directory), environment={**self.environment, **more})

    def without_configuration(self) -> Git:
        """The same git, deaf to the configuration of system, user and caller."""
        own = {name: value for name, value in self.environment.items() if not name.startswith("GIT_CONFIG_")}
        return replace(self, environment={**own, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"})

    async def ask(self, *arguments: str, stdin: bytes | None = None) -> Completed:
        """The ended process, whatever its exit code. Raises `GitMissing`, and `OperationFailed` where the directory is gone."""
        if not Path(self.directory).is_dir():
            raise OperationFailed(f"the directory {self.directory} does not exist")
        try:
            return await self.run(("git", *arguments), self.directory, self.environment, stdin)
        except FileNotFoundError as error:
            raise GitMissing("git is not installed, or not on PATH") from error

    async def output(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """What the command printed. Raises `GitFailed`."""
        ended = await self.ask(*arguments, stdin=stdin)
        if ended.code != 0:
            raise GitFailed(_name(arguments), complaint(ended))
        return ended.stdout

    async def line(self, *arguments: str, stdin: bytes | None = None) -> str:
        """The one line that the command printed. Raises `GitFailed`."""
        return _text(await self.output(*arguments, stdin=stdin))

    async def find(self, *arguments: str) -> str | None:
        """The one line that the command printed, or None where it found nothing or ended with an error."""
        ended = await self.ask(*arguments)
        return _text(ended.stdout) or None if ended.code == 0 else None

    async def holds(self, *arguments: str) -> bool:
        """Whether the command says yes by its exit code."""
        return (await self.ask(*arguments)).code == 0


def safe_git(run: RunGit, environment: Mapping[str, str]) -> Git:
    """git with the caller's environment, less the variables that point it to a repository of its own choice."""
    kept = {name: value for name, value in environment.items() if not name.startswith("GIT_") or name.startswith(_KEPT)}
    return Git(run, kept | _FIXED)


def complaint(ended: Completed) -> str:
    """What git said on stderr, short enough for a message."""
    text = ended.stderr.decode("utf-8", "backslashreplace").strip()
    return text[-2000:] or f"exit code {ended.code}"


def is_object_id(text: str) -> bool:
    """Whether this is a full hash, which no git command can take for an option or another name."""
    return bool(_OBJECT.fullmatch(text))


def _text(output: bytes) -> str:
    # A path is text here; bytes that are no UTF-8 come back as they were.
    return output.decode("utf-8", "surrogateescape").removesuffix("\n")


def _name(arguments: Sequence[str]) -> str:
    return next((argument for argument in arguments if not argument.startswith("-") and "=" not in argument), "")
