"""What a step asks of its agent, held against what that can do.

Knows places in the file and who set what; what an agent can do is told by the caller (`capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from cpool_flow import model
from cpool_flow.capabilities import Capabilities
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import listed
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.order import Placed
from cpool_flow.settings import OF_ONE_AGENT, Layer, merge

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

    def check_fallback(self, layers: Sequence[Layer]) -> None:
        """Note the agents that cannot stand in for the step's own: what it was told to keep to, they have to keep to."""
        naming = [layer for layer in layers if layer.config.fallback is not None]
        if not naming or self.instead is not None:
            return
        config = merge(layers).config
        own = config.agent or "claude"
        path, whose = self._place(naming[-1], "fallback")
        for agent in dict.fromkeys(config.fallback or ()):
            if agent != own:
                for why in self._cannot_stand_in(agent, config):
                    message = f"agent `{agent}` cannot stand in for `{own}`{whose} in step `{self.placed.name}`: {why}"
                    self.findings.error(path, message, help="take it out of `fallback`; a step of its own `config` may say `fallback: []`")

    def _cannot_stand_in(self, agent: str, config: model.AgentConfig) -> Iterator[str]:
        can = self.capabilities(config.model_copy(update={"agent": agent}))
        for key in type(config).model_fields:
            value = getattr(config, key)
            if value in (None, (), {}, "") or key in OF_ONE_AGENT:
                continue
            if key == "settings" or not can.takes(key, value):
                yield f"it does not take `{key}`"

    def check_session(self, session: model.Session, config: model.AgentConfig, before: model.AgentConfig) -> None:
        """Note a session that the agent cannot go on in. `before`: the settings of the step that it belongs to."""
        agent = self.instead or config.agent or "claude"
        can = self.capabilities(config.model_copy(update={"agent": agent}))
        key, word = ("continue", "go on in") if session.continue_ is not None else ("fork", "copy")
        path = (*self.placed.path, "session", key)
        if not (can.resume if key == "continue" else can.fork):
            self.findings.error(
                path, f"agent `{agent}` cannot {word} an earlier session", help="give the step another agent, or `session: fresh`"
            )
            return
        name = session.continue_ or session.fork
        if self.instead is not None:
            return
        if (before.agent or "claude") != agent:
            message = f"the session of step `{name}` belongs to agent `{before.agent or 'claude'}`, and this step has `{agent}`"
            self.findings.error(path, message)
        elif moved := self.placed.name if config.fallback else name if before.fallback else None:
            message = f"a session belongs to one agent, and step `{moved}` may move to another by `fallback`"
            self.findings.error(path, message, help="take it away from that step: `config: {fallback: []}`")

    def _refuse(self, agent: str, layer: Layer, key: str, value: object, can: Capabilities) -> None:
        values = sorted(can.values.get(key, ())) if key in can.keys else []
        asked = f"{key}: {value}" if values else key
        help = f"it takes {listed(values)}" if values else "leave it out, or give the step another agent"
        path, whose = self._place(layer, key)
        self.findings.error(path, f"agent `{agent}` does not take `{asked}`{whose}", help=help)

    def _warn(self, agent: str, layer: Layer, key: str) -> None:
        path, whose = self._place(layer, key)
        message = f"agent `{agent}` of step `{self.placed.name}` does not take `{key}`{whose}: nothing holds it to that"
        self.findings.error(path, message, warning=True)

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
