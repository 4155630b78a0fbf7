"""What the text of one shell word says, seen before the shell expands it.

Quoted and expanded parts of a word are stood for by one character each, so that only characters with a meaning
of their own are left: `a"b c"$d` is `a` + OPAQUE. Knows nothing of the constructs around the word.
"""

from __future__ import annotations

import re

# Lone surrogates: no script that can be handed to a process holds them.
OPAQUE = "\udc00"
VALUE = "\udc01"
LONGEST_WORD = 4096

ASSIGNMENT = re.compile(rf"[A-Za-z_][A-Za-z0-9_]*(?:\[[^={VALUE}]*\])?\+?=")
ARRAY_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
FUNCTION_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]*")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DESCRIPTOR_VARIABLE = re.compile(r"\{[A-Za-z0-9_\[\]]*\}")
INDEX = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\[")

_WITHOUT_STRUCTURE = re.compile(r"[^{}~/:=|\[\]]+")
_ARRAY_INDEX = re.compile(rf"\[[^]={VALUE}]*\]\+?=")


def grown(word: str | None, part: str) -> str:
    """`word` with the literal text `part` after it."""
    if word is None:
        return part if len(part) <= LONGEST_WORD else _WITHOUT_STRUCTURE.sub(OPAQUE, part)
    if OPAQUE not in word and VALUE not in word:
        return word + part
    reduced = _WITHOUT_STRUCTURE.sub(OPAQUE, part)
    return word + (reduced[1:] if word[-1] == OPAQUE == reduced[0] else reduced)


def with_opaque(word: str | None) -> str:
    """`word` with a quoted or expanded part after it."""
    if word is None:
        return OPAQUE
    return word if word[-1:] == OPAQUE else word + OPAQUE


def with_value(word: str | None) -> str:
    """`word` with a value after it."""
    if word is None:
        return VALUE
    return with_opaque(word) if VALUE in word else word + VALUE


def in_braces(word: str) -> bool:
    """Whether what follows may be inside a brace expansion, which only bash knows."""
    return count_open(word, "{", "}") or word.rfind("{") > word.rfind("}")


def in_tilde(word: str) -> bool:
    """Whether what follows would be read as the rest of `~user`."""
    last = word[word.rfind("/") + 1 :]
    return ":~" in last or "=~" in last or (last == word and word.startswith("~"))


def count_open(word: str, opening: str, closing: str) -> bool:
    """Whether an `opening` character of the word has no `closing` one."""
    return word.count(opening) > word.count(closing)


def in_index(word: str) -> bool:
    """Whether what follows is an array index, as in `name[`."""
    return INDEX.match(word) is not None and count_open(word, "[", "]")


def in_element_index(word: str) -> bool:
    """Whether what follows is, or may become, the index of an element, as in `a=( [`."""
    return word.startswith("[") and _ARRAY_INDEX.match(word) is None


def names_variable_by_value(word: str) -> bool:
    """Whether `word` reads like an assignment to a variable that a value names."""
    name, equals, _ = word.partition("=")
    return VALUE in name and equals == "="
