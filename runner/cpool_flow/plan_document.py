"""A plan as data: what a start would do with these inputs, and where each value comes from. What `plan` shows and compares.

Starts nothing, writes nothing. A text that needs a step's output is shown as it was written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from shlex import quote
from typing import Any

from cpool_flow import template
from cpool_flow.errors import InvalidInput
from cpool_flow.inputs import Inputs
from cpool_flow.plan import PlannedStep
from cpool_flow.plan_rest import rest_of_step, rest_of_workflow
from cpool_flow.settings import Settings
from cpool_flow.values import Record, RenderError, unwrap, wrap
from cpool_flow.worst_case import worst_case_usd

JsonObject = dict[str, Any]
_EXPRESSION = re.compile(r"(\{\{.*?\}\})", re.DOTALL)
_STATEMENT = re.compile(r"\{%|\{#")


def plan_document(inputs: Inputs, place: str, base: str | None = None) -> JsonObject:
    """The plan of a run. `place`: the sentence that says where it works."""
    preview = _Preview(inputs)
    return {
        "workflow": inputs.main.name,
        "file": inputs.main.file,
        "args": {name: {"value": value, "source": preview.source(name)} for name, value in inputs.args.items()},
        "slots": len(inputs.slot_pool.slots),
        "slot_names": [slot.name for slot in inputs.slot_pool.slots],
        "slots_source": _slots_source(inputs),
        "timeout_seconds": inputs.timeout_seconds,
        "isolation": inputs.isolation,
        "place": place,
        "base": base,
        "concurrency": preview.concurrency(),
        "secrets": list(inputs.secrets),
        "budget_usd": inputs.budget_usd,
        "worst_case_usd": worst_case_usd(inputs),
        "more": rest_of_workflow(inputs.workflow),
        "steps": [preview.step(step) for step in inputs.plan],
    }


class _Preview:
    """What is known of a run's values before it starts."""

    def __init__(self, inputs: Inputs) -> None:
        self._inputs = inputs
        flow = inputs.workflow
        self._scope: dict[str, object] = {
            "args": wrap(dict(inputs.args)),
            "env": Record(dict(flow.env)),
            "context": wrap(dict(flow.context)),
        }

    def source(self, argument: str) -> str:
        """Where an argument's value comes from."""
        declared = self._inputs.workflow.args[argument]
        value = self._inputs.args[argument]
        return "default" if "default" in declared and declared["default"] == value else "given" if value is not None else "not given"

    def concurrency(self) -> JsonObject | None:
        """The group of the run, as far as its name is known."""
        declared = self._inputs.workflow.concurrency
        return None if declared is None else {"group": self._known(declared.group, lambda value: True), "cancel": declared.cancel}

    def step(self, step: PlannedStep) -> JsonObject:
        written = step.step
        document: JsonObject = {
            "name": step.name,
            "kind": written.result_kind,
            "phase": step.phase,
            "needs": list(step.needs),
            "join": step.join,
            "when": written.when,
            "foreach": _plain(written.foreach),
            "on_failure": step.on_failure,
            "text": self._text(step),
        }
        if written.skill is not None:
            document["prompt"] = self._skill_text(step, written.skill)
        for key in ("matrix", "filter", "limit", "max_parallel"):
            if getattr(written, key) is not None:
                document[key] = _plain(getattr(written, key))
        if written.repeat is not None:
            document["repeat"] = {"until": written.repeat.until, "max": written.repeat.max}
        if written.executes:
            document |= self._work(step)
        document["more"] = rest_of_step(written, lambda text: self._rendered(text, step))
        if step.inner is not None and (written.steps is not None or written.workflow is not None):
            document["steps"] = [self.step(inside) for inside in _innermost(step)]
        return document

    def _work(self, step: PlannedStep) -> JsonObject:
        """How a step that executes something does it."""
        document: JsonObject = {
            "timeout_seconds": step.timeout_seconds,
            "idle_timeout_seconds": step.idle_timeout_seconds,
            "retries": step.retries,
            "recoveries": step.recoveries,
            "effects": step.effects,
            "takes_slot": step.takes_slot,
            "slot": step.step.slot,
            "slot_names": None if step.slots is None else list(step.slots),
            "env": {name: self._rendered(value, step) for name, value in (step.step.env or {}).items()},
            "secrets": list(step.step.secrets or ()),
            "verify": _plain(step.step.verify),
        }
        return document | ({"agent": self._agent(step)} if step.agent is not None else {})

    def _text(self, step: PlannedStep) -> str:
        """What the step does, rendered as far as its values are known. In text for a shell only a value that is one plain word is shown:
        any other gets there as a variable."""
        written = step.step
        if isinstance(written.run, str):
            return self._rendered(written.run, step, is_shown=lambda value: quote(value) == value)
        if written.run is not None:
            return " ".join(self._rendered(word, step) for word in written.run)
        if written.skill is not None or written.workflow is not None:
            named = f"skill {written.skill}" if written.skill is not None else f"workflow {written.workflow}"
            return "\n".join([named, *(line for name, value in (written.with_ or {}).items() for line in self._given(name, value, step))])
        return self._rendered(written.prompt or written.approve or written.reason or "", step)

    def _skill_text(self, step: PlannedStep, name: str) -> str:
        """The prompt that a skill makes of what is known; its text as it was written where that is not enough."""
        skill = self._inputs.copies[step.source].parsed_skills[name]
        try:
            return skill.render({key: self._value(value, step) for key, value in (step.step.with_ or {}).items()}, _NoHost("…"))
        except (RenderError, InvalidInput):
            return skill.body

    def _value(self, value: Any, step: PlannedStep) -> Any:
        """Data with the templates in it rendered as far as they are known; what is one whole expression keeps its type."""
        if isinstance(value, Mapping):
            return {name: self._value(inner, step) for name, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._value(inner, step) for inner in value]
        if not isinstance(value, str) or step.source or not self._is_known(value):
            return self._rendered(value, step) if isinstance(value, str) else value
        try:
            return unwrap(template.parse(value).value(self._scope, _NoHost()))
        except (RenderError, template.TemplateError):
            return value

    def _is_known(self, text: str) -> bool:
        """Whether all names in a text are known before the run: one with a `default` has a value without being so."""
        return all(reference.path[0] in self._scope for reference in template.parse(text).references)

    def _given(self, name: str, value: Any, step: PlannedStep) -> Iterator[str]:
        """One value of `with`: in a line, or on lines of its own below its name."""
        text = self._rendered(value, step) if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False)
        lines = text.strip().split("\n")
        if len(lines) == 1:
            yield f"  {name}: {lines[0]}"
        else:
            yield f"  {name}:"
            yield from (f"    {line}" if line else "" for line in lines)

    def _agent(self, step: PlannedStep) -> dict[str, dict[str, Any]]:
        """The merged agent settings, each with the layer it comes from. Where it hangs on the slot that a task gets, `or` has the rest."""
        merged, *others = self._inputs.possible_settings(step)
        shown = _shown_settings(merged)
        for other in map(_shown_settings, others):
            for name in {**shown, **other}:
                entry = shown.setdefault(name, _UNSET)
                found = other.get(name, _UNSET)
                if found["value"] not in [entry["value"], *(each["value"] for each in entry.get("or", ()))]:
                    shown[name] = {**entry, "or": [*entry.get("or", ()), found]}
        override = "--agent" if self._inputs.agent else merged.sources.get("agent", "default")
        agent = {"agent": {"value": step.agent, "source": override}}
        return agent | shown | agent | (_default_mode(shown) if step.agent == "claude" else {})

    def _rendered(self, text: str, step: PlannedStep, is_shown: Callable[[str], bool] = lambda value: True) -> str:
        """As far as it is known. Only the run's own file has its arguments by now."""
        return text if step.source else self._known(text, is_shown)

    def _known(self, text: str, is_shown: Callable[[str], bool]) -> str:
        """Each expression of which all values are known, the others as they were written; with statements, all or nothing."""
        if "{" not in text:
            return text
        parts = [text] if _STATEMENT.search(text) else _EXPRESSION.split(text)
        return "".join(self._part(part, is_shown) for part in parts)

    def _part(self, part: str, is_shown: Callable[[str], bool]) -> str:
        try:
            value = template.parse(part).render(self._scope, _NoHost()) if self._is_known(part) else part
        except (RenderError, template.TemplateError):
            return part
        return value if is_shown(value) or not template.is_template(part) else part


class _NoHost:
    """A plan writes no file: where a value would go to one, the text stays as it was written. `tag`: what stands for a random one."""

    def __init__(self, tag: str | None = None) -> None:
        self._tag = tag

    def write_file(self, text: str) -> str:
        raise RenderError("known when the run starts")

    def nonce(self) -> str:
        if self._tag is None:
            raise RenderError("known when the run starts")
        return self._tag


def _innermost(step: PlannedStep) -> Iterator[PlannedStep]:
    """The steps in a group or sub-workflow; a loop over a sub-workflow holds it once more."""
    inner = list(step.inner or ())
    return iter(inner[0].inner or ()) if step.step.workflow is not None and step.step.repeat is not None else iter(inner)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(inner) for name, inner in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


_UNSET: dict[str, Any] = {"value": None, "source": "default"}


def _shown_settings(found: Settings) -> dict[str, dict[str, Any]]:
    values = found.config.model_dump(exclude_none=True, mode="json")
    return {name: {"value": value, **_source(name, found.sources)} for name, value in values.items()}


def _source(name: str, sources: Mapping[str, str]) -> dict[str, Any]:
    """The layer of a setting; of one that merges by name, the layers of all its names, and which is whose."""
    if name in sources:
        return {"source": sources[name]}
    named = {key.removeprefix(f"{name}."): layer for key, layer in sources.items() if key.startswith(f"{name}.")}
    return {"source": ", ".join(dict.fromkeys(named.values())), "sources": named}


def _slots_source(inputs: Inputs) -> str:
    if inputs.slots is not None:
        return "--slots"
    return "workflow" if inputs.workflow.slots is not None else "pool" if inputs.pool.file.slots is not None else "default"


def _default_mode(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {} if "permission_mode" in shown else {"permission_mode": {"value": "default", "source": "default"}}
