"""What the runner and an agent CLI say to each other: a request, how to start it, its output read line by line, a result.

Knows no agent. An adapter starts nothing and stops nothing: it says what to start, and judges what came out.

Order of calls, for one attempt: `check` (once per run, before it starts), `prepare`, `reader`; then `Reader.feed` for
each line of stdout and `Reader.warn` for each of stderr, as they come, `Reader.stopping` at most once and at the moment at which we begin to stop the process, and
`Reader.finish` once, when the process has ended. One thread at a time.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import field
from typing import Any, Literal, Protocol

from cpool_flow.capabilities import Capabilities
from cpool_flow.dataclass import dataclass
from cpool_flow.model import AgentConfig, ErrorKind
from cpool_flow.pool_file import Price

__all__ = [
    "MAX_LINE_BYTES",
    "Adapter",
    "AgentRequest",
    "AgentResult",
    "Capabilities",
    "Ending",
    "Invocation",
    "Ladder",
    "PrivateFile",
    "Reader",
    "StopReason",
    "private_files",
]

# An answer is at most this long, and so is the line that holds it.
MAX_LINE_BYTES = 16 * 1024 * 1024

StopReason = Literal["cancelled", "timeout"]
# (signal, seconds to wait for the end) in this order; then everything that is left gets SIGKILL.
Ladder = tuple[tuple[int, float], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentRequest:
    """One attempt of an agent task. `config` is merged, its `script` an absolute path.

    `environment` is the caller's, to pick from; `step_environment` (declared `env`, secrets that the step names,
    `CPOOL_*`) is handed on whole. `files` is a private folder of the attempt for files that go when it ends.
    `schema` is the bundled output schema. `session_id` is a fresh UUID for each attempt, unless it goes on in the session `resume`;
    with another id than that it goes on in a copy. `price`: what its tokens cost, by `cpool.yaml`. `script_name`: the file of answers as
    the workflow names it.
    """

    prompt: str
    config: AgentConfig
    directory: str
    files: str
    session_id: str
    environment: Mapping[str, str]
    step_environment: Mapping[str, str] = field(default_factory=dict)
    system_prompt: str | None = None
    schema: Any = None
    budget_usd: float | None = None
    allow_denials: bool = False
    step: str = ""
    task: str = ""
    attempt: int = 1
    item: Any = None
    round_number: int = 1
    resume: str | None = None
    price: Price | None = None
    script_name: str = ""

    @property
    def cap_usd(self) -> float | None:
        """The most that the attempt may spend, in US dollars: by its settings, or by what is left of a budget."""
        return min((cap for cap in (self.config.max_budget_usd, self.budget_usd) if cap is not None), default=None)


@dataclass(frozen=True, slots=True)
class PrivateFile:
    path: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Invocation:
    """The process to start. `stdin` is written and then closed; `files` exist while the process does."""

    argv: tuple[str, ...]
    directory: str
    environment: Mapping[str, str]
    stdin: bytes
    files: tuple[PrivateFile, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the process ended. `ended_by_us`: we ended it because its turn was over and it stayed.

    `stderr` is the tail of it, `now` seconds since the epoch.
    """

    exit_code: int | None
    now: float
    signal: int | None = None
    stderr: str = ""
    ended_by_us: bool = False

    @property
    def how(self) -> str:
        return f"signal {self.signal}" if self.signal else f"exit code {self.exit_code}"

    @property
    def last_words(self) -> str:
        """What an error says of stderr: its last line, then, where there were more, all of it on lines of their own."""
        words = self.stderr.strip()
        last = words.rpartition("\n")[2].strip()
        return "" if not words else f": {last}" if last == words else f": {last}\n{words}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentResult:
    """What came of an attempt. `kind` None is success, as far as the agent's own words prove it: whether the answer
    fits the step is asked later. None where unknown: an unknown cost is not zero. `cost_at_least`: more was spent than `cost_usd`, or may
    have been. `cached_tokens` are those of the input that came from a cache, and count among it; `counts_session`: tokens are those of the
    whole session, earlier attempts included. `failed_servers`: the MCP servers without which it went on. `resets_at` is in seconds since the epoch.

    Texts are as the agent printed them: not masked, not cut.
    """

    kind: ErrorKind | None
    error: str = ""
    answer: str = ""
    cost_usd: float | None = None
    turns: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    session_id: str | None = None
    model: str | None = None
    denials: tuple[str, ...] = ()
    resets_at: float | None = None
    cost_at_least: bool = False
    counts_session: bool = False
    failed_servers: tuple[str, ...] = ()


class Reader(Protocol):
    """Reads the output of one attempt as it comes."""

    @property
    def tool_running(self) -> bool:
        """Whether silence is normal now: a tool of the agent runs."""

    @property
    def turn_over(self) -> bool:
        """Whether the whole result was read and nothing of the agent is left to wait for but its exit."""

    @property
    def futile(self) -> bool:
        """Whether nothing good can come any more of a turn that is not over: it asks a server again and again that refuses it.
        The process is stopped then, without `stopping`, and `finish` says why."""

    def warn(self, line: bytes) -> None:
        """Take one line of stderr."""

    def feed(self, line: bytes) -> str | None:
        """Take one line without its line feed (the last one too, whole or not); what it says, or in a few words
        what it does, for who looks on; None or empty where that is nothing.

        A line longer than MAX_LINE_BYTES comes as its beginning, one byte longer than that.
        """

    def stopping(self, reason: StopReason) -> None:
        """We begin to stop the process now."""

    def finish(self, ending: Ending) -> AgentResult:
        """The verdict."""


class Adapter(Protocol):
    """One agent CLI. `credentials` names the environment variables whose values are masked wherever something is written;
    `capabilities` says what a step may ask of it."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    @property
    def credentials(self) -> tuple[str, ...]: ...

    @property
    def ladder(self) -> Ladder: ...

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        """Raises InvalidInput if this agent cannot start here at all: program missing, script unreadable."""

    def prepare(self, request: AgentRequest) -> Invocation:
        """What to start. Raises InvalidInput where the request cannot be put to this agent."""

    def reader(self, request: AgentRequest) -> Reader: ...


@contextmanager
def private_files(invocation: Invocation) -> Iterator[None]:
    """The files of an invocation, readable by this user alone, gone at the end."""
    try:
        for file in invocation.files:
            with open(os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as stream:
                stream.write(file.data)
        yield
    finally:
        for file in invocation.files:
            with suppress(FileNotFoundError):
                os.unlink(file.path)
