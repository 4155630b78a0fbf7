"""What a complaint of Jinja's parser means to a person, in our words.

Knows the texts of Jinja and the mistakes behind them; knows no trees.
"""

from __future__ import annotations

import re

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, printable

TAGS = ("if", "elif", "else", "endif", "for", "endfor", "set", "endset", "with", "endwith", "macro", "endmacro", "call", "endcall", "raw")

_NAMES = {
    "end of print statement": "}}",
    "end of statement block": "%}",
    "begin of print statement": "{{",
    "begin of statement block": "{%",
}
_SIGNS = {
    "&&": "write `and`",
    "||": "write `or`",
    "!": "write `not`",
    "$": "names have no `$`",
    "?": "write `a if condition else b`",
    "=": "compare with `==`",
    "'": "this quote is never closed",
    '"': "this quote is never closed",
}
_UNCLOSED = re.compile(r"^Unexpected end of template\..*that needs to be closed is '(\w+)'\.$")
_MISPLACED = re.compile(r"^Encountered unknown tag '(\w+)'\. .*that needs to be closed is '(\w+)'\.$")
_UNKNOWN = re.compile(r"^Encountered unknown tag '(\w+)'\.?")
_OPEN = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True, slots=True)
class Complaint:
    message: str
    offset: int
    length: int = 1
    hint: str | None = None


def explain(message: str, text: str, offset: int) -> Complaint:
    """Jinja's `message` about the character at `offset` of `text`."""
    offset = min(offset, len(text))
    if unclosed := _UNCLOSED.match(message):
        return Complaint(f"`{{% {unclosed[1]} %}}` is never closed: `{{% end{unclosed[1]} %}}` is missing", offset)
    if "end of template" in message and (marks := [found for found in _OPEN.finditer(text) if found.start() <= offset]):
        return Complaint(f"`{marks[-1][0]}` is never closed", marks[-1].start(), 2)
    if misplaced := _MISPLACED.match(message):
        return Complaint(f"`{misplaced[1]}` cannot stand here: `{{% {misplaced[2]} %}}` is still open", offset, len(misplaced[1]))
    if unknown := _UNKNOWN.match(message):
        return _unknown_tag(unknown[1], offset)
    return Complaint(_lowered(message), offset, hint=_sign(text, offset))


def _unknown_tag(tag: str, offset: int) -> Complaint:
    if tag in TAGS:
        return Complaint(f"`{tag}` closes nothing here", offset, len(tag))
    return Complaint(f"unknown tag `{tag}`", offset, len(tag), did_you_mean(tag, TAGS))


def _lowered(message: str) -> str:
    """The message in the way of ours."""
    message = message.replace("can't assign to", "cannot give a value to")
    plain = re.sub(r"'([^']*)'", r"`\1`", re.sub(r" at \d+$", "", printable(message))).removesuffix(".")
    for name, sign in _NAMES.items():
        plain = plain.replace(name, sign)
    return (plain[:1].lower() + plain[1:]).replace("expected token", "expected")


def _sign(text: str, offset: int) -> str | None:
    """What the author may have meant by the sign that Jinja does not take."""
    if text.startswith(".", offset) and text[:offset].rstrip(" -").endswith("{{"):
        return "for braces of another tool: `{% raw %}…{% endraw %}`"
    if text.startswith("}", offset):
        mark = "}}" if text.rfind("{{", 0, offset) > text.rfind("{%", 0, offset) else "%}"
        return None if text.startswith("}}", offset) and mark == "}}" else f"close it with `{mark}`"
    start = offset - 1 if text.startswith("||", offset - 1) else offset
    return next((wish for sign, wish in _SIGNS.items() if text.startswith(sign, start)), None)
