"""What will run: the steps of a workflow as a graph, with every default filled in.

Knows order and rules; not what has happened (`state.py`), nor what to do next (`policy.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Literal

from cpool_flow import model, template
from cpool_flow.dataclass import dataclass
from cpool_flow.permissions import agents_of, cap_of, may_write
from cpool_flow.slots import NO_SLOT, SlotPool, slot_pool

if TYPE_CHECKING:
    import networkx

Join = Literal["success", "done", "any"]
Phase = Literal["main", "finally"]
# Plans a step that is added: its name, what it is, the workflow files that it brings along, whether its texts are literal.
Grow = Callable[[str, Mapping[str, Any], Mapping[str, Any] | None, bool], "PlannedStep"]
Path = tuple[str | int, ...]
# The sub-workflow that a step of the file `source` names, and the key of its own file. The run's own file is "".
FindChild = Callable[[str, str], tuple[str, model.Workflow]]
DEFAULT_MAX_ITEMS = 1000
# Failures that another attempt cannot mend (format.md 9).
NEVER_RETRIED = frozenset({"auth", "permission_denied", "budget", "cancelled", "invalid"})
AGENT_RETRIED = frozenset({"overloaded", "lost"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its place in the graph. Times are seconds. `source`: the file that it stands in, `path`: where in it. `inner`: the
    steps that it holds, of a group or a sub-workflow; a loop over a single step holds that step. `executes`: its tasks have attempts, a
    process does the work. `isolated`: each of them works in a place of its own. `literal`: none of its texts is a template. `slots`: the
    names of those that it may take, None where any will do."""

    name: str
    position: int
    path: Path
    step: model.Step
    source: str
    inner: Plan | None
    phase: Phase
    needs: tuple[str, ...]
    join: Join
    timeout_seconds: float
    idle_timeout_seconds: float | None
    retries: int
    recoveries: int
    on_failure: Literal["fail", "continue", "stop"]
    effects: Literal["none", "workspace", "external"]
    may_write: bool
    agent: str | None
    slots: tuple[str, ...] | None
    # Agents that stand in while `agent` is at its usage limit, in this order.
    fallback: tuple[str, ...]
    max_budget_usd: float | None
    max_parallel: int | None
    max_items: int
    fans_out: bool
    executes: bool
    isolated: bool
    literal: bool = False

    def renamed(self, name: str, prompt: str) -> PlannedStep:
        """The same for another prompt."""
        return replace(self, name=name, step=self.step.model_copy(update={"name": name, "prompt": prompt}))

    @property
    def is_plain(self) -> bool:
        """Whether its one task can be made without asking for any value."""
        return not self.fans_out and self.step.when is None

    def everything(self) -> Iterator[PlannedStep]:
        """The step, and all inside of it."""
        yield self
        if self.inner is not None:
            yield from self.inner.everything()

    @property
    def takes_slot(self) -> bool:
        return self.step.slot != NO_SLOT

    @property
    def has_agents(self) -> bool:
        """Whether it, or anything in it, is an agent task."""
        return self.step.is_agent or (self.inner is not None and self.inner.has_agents)


@dataclass(frozen=True, slots=True)
class Plan:
    """Steps of one level in the order of the file, those of `finally` last. `is_workflow`: a whole file, not a group in it."""

    workflow: model.Workflow
    source: str
    is_workflow: bool
    steps: Mapping[str, PlannedStep]
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_slotless: bool = False
    has_agents: bool = False
    has_isolated: bool = False
    grow: Grow | None = None

    def growing(self, grow: Grow) -> Plan:
        """The same without its steps, to which others are added while the run goes on: the plan of a pool."""
        return replace(self, steps={}, dependents={}, has_slotless=False, has_agents=False, has_isolated=False, grow=grow)

    def with_step(self, step: PlannedStep) -> Plan:
        """A growing plan with one step more, that needs no other. What it was made from is used up."""
        assert isinstance(self.steps, dict), "BUG: this plan does not grow"
        self.steps[step.name] = step
        slotless = not step.takes_slot or (step.inner is not None and step.inner.has_slotless)
        isolated = step.isolated or (step.inner is not None and step.inner.has_isolated)
        has = (self.has_slotless or slotless, self.has_agents or step.has_agents, self.has_isolated or isolated)
        if has != (self.has_slotless, self.has_agents, self.has_isolated):
            return replace(self, has_slotless=has[0], has_agents=has[1], has_isolated=has[2])
        return self

    def without_step(self, name: str) -> None:
        """Take a step out of a growing plan."""
        assert isinstance(self.steps, dict), "BUG: this plan does not grow"
        del self.steps[name]

    def __getitem__(self, name: str) -> PlannedStep:
        return self.steps[name]

    def __iter__(self) -> Iterator[PlannedStep]:
        return iter(self.steps.values())

    def phase(self, phase: Phase) -> list[PlannedStep]:
        return [step for step in self if step.phase == phase]

    def everything(self) -> Iterator[PlannedStep]:
        """All steps, with those inside of others."""
        for step in self:
            yield from step.everything()

    def downstream(self, names: Iterable[str]) -> set[str]:
        """All steps that come after any of `names`, those not among them."""
        found: set[str] = set()
        open_names = list(names)
        while open_names:
            for dependent in self.dependents.get(open_names.pop(), ()):
                if dependent not in found:
                    found.add(dependent)
                    open_names.append(dependent)
        return found

    def graph(self) -> networkx.DiGraph[str]:
        """The needs as a graph, an edge from each step to those that need it."""
        import networkx

        graph: networkx.DiGraph[str] = networkx.DiGraph()
        graph.add_nodes_from(self.steps)
        graph.add_edges_from((need, step.name) for step in self for need in step.needs)
        return graph


Skills = Mapping[str, model.AgentConfig]


def build(
    workflow: model.Workflow,
    *,
    agent: str | None = None,
    find: FindChild | None = None,
    skills: Callable[[str], Skills] = lambda source: {},
    pool: SlotPool | None = None,
) -> Plan:
    """The plan of a workflow that `validate` has passed. `agent` stands in for every agent that the files name; `find` gives
    the sub-workflows, `skills` the settings of the skills that a file uses, `pool` those of the project and of the slots."""
    return StepBuilder(agent, find or _no_children, skills, pool or slot_pool(slots=workflow.slots)).whole("", workflow)


def added_step(step: model.Step, workflow: model.Workflow, builder: StepBuilder, *, literal: bool) -> PlannedStep:
    """The plan of a step that a pool was given. `literal`: none of its texts is a template."""
    return replace(builder.planned("", workflow, step, ("steps", 0), 0, None), literal=literal)


def step_name(step: model.Step, position: int) -> str:
    """The name of the step at `position` (from 0) of the file; those of `finally` are counted on from those of `steps`."""
    return step.name or f"step_{position + 1}"


def _no_children(source: str, named: str) -> tuple[str, model.Workflow]:
    raise AssertionError(f"BUG: nobody has looked up the workflow `{named}`")


@dataclass(frozen=True, slots=True)
class StepBuilder:
    """Plans steps in the pool of a run."""

    agent: str | None
    find: FindChild
    skills: Callable[[str], Skills]
    pool: SlotPool

    def whole(self, source: str, workflow: model.Workflow) -> Plan:
        main = self._level(source, workflow, workflow.steps, ("steps",))
        last = self._level(source, workflow, workflow.finally_, ("finally",), len(workflow.steps))
        return _joined(workflow, source, [*main, *last], is_workflow=True)

    def _level(
        self, source: str, workflow: model.Workflow, steps: tuple[model.Step, ...], path: Path, offset: int = 0
    ) -> Iterator[PlannedStep]:
        before: str | None = None
        for index, step in enumerate(steps):
            yield self.planned(source, workflow, step, (*path, index), index + offset, before)
            before = step_name(step, index + offset)

    def _inner(self, source: str, workflow: model.Workflow, step: model.Step, name: str, path: Path) -> Plan | None:
        """What a step holds. A loop over a step that holds nothing itself holds that step."""
        if step.steps is not None:
            return _joined(workflow, source, list(self._level(source, workflow, step.steps, (*path, "steps"))), is_workflow=False)
        if step.repeat is not None:
            once = step.model_copy(update=dict.fromkeys(_OF_THE_LOOP) | {"name": name})
            return _joined(workflow, source, [self.planned(source, workflow, once, path, 0, None, phase="main")], is_workflow=False)
        return self.whole(*self.find(source, step.workflow)) if step.workflow is not None else None

    def planned(
        self,
        source: str,
        workflow: model.Workflow,
        step: model.Step,
        path: Path,
        position: int,
        before: str | None,
        phase: Phase | None = None,
    ) -> PlannedStep:
        phase = phase or ("finally" if path[0] == "finally" and len(path) == 2 else "main")
        name = step_name(step, position)
        skill = self.skills(source).get(step.skill) if step.skill is not None else None
        agent, *fallback = agents_of(step, workflow, skill, self.agent, self.pool) or (None,)
        inner = self._inner(source, workflow, step, name, path)
        return PlannedStep(
            name=name,
            position=position,
            path=path,
            step=step,
            source=source,
            inner=inner,
            phase=phase,
            needs=_needs(step, before),
            join=join_of(step, phase),
            timeout_seconds=step.timeout or model.DEFAULT_TIMEOUT_SECONDS,
            idle_timeout_seconds=step.idle_timeout or (model.DEFAULT_AGENT_IDLE_TIMEOUT_SECONDS if step.is_agent else None),
            retries=step.retries if step.retries is not None else (model.DEFAULT_AGENT_RETRIES if step.is_agent else 0),
            recoveries=(step.recoveries or 1) if step.recovery_prompt else 0,
            on_failure=step.on_failure or "fail",
            effects=step.effects or "workspace",
            may_write=may_write(step, workflow, skill, self.agent, self.pool),
            agent=agent,
            fallback=tuple(fallback),
            max_budget_usd=cap_of(step, workflow, skill, self.pool) if agent is not None else None,
            slots=self.pool.names_for(step),
            max_parallel=step.max_parallel,
            max_items=DEFAULT_MAX_ITEMS if step.max_items is None else step.max_items,
            fans_out=step.fans_out,
            executes=inner is None and step.executes,
            isolated=step.isolated,
        )


# What a loop over one step asks once, not in each round.
_OF_THE_LOOP = (
    "repeat",
    "needs",
    "join",
    "when",
    "foreach",
    "matrix",
    "as_",
    "filter",
    "limit",
    "max_items",
    "max_parallel",
    "fail_fast",
    "on_failure",
    "isolation",
    "merge",
    "setup",
)


def _joined(workflow: model.Workflow, source: str, steps: list[PlannedStep], *, is_workflow: bool) -> Plan:
    dependents: dict[str, list[str]] = {}
    for step in steps:
        for need in step.needs:
            dependents.setdefault(need, []).append(step.name)
    return Plan(
        workflow,
        source,
        is_workflow,
        {step.name: step for step in steps},
        {name: tuple(after) for name, after in dependents.items()},
        has_slotless=any(not step.takes_slot or (step.inner is not None and step.inner.has_slotless) for step in steps),
        has_agents=any(step.has_agents for step in steps),
        has_isolated=any(step.isolated or (step.inner is not None and step.inner.has_isolated) for step in steps),
    )


def _needs(step: model.Step, before: str | None) -> tuple[str, ...]:
    if step.needs is None:
        return (before,) if before else ()
    return (step.needs,) if isinstance(step.needs, str) else tuple(dict.fromkeys(step.needs))


def join_of(step: model.Step, phase: str) -> Join:
    """When the needs of a step are met: as its `join` says, or as its `when` implies. `finally` cleans up: each of its steps runs,
    whatever became of the one above it."""
    if step.join is not None:
        return step.join
    if phase == "finally" or (isinstance(step.when, str) and _reads_outcome(step.when)):
        return "done"
    return "success"


def _reads_outcome(expression: str) -> bool:
    """Whether it asks how a step ended: `steps.NAME.status`, `previous.error`; not what stands in an output under such a name."""
    fields = {"steps": 2, "previous": 1}  # where the field of a step stands in the path
    return any(
        reference.path[fields[reference.path[0]] :][:1] in (("status",), ("error",))
        for reference in template.parse_expression(expression).references
        if reference.path[0] in fields
    )
