"""The program that a script is handed to: its words, the script comes after them.

The name of a shell alone means that shell with the options that let no failure pass; anything longer is taken as it is written.
"""

from __future__ import annotations

from pathlib import PurePosixPath

BASH = ("bash", "-euo", "pipefail", "-c")
SH = ("sh", "-eu", "-c")
_OPTIONS = {
    "bash": BASH[1:],
    **dict.fromkeys(("sh", "dash", "ash"), SH[1:]),
    **dict.fromkeys(("ksh", "zsh"), ("-eu", "-o", "pipefail", "-c")),
    **dict.fromkeys(("python", "python3", "fish"), ("-c",)),
    **dict.fromkeys(("node", "perl", "ruby"), ("-e",)),
}


def words(shell: str | tuple[str, ...]) -> tuple[str, ...]:
    """What is started, the script not among it. Raises ValueError with what to write instead."""
    found = tuple(shell.split()) if isinstance(shell, str) else shell
    if not found:
        raise ValueError("is empty")
    if any("{0}" in word for word in found):
        raise ValueError("has no `{0}` here: the script becomes its last argument")
    if len(found) > 1:
        return found
    options = _OPTIONS.get(PurePosixPath(found[0]).name)
    if options is None:
        raise ValueError(f"needs the option that takes the script, as `[{found[0]}, -c]`")
    return (*found, *options)
