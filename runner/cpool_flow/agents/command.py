"""Any program as an agent: the prompt on its standard input, the answer on its standard output, exit code 0 for success.

Knows nothing of models: what it costs is unknown. The system prompt, if any, is in `CPOOL_SYSTEM_PROMPT`.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping

from cpool_flow.agents.environment import agent_environment, fits, program, prompt_bytes
from cpool_flow.agents.protocol import MAX_LINE_BYTES, AgentRequest, AgentResult, Capabilities, Ending, Invocation, Ladder, StopReason
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig


class Command:
    name = "command"
    # The model is only a name: what an attempt is listed under, and what it is priced by. Nobody holds a program back, so it takes the
    # modes that let an agent do what it wants, and no other.
    capabilities = Capabilities(
        keys=frozenset({"model", "system_prompt", "permission_mode"}),
        values={"permission_mode": frozenset({"acceptEdits", "bypassPermissions", "auto"})},
    )
    credentials: tuple[str, ...] = ()
    ladder: Ladder = ((signal.SIGTERM, 10.0),)

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        name = _argv(config)[0]
        if "/" not in name and "{{" not in name:  # a path is looked up from the step's folder, a template is not known yet
            program(name, {**environment, **(config.env or {})}, "`config.command` names a program and its arguments")

    def prepare(self, request: AgentRequest) -> Invocation:
        system = {"CPOOL_SYSTEM_PROMPT": request.system_prompt} if request.system_prompt else {}
        environment = agent_environment(request, fixed=system)
        return fits(Invocation(_argv(request.config), request.directory, environment, prompt_bytes(request.prompt)))

    def reader(self, request: AgentRequest) -> CommandReader:
        return CommandReader()


class CommandReader:
    tool_running = False
    turn_over = False
    futile = False

    def __init__(self) -> None:
        self._answer = bytearray()
        self._too_long = False
        self._stopped: StopReason | None = None

    def feed(self, line: bytes) -> str | None:
        self._too_long = self._too_long or len(self._answer) + len(line) > MAX_LINE_BYTES
        if not self._too_long:
            self._answer += line + b"\n"
        return line[:200].decode("utf-8", "replace").strip() or None

    def warn(self, line: bytes) -> None:
        """Of stderr only the end is asked, when all is over."""

    def stopping(self, reason: StopReason) -> None:
        self._stopped = reason

    def finish(self, ending: Ending) -> AgentResult:
        answer = self._answer.decode("utf-8", "replace").strip()
        if self._stopped:
            return AgentResult(kind=self._stopped, error="stopped before the agent was done", answer=answer)
        if ending.signal or ending.exit_code is None:
            return AgentResult(kind="lost", error=f"the agent died of {ending.how}{ending.last_words}", answer=answer)
        if ending.exit_code != 0:
            return AgentResult(kind="failed", error=f"the agent ended with {ending.how}{ending.last_words}", answer=answer)
        if self._too_long:
            return AgentResult(kind="failed", error=f"the answer is longer than {MAX_LINE_BYTES // 2**20} MB", answer=answer)
        if not answer:
            return AgentResult(kind="failed", error="the answer is empty")
        return AgentResult(kind=None, answer=answer)


def _argv(config: AgentConfig) -> tuple[str, ...]:
    if not config.command:
        raise InvalidInput("`agent: command` needs `command`", help="config: {agent: command, command: [my-agent, --flag]}")
    return config.command
