"""Which programs are taken for Claude Code itself: in doubt none, for a stand-in need not know how to be kept warm."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cpool_flow.agents.claude_program import is_claude_code

ELF = b"\x7fELF\x02\x01\x01" + bytes(100)


def put(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    path.chmod(0o755)
    return path


@pytest.fixture
def native(tmp_path: Path) -> Path:
    return put(tmp_path / "opt" / "claude", ELF)


def test_a_native_program_of_that_name_is_by_whatever_link_it_is_called(tmp_path: Path, native: Path) -> None:
    link = tmp_path / "bin"
    link.symlink_to(native)
    assert is_claude_code(str(native))
    assert is_claude_code(str(link))
    assert not is_claude_code(str(put(tmp_path / "other", ELF)))


def test_so_is_a_script_of_its_npm_package(tmp_path: Path) -> None:
    script = put(tmp_path / "node_modules" / "@anthropic-ai" / "claude-code" / "cli.js", "#!/usr/bin/env node\n")
    link = tmp_path / "claude"
    link.symlink_to(script)
    assert is_claude_code(str(link))


@pytest.mark.parametrize(
    "text",
    [
        '#!/bin/sh\nexec {native} "$@"\n',
        '#!/bin/bash\n# made by a package manager\nexport A=1\nexec -a "$0" "{native}" "$@"\n',
        "#!/usr/bin/env bash\nexec {native} $@",
        '#!/bin/sh\nbasedir=$(dirname "$0")\nexec node "$basedir/../@anthropic-ai/claude-code/cli.js" "$@"\n',
    ],
)
def test_so_is_a_shell_script_that_hands_its_arguments_on_to_it(tmp_path: Path, native: Path, text: str) -> None:
    assert is_claude_code(str(put(tmp_path / "bin" / "claude", text.replace("{native}", str(native)))))


@pytest.mark.parametrize(
    "text",
    [
        "#!/usr/bin/env python3\nprint(1)\n",
        '#!/bin/sh\nexec /usr/bin/python3 fake_agent.py "$@"\n',
        "#!/bin/sh\ncat > /dev/null; cat transcript.jsonl\n",
        "#!/bin/sh\nexec {native} --print\n",
        '#!/bin/sh\nexec {native}-old "$@"\n',
        '#!/bin/sh\nexec claude "$@"\n',
        '#!/bin/sh\nexec "unclosed "$@"\n',
        "",
        "\xff\xfe",
    ],
)
def test_anything_else_of_that_name_is_not(tmp_path: Path, native: Path, text: str) -> None:
    assert not is_claude_code(str(put(tmp_path / "bin" / "claude", text.replace("{native}", str(native)))))


def test_scripts_that_call_each_other_come_to_an_end(tmp_path: Path) -> None:
    first, second = tmp_path / "claude", tmp_path / "claude-2"
    put(first, f'#!/bin/sh\nexec {second} "$@"\n')
    put(second, f'#!/bin/sh\nexec {first} "$@"\n')
    assert not is_claude_code(str(first))


def test_a_program_that_is_replaced_is_looked_at_anew(tmp_path: Path, native: Path) -> None:
    program = put(tmp_path / "bin" / "claude", "#!/bin/sh\ncat\n")
    assert not is_claude_code(str(program))
    put(program, f'#!/bin/sh\nexec {native} "$@"\n')
    os.utime(program, (1, 1))
    assert is_claude_code(str(program))


def test_what_is_not_there_is_not(tmp_path: Path) -> None:
    assert not is_claude_code(str(tmp_path / "claude"))
