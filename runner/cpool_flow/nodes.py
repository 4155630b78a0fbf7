"""A loaded document: plain data, and where each value of it stands in the text.

Knows nothing of YAML syntax but how a value begins; who reads the file is `document.py`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import Location
from cpool_flow.json_value import JsonValue
from cpool_flow.positions import place_in_source

Path = tuple[str | int, ...]

# An anchor or a tag, with the comments that may follow it.
_PROPERTIES = re.compile(r"(?:[&!]\S*(?:\s+(?:#[^\n]*\n\s*)*))+")
_WORD = re.compile(r"[^\s:]+")


@dataclass(slots=True, eq=False)
class Node:
    """One value, from `start` to `end` of the text. A collection has `children`, a mapping also the nodes of its `keys`;
    `nodes`, `characters` and `height` measure what is inside, each use of an alias in full."""

    data: Any
    start: int
    end: int
    children: Any = None
    keys: dict[str, Node] | None = None
    nodes: int = 1
    characters: int = 0
    height: int = 0


class Document:
    """The data of one YAML file. Values that stand behind an alias or a merge key are found at their anchor."""

    def __init__(self, file: str, text: str, root: Node) -> None:
        self.file = file
        self.text = text
        self.data: JsonValue = root.data
        self._root = root

    def location(self, path: Path, *, key: bool = False) -> Location:
        """Where the value at `path` stands, or its key; for a path that leads nowhere, its nearest parent."""
        node, key_node = self._find(path)
        if key_node is not None and (key or node.start == node.end):
            node = key_node
        start = self._value_start(node)
        return place(self.file, self.text, self._line_starts, start, self._marked_end(start, node.end))

    def location_in(self, path: Path, offset: int, length: int = 1) -> Location:
        """Where the character at `offset` of the text at `path` stands. In folded text the line is right and the column near."""
        node, _ = self._find(path)
        if not isinstance(node.data, str):
            return self.location(path)
        start = self._value_start(node)
        start += place_in_source(self.text[start : node.end], node.data, offset)
        return place(self.file, self.text, self._line_starts, start, start + length)

    def texts(self, path: Path) -> Iterator[tuple[Path, str]]:
        """All texts in the value at `path`, each with its own path."""
        node, _ = self._find(path)
        waiting = [(path, node.data)]
        while waiting:
            inner, value = waiting.pop()
            if isinstance(value, str):
                yield inner, value
            elif isinstance(value, dict):
                waiting += [((*inner, key), part) for key, part in reversed(value.items())]
            elif isinstance(value, list):
                waiting += [((*inner, index), part) for index, part in reversed(list(enumerate(value)))]

    def source(self, path: Path) -> str:
        """The value at `path` as it is written."""
        node, _ = self._find(path)
        return self.text[self._value_start(node) : node.end]

    def _find(self, path: Path) -> tuple[Node, Node | None]:
        node, key_node = self._root, None
        for part in path:
            if node.keys is not None and part in node.keys:
                node, key_node = node.children[part], node.keys[str(part)]
            elif node.keys is None and node.children and isinstance(part, int) and 0 <= part < len(node.children):
                node, key_node = node.children[part], None
            else:
                break
        return node, key_node

    def _value_start(self, node: Node) -> int:
        properties = _PROPERTIES.match(self.text, node.start)
        return min(properties.end(), node.end) if properties else node.start

    def _marked_end(self, start: int, end: int) -> int:
        """A block over several lines is marked by its first word."""
        if "\n" not in self.text[start:end].rstrip() or self.text[start] in "[{'\"":
            return end
        word = _WORD.match(self.text, start, end)
        return word.end() if word else end

    @cached_property
    def _line_starts(self) -> list[int]:
        return line_starts(self.text)


def line_starts(text: str) -> list[int]:
    """The index at which each line begins."""
    return [0, *(found.end() for found in re.finditer("\n", text))]


def place(file: str, text: str, starts: list[int], start: int, end: int) -> Location:
    """The place of the characters from `start` to `end`, as far as their first line goes."""
    line = bisect_right(starts, start)
    marked = text[start:end].split("\n", 1)[0].rstrip()
    return Location(file, line, start - starts[line - 1] + 1, max(1, len(marked)))
