"""What a step asks of its agent, held against what that can do.

Knows places in the file and who set what; what an agent can do is told by the caller (`capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cpool_flow import model
from cpool_flow.capabilities import Capabilities
from cpool_flow.errors import listed
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.order import Placed
from cpool_flow.settings import Layer, merge

# Settings that hold an agent back: that it does not know them must not go unsaid, whoever set them.
_LIMITS = ("permission_mode", "disallowed_tools", "max_turns", "max_budget_usd")


@dataclass(frozen=True, slots=True)
class Asked:
    """The questions for one step. `instead`: the agent that stands in for the one that the files name."""

    placed: Placed
    instead: str | None
    capabilities: Callable[[model.AgentConfig], Capabilities]
    findings: Findings

    def check(self, layers: Sequence[Layer]) -> None:
        """Note the settings that the step's agent does not take.

        One that stands beside the agent's name, or nearer to the step, was meant for it: an error. One further away was meant for
        whoever works by default: it does nothing here, and only a limit is worth a warning.
        """
        naming = [number for number, layer in enumerate(layers) if layer.config.agent is not None]
        agent = self.instead or (layers[naming[-1]].config.agent if naming else None) or "claude"
        nearest = len(layers) if self.instead is not None else naming[-1] if naming else -1
        can = self.capabilities(merge(layers).config.model_copy(update={"agent": agent}))
        for number, layer in enumerate(layers):
            for key in layer.config.model_fields_set:
                value = getattr(layer.config, key)
                if value in (None, (), {}, "") or can.takes(key, value):
                    continue
                if number >= nearest:
                    self._refuse(agent, layer, key, value, can)
                elif key in _LIMITS:
                    self._warn(agent, layer, key)

    def check_session(self, session: model.Session, config: model.AgentConfig, before: str | None) -> None:
        """Note a session that the agent cannot go on in. `before`: the agent that it belongs to."""
        agent = self.instead or config.agent or "claude"
        can = self.capabilities(config.model_copy(update={"agent": agent}))
        key, word = ("continue", "go on in") if session.continue_ is not None else ("fork", "copy")
        path = (*self.placed.path, "session", key)
        if not (can.resume if key == "continue" else can.fork):
            self.findings.error(
                path, f"agent `{agent}` cannot {word} an earlier session", help="give the step another agent, or `session: fresh`"
            )
        elif self.instead is None and (before or "claude") != agent:
            name = session.continue_ or session.fork
            self.findings.error(path, f"the session of step `{name}` belongs to agent `{before or 'claude'}`, and this step has `{agent}`")

    def _refuse(self, agent: str, layer: Layer, key: str, value: object, can: Capabilities) -> None:
        values = sorted(can.values.get(key, ())) if key in can.keys else []
        asked = f"{key}: {value}" if values else key
        help = f"it takes {listed(values)}" if values else "leave it out, or give the step another agent"
        path, whose = self._place(layer, key)
        self.findings.error(path, f"agent `{agent}` does not take `{asked}`{whose}", help=help)

    def _warn(self, agent: str, layer: Layer, key: str) -> None:
        message = f"agent `{agent}` of step `{self.placed.name}` does not take `{key}` (from {layer.source}): nothing holds it to that"
        self.findings.error((*self.placed.path, self._own_key(layer)), message, warning=True)

    def _place(self, layer: Layer, key: str) -> tuple[Path, str]:
        """Where the setting stands, or else the key of the step that brings it in; then whose it is has to be said."""
        if layer.source == f"step {self.placed.name}":
            return (*self.placed.path, "config", key), ""
        if layer.source == "workflow":
            return ("config", key), ""
        return (*self.placed.path, self._own_key(layer)), f" (from {layer.source})"

    def _own_key(self, layer: Layer) -> str:
        named = layer.source.partition(" ")[0]
        keys = (named if named in ("slot", "profile", "skill") else "config", "config", "prompt", "skill", "recovery_prompt")
        return next(key for key in keys if getattr(self.placed.step, key) is not None)
