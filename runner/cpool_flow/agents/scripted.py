"""The scripted agent: answers and edits from a file, no network, no model. For tests, demos and the first try.

Knows which answer a call gets (`script.py`) and hands it to a real child process (`scripted_cli.py`), which prints what
Claude Code would print.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Mapping

from cpool_flow.agents.claude_reader import ClaudeReader
from cpool_flow.agents.environment import agent_environment, fits, prompt_bytes
from cpool_flow.agents.protocol import AgentRequest, Capabilities, Invocation, Ladder
from cpool_flow.agents.script import Call, Found, load_script
from cpool_flow.capabilities import ALL_KEYS
from cpool_flow.errors import InvalidInput
from cpool_flow.model import AgentConfig
from cpool_flow.tasks import task_names

_CHILD = os.path.join(os.path.dirname(os.path.abspath(__file__)), "scripted_cli.py")


class Scripted:
    name = "scripted"
    # It stands in for any agent, so a step may ask it for all that any can do.
    capabilities = Capabilities(keys=ALL_KEYS, resume=True, fork=True, schema=True, cost=True, tokens=True)
    credentials: tuple[str, ...] = ()
    ladder: Ladder = ((signal.SIGINT, 2.0), (signal.SIGTERM, 2.0))

    def check(self, config: AgentConfig, environment: Mapping[str, str]) -> None:
        load_script(_script(config))

    def prepare(self, request: AgentRequest) -> Invocation:
        prompt_bytes(request.prompt)  # refuses an empty one, as every agent does
        found = _found(request)
        task = {
            "prompt": request.prompt,
            "session_id": request.session_id,
            "model": request.config.model or "scripted",
            "budget_usd": request.cap_usd,
            "call": found.call.model_dump(mode="json", exclude_unset=True, exclude={"item", "round", "when"}),
            "place": f"{_named(request)}:{found.place}" if found.place else "",
        }
        # Isolated and without site packages: it starts in a third of the time.
        argv = (sys.executable, "-I", "-S", _CHILD)
        return fits(Invocation(argv, request.directory, agent_environment(request), json.dumps(task).encode()))

    def reader(self, request: AgentRequest) -> ClaudeReader:
        return ClaudeReader(
            max_turns=request.config.max_turns, schema_asked=request.schema is not None, allow_denials=request.allow_denials
        )


def _found(request: AgentRequest) -> Found:
    names = task_names(request.task, request.step)
    answers = load_script(_script(request.config))
    found = answers.find(names, request.attempt, request.item, request.prompt, request.round_number)
    if found is not None:
        return found
    place = answers.place_of_step(names)
    missing = f"no call of step `{request.step}` that fits ({_named(request)}:{place})" if place else f"no answer for step `{request.step}`"
    return Found(Call(error="failed", message=f"the script `{_named(request)}` has {missing}"), "")


def _named(request: AgentRequest) -> str:
    """The file as people know it: the run reads its own copy."""
    return request.script_name or os.path.basename(_script(request.config))


def _script(config: AgentConfig) -> str:
    if config.script is None:
        raise InvalidInput("`agent: scripted` needs `script`", help="config: {agent: scripted, script: answers.yaml}")
    return config.script
