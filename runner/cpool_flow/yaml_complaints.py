"""What a complaint of the YAML parser means to a person, in our words.

Knows the texts of libyaml and the mistakes behind them; knows no nodes.
"""

from __future__ import annotations

import re

from cpool_flow.dataclass import dataclass

# A value that begins with a template and is not quoted: YAML reads `{` as the start of a mapping.
_UNQUOTED_TEMPLATE = re.compile(r"(?:^|[:\-,\[]\s)\s*\{[{%#]")
QUOTE_TEMPLATE = 'quote a value that begins with a template: "{{ … }}"'


@dataclass(frozen=True, slots=True)
class Complaint:
    message: str
    index: int
    help: str | None = None


def explain(problem: str, context: str, text: str, index: int, context_index: int, bracket: int | None) -> Complaint:
    """The parser's `problem` at `index` of `text`; it was reading what `context` says since `context_index`,
    inside of the open `bracket` at that index."""
    line = _line(text, index)
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return Complaint("a tab cannot indent YAML", text.rfind("\n", 0, index) + 1 + line.index("\t"), "indent with spaces")
    if _UNQUOTED_TEMPLATE.search(line):
        return Complaint("this is no YAML: a template stands outside of quotes", index, QUOTE_TEMPLATE)
    if problem == "found unexpected end of stream" and "quoted" in context:
        return Complaint("this quote is never closed", context_index)
    if bracket is not None and ("expected ',' or" in problem or "expected node content" in problem):
        return Complaint(f"this `{text[bracket]}` is not closed, or a `,` is missing in it", bracket)
    if problem == "found character that cannot start any token":
        return Complaint(f"a value cannot begin with `{text[index : index + 1]}`", index, "quote the text")
    if problem == "could not find expected ':'":
        return Complaint("a key without `:`", context_index, _INDENTATION)
    message, help = _TEXTS.get(problem, (f"this is no YAML: {problem}", None))
    return Complaint(message, index, help)


_INDENTATION = "check the indentation, and quote text that holds `: ` or ` #`, or write it below `|`"
_TEXTS: dict[str, tuple[str, str | None]] = {
    "mapping values are not allowed in this context": ("a `:` cannot stand here", _INDENTATION),
    "did not find expected key": ("a key was expected here", _INDENTATION),
    "did not find expected '-' indicator": ("an item of the list (`- …`) was expected here", "check the indentation"),
    "block sequence entries are not allowed in this context": ("a list (`- …`) cannot begin here", "begin it on a line of its own"),
    "exceeded maximum nesting depth": ("values are nested too deep", None),
    "found incompatible YAML document": ("this version of YAML is not supported", "remove the `%YAML` line, or write `%YAML 1.2`"),
    "did not find expected alphabetic or numeric character": (
        "`*` and `&` begin the name of an alias or an anchor in YAML",
        "quote the text",
    ),
    "found unknown escape character": ("this escape is unknown in YAML", "write `\\\\` for a backslash, or use single quotes"),
    "found invalid Unicode character escape code": ("this escape is no valid Unicode character", None),
    "did not find expected node content": ("a value was expected here", "quote the text"),
    "did not find expected <document start>": ("a second document begins here without `---`", "one file holds one workflow"),
}


def _line(text: str, index: int) -> str:
    start = text.rfind("\n", 0, index) + 1
    end = text.find("\n", start)
    return text[start : end if end >= 0 else len(text)]
