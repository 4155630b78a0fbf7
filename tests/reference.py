"""Tables of keys for the documents, made from `schemas/workflow.schema.json` and `pool.schema.json`, which are made from the model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

JsonObject = Mapping[str, Any]

# A table stands between these two lines; the name is that of a class of the model.
TABLE = re.compile(r"(?P<head><!-- keys of (?P<name>\w+) -->\n)(?P<rows>.*?)(?=<!-- end of the keys -->)", re.DOTALL)


def with_tables(text: str, wholes: Mapping[str, JsonObject]) -> str:
    """The document with every table of keys as it should be. `wholes`: the schemas of files, by the names of their classes."""
    known = {**{name: inner for whole in wholes.values() for name, inner in whole["$defs"].items()}, **wholes}

    def made(found: re.Match[str]) -> str:
        return found["head"] + table(known[found["name"]])

    return TABLE.sub(made, text)


def tables(text: str) -> list[str]:
    """The names of the classes whose keys a document lists."""
    return [found["name"] for found in TABLE.finditer(text)]


def table(schema: JsonObject) -> str:
    """The keys of one class as Markdown, in the order of the model."""
    rows = [(f"`{name}`", value(key), key.get("description", "")) for name, key in schema["properties"].items()]
    lines = [("key", "value", "meaning"), ("---", "---", "---"), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def value(schema: JsonObject) -> str:
    """What a key may hold, in words."""
    if "enum" in schema:
        return " ".join(f"`{choice}`" for choice in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "$ref" in schema:
        return "mapping, see below"
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(value(choice) for choice in schema["anyOf"]))
    return _typed(schema)


def _typed(schema: JsonObject) -> str:
    kind = schema.get("type")
    if kind == "string" and "ms|s|m|h|d" in schema.get("pattern", ""):
        return "duration"
    if kind == "string" and schema.get("pattern", "").startswith(("^[a-z]", "^[A-Za-z_]")):
        return "name"
    if kind == "array":
        inner = schema.get("items") or {}
        return f"list of {_plural(value(inner))}" if inner else "list"
    if kind == "integer":
        return _bounds(schema)
    return {"string": "text", "number": "number", "boolean": "`true` or `false`", "object": "mapping"}.get(str(kind), "any value")


def _plural(text: str) -> str:
    return {
        "text": "texts",
        "name": "names",
        "whole number": "whole numbers",
        "any value": "values",
        "mapping, see below": "mappings, see below",
    }.get(text, text)


def _bounds(schema: JsonObject) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"whole number, at least {low}" if low is not None else "whole number"
