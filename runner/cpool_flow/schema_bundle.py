"""A schema and all that its `$ref`s name as one document, in which nothing is left that could be fetched, loop, or blow up.

Knows no files: another document is asked of the caller by its path in the project. One document is also what an agent can be
given to enforce. `$schema` and the `$id` at the top are taken off: all is read as draft 2020-12, and no address means anything.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, unquote

from cpool_flow.json_value import JsonValue
from cpool_flow.schema_errors import InvalidSchema, SchemaProblem

Path = tuple[str | int, ...]
Retrieve = Callable[[str], JsonValue]
Node = dict[str, Any]

MAX_FILES = 100
MAX_BREADTH = 10_000

_DATA = ("enum", "const", "default", "examples")
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else")
_REFERENCES = ("$ref", "$dynamicRef")


def bundle(schema: JsonValue, file: str, retrieve: Retrieve | None) -> Any:
    """The schema that stands in `file` with every document that it refers to under its `$defs`. Raises InvalidSchema."""
    documents = {file: _copy(schema)}
    todo, problems = [file], list[SchemaProblem]()
    while todo:
        path = todo.pop()
        for at, node in nodes(documents[path]):
            try:
                others = list(_prepare(node, at, path, file))
            except InvalidSchema as error:
                problems += error.problems
                continue
            for other in others:
                if other in documents:
                    continue
                if retrieve is None or len(documents) >= MAX_FILES:
                    reason = "files cannot be referred to here" if retrieve is None else f"more than {MAX_FILES} files are referred to"
                    raise InvalidSchema(SchemaProblem(f"`$ref` to `{other}`: {reason}", at if path == file else ()))
                documents[other] = _copy(retrieve(other))
                todo.append(other)
    if problems:
        raise InvalidSchema(*problems)
    root = documents.pop(file)
    if isinstance(root, dict) and documents:
        root["$defs"] = {**(root.get("$defs") or {}), **{_key(path): document for path, document in documents.items()}}
    return root


def nodes(document: JsonValue) -> Iterator[tuple[Path, Node]]:
    """Every object of `document` that may be a schema, with its path; data (`enum`, `default` …) is left out."""
    todo: list[tuple[Path, Any, bool]] = [((), document, False)]
    while todo:
        path, node, named = todo.pop()
        if isinstance(node, list):
            todo += [((*path, index), child, False) for index, child in enumerate(node)]
        elif isinstance(node, dict):
            if not named:
                yield path, node
            todo += [((*path, key), child, not named and key in _NAMED) for key, child in node.items() if named or key not in _DATA]


def reference_problems(root: JsonValue) -> Iterator[SchemaProblem]:
    """References of a bundled schema that point nowhere, or that never get anywhere."""
    anchors = {name: node for _, node in nodes(root) for key in ("$anchor", "$dynamicAnchor") if isinstance(name := node.get(key), str)}
    breadth = _Breadth(root, anchors)
    for path, node in nodes(root):
        try:
            if breadth.of(node) > MAX_BREADTH:
                yield SchemaProblem(f"more than {MAX_BREADTH} schemas apply to one value here", path)
                return
        except InvalidSchema as error:
            yield SchemaProblem(error.problems[0].message, path)
            return


# ---- gathering ----


def _copy(value: JsonValue) -> Any:
    return json.loads(json.dumps(value))  # also shares nothing: aliases of a YAML file are one object


def _prepare(node: Node, at: Path, path: str, root: str) -> Iterator[str]:
    """Rewrites the addresses in `node` of the document `path`; the files that it refers to."""
    if isinstance(node.get("$schema"), str):
        del node["$schema"]
    if isinstance(node.get("$id"), str):
        if at:
            raise InvalidSchema(SchemaProblem("`$id` inside a schema is not taken here: use `$defs` or `$anchor`", (*at, "$id")))
        del node["$id"]
    for keyword in _REFERENCES:
        reference = node.get(keyword)
        if isinstance(reference, str):
            file, fragment = _target(reference, path, (*at, keyword))
            node[keyword] = _address(None if file == root else file, fragment)
            yield file


def _target(reference: str, path: str, at: Path) -> tuple[str, str]:
    name, _, fragment = reference.partition("#")
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:|//", name):
        raise InvalidSchema(SchemaProblem(f"`$ref` to a URL is never fetched: `{reference}`", at))
    target = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(name))) if name else path
    if target.startswith(("/", "../")) or target in ("..", "."):
        raise InvalidSchema(SchemaProblem(f"`$ref` leads out of the project: `{reference}`", at))
    return target, fragment


def _address(file: str | None, fragment: str) -> str:
    if file is None or (fragment and not fragment.startswith("/")):
        return f"#{fragment}"
    return f"#/$defs/{quote(_key(file).replace('~', '~0').replace('/', '~1'), safe='~')}{fragment}"


def _key(file: str) -> str:
    return f"file {file}"


# ---- references that apply in place ----


class _Breadth:
    """How many schemas apply to one value, step by step into `allOf`, `$ref` and the like."""

    def __init__(self, root: JsonValue, anchors: dict[str, Node]) -> None:
        self._root = root
        self._anchors = anchors
        self._known: dict[int, int | None] = {}

    def of(self, node: object) -> int:
        if not isinstance(node, dict):
            return 1
        if id(node) in self._known:
            known = self._known[id(node)]
            if known is None:
                raise InvalidSchema(SchemaProblem("this schema refers to itself without end"))
            return known
        self._known[id(node)] = None
        self._known[id(node)] = breadth = min(1 + sum(map(self.of, self._in_place(node))), MAX_BREADTH + 1)
        return breadth

    def _in_place(self, node: Node) -> Iterator[object]:
        for keyword in _IN_PLACE:
            found = node.get(keyword, [])
            yield from found if isinstance(found, list) else [found]
        dependent = node.get("dependentSchemas")
        yield from dependent.values() if isinstance(dependent, dict) else ()
        for keyword in _REFERENCES:
            if isinstance(node.get(keyword), str):
                yield self._resolve(node[keyword])

    def _resolve(self, reference: str) -> object:
        fragment = unquote(reference[1:])
        if fragment and not fragment.startswith("/"):
            if fragment in self._anchors:
                return self._anchors[fragment]
            raise _nowhere(reference)
        found: Any = self._root
        for part in fragment.split("/")[1:]:
            key = part.replace("~1", "/").replace("~0", "~")
            if isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            elif isinstance(found, dict) and key in found:
                found = found[key]
            else:
                raise _nowhere(reference)
        if not isinstance(found, (dict, bool)):
            raise InvalidSchema(SchemaProblem(f"`$ref` `{reference}` leads to something that is no schema"))
        return found


def _nowhere(reference: str) -> InvalidSchema:
    return InvalidSchema(SchemaProblem(f"`$ref` `{reference}` points nowhere"))
