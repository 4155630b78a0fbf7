"""What will run: the steps of a workflow as a graph, with every default filled in.

Knows order and rules; not what has happened (`state.py`), nor what to do next (`policy.py`). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from cpool_flow import model, template
from cpool_flow.errors import InvalidInput
from cpool_flow.permissions import agent_of, may_write

if TYPE_CHECKING:
    import networkx

Join = Literal["success", "done", "any"]
DEFAULT_MAX_ITEMS = 1000
# Failures that another attempt cannot mend (format.md 9).
NEVER_RETRIED = frozenset({"auth", "permission_denied", "budget", "cancelled", "invalid"})
AGENT_RETRIED = frozenset({"overloaded", "lost"})


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """A step with its place in the graph. Times are seconds."""

    name: str
    position: int
    step: model.Step
    phase: Literal["main", "finally"]
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
    max_parallel: int | None
    max_items: int

    @property
    def fans_out(self) -> bool:
        return self.step.foreach is not None

    @property
    def is_plain(self) -> bool:
        """Whether its one task can be made without asking for any value."""
        return self.step.foreach is None and self.step.when is None

    @property
    def takes_slot(self) -> bool:
        return self.step.slot is None


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps in the order of the file, those of `finally` last."""

    workflow: model.Workflow
    steps: Mapping[str, PlannedStep]
    dependents: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    has_slotless: bool = False

    def __getitem__(self, name: str) -> PlannedStep:
        return self.steps[name]

    def __iter__(self) -> Iterator[PlannedStep]:
        return iter(self.steps.values())

    def phase(self, phase: str) -> list[PlannedStep]:
        return [step for step in self if step.phase == phase]

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


def build(workflow: model.Workflow, *, agent: str | None = None, skills: Skills | None = None) -> Plan:
    """The plan of a workflow that `validate` has passed. `agent` stands in for every agent that the file names;
    `skills`: the settings of the skills that it uses."""
    given = _Given(workflow, agent, skills or {})
    steps = [*_chain(given, "main"), *_chain(given, "finally")]
    dependents: dict[str, list[str]] = {}
    for step in steps:
        for need in step.needs:
            dependents.setdefault(need, []).append(step.name)
    return Plan(
        workflow,
        {step.name: step for step in steps},
        {name: tuple(after) for name, after in dependents.items()},
        has_slotless=any(not step.takes_slot for step in steps),
    )


def step_name(step: model.Step, position: int) -> str:
    """The name of the step at `position` (from 0) of the file; those of `finally` are counted on from those of `steps`."""
    return step.name or f"step_{position + 1}"


def fan_out_items(value: object, step: PlannedStep) -> list[object]:
    """The items of a `foreach` value. Raises InvalidInput where it is no list or longer than `max_items`."""
    if not isinstance(value, list):
        raise InvalidInput(f"`foreach` of step `{step.name}` came to {_kind_of(value)}, not to a list")
    if len(value) > step.max_items:
        raise InvalidInput(f"`foreach` of step `{step.name}` came to {len(value)} items; `max_items` allows {step.max_items}")
    return value


@dataclass(frozen=True, slots=True)
class _Given:
    """What a plan is made of. `agent` stands in for every other."""

    workflow: model.Workflow
    agent: str | None
    skills: Skills


def _chain(given: _Given, phase: Literal["main", "finally"]) -> Iterator[PlannedStep]:
    main, last = given.workflow.steps, given.workflow.finally_
    before: str | None = None
    for position, step in enumerate(last, len(main)) if phase == "finally" else enumerate(main):
        planned = _planned(given, step, position, before, phase)
        yield planned
        before = planned.name


def _planned(given: _Given, step: model.Step, position: int, before: str | None, phase: Literal["main", "finally"]) -> PlannedStep:
    name = step_name(step, position)
    skill = given.skills.get(step.skill or "")
    return PlannedStep(
        name=name,
        position=position,
        step=step,
        phase=phase,
        needs=_needs(step, before),
        join=_join(step, phase),
        timeout_seconds=step.timeout or model.DEFAULT_TIMEOUT_SECONDS,
        idle_timeout_seconds=step.idle_timeout or (model.DEFAULT_AGENT_IDLE_TIMEOUT_SECONDS if step.is_agent else None),
        retries=step.retries if step.retries is not None else (model.DEFAULT_AGENT_RETRIES if step.is_agent else 0),
        recoveries=(step.recoveries or 1) if step.recovery_prompt else 0,
        on_failure=step.on_failure or "fail",
        effects=step.effects or "workspace",
        may_write=may_write(step, given.workflow, skill, given.agent),
        agent=agent_of(step, given.workflow, skill, given.agent),
        max_parallel=step.max_parallel,
        max_items=DEFAULT_MAX_ITEMS if step.max_items is None else step.max_items,
    )


def _needs(step: model.Step, before: str | None) -> tuple[str, ...]:
    if step.needs is None:
        return (before,) if before else ()
    return (step.needs,) if isinstance(step.needs, str) else tuple(dict.fromkeys(step.needs))


def _join(step: model.Step, phase: str) -> Join:
    """`finally` cleans up: each of its steps runs, whatever became of the one above it."""
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


def _kind_of(value: object) -> str:
    names = {str: "text", bool: "a boolean", int: "a number", float: "a number", dict: "a mapping", type(None): "null"}
    return names.get(type(value), "another value")
