"""An agent of the project's own: any CLI, started and read as `agents:` of `cpool.yaml` says (`own_agent.py`).

Knows how its words are put together; what it prints is read in `own_reader.py`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping

from cpool_flow.agents.claude_schema import in_words
from cpool_flow.agents.environment import NETWORK, agent_environment, fits, instructed, process_zone, program, prompt_bytes
from cpool_flow.agents.own_reader import OwnReader
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder, PrivateFile
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig
from cpool_flow.own_agent import PROMPT, VALUE, OwnAgent

# What is handed over as a file of JSON: it may be long, and hold tokens.
_BY_FILE = frozenset({"mcp_servers", "settings", "output_schema"})


class Own:
    ladder: Ladder = ((signal.SIGTERM, 10.0),)

    def __init__(self, name: str, form: OwnAgent) -> None:
        self.name = name
        self._form = form

    @property
    def capabilities(self) -> Capabilities:
        return self._form.capabilities

    @property
    def credentials(self) -> tuple[str, ...]:
        return self._form.credentials

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        name = self._form.command[0]
        if "/" not in name:  # a path is looked up from the step's folder
            program(name, {**environment, **(config.env or {})}, self._form.install or f"`agents.{self.name}.command` names it")

    def prepare(self, request: AgentRequest) -> Invocation:
        prompt_bytes(request.prompt)
        files: list[PrivateFile] = []
        words = [word for option, value in self._options(request) for word in self._words(option, value, request, files)]
        prompt = instructed("\n\n".join(self._instructions(request)), request.prompt)
        argv = self._with_prompt([*self._form.command, *words], prompt, request, files)
        stdin = prompt_bytes(prompt) if self._form.prompt == "stdin" else b""
        environment = agent_environment(request, (*self._form.credentials, *NETWORK))
        return fits(Invocation(tuple(argv), request.directory, environment, stdin, tuple(files)))

    def reader(self, request: AgentRequest) -> OwnReader:
        return OwnReader(self._form, schema_asked=request.schema is not None, zone=process_zone(agent_environment(request)))

    def _options(self, request: AgentRequest) -> Iterator[tuple[str, object]]:
        """The options that this request sets, in the order in which the file names them."""
        caps = [cap for cap in (request.config.max_budget_usd, request.budget_usd) if cap is not None]
        goes_on = "resume" if request.resume == request.session_id else "fork"
        values = {
            **request.config.model_dump(exclude_none=True),
            "system_prompt": request.system_prompt,
            "max_budget_usd": f"{max(min(caps), 1e-6):.6f}" if caps else None,
            "output_schema": request.schema,
            goes_on: request.resume,
        }
        if request.resume is not None and goes_on not in self._form.options:
            raise InvalidInput(f"agent `{self.name}` has no option `{goes_on}`: it cannot go on in a session")
        yield from ((option, values[option]) for option in self._form.options if values.get(option) is not None)

    def _words(self, option: str, value: object, request: AgentRequest, files: list[PrivateFile]) -> Iterator[str]:
        words = self._form.options[option]  # type: ignore[index]
        if isinstance(words, dict):
            yield from words.get(str(value), ())
            return
        if option in _BY_FILE:
            value = _file(request, f"{option}.json", json.dumps(value, ensure_ascii=False), files)
        for each in value if isinstance(value, (list, tuple)) else (value,):
            yield from (word.replace(VALUE, str(each)) for word in words)

    def _instructions(self, request: AgentRequest) -> Iterator[str]:
        if request.system_prompt and "system_prompt" not in self._form.options:
            yield request.system_prompt
        if request.schema is not None and "output_schema" not in self._form.options:
            yield in_words(request.schema)

    def _with_prompt(self, words: list[str], prompt: str, request: AgentRequest, files: list[PrivateFile]) -> list[str]:
        if self._form.prompt == "stdin":
            return words
        text = prompt if self._form.prompt == "argument" else _file(request, "prompt.txt", prompt, files)
        words = words if any(PROMPT in word for word in words) else [*words, PROMPT]
        return [word.replace(PROMPT, text) for word in words]


def _file(request: AgentRequest, name: str, text: str, files: list[PrivateFile]) -> str:
    """The path of a file of the attempt that holds this text."""
    path = os.path.join(request.files, f"{request.session_id}-{name}")
    files.append(PrivateFile(path, text.encode("utf-8", "replace")))
    return path
