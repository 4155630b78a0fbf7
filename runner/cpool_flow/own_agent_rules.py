"""What cannot be meant in an agent that `cpool.yaml` describes, and names of agents that are none."""

from __future__ import annotations

from collections import Counter

from cpool_flow.errors import did_you_mean, listed, shown_name
from cpool_flow.findings import Findings
from cpool_flow.model import AGENTS, AgentConfig
from cpool_flow.nodes import Path
from cpool_flow.outputs import path_keys
from cpool_flow.own_agent import PROMPT, VALUE, Found, OwnAgent
from cpool_flow.pool_file import NAME, PoolFile


def check_agent_name(path: Path, name: str | None, pool: PoolFile, findings: Findings, *, key: bool = False) -> None:
    """Note an agent that nobody knows."""
    if name is None or name in pool.agent_names:
        return
    hint = did_you_mean(name, pool.agent_names)
    help = None if hint else f"there is {listed(pool.agent_names)}; `agents:` of `{NAME}` may describe others"
    findings.error(path, f"unknown agent {shown_name(name)}", hint=hint, help=help, key=key)


def check_agent_names(path: Path, config: AgentConfig, pool: PoolFile, findings: Findings) -> None:
    """Note the agents in these settings that nobody knows."""
    check_agent_name((*path, "agent"), config.agent, pool, findings)
    for index, name in enumerate(config.fallback or ()):
        check_agent_name((*path, "fallback", index), name, pool, findings)


def check_own_agent(name: str, agent: OwnAgent, findings: Findings) -> None:
    """Note what is wrong with one agent of `agents`."""
    rules = _Rules(name, agent, findings)
    rules.check_command()
    rules.check_options()
    rules.check_output()
    rules.check_exit_codes()


class _Rules:
    def __init__(self, name: str, agent: OwnAgent, findings: Findings) -> None:
        self._path: Path = ("agents", name)
        self._name, self._agent, self._findings = name, agent, findings

    def check_command(self) -> None:
        if self._name in AGENTS:
            self._findings.error(self._path, f"`{self._name}` is an agent already", key=True, help="choose another name")
        if not self._agent.command[0].strip():
            self._error("the program has no name", "command", 0)
        for index, word in enumerate(self._agent.command):
            if self._agent.prompt == "stdin" and PROMPT in word:
                self._error(f"`{PROMPT}` stands for the prompt, which goes to the standard input", "command", index, help=_WAYS)

    def check_options(self) -> None:
        for option, words in self._agent.options.items():
            if isinstance(words, dict):
                if option in ("resume", "fork", "output_schema", "mcp_servers", "settings"):
                    self._error(f"`{option}` has no values to choose words by: write a list of words", "options", option)
            elif not any(VALUE in word for word in words):
                help = f'write it where the value goes: `{option}: [--flag, "{VALUE}"]`'
                self._error(f"no word of `{option}` holds `{VALUE}`, so its value would go nowhere", "options", option, help=help)

    def check_output(self) -> None:
        agent = self._agent
        structured = agent.output in ("json", "json_lines")
        if structured and agent.answer is None:
            self._error(f"`output: {agent.output}` needs `answer`: where in it the answer stands", "output")
        for key, place in agent.places.items():
            if not structured:
                self._error(f"`{key}` stands in JSON, and the output is `{agent.output}`", key, help="set `output: json`, or `json_lines`")
            elif isinstance(place, Found) and agent.output == "json":
                self._error(f"`{key}` of one JSON value is a path: events are for `output: json_lines`", key)
            else:
                self._check_path(place.path if isinstance(place, Found) else place, key)

    def check_exit_codes(self) -> None:
        codes = {kind: codes if isinstance(codes, tuple) else (codes,) for kind, codes in self._agent.exit_codes.items()}
        for code, times in Counter(code for each in codes.values() for code in each).items():
            if times > 1:
                kinds = [kind for kind, each in codes.items() if code in each]
                self._error(f"exit code {code} means {listed(kinds)}", "exit_codes", help="leave it with one of them")

    def _check_path(self, path: str, key: str) -> None:
        try:
            path_keys(path)
        except ValueError as problem:
            self._error(str(problem), key)

    def _error(self, message: str, *path: str | int, help: str | None = None) -> None:
        self._findings.error((*self._path, *path), message, help=help)


_WAYS = "set `prompt: argument`, or `prompt: file`"
