"""Which agents are here and signed in: names of programs, variables and files, never what is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from cpool_flow.agents.presence import Presence, agents_present

NAMES = ("claude", "codex", "gemini", "opencode")
FILES = {
    "claude": ".claude/.credentials.json",
    "codex": ".codex/auth.json",
    "gemini": ".gemini/oauth_creds.json",
    "opencode": ".local/share/opencode/auth.json",
}
VARIABLES = {"claude": "ANTHROPIC_API_KEY", "codex": "CODEX_API_KEY", "gemini": "GEMINI_API_KEY", "opencode": "OPENROUTER_API_KEY"}
MOVED = {"claude": "CLAUDE_CONFIG_DIR", "codex": "CODEX_HOME", "gemini": "GEMINI_CLI_HOME", "opencode": "XDG_DATA_HOME"}


class Machine:
    """A home without an account, and a PATH with a program of one agent."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name, self.home = name, folder / "home"
        self.program = folder / "bin" / name
        self.program.parent.mkdir()
        self.program.write_text("#!/bin/sh\n")
        self.program.chmod(0o755)

    def agent(self, **environment: str) -> Presence:
        given = {"PATH": str(self.program.parent), "HOME": str(self.home), **environment}
        return next(found for found in agents_present(given) if found.agent == self.name)


@pytest.fixture(params=NAMES)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


def test_what_is_not_installed_says_how_it_is(machine: Machine) -> None:
    missing = machine.agent(PATH="/nowhere")
    assert (missing.program, missing.version_command, missing.signed_in) == (None, None, False)
    assert (missing.help or "").startswith("install it: npm install -g ")


def test_a_stranger_is_told_how_to_sign_in(machine: Machine) -> None:
    found = machine.agent()
    assert (found.version_command, found.signed_in) == ((str(machine.program), "--version"), False)
    assert (found.help or "").startswith("sign in: ")


def test_an_account_shows_by_a_variable_or_by_a_file(machine: Machine) -> None:
    assert machine.agent(**{VARIABLES[machine.name]: "k"}).signed_in
    file = machine.home / FILES[machine.name]
    file.parent.mkdir(parents=True)
    file.touch()
    assert machine.agent().signed_in
    assert machine.agent().help is None
    assert not machine.agent(**{MOVED[machine.name]: "/elsewhere"}).signed_in
