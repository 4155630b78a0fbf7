"""Whether a document has the shape of a workflow, or of `cpool.yaml`, and what is wrong with it in our own words.

pydantic decides (`model.py`); here its complaints are brought back to keys and values of the file. Knows no names of steps,
no templates.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from cpool_flow import model
from cpool_flow.errors import did_you_mean, shown_name
from cpool_flow.findings import MOST, Findings
from cpool_flow.json_value import shown
from cpool_flow.keys import known_keys, meant, place_of, refuse_key
from cpool_flow.nodes import Path
from cpool_flow.readable import to_leave_out, without

Whole = TypeVar("Whole", bound=BaseModel)


def read_shape(findings: Findings) -> model.Workflow | None:
    """The workflow in the document, its problems noted. Where names and references can be read in spite of them, it is the workflow
    without what is wrong, so that those are checked as well."""
    data = findings.document.data
    if not isinstance(data, dict):
        findings.error((), f"a workflow is a mapping with `steps`, and this is {_kind(data)}")
        return None
    _check_kinds(data, findings)
    try:
        return model.Workflow.model_validate(data)
    except ValidationError as error:
        complaints = _complaints(error, data)
    for path, found in complaints.items():
        _explain(path, found, data, findings)
    told = {path: [kind for kind, _ in found] for path, found in complaints.items() if found[0][0] != "step_kind"}
    wrong = [to_leave_out(path, kinds, findings.document) for path, kinds in told.items()]
    if len(complaints) > MOST or None in wrong:
        return None
    try:
        return model.Workflow.model_validate(without(data, dict.fromkeys(path for path in wrong if path is not None)))
    except ValidationError:
        return None


def is_slots(data: object) -> bool:
    """Whether what a workflow says of `slots` holds together, whatever else is wrong with it."""
    try:
        return not isinstance(data, dict) or "slots" not in data or bool(TypeAdapter(model.Slots).validate_python(data["slots"]))
    except ValidationError:
        return False


def read_whole(findings: Findings, kind: type[Whole]) -> Whole | None:
    """The document as one of these; None, with its problems noted, where it is none."""
    data = findings.document.data
    if not isinstance(data, dict):
        findings.error((), f"`{findings.document.file}` is a mapping, and this is {_kind(data)}")
        return None
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        for path, found in _complaints(error, data).items():
            _explain(path, found, data, findings)
    return None


# ---- from pydantic to the document ----

Complaint = tuple[str, Mapping[str, Any]]


def _complaints(error: ValidationError, data: object) -> dict[Path, list[Complaint]]:
    """What pydantic says, by the path in the document. Of a union, the branch that got furthest counts."""
    found: dict[Path, list[Complaint]] = {}
    for each in error.errors(include_url=False, include_input=False):
        path = _document_path(each["loc"], data)
        found.setdefault(path, []).append((each["type"], {"loc": each["loc"], **each.get("ctx", {})}))
    inner = {path[:length] for path in found for length in range(len(path))}
    told = {path: [each for each in kinds if not _is_type(each[0]) and each[0] != "literal_error"] for path, kinds in found.items()}
    return {path: told[path] or kinds for path, kinds in found.items() if told[path] or path not in inner}


def _document_path(place: tuple[str | int, ...], data: Any) -> Path:
    """pydantic's place without the names of union branches."""
    path: list[str | int] = []
    for part in place:
        if _has(data, part):
            data = data[part]
            path.append(part)
    return tuple(path)


def _has(data: object, part: str | int) -> bool:
    if isinstance(data, list):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, dict) and part in data


# ---- explanations ----


def _explain(path: Path, found: list[Complaint], data: Any, findings: Findings) -> None:
    value = _at(data, path)
    kind, context = found[0]
    name = _label(path)
    if kind == "extra_forbidden":
        refuse_key(path, findings)
    elif kind == "missing":
        _missing(path, str(context["loc"][-1]), value, findings)
    elif kind in ("float_type", "int_parsing_size") and type(value) is int:
        findings.error(path, f"{name} is a number with {len(str(value))} digits, which is too large")
    elif value is None and _is_type(kind):
        findings.error(path, f"{name} has no value", key=True, help="give it one, or remove the key")
    elif _is_later(path, value):
        key = next(key for key in reversed(path) if isinstance(key, str))
        findings.error(path, f"`{key}: {value if isinstance(value, str) else '[…]'}` is not supported by this version")
    elif path[-1:] == ("session",):
        findings.error(path, f"`session` is `fresh`, `{{continue: STEP}}` or `{{fork: STEP}}`, not {shown(value)}")
    elif kind == "literal_error" and "[key]" in context["loc"]:
        _not_a_key(path, context["expected"], findings)
    elif kind == "literal_error":
        _not_allowed(path, value, context["expected"], findings)
    elif "[key]" in context["loc"]:
        findings.error(path, f"`{path[-1]}` cannot be a name here: {_NAMES[model.VARIABLE_NAME]}", key=True)
    elif _is_type(kind):
        _wrong_type(path, value, list(dict.fromkeys(_WANTED[kind] for kind, _ in found if kind in _WANTED)), findings)
    elif kind != "step_kind":
        findings.error(path, _message(name, kind, context, value))


def _message(name: str, kind: str, context: Mapping[str, Any], value: object) -> str:
    match kind:
        case "string_too_short" | "too_short":
            return f"{name} is empty"
        case "string_too_long":
            return f"{name} is longer than {context['max_length']} characters"
        case "string_pattern_mismatch" if context["pattern"] == model.NOT_BLANK:
            return f"{name} is empty"
        case "string_pattern_mismatch":
            return f"{shown_name(value)} is no name: {_NAMES[context['pattern']]}"
        case "value_error":
            return f"{name}: {context['error']}"
    if kind in _BOUNDS:
        word, key = _BOUNDS[kind]
        return f"{name} must be {word} {context[key]:,g}, and this is {shown(value)}"  # type: ignore[arg-type]
    raise AssertionError(f"BUG: no text for what pydantic calls {kind}")


def _wrong_type(path: Path, value: object, wanted: list[str], findings: Findings) -> None:
    hint = help = None
    if wanted == ["true or false"] and str(value).lower() in _YES_OR_NO:
        hint = f"did you mean `{_YES_OR_NO[str(value).lower()]}`?"
    elif path[:1] == ("args",) and len(path) == 2:
        help = f"declare it as `{path[1]}: {{type: string}}`"
    elif "text" in wanted and isinstance(value, (bool, int, float)) and _NAMING.isdisjoint(path):
        help = "put it in quotes"
    elif wanted == ["a list"] and isinstance(value, (str, int, float)) and len(str(value)) <= 60:
        help = f"write it as a list: `[{value}]`"
    findings.error(path, f"{_label(path)} must be {_or(wanted)}, and this is {_kind(value)}", hint=hint, help=help)


def _missing(path: Path, key: str, value: Mapping[str, object], findings: Findings) -> None:
    """A key that must be there, unless another one seems to be meant for it."""
    place = place_of(path, findings.root)
    if any(meant(other, place) == key for other in value if other not in known_keys(place)):
        return
    findings.error(path, f"`{key}` is missing{'' if not path else f' in {_label(path)}'}", help=_MISSING.get(key))


def _not_allowed(path: Path, value: object, expected: str, findings: Findings) -> None:
    if path == ("version",):
        findings.error(path, f"this cpool-flow reads version 1 of the format, not {shown(value)}")  # type: ignore[arg-type]
        return
    choices = re.findall(r"'([^']*)'", expected)
    message = f"{_label(path)} must be {_or([f'`{choice}`' for choice in choices])}, not {shown(value)}"  # type: ignore[arg-type]
    findings.error(path, message, hint=did_you_mean(value, choices) if isinstance(value, str) else None)


def _not_a_key(path: Path, expected: str, findings: Findings) -> None:
    """A key of a mapping that takes only some."""
    choices = re.findall(r"'([^']*)'", expected)
    hint = did_you_mean(str(path[-1]), choices)
    findings.error(path, f"{shown_name(path[-1])} is not {_or([f'`{choice}`' for choice in choices])}", key=True, hint=hint)


def _check_kinds(data: Mapping[str, Any], findings: Findings) -> None:
    """Each step does exactly one thing. Asked here, and not of pydantic, so that its other problems are found as well."""
    for phase in ("steps", "finally"):
        _check_steps(data.get(phase), (phase,), findings)


def _check_steps(steps: object, path: Path, findings: Findings) -> None:
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict):
            _check_kind(step, (*path, index), findings)
            _check_steps(step.get("steps"), (*path, index, "steps"), findings)


def _check_kind(step: Mapping[str, Any], path: Path, findings: Findings) -> None:
    kinds = [kind for kind in step if kind in model.KINDS]
    if len(kinds) == 1:
        return
    rule = f"a step has exactly one of {', '.join(f'`{kind}`' for kind in model.KINDS)}"
    if kinds:
        findings.error((*path, kinds[1]), f"{rule}; this one has {_and([f'`{kind}`' for kind in kinds])}", key=True)
    elif not any(meant(key, model.Step) in model.KINDS for key in step if key not in known_keys(model.Step)):
        findings.error(path, f"{rule}; this one does nothing")


def _is_later(path: Path, value: object) -> bool:
    key = path[-1] if path else None
    return key == "isolation" and value == "clone"


# ---- words ----

_NAMING = frozenset({"name", "needs", "as", "secrets", "when"})
_YES_OR_NO = dict.fromkeys(("true", "yes", "on", "y"), "true") | dict.fromkeys(("false", "no", "off", "n"), "false")
_WANTED = {
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("greater than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
_NAMES = {
    model.STEP_NAME: "lower-case letters, digits, `-` and `_`, a letter first",
    model.VARIABLE_NAME: "letters, digits and `_`, no digit first",
}
_MISSING = {"steps": "a workflow begins with `steps:` and a list of steps", "path": "write `{path: a.b, default: …}`"}


def _label(path: Path) -> str:
    """What a value is called: its key, or its number in a list."""
    if not path:
        return "the workflow"
    if isinstance(path[-1], str):
        return shown_name(path[-1])
    if len(path) % 2 == 0 and path[-2] in ("steps", "finally"):
        return f"step {path[-1] + 1}{' of `finally`' if path[0] == 'finally' else ''}"
    return f"item {path[-1] + 1} of `{path[-2]}`"


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _is_type(kind: str) -> bool:
    return kind.endswith("_type")


def _kind(value: object) -> str:
    if isinstance(value, (bool, int, float)):
        return f"{'' if isinstance(value, bool) else 'the number '}{shown(value)}"
    return {str: "text", list: "a list", dict: "a mapping", type(None): "empty"}[type(value)]


def _or(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
