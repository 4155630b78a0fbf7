"""What a step asks of its agent and of the pool that nobody can give: a profile or a slot that does not exist, an agent without what
it needs, a setting that its agent does not take.

Asked when the file's own names are known; what an agent can do is told by the caller (`capabilities.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from cpool_flow import model, settings
from cpool_flow.capabilities import Capabilities
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, listed, shown_name
from cpool_flow.findings import Findings
from cpool_flow.order import Order, Placed
from cpool_flow.slots import NO_SLOT, SlotPool
from cpool_flow.template import is_template

# The agents that need a setting of their own, and which.
_NEEDS = {"command": "command", "scripted": "script", "replay": "recording"}


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a file's steps can ask for beside it. `skills`: the settings of those it uses. `help`: what to do where there is no such slot
    although the file has one. `instead`: the agent that stands in for every other. `capabilities`: what an agent with these settings can
    do; without it, it can do all."""

    pool: SlotPool
    skills: Mapping[str, model.AgentConfig]
    help: str | None = None
    instead: str | None = None
    capabilities: Callable[[model.AgentConfig], Capabilities] | None = None


def check_agents(workflow: model.Workflow, order: Order, around: Surroundings, findings: Findings) -> None:
    """Note what the steps of a workflow ask for in vain."""
    for placed in order.all:
        _AgentRules(placed, workflow, around, findings).check(order)


class _AgentRules:
    """The rules for one step."""

    def __init__(self, placed: Placed, workflow: model.Workflow, around: Surroundings, findings: Findings) -> None:
        self._placed = placed
        self._step = placed.step
        self._workflow = workflow
        self._around = around
        self._findings = findings

    def check(self, order: Order) -> None:
        known = self._check_profile() and self._check_slot()
        if known and (self._step.is_agent or self._step.recovery_prompt is not None) and self._check_agent():
            self._check_capabilities(order)

    def _check_profile(self) -> bool:
        name = self._step.profile
        known = {**self._around.pool.file.profiles, **self._workflow.profiles}
        if name is None or name in known:
            return True
        hint = did_you_mean(name, known)
        help = None if hint else f"declare it: `profiles: {{{name}: {{model: …}}}}` at the top of the file, or in `cpool.yaml`"
        self._findings.error((*self._placed.path, "profile"), f"unknown profile {shown_name(name)}", hint=hint, help=help)
        return False

    def _check_slot(self) -> bool:
        asked, pool = self._step.slot, self._around.pool
        path = (*self._placed.path, "slot")
        if asked is None or asked == NO_SLOT or pool.answering(asked):
            return True
        if is_template(asked):
            self._findings.error(path, "`slot` takes no template: which slots there are is fixed before the run begins")
            return False
        named = [word for slot in pool.slots if slot.kind or slot.role or slot.labels for word in slot.words]
        hint = did_you_mean(asked, pool.words)
        known = f"there is {listed(dict.fromkeys(named))}" if named else "name it in `slots:` of this file, or of `cpool.yaml`"
        self._findings.error(
            path, f"no slot answers to {shown_name(asked)}", hint=hint, help=self._around.help or (None if hint else known)
        )
        return False

    def _check_agent(self) -> bool:
        found = self._settings()
        agents = [_agents(each.config) for each in found]
        if len(set(agents)) > 1:
            slots = self._around.pool.for_step(self._step) or ()
            different = listed(dict.fromkeys(agent for each in agents for agent in each))
            message = f"the slots that answer to {shown_name(self._step.slot)} have different agents: {different}"
            help = f"ask for one of them by its name: {listed(dict.fromkeys(slot.kind or slot.name for slot in slots))}"
            self._findings.error((*self._placed.path, "slot"), message, help=help)
            return False
        for each in found:
            for agent in _agents(each.config):
                key = _NEEDS.get(agent)
                if key is not None and getattr(each.config, key) is None:
                    message = f"`agent: {agent}` needs `{key}`"
                    help = f"write it beside it: `config: {{agent: {agent}, {key}: …}}`"
                    self._findings.error((*self._placed.path, self._key_of_agent(each)), message, help=help)
        return True

    def _check_capabilities(self, order: Order) -> None:
        if self._around.capabilities is None:
            return
        from cpool_flow.asked import Asked

        asked = Asked(self._placed, self._around.instead, self._around.capabilities, self._findings)
        pool = self._around.pool
        skill = self._around.skills.get(self._step.skill or "")
        for slot in pool.kinds_for(self._step):
            layers = settings.layers_of(self._step, self._placed.name, self._workflow, pool, skill, slot)
            asked.check(layers)
            asked.check_fallback(layers)
        session = self._step.session
        if isinstance(session, model.Session):
            source = order.names(self._placed).get(session.continue_ or session.fork or "")
            before = _AgentRules(source, self._workflow, self._around, self._findings)._settings()[0].config if source is not None else None
            asked.check_session(session, self._settings()[0].config, before or model.AgentConfig())

    def _settings(self) -> list[settings.Settings]:
        skill = self._around.skills.get(self._step.skill or "")
        return settings.possible(self._step, self._placed.name, self._workflow, self._around.pool, skill)

    def _key_of_agent(self, found: settings.Settings) -> str:
        """The key of the step that names its agent, or that stands for it in a message."""
        named = found.sources.get("agent", "").partition(" ")[0]
        keys = (named if named in ("slot", "profile", "skill") else "config", "config", "prompt", "skill", "recovery_prompt")
        return next(key for key in keys if getattr(self._step, key) is not None)


def _agents(config: model.AgentConfig) -> tuple[str, ...]:
    """The agent of these settings, then those that take over for it."""
    return tuple(dict.fromkeys((config.agent or "claude", *(config.fallback or ()))))
