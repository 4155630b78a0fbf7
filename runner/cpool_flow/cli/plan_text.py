"""A plan as people read it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cpool_flow.executor.outcome import seconds_text
from cpool_flow.slots import UNNAMED
from cpool_flow.spending import dollars

JsonObject = dict[str, Any]
SHOWN_LINES = 20
_TURNS = {True: "it cancels those before it", False: "it waits for its turn"}


def text_lines(document: JsonObject, most: int | None = SHOWN_LINES) -> Iterator[str]:
    """The plan as people read it. `most`: how many lines are shown of a text; None is all."""
    yield f"{document['workflow']} · {_counted(document['slots'], 'slot', 'slots')} · {document['place']}"
    named = [name for name in document["slot_names"] if not name.startswith(UNNAMED)]
    if named or document["slots_source"] == "pool":
        yield f"  slots: {', '.join(document['slot_names'])} ({document['slots_source']})"
    if document["timeout_seconds"]:
        yield f"  timeout {seconds_text(document['timeout_seconds'])}"
    if document["concurrency"]:
        yield f"  one run at a time of group `{document['concurrency']['group']}`: {_TURNS[document['concurrency']['cancel']]}"
    for name, argument in document["args"].items():
        yield f"  {name} = {json.dumps(argument['value'], ensure_ascii=False)[:200]} ({argument['source']})"
    yield from _money_lines(document["worst_case_usd"], document["budget_usd"])
    if document["secrets"]:
        yield f"  secrets: {', '.join(document['secrets'])}"
    for line in _more_lines(document["more"], most):
        yield f"  {line}"
    yield from _steps_lines(document["steps"], "", "", most)


def _money_lines(worst: float | None, budget: float | None) -> Iterator[str]:
    if worst:
        yield f"  spends at most {dollars(worst)} ({'the budget' if worst == budget else '`max_budget_usd` of all attempts'})"
    elif budget is not None:
        yield f"  budget {dollars(budget)}{'; not every agent can be told where to stop' if worst is None else ''}"


def _steps_lines(steps: list[JsonObject], numbers: str, indent: str, most: int | None) -> Iterator[str]:
    for number, step in enumerate(steps, 1):
        yield f"{indent}{numbers}{number}. {_title(step)}"
        for line in _step_lines(step, most):
            yield f"{indent}     {line}"
        yield from _steps_lines(step.get("steps", []), f"{numbers}{number}.", f"{indent}   ", most)


def _title(step: JsonObject) -> str:
    join = "" if step["join"] == "success" else f" (join: {step['join']})"
    after = f" after {', '.join(step['needs'])}{join}" if step["needs"] else ""
    return f"{step['name']} ({step['kind']}){after}{' · finally' if step['phase'] == 'finally' else ''}"


def _step_lines(step: JsonObject, most: int | None) -> Iterator[str]:
    for key in ("when", "foreach", "matrix", "filter", "limit", "max_parallel"):
        if step.get(key) is not None:
            yield f"{key}: {_shown(step[key])}"
    if "repeat" in step:
        yield f"repeat: at most {step['repeat']['max']} rounds, until {_shown(step['repeat']['until'])}"
    if step["text"]:
        yield from _text_lines(step["text"], most)
    if "prompt" in step:
        yield "|"
        yield from _text_lines(step["prompt"], most)
    yield from _more_lines(step["more"], most)
    yield from (f"env {name}: {value}" for name, value in step.get("env", {}).items())
    if step.get("secrets"):
        yield f"secrets: {', '.join(step['secrets'])}"
    if step.get("verify"):
        commands = [step["verify"]] if isinstance(step["verify"], str) else step["verify"]
        yield f"verify: {'; '.join(command.strip() for command in commands)}"
    if step.get("slot") is not None:
        others = [name for name in step["slot_names"] or () if name != step["slot"]]
        yield f"slot: {step['slot']}" + (f" ({', '.join(step['slot_names'])})" if others else "")
    for name, value in step.get("agent", {}).items():
        yield from _setting_lines(name, value)
    yield from (f"{key}: {step[key]}" for key, usual in (("effects", "workspace"), ("on_failure", "fail")) if step.get(key, usual) != usual)
    if "timeout_seconds" in step:
        limits = [f"timeout {seconds_text(step['timeout_seconds'])}"]
        limits += [f"idle {seconds_text(step['idle_timeout_seconds'])}"] if step["idle_timeout_seconds"] else []
        limits += [_counted(step[key], one, key) for one, key in (("retry", "retries"), ("recovery", "recoveries")) if step[key]]
        yield " · ".join(limits)


def _text_lines(text: str, most: int | None) -> Iterator[str]:
    lines = text.rstrip("\n").split("\n")
    shown = lines[:most]
    yield from (f"| {line}".rstrip() for line in shown)
    if len(lines) > len(shown):
        yield f"… {_counted(len(lines) - len(shown), 'line', 'lines')} more"


def _more_lines(more: JsonObject, most: int | None) -> Iterator[str]:
    for key, value in more.items():
        if isinstance(value, str) and "\n" in value.strip():
            yield f"{key}:"
            yield from (f"  {line}" for line in _text_lines(value, most))
        else:
            yield f"{key}: {_shown(value).strip()}"


def _setting_lines(name: str, value: JsonObject) -> Iterator[str]:
    """One setting in a line; one that merges by name in a line for each of its names."""
    if "sources" in value and "or" not in value:
        yield from (f"{name}.{inner}: {_shown(value['value'][inner])} ({layer})" for inner, layer in value["sources"].items())
        return
    found = [value, *value.get("or", ())]
    yield f"{name}: " + " or ".join(f"{_shown(each['value'])} ({each['source']})" for each in found)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _counted(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
