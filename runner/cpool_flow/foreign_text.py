"""Text that strangers can write, an issue or a pull request, and which texts of a workflow it reaches.

A guess from names, for warnings: arguments that carry it are called like this, commands that print it look like that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from cpool_flow import template
from cpool_flow.nodes import Path
from cpool_flow.order import Order, Placed

_ARGUMENT = re.compile(r"(?:^|_)(?:title|body|issue|issue_(?:text|body|title)|comment|comments|description_of_issue)$")
_COMMAND = re.compile(r"\b(?:gh\s+(?:issue|pr|api)|glab\s+(?:issue|mr|api)|curl|wget)\b")
_TEXT_FIELDS = frozenset({"output", "json", "items", "vars"})


def agent_texts(placed: Placed) -> Iterator[tuple[Path, str]]:
    """What an agent is given to read by a step, with its place in the file."""
    step = placed.step
    texts = [("prompt", step.prompt), ("recovery_prompt", step.recovery_prompt)]
    yield from (((*placed.path, key), text) for key, text in texts if text is not None)
    yield from (((*placed.path, "with", name), value) for name, value in (step.with_ or {}).items() if isinstance(value, str))


def is_foreign(reference: template.Reference, reader: Placed, order: Order) -> bool:
    """Whether a value that a step reads is likely to be text from outside."""
    path = reference.path
    if path[0] == "args":
        return len(path) > 1 and bool(_ARGUMENT.search(path[1]))
    if path[0] != "steps" or len(path) < 3:
        return False
    source = order.names(reader)[path[1]].last_inside()
    return _prints_foreign_text(source) and (path[2] in _TEXT_FIELDS or path[2] in (source.step.output_vars or {}))


def reads_foreign_text(placed: Placed, order: Order) -> bool:
    """Whether the agent of a step is likely to read text from outside, fenced or not: by itself, as its item, or as the error that it
    is to mend."""
    names = _foreign_names(placed, order)
    references = [reference for _, text in agent_texts(placed) for reference in template.parse(text).references]
    return any(reference.fenced or reference.path[0] in names or is_foreign(reference, placed, order) for reference in references)


def _foreign_names(placed: Placed, order: Order) -> set[str]:
    step = placed.step
    names = {"error"} if _prints_foreign_text(placed) else set()
    if isinstance(step.foreach, str):
        listed = template.parse_expression(step.foreach).references
        names |= {step.as_ or "item"} if any(is_foreign(reference, placed, order) for reference in listed) else set()
    return names


def _prints_foreign_text(placed: Placed) -> bool:
    run = placed.step.run
    return bool(_COMMAND.search(run if isinstance(run, str) else " ".join(run or ())))
