"""A plan drawn as text for programs that draw: mermaid (GitHub shows it in Markdown) and dot (Graphviz).

Only names of steps and kinds are in a drawing, and they need no quoting beyond quotes. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Step = Mapping[str, Any]
_SHAPES = {"approve": ("{{", "}}"), "end": ("([", "])"), "run": ("[", "]")}
_ROUNDED = ("(", ")")
# Frames only: whether the page is light or dark is not known.
_FRAMES = {
    "success": "stroke:#1a7f37,stroke-width:2px",
    "failed": "stroke:#cf222e,stroke-width:3px",
    "cancelled": "stroke:#9a6700,stroke-width:2px",
    "skipped": "stroke-dasharray:4",
}


def mermaid(document: Mapping[str, Any], statuses: Mapping[str, str] | None = None) -> str:
    """The plan as a mermaid flowchart. `statuses`: what became of its outermost steps, by name, for their frames."""
    return "\n".join(["flowchart TD", *_mermaid(document["steps"], "", "  "), *_frames(document["steps"], statuses or {})]) + "\n"


def dot(document: Mapping[str, Any]) -> str:
    """The plan as a directed graph of Graphviz."""
    head = [f'digraph "{document["workflow"]}" {{', "  rankdir=TB;", "  compound=true;", "  node [shape=box];"]
    return "\n".join([*head, *_dot(document["steps"], "", "  "), "}"]) + "\n"


def _mermaid(steps: Sequence[Step], around: str, indent: str) -> Iterator[str]:
    for step in steps:
        name = _identity(around, step)
        if step.get("steps"):
            yield f'{indent}subgraph {name}["{_label(step)}"]'
            yield from _mermaid(step["steps"], name, f"{indent}  ")
            yield f"{indent}end"
        else:
            opening, closing = _SHAPES.get(step["kind"], _ROUNDED)
            yield f'{indent}{name}{opening}"{_label(step)}"{closing}'
    for step in steps:
        yield from (f"{indent}{_identity(around, {'name': need})} --> {_identity(around, step)}" for need in step["needs"])
    for last, first in _to_finally(steps):
        yield f"{indent}{_identity(around, last)} -.-> {_identity(around, first)}"


def _frames(steps: Sequence[Step], statuses: Mapping[str, str]) -> Iterator[str]:
    for status, style in _FRAMES.items():
        names = [_identity("", step) for step in steps if statuses.get(step["name"]) == status]
        if names:
            yield f"  classDef {status} {style}"
            yield f"  class {','.join(names)} {status}"


def _dot(steps: Sequence[Step], around: str, indent: str) -> Iterator[str]:
    for step in steps:
        name = _identity(around, step)
        if step.get("steps"):
            yield f"{indent}subgraph cluster_{name} {{"
            yield f'{indent}  label="{_label(step)}";'
            yield f"{indent}  {name} [shape=point, style=invis];"
            yield from _dot(step["steps"], name, f"{indent}  ")
            yield f"{indent}}}"
        else:
            yield f'{indent}{name} [label="{_label(step)}"];'
    groups = {step["name"] for step in steps if step.get("steps")}
    for step in steps:
        for need in step["needs"]:
            yield f"{indent}{_edge(around, need, step['name'], groups)};"
    for last, first in _to_finally(steps):
        yield f"{indent}{_edge(around, last['name'], first['name'], groups, 'style=dashed')};"


def _edge(around: str, tail: str, head: str, groups: set[str], *more: str) -> str:
    from_name, to_name = _identity(around, {"name": tail}), _identity(around, {"name": head})
    marks = [*more, *([f"ltail=cluster_{from_name}"] if tail in groups else []), *([f"lhead=cluster_{to_name}"] if head in groups else [])]
    attributes = f" [{', '.join(marks)}]" if marks else ""
    return f"{from_name} -> {to_name}{attributes}"


def _to_finally(steps: Sequence[Step]) -> Iterator[tuple[Step, Step]]:
    """From what ends the main steps to what begins `finally`."""
    main = [step for step in steps if step["phase"] == "main"]
    needed = {need for step in main for need in step["needs"]}
    firsts = [step for step in steps if step["phase"] == "finally" and not step["needs"]]
    return ((last, first) for last in main if last["name"] not in needed for first in firsts)


def _identity(around: str, step: Step) -> str:
    name = str(step["name"]).replace("-", "H")  # a step's name has no upper case
    return f"{around}__{name}" if around else f"s_{name}"


def _label(step: Step) -> str:
    many = " ×" if step["foreach"] is not None or "matrix" in step else ""
    loop = f" ↻{step['repeat']['max']}" if "repeat" in step else ""
    return f"{step['name']}{many}{loop}{'' if step['kind'] in ('run', 'group') else ' · ' + step['kind']}"
