"""The environment of an agent process, its program on the PATH, and what the system takes on a command line.

Knows which names every process needs; what one agent CLI needs beyond these stands in its adapter.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from cpool_flow.agents.protocol import AgentRequest, Invocation
from cpool_flow.errors import InvalidInput
from cpool_flow.trust import is_write_token

NEEDED = ("PATH", "HOME", "LANG", "LC_*", "TERM", "TMPDIR", "TZ")
# How a CLI reaches its server from here.
NETWORK = (
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS",
)  # fmt: skip
# Linux takes no argument and no variable of 128 KiB or more, the byte at its end included.
MAX_BYTES = 128 * 1024 - 1


def agent_environment(request: AgentRequest, needs: Iterable[str] = (), fixed: Mapping[str, str] | None = None) -> dict[str, str]:
    """What every process needs and what this agent needs of the caller's environment, then `fixed`, then what the
    configuration says, then what the step says; the later wins. `needs` are names, or beginnings that end with `*`. A token
    that can write to the repository comes only from the step, which names it."""
    wanted = (*NEEDED, *needs)
    names = {name for name in wanted if not name.endswith("*")}
    beginnings = tuple(name[:-1] for name in wanted if name.endswith("*"))
    wanted_here = (name for name in request.environment if name in names or name.startswith(beginnings))
    picked = {name: request.environment[name] for name in wanted_here if not is_write_token(name)}
    return {**picked, **(fixed or {}), **(request.config.env or {}), **request.step_environment}


def program(name: str, environment: Mapping[str, str], help: str) -> str:
    """The absolute path of a program on the PATH. Raises InvalidInput with `help` where it is missing."""
    found = shutil.which(name, path=environment.get("PATH", os.defpath))
    if found is None:
        raise InvalidInput(f"the program `{name}` was not found on the PATH", help=help)
    return os.path.abspath(found)


def fits(invocation: Invocation) -> Invocation:
    """The same invocation. Raises InvalidInput where the system would not take an argument or a variable of it."""
    named = [(f"argument {number} of `{os.path.basename(invocation.argv[0])}`", text) for number, text in enumerate(invocation.argv)]
    named += [(f"the environment variable `{name}`", f"{name}={value}") for name, value in invocation.environment.items()]
    for name, text in named:
        try:
            data = os.fsencode(text)
        except UnicodeEncodeError:
            raise InvalidInput(f"{name} holds half of a surrogate pair, which is no text") from None
        if b"\0" in data:
            raise InvalidInput(f"{name} holds a NUL character, which the system does not take")
        if len(data) > MAX_BYTES:
            raise InvalidInput(f"{name} is {len(data):,} bytes; the system takes {MAX_BYTES:,}")
    return invocation


def prompt_bytes(prompt: str) -> bytes:
    """A prompt for the standard input. Raises InvalidInput where there is nothing to ask."""
    if not prompt.strip():
        raise InvalidInput("the prompt is empty")
    return prompt.encode("utf-8", "replace")


def instructed(instructions: str | None, prompt: str) -> str:
    """The prompt of an agent that takes no system prompt: the instructions stand before it."""
    return f"<instructions>\n{instructions}\n</instructions>\n\n{prompt}" if instructions else prompt


def process_zone(environment: Mapping[str, str]) -> tzinfo:
    """The time zone in which a process with this environment names clock times."""
    name = environment.get("TZ")
    try:
        return ZoneInfo(name) if name else datetime.now().astimezone().tzinfo or UTC
    except (ValueError, OSError, LookupError):
        return UTC
