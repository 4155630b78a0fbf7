"""Which output schemas Claude Code itself can enforce; the others it is told in words.

Knows what `--json-schema` took when measured (2.1.331): draft-07 keywords and an object at the top; anything else ends the
process. Answers are checked again elsewhere, with the whole schema.
"""

from __future__ import annotations

import json
import re
from typing import Any

from cpool_flow.schema_bundle import nodes

_KEYWORDS = frozenset((
    "$comment", "$defs", "$id", "$ref", "additionalItems", "additionalProperties", "allOf", "anyOf", "const", "contains",
    "contentEncoding", "contentMediaType", "default", "definitions", "dependencies", "deprecated", "description", "else", "enum",
    "examples", "exclusiveMaximum", "exclusiveMinimum", "format", "if", "items", "maxItems", "maxLength", "maxProperties",
    "maximum", "minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern", "patternProperties",
    "properties", "propertyNames", "readOnly", "required", "then", "title", "type", "uniqueItems", "writeOnly",
))  # fmt: skip
_MAX_BYTES = 100 * 1024
# Groups that Python and JavaScript write differently.
_FOREIGN_PATTERN = re.compile(r"\\[AZ]|\(\?[^:=!<]|\(\?<[^=!]")


def enforceable(schema: Any) -> str | None:
    """The text for `--json-schema`, or None where the CLI would refuse this schema."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        return None
    if any(not _is_plain(node) for _, node in nodes(schema)):
        return None
    text = json.dumps(schema, ensure_ascii=False)
    return text if len(text.encode("utf-8", "replace")) <= _MAX_BYTES else None


def in_words(schema: Any) -> str:
    """What the system prompt says of a schema that the CLI cannot enforce."""
    return (
        "Your final answer must be one JSON value and nothing else: no words around it, no Markdown fence."
        f" It must be valid against this JSON Schema (draft 2020-12):\n{json.dumps(schema, ensure_ascii=False)}"
    )


def _is_plain(node: dict[str, Any]) -> bool:
    patterns = [node.get("pattern"), *(node["patternProperties"] if isinstance(node.get("patternProperties"), dict) else ())]
    reference = node.get("$ref", "#")
    return (
        node.keys() <= _KEYWORDS
        and isinstance(reference, str)
        and reference.startswith("#")
        and not any(isinstance(pattern, str) and _FOREIGN_PATTERN.search(pattern) for pattern in patterns)
        and ("if" in node) <= ("then" in node or "else" in node)
    )
