"""Whether the program called `claude` is Claude Code itself, which can be kept warm, or something that only stands in its place.

Looks at the file, never runs it: a stand-in may do anything when it is called. In doubt it is none.
"""

from __future__ import annotations

import os
import re
import shlex
from functools import lru_cache

_PACKAGE = "@anthropic-ai/claude-code"
_NATIVE = (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")  # Linux; macOS, for one processor and for several
_MOST_BYTES = 64 * 1024
_PASSED_ON = re.compile(r"^\s*exec\s+(?P<words>.+?)\s+\"?\$@\"?\s*$", re.MULTILINE)
_SHELL = re.compile(r"#!\s*\S*?(/env\s+)?\w*sh\b")
_MOST_SCRIPTS = 3


def is_claude_code(program: str) -> bool:
    """A native program of that name, a file of the npm package, or a shell script that hands its arguments on to one of these."""
    return _is(program, _MOST_SCRIPTS)


def _is(program: str, scripts: int) -> bool:
    real = os.path.realpath(program)
    try:
        state = os.stat(real)
    except OSError:
        return False
    if _PACKAGE in real:
        return True
    named = any("claude" in os.path.basename(path) for path in (program, real))
    target = _looked_into(real, state.st_mtime_ns, state.st_size)
    return named if target is None else bool(target) and scripts > 0 and (_PACKAGE in target or _is(target, scripts - 1))


@lru_cache(maxsize=64)
def _looked_into(path: str, changed: int, size: int) -> str | None:
    """None for a native program; else the absolute path that a shell script hands its arguments on to, or an empty text."""
    try:
        with open(path, "rb") as file:
            beginning = file.read(_MOST_BYTES)
    except OSError:
        return ""
    if beginning.startswith(_NATIVE):
        return None
    text = beginning.decode("utf-8", "replace")
    found = _PASSED_ON.search(text) if _SHELL.match(text) else None
    try:
        words = shlex.split(found["words"]) if found else []
    except ValueError:
        return ""
    package = next((word for word in words if _PACKAGE in word), "")
    alone = words[0] if len(words) == 1 else words[2] if len(words) == 3 and words[0] == "-a" else ""
    return package or (alone if os.path.isabs(alone) else "")
