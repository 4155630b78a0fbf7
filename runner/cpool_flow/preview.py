"""What is known of a run's values before it starts, for `plan`. Writes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cpool_flow import settings, template
from cpool_flow.inputs import Inputs
from cpool_flow.plan import PlannedStep
from cpool_flow.values import Record, RenderError, wrap


class Preview:
    """What is known of a run's values before it starts. A text that needs a step's output is shown as it was written."""

    def __init__(self, taken: Inputs, given: frozenset[str] = frozenset()) -> None:
        self._taken = taken
        self._given = given
        env = taken.workflow.env
        self._scope: dict[str, object] = {
            "args": wrap(dict(taken.args)),
            "env": Record(dict(env)),
            "context": wrap(dict(taken.workflow.context)),
        }

    def source(self, argument: str) -> str:
        """Where an argument's value comes from."""
        declared = self._taken.workflow.args[argument]
        value = self._taken.args[argument]
        return "default" if "default" in declared and declared["default"] == value else "given" if value is not None else "not given"

    def text(self, step: PlannedStep) -> str:
        """The command or prompt, rendered where all its values are known."""
        body = step.step.run if step.step.run is not None else step.step.prompt
        if body is None:
            return f"skill {step.step.skill} with {json.dumps(step.step.with_ or {}, ensure_ascii=False)}"
        if not isinstance(body, str):
            return " ".join(self._rendered(word) for word in body)
        return body if step.step.kind == "run" else self._rendered(body)

    def foreach(self, step: PlannedStep) -> Any:
        """The literal list, or the expression that is asked when the step's needs have ended."""
        return list(step.step.foreach) if isinstance(step.step.foreach, tuple) else step.step.foreach

    def agent(self, step: PlannedStep) -> dict[str, dict[str, Any]]:
        """The merged agent settings, each with the layer it comes from."""
        merged = settings.merge(self._taken.copies[step.source].layers(step.step, step.name))
        values = merged.config.model_dump(exclude_none=True, mode="json")
        shown = {name: {"value": value, "source": merged.sources.get(name, "several layers")} for name, value in values.items()}
        override = "--agent" if self._taken.agent else merged.sources.get("agent", "default")
        return {**shown, "agent": {"value": step.agent, "source": override}, **_default_mode(shown)}

    def _rendered(self, text: str) -> str:
        try:
            return template.parse(text).render(self._scope, _NoHost()) if "{" in text else text
        except RenderError:
            return text


class _NoHost:
    """A plan writes no file: where a value would go to one, the text stays as it was written."""

    def write_file(self, text: str) -> str:
        raise RenderError("known when the run starts")

    def nonce(self) -> str:
        raise RenderError("known when the run starts")


def _default_mode(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {} if "permission_mode" in shown else {"permission_mode": {"value": "default", "source": "default"}}
