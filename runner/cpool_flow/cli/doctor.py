"""`doctor`: what is installed, what is missing, and how to get it. Reads no credential, only whether there is one."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from cpool_flow import __version__
from cpool_flow.cli.doctor_check import Check, check
from cpool_flow.cli.json_output import print_json

if TYPE_CHECKING:
    from cpool_flow.agents.presence import Presence
    from cpool_flow.capabilities import Capabilities

# A CLI that does not say its version within this time (seconds) does not work. Of what it says so much is shown.
VERSION_SECONDS = 20
MOST_SHOWN = 100


@click.command("doctor", short_help="Say what is installed, what is missing, and how to get it.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
@click.pass_obj
def doctor_command(project: str | None, as_json: bool) -> int:
    """Say what is installed and what is missing. Exit code 0: workflows can run here; agents may still be missing.

    \b
    cpool-flow doctor
    cpool-flow doctor --json
    """
    from cpool_flow.cli.doctor_place import event, extras, git, repository

    checks = [_python(), _platform(), git(), _shell(), *_agents(), *_own_agents(project), *repository(project), *event(), *extras()]
    if as_json:
        print_json({"checks": checks})
    else:
        for each in checks:
            print(f"{'ok     ' if each['ok'] else 'missing' if each['needed'] else 'no     '} {each['name']:<18} {each['found']}")
            if each["help"] and (not each["ok"] or "can" in each):
                print(f"        help: {each['help']}")
            if "can" in each and each["found"] != "not found":
                print(f"        can:  {_shown(each['can'])}")
        sys.stdout.flush()
        print(_verdict(checks), file=sys.stderr)
    return 0 if all(each["ok"] for each in checks if each["needed"]) else 1


def _verdict(checks: Sequence[Check]) -> str:
    missing = [each["name"] for each in checks if each["needed"] and not each["ok"]]
    if missing:
        return f"workflows cannot run here: {', '.join(missing)}"
    agents = [each["name"].removeprefix("agent ") for each in checks if each["name"].startswith("agent ") and each["ok"]]
    if agents:
        return f"workflows can run here, with {', '.join(agents)}"
    return "workflows can run here, but no agent is ready: the help above says how to get one; try `cpool-flow run hello`, which needs none"


def _shown(can: dict[str, Any]) -> str:
    words = [_ABILITIES[name] for name in _ABILITIES if can[name]] or ["nothing but its prompt"]
    return f"{', '.join(words)}; config: {' '.join(can['config'])}"


_ABILITIES = {
    "resume": "go on in a session",
    "fork": "copy a session",
    "schema": "be held to a schema",
    "cost": "report its cost",
    "tokens": "count its tokens",
}


def _python() -> dict[str, Any]:
    return check("cpool-flow", True, f"{__version__} on Python {sys.version.split()[0]}")


def _platform() -> dict[str, Any]:
    system = sys.platform
    if system.startswith("linux"):
        return check("system", True, "Linux")
    return check("system", system == "darwin", f"{system}: processes are found by their group only", "on Windows, use WSL")


def _shell() -> dict[str, Any]:
    found = shutil.which("bash")
    return check("bash", found is not None, found or "not found: `run:` uses `sh -eu`", "install bash", needed=False)


def _agents() -> list[Check]:
    from cpool_flow.agents.presence import agents_present

    return [{**_agent(agent), "can": _abilities(agent.can)} for agent in agents_present(os.environ)]


def _agent(agent: Presence) -> Check:
    name = f"agent {agent.agent}"
    if agent.program is None:
        return check(name, False, "not found", agent.help or "", needed=False)
    version, works = _version(agent)
    found = f"{version} ({agent.program}){_account(agent)}"
    if not works:
        return check(name, False, found, f"it does not start: install it anew: {agent.install}", needed=False)
    signed_in = agent.signed_in is not False
    if not _is_old(version, agent.tried):
        return check(name, signed_in, found, agent.help or "", needed=False)
    told = f"{found}, older than any that was tried ({agent.tried[0]}.{agent.tried[1]})"
    return check(name, signed_in, told, "; ".join(filter(None, (agent.help, f"get a newer one: {agent.install}"))), needed=False)


def _own_agents(project: str | None) -> list[dict[str, Any]]:
    """The agents that the project's `cpool.yaml` describes."""
    from cpool_flow.cli.project import project_directory
    from cpool_flow.errors import InvalidInput
    from cpool_flow.project_pool import read_pool

    try:
        described = read_pool(project_directory(project)).pool.agents
    except InvalidInput as error:
        return [check("cpool.yaml", False, "is not valid", error.problems[0].message, needed=False)]
    found = {name: shutil.which(agent.command[0]) for name, agent in described.items()}
    return [
        {
            **check(
                f"agent {name}",
                found[name] is not None,
                f"{found[name]}, from cpool.yaml" if found[name] else "not found",
                "" if found[name] else agent.install or f"`agents.{name}.command` of cpool.yaml names `{agent.command[0]}`",
                needed=False,
            ),
            "can": _abilities(agent.capabilities),
        }
        for name, agent in described.items()
    ]


def _version(agent: Presence) -> tuple[str, bool]:
    """What it says of its version, and whether it can be started at all."""
    from cpool_flow.errors import FlowError, printable
    from cpool_flow.process import Command, run_to_end

    assert agent.version_command is not None
    try:
        ended = run_to_end(Command(agent.version_command, "/", dict(os.environ)), timeout_seconds=VERSION_SECONDS)
    except FlowError as error:
        return str(error), False
    if ended.code != 0:
        return f"no version: `--version` ended with {f'signal {-ended.code}' if ended.code < 0 else f'exit code {ended.code}'}", False
    lines = ended.stdout.decode("utf-8", "replace").strip().splitlines() or ["no version"]
    return printable(lines[-1][:MOST_SHOWN]), True


def _account(agent: Presence) -> str:
    return "" if agent.signed_in is None else ", signed in" if agent.signed_in else ", not signed in"


def _is_old(version: str, tried: tuple[int, int]) -> bool:
    found = re.search(r"(\d+)\.(\d+)", version)
    return found is not None and (int(found[1]), int(found[2])) < tried


def _abilities(can: Capabilities) -> dict[str, Any]:
    """What a step may ask of an agent, beside its prompt."""
    named = ("resume", "fork", "schema", "cost", "tokens")
    return {**{name: getattr(can, name) for name in named}, "config": sorted(can.keys)}
