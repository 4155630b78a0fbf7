"""The real Claude Code CLI for tests: the binary that the wheel `claude-agent-sdk` bundles (extra `claude-cli`)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest


def bundled_claude() -> Path | None:
    """The binary inside the installed package, if it is there."""
    spec = importlib.util.find_spec("claude_agent_sdk")
    if spec is None or spec.origin is None:
        return None
    binary = Path(spec.origin).parent / "_bundled" / "claude"
    return binary if binary.is_file() else None


@pytest.fixture
def claude_cli(tmp_path: Path) -> str:
    """A PATH on which `claude` is the real CLI, and nothing else of this machine but the system's own programs."""
    binary = bundled_claude()
    if binary is None:
        pytest.skip("no Claude CLI here: pip install 'cpool-flow[claude-cli]'")
    folder = tmp_path / "claude-bin"
    folder.mkdir()
    (folder / "claude").symlink_to(binary)
    return f"{folder}:/usr/bin:/bin"
