"""What can be said of a text without Jinja: whether it is a template, whether it fits into one argument of a command."""

from __future__ import annotations

import re

from cpool_flow.values import RenderError

MAX_STRING_BYTES = 128 * 1024  # of one variable with its name, or of one argument, with the NUL at its end: Linux's limit
WAYS_OUT = "give it to the command by `stdin:`, or its file with `| file`"
_MARKS = re.compile(r"\{\{|\{%|(?<!\$)\{#")


def is_template(text: str) -> bool:
    """Whether anything in the text is for Jinja."""
    return _MARKS.search(text) is not None


def check_argument(text: str, what: str = "the value") -> None:
    """Raises RenderError where the text cannot be one argument of a command."""
    checked_size(text, what, f"{what} is too large for one argument (more than {MAX_STRING_BYTES // 1024} KiB)")


def checked_size(text: str, what: str, too_large: str, name: str = "") -> int:
    """The bytes that the text takes, of a variable with its name. Raises RenderError where it fits into neither."""
    if "\0" in text:
        raise RenderError(f"{what} holds a NUL character, which no variable or argument can; {WAYS_OUT}")
    try:
        size = len(name) + len("=") * bool(name) + len(text.encode("utf-8", "surrogateescape")) + 1
    except UnicodeEncodeError:
        raise RenderError(f"{what} holds half of a surrogate pair, which is no text") from None
    if size > MAX_STRING_BYTES:
        raise RenderError(f"{too_large}; {WAYS_OUT}")
    return size
