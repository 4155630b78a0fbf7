"""YAML text → plain data that remembers line and column, within limits.

Reads YAML 1.2 core values, with merge keys (`<<`) done here. Knows nothing of workflows: any value may stand at the root.
The parser's events are folded without recursion, and what aliases stand for is counted, never copied: no bomb is ever built.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import field
from functools import cached_property
from typing import Any

import yaml

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, Location, Problem
from cpool_flow.json_value import JsonValue
from cpool_flow.nodes import Document, Node, Path, line_starts, place
from cpool_flow.scalars import BadScalar, is_core_tag, resolve, resolve_tagged

__all__ = ["Document", "JsonValue", "Limits", "Path", "dump", "load", "shown"]


@dataclass(frozen=True, slots=True)
class Limits:
    """The most that a file may hold. `nodes` and `characters` (of texts) count each use of an alias in full."""

    file_bytes: int = 8 * 2**20
    depth: int = 100
    nodes: int = 500_000
    characters: int = 32 * 2**20
    problems: int = 10


def load(source: bytes, file: str, limits: Limits = Limits()) -> Document:
    """Read one YAML document. Raises InvalidInput with every problem that could be found, each with its place."""
    if len(source) > limits.file_bytes:
        raise InvalidInput(Problem(f"the file has {len(source):,} bytes; at most {limits.file_bytes:,} are read", Location(file, 1, 1)))
    text = _decode(source, file)
    return Document(file, text, _compose(text, file, limits))


def dump(data: JsonValue) -> str:
    """The data as YAML that `load` reads back as the same; as JSON where PyYAML, which writes YAML 1.1, would not quote enough."""
    text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    with suppress(InvalidInput):
        if load(text.encode(), "").data == data:
            return text
    return json.dumps(data, indent=2, ensure_ascii=False) + "\n"


class _Dumper(yaml.SafeDumper):
    """Text of several lines stands as a block."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def shown(text: str, most: int = 60) -> str:
    """`text` in backticks, cut to a length that fits a message."""
    return f"`{text if len(text) <= most else text[: most - 1] + '…'}`"


def _decode(source: bytes, file: str) -> str:
    if wide := _wide_encoding(source):
        raise InvalidInput(Problem(f"the file is {wide}", Location(file, 1, 1), help="save it as UTF-8"))
    try:
        return source.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = source[: error.start].decode("utf-8-sig")
        where = Location(file, before.count("\n") + 1, len(before) - before.rfind("\n"))
        message = f"the file is not UTF-8: byte 0x{source[error.start]:02x} at offset {error.start}"
        raise InvalidInput(Problem(message, where, help="save it as UTF-8")) from None


def _wide_encoding(source: bytes) -> str | None:
    """The encoding of text whose characters take two or four bytes each, told by its mark or by the zeros between Latin letters."""
    if source.startswith((b"\xff\xfe\0\0", b"\0\0\xfe\xff")):
        return "UTF-32"
    head = source[:40]
    halves = head[::2], head[1::2]
    marked = source.startswith((b"\xff\xfe", b"\xfe\xff"))
    return "UTF-16" if marked or any(half and not any(half) and all(other) for half, other in (halves, halves[::-1])) else None


def _compose(text: str, file: str, limits: Limits) -> Node:
    """libyaml is 7 × faster; the parser in Python knows directives, and a tab after the indentation, better."""
    careful = len(text) <= _CAREFUL_CHARACTERS
    composer = _Composer(text, file, limits)
    try:
        return composer.compose(yaml.SafeLoader if careful and text.startswith("%") else _FastParser)
    except yaml.MarkedYAMLError as error:
        if careful:
            with suppress(yaml.MarkedYAMLError):
                return _Composer(text, file, limits).compose(yaml.SafeLoader)
        composer.refuse_syntax(error)
        raise InvalidInput(composer.problems) from None


_FastParser: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CAREFUL_CHARACTERS = 2**16
_SCALARS = frozenset({"str", "int", "float", "bool", "null"})
_NOT_PRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")
# libyaml reads YAML 1.1: it ends a line at the first three, and refuses the others, which JSON and YAML 1.2 take in quoted texts.
_NO_BREAKS = "\x85\u2028\u2029"
_HIDDEN = re.compile(f"[{_NO_BREAKS}\x7f-\x9f\ufffe\uffff]")
_TYPES = {type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "a mapping"}


class _Stop(Exception):
    """A limit was passed, or enough problems were found."""


@dataclass(slots=True)
class _Open:
    """A collection that is being read. `key` waits for its value; `merged` are the mappings behind `<<`."""

    node: Node
    anchor: str | None
    nodes_before: int
    characters_before: int
    key: Node | None = None
    merge_key: Node | None = None
    merged: list[Node] = field(default_factory=list)


class _Composer:
    """Folds the parser's events into nodes. `_nodes` and `_characters` are the size so far, aliases in full."""

    def __init__(self, text: str, file: str, limits: Limits) -> None:
        self._text = text
        self._readable, self._stand_ins = _readable(text)
        self._file = file
        self._limits = limits
        self.problems: list[Problem] = []
        self._anchors: dict[str, Node | None] = {}  # None: its collection is still open
        self._open: list[_Open] = []
        self._twice: set[int] = set()  # the nodes of keys that were reported as given twice
        self._root: Node | None = None
        self._nodes = 0
        self._characters = 0

    def compose(self, parser: Any) -> Node:
        """The root. Raises InvalidInput, and what the parser raises about syntax."""
        try:
            self._read(parser(self._readable))
        except _Stop:
            pass
        except yaml.reader.ReaderError:
            self._refuse_character()
        if self._root is None and not self.problems:
            self._problem("the file holds nothing", 0, 0)
        if self.problems or self._root is None:
            raise InvalidInput(self.problems)
        return self._root

    def refuse_syntax(self, error: yaml.MarkedYAMLError) -> None:
        """Add what the parser complains of, unless another problem explains that line."""
        index = error.problem_mark.index if error.problem_mark else len(self._text)
        context_index = error.context_mark.index if error.context_mark else index
        bracket = next((at for at in (opened.node.start for opened in reversed(self._open)) if self._text[at] in "[{"), None)
        from cpool_flow.yaml_complaints import explain

        complaint = explain(error.problem or "", error.context or "", self._text, index, context_index, bracket)
        where = self._at(complaint.index, complaint.index + 1)
        if all(problem.location is None or problem.location.line != where.line for problem in self.problems):
            self.problems.append(Problem(complaint.message, where, help=complaint.help))

    def _read(self, parser: Any) -> None:
        take = {
            yaml.ScalarEvent: self._scalar,
            yaml.AliasEvent: self._alias,
            yaml.SequenceStartEvent: self._sequence,
            yaml.MappingStartEvent: self._mapping,
            yaml.SequenceEndEvent: self._close,
            yaml.MappingEndEvent: self._close,
            yaml.DocumentStartEvent: self._document,
        }
        while (event := parser.get_event()) is not None:
            handler = take.get(type(event))
            if handler is not None:
                handler(event)

    def _document(self, event: Any) -> None:
        if self._root is not None:
            self._problem("a second document begins here", event.start_mark.index, event.end_mark.index, help="one file holds one document")
            raise _Stop

    def _scalar(self, event: Any) -> None:
        text = self._written(event)
        start = event.start_mark.index
        self._count(1, len(text), start)
        node = Node(self._value(event, text), start, event.end_mark.index, characters=len(text))
        if event.anchor:
            self._anchors[event.anchor] = node
        self._add(node)

    def _written(self, event: Any) -> str:
        """The text of a scalar, with what stood in for characters that only a quoted one may hold, and JSON's escapes of one
        character by its two halves made whole."""
        text: str = event.value
        if text.isascii():
            return text
        if self._stand_ins:
            text = text.translate(self._stand_ins)
            if event.style not in ("'", '"') and _NOT_PRINTABLE.search(text):
                self._refuse_character(event.start_mark.index)
        return _PAIR.sub(lambda pair: pair[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)

    def _value(self, event: Any, text: str) -> JsonValue:
        start, end = event.start_mark.index, event.end_mark.index
        if not text.isascii() and _SURROGATE.search(text):
            self._problem("this text holds half of a surrogate pair, which is no valid Unicode", start, end)
        try:
            if event.tag is None:
                return text if event.style else resolve(text)
            if is_core_tag(event.tag, _SCALARS):
                return resolve_tagged(text, event.tag)
            self._refuse_tag(event)
        except BadScalar as bad:
            self._problem(str(bad), start, end)
        return None

    def _alias(self, event: Any) -> None:
        start, end = event.start_mark.index, event.end_mark.index
        node = self._anchors.get(event.anchor)
        if node is None:
            known = event.anchor in self._anchors
            message = "{} stands inside the value that it names" if known else "no `&{}` stands before this alias"
            self._problem(message.format(shown(f"*{event.anchor}") if known else event.anchor[:60]), start, end)
            node = Node({}, start, end, children={}, keys={})
        self._count(node.nodes, node.characters, start)
        self._check_depth(len(self._open) + node.height, start)
        self._add(node)

    def _sequence(self, event: Any) -> None:
        self._start(event, Node([], event.start_mark.index, 0, children=[]), "seq")

    def _mapping(self, event: Any) -> None:
        self._start(event, Node({}, event.start_mark.index, 0, children={}, keys={}), "map")

    def _start(self, event: Any, node: Node, kind: str) -> None:
        self._open.append(_Open(node, event.anchor, self._nodes, self._characters))
        self._count(1, 0, node.start)
        self._check_depth(len(self._open), node.start)
        if event.anchor:
            self._anchors[event.anchor] = None
        if event.tag is not None and not is_core_tag(event.tag, frozenset({kind})):
            self._refuse_tag(event)

    def _close(self, event: Any) -> None:
        closed = self._open.pop()
        node = closed.node
        if closed.merged:
            _merge(node, closed.merged)
        node.end = event.end_mark.index
        node.nodes = self._nodes - closed.nodes_before
        node.characters = self._characters - closed.characters_before
        if closed.anchor:
            self._anchors[closed.anchor] = node
        self._add(node)

    def _add(self, node: Node) -> None:
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if parent.node.height <= node.height:
            parent.node.height = node.height + 1
        if parent.node.keys is None:
            parent.node.children.append(node)
            parent.node.data.append(node.data)
        elif parent.key is None:
            parent.key = node
        else:
            key, parent.key = parent.key, None
            self._pair(parent, key, node)

    def _pair(self, parent: _Open, key: Node, value: Node) -> None:
        keys = parent.node.keys
        assert keys is not None
        name = key.data
        if not isinstance(name, str):
            self._refuse_key(key)
        elif name == "<<" and self._text.startswith("<<", key.start):
            self._pair_merge(parent, key, value)
        elif name in keys:
            self._refuse_duplicate(key, keys[name])
        else:
            keys[name] = key
            parent.node.children[name] = value
            parent.node.data[name] = value.data

    def _pair_merge(self, parent: _Open, key: Node, value: Node) -> None:
        if parent.merge_key is not None:
            self._refuse_duplicate(key, parent.merge_key, help="merge several mappings as a list: `<<: [*a, *b]`")
        parent.merge_key = key
        sources = [value] if value.keys is not None or not isinstance(value.children, list) else value.children
        parent.merged = [source for source in sources if source.keys is not None]
        if len(parent.merged) < len(sources):
            self._problem("`<<` merges a mapping, or a list of mappings", value.start, value.end)

    def _count(self, nodes: int, characters: int, index: int) -> None:
        self._nodes += nodes
        self._characters += characters
        if self._nodes > self._limits.nodes:
            self._limit(f"the file holds more than {self._limits.nodes:,} values, aliases counted in full", index)
        if self._characters > self._limits.characters:
            self._limit(f"the file holds more than {self._limits.characters:,} characters of text, aliases counted in full", index)

    def _check_depth(self, depth: int, index: int) -> None:
        if depth > self._limits.depth:
            self._limit(f"values are nested deeper than {self._limits.depth} levels", index)

    def _limit(self, message: str, index: int) -> None:
        self._problem(message, index, index)
        raise _Stop

    def _refuse_tag(self, event: Any) -> None:
        where = event.start_mark.index
        tag = event.tag.replace("tag:yaml.org,2002:", "!!", 1)
        self._problem(f"the tag {shown(tag)} is not supported", where, where + 1, help="remove it; values are plain data")

    def _refuse_key(self, key: Node) -> None:
        if self._text.startswith("{{", key.start - 1):
            from cpool_flow.yaml_complaints import QUOTE_TEMPLATE

            self._problem("an unquoted `{{` is a mapping in YAML, no template", key.start - 1, key.end, help=QUOTE_TEMPLATE)
            return
        written = self._text[key.start : key.end].strip() if key.children is None else ""
        help = f'quote it: "{written}"' if 0 < len(written) <= 60 else None
        self._problem(f"a key must be text, and this one is {_TYPES[type(key.data)]}", key.start, key.end, help=help)

    def _refuse_duplicate(self, key: Node, first: Node, help: str | None = None) -> None:
        if id(first) in self._twice:
            return
        self._twice.add(id(first))
        where = self._at(first.start, first.end)
        self._problem(f"{shown(key.data)} stands twice, first in line {where.line}", key.start, key.end, help=help)

    def _refuse_character(self, start: int = 0) -> None:
        found = _NOT_PRINTABLE.search(self._text, start)
        index = found.start() if found else 0
        escape = f"\\x{ord(self._text[index]):02x}"
        help = f'in a text in double quotes, write it as "{escape}"'
        self._problem(f"the character U+{ord(self._text[index]):04X} cannot stand in YAML", index, index + 1, help=help)

    def _problem(self, message: str, start: int, end: int, help: str | None = None) -> None:
        if len(self.problems) == self._limits.problems:
            self.problems.append(Problem("more problems follow from here on", self._at(start, start)))
            raise _Stop
        self.problems.append(Problem(message, self._at(start, end), help=help))

    def _at(self, start: int, end: int) -> Location:
        return place(self._file, self._text, self._line_starts, start, end)

    @cached_property
    def _line_starts(self) -> list[int]:
        return line_starts(self._text)


def _readable(text: str) -> tuple[str, dict[int, str]]:
    """The text with other characters, which it does not hold, in place of those that libyaml misreads; and what each stands for."""
    odd = sorted(set(_HIDDEN.findall(text)))
    if not odd:
        return text, {}
    free = (code for code in range(0xE000, 0xF8FF) if chr(code) not in text)
    stand_ins = {ord(character): next(free) for character in odd}
    return text.translate(stand_ins), {code: chr(character) for character, code in stand_ins.items()}


def _merge(node: Node, sources: list[Node]) -> None:
    """Take over what `sources` have and `node` has not; an earlier source wins over a later one."""
    own_keys, own_children = node.keys or {}, node.children
    node.keys, node.children = {}, {}
    for source in reversed(sources):
        node.keys.update(source.keys or {})
        node.children.update(source.children)
    node.keys.update(own_keys)
    node.children.update(own_children)
    node.data = {name: child.data for name, child in node.children.items()}
