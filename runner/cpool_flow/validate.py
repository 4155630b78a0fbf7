"""A workflow file → a workflow that holds together, or all that is wrong with it, sorted by place.

Puts the checks in their order. Reads no disk: skills and files beside the workflow are asked of a `Lookup`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import field, replace
from typing import TYPE_CHECKING, Protocol

from cpool_flow import __version__, model
from cpool_flow.agent_rules import Surroundings, check_agents
from cpool_flow.arguments import Complaint, declaration_problems, mismatches, missing, unknown
from cpool_flow.capabilities import Capabilities
from cpool_flow.dataclass import dataclass
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem, shown_name
from cpool_flow.findings import MOST, Enough, Findings
from cpool_flow.json_value import BadJson, JsonValue, read_json
from cpool_flow.lints import warn
from cpool_flow.nodes import Document, Path
from cpool_flow.order import Order, read_order
from cpool_flow.own_agent_rules import check_agent_name, check_agent_names
from cpool_flow.pool_rules import CheckedPool
from cpool_flow.price_rules import check_prices
from cpool_flow.references import check_references
from cpool_flow.requires import BadSpecifier, is_met
from cpool_flow.schema import InvalidSchema, compile_schema
from cpool_flow.shape import is_slots, read_shape
from cpool_flow.slots import SlotPool, slot_pool, slot_problems
from cpool_flow.step_rules import check_config, check_env, check_path, check_rules
from cpool_flow.template import is_template

if TYPE_CHECKING:
    from cpool_flow.skill import Skill


class Lookup(Protocol):
    """What validation asks of the disk."""

    def skill(self, name: str) -> tuple[bytes, str]:
        """A skill's SKILL.md and its path. Raises InvalidInput."""
        ...

    def file(self, name: str) -> bytes:
        """A file by its path relative to the workflow. Raises InvalidInput."""
        ...

    def workflow(self, name: str, pool: SlotPool | None, wishes: Wishes) -> Checked:
        """A sub-workflow by its name, or its path relative to the workflow, in the pool of the run. Raises InvalidInput."""
        ...

    def pool(self) -> CheckedPool:
        """The project's `cpool.yaml`. Raises InvalidInput."""
        ...

    def capabilities(self, config: model.AgentConfig) -> Capabilities:
        """What the agent of these settings can do."""
        ...


@dataclass(frozen=True)
class Checked:
    """A valid workflow. `pool`: the project's `cpool.yaml`. `children`: its sub-workflows, by the text that names them. `skills`: the text of each SKILL.md by name. `schemas`: what each `output_schema` that is a path holds,
    in one piece with all that it refers to."""

    workflow: model.Workflow
    document: Document
    warnings: tuple[Problem, ...] = ()
    skills: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, JsonValue] = field(default_factory=dict)
    children: Mapping[str, Checked] = field(default_factory=dict)
    pool: CheckedPool = field(default_factory=CheckedPool)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the command line says in place of the file: how many slots, and the agent that stands in for every other. `limited`: there is
    a budget to keep to, whatever the file says; `allow_unpriced`: also with agents whose cost nobody knows."""

    slots: int | None = None
    agent: str | None = None
    limited: bool = False
    allow_unpriced: bool = False


AS_WRITTEN = Wishes()


def validate(
    source: bytes,
    file: str,
    lookup: Lookup | None = None,
    *,
    pool: SlotPool | None = None,
    wishes: Wishes = AS_WRITTEN,
) -> Checked:
    """The workflow in `source`. Raises InvalidInput with every problem. Without a `lookup`, what it would be asked is taken as good.

    `pool`: the one of the run, for a sub-workflow; else it is that of the project. `wishes`: what the command line says.
    """
    check = _Check(load(source, file), lookup, pool, wishes)
    try:
        check.run()
    except Enough:
        raise InvalidInput([Problem(f"more than {MOST} problems; these are some of them"), *check.findings.errors]) from None
    if check.findings.errors or check.workflow is None:
        raise InvalidInput(check.findings.errors)
    skills = {name: source for name, (source, _) in check.skills.items()}
    return Checked(check.workflow, check.findings.document, check.findings.warnings, skills, check.schemas, check.children, check.pool_file)


class _Check:
    """One validation: what was found so far."""

    def __init__(self, document: Document, lookup: Lookup | None, pool: SlotPool | None, wishes: Wishes) -> None:
        self.findings = Findings(document)
        self.workflow: model.Workflow | None = None
        self.skills: dict[str, tuple[str, Skill]] = {}
        self.schemas: dict[str, JsonValue] = {}
        self.children: dict[str, Checked] = {}
        self.pool_file = CheckedPool()
        self._lookup = lookup
        self._of_run = pool
        self._wishes = wishes

    def run(self) -> None:
        self.workflow = workflow = read_shape(self.findings)
        if workflow is None:
            return
        self._check_top(workflow)
        self._pool = self._slot_pool(workflow)
        if workflow.budget_usd is not None or self.pool_file.pool.budgets.day is not None:
            self._wishes = replace(self._wishes, limited=True)
        order = read_order(workflow, self.findings)
        check_rules(workflow, order, self.findings)
        self._check_skills(order)
        self._check_schemas(order)
        self._check_workflows(order)
        self._check_scripts(workflow, order)
        skills = {name: skill.config for name, (_, skill) in self.skills.items()}
        if self._pool is not None and self._check_agent_names(workflow, order, self._pool):
            can = self._lookup.capabilities if self._lookup is not None else None
            around = Surroundings(self._pool, skills, self._slot_help(), self._wishes.agent, can)
            check_agents(workflow, order, around, self.findings)
            if self._wishes.limited:
                check_prices(workflow, order, around, self.findings, allow_unpriced=self._wishes.allow_unpriced)
        outputs = {name: tuple(child.workflow.outputs) for name, child in self.children.items()}
        used_arguments = check_references(workflow, order, self.findings, outputs)
        if not self.findings.errors and self._pool is not None:
            warn(workflow, order, used_arguments, skills, self.findings, self._pool)

    def _check_top(self, workflow: model.Workflow) -> None:
        if workflow.requires is not None:
            self._check_requires(workflow.requires)
        for name, declaration in workflow.args.items():
            for problem in declaration_problems(declaration):
                self.findings.error(("args", name, *problem.path), f"argument `{name}`: {problem.message}")
        for index, name in enumerate(workflow.secrets):
            if name.startswith("CPOOL_"):
                self.findings.error(("secrets", index), f"`{name}` cannot be a secret: names that begin with `CPOOL_` are our own")
        check_env(("env",), workflow.env, self.findings, workflow.secrets)
        check_config(("config",), workflow.config, self.findings)
        for path, message in slot_problems(workflow.slots):
            self.findings.error(("slots", *path), message)
        for index, slot in enumerate(workflow.slots if isinstance(workflow.slots, tuple) else ()):
            check_config(("slots", index, "config"), slot.config or model.AgentConfig(), self.findings)
        if workflow.base is not None:
            self._check_base(workflow.base)

    def _slot_pool(self, workflow: model.Workflow) -> SlotPool | None:
        """The pool in which the steps work; None where it cannot be told for what is wrong with it, which is noted then."""
        if self._of_run is not None:
            return self._of_run
        try:
            self.pool_file = self._lookup.pool() if self._lookup is not None else CheckedPool()
        except InvalidInput as error:
            for problem in error.problems:
                self.findings.add(problem)
            return None
        for problem in self.pool_file.warnings:
            self.findings.add(problem)
        if self.findings.errors and not is_slots(self.findings.document.data):
            return None
        return slot_pool(self.pool_file.pool, workflow.slots, self._wishes.slots)

    def _slot_help(self) -> str | None:
        """What to do where a step asks for a slot that the run does not have although its own file may."""
        if self._of_run is not None:
            return "a sub-workflow works in the slots of the run: name it in those of the file that is started, or in `cpool.yaml`"
        if self._wishes.slots is not None:
            return "leave out `--slots`: its slots have no names, and stand in for those of the file"
        return None

    def _check_requires(self, specifier: str) -> None:
        try:
            if not is_met(specifier, __version__):
                self.findings.error(
                    ("requires",), f"this file requires cpool-flow {specifier}, and this is {__version__}", help="pip install -U cpool-flow"
                )
        except BadSpecifier:
            self.findings.error(("requires",), '`requires` is a list of versions such as ">=0.1, <1"')

    def _check_base(self, base: str) -> None:
        if base.startswith("-") or not base.strip() or not base.isprintable():
            self.findings.error(("base",), "`base` must be a commit, branch or tag")
        elif is_template(base):
            self.findings.error(("base",), "`base` takes no template: it is fixed before the run begins")

    def _check_skills(self, order: Order) -> None:
        for placed in order.all:
            if placed.step.skill is None or self._lookup is None:
                continue
            skill = self._skill(placed.step.skill, (*placed.path, "skill"))
            if skill is not None:
                self._check_with(skill, placed.step.with_ or {}, placed.path)

    def _check_with(self, skill: Skill, given: Mapping[str, JsonValue], path: Path) -> None:
        """Note the arguments of a skill that are missing, unknown, or not what it declares, as far as their values are known."""
        complaints = skill.check_arguments(given)
        for name, value in skill.as_declared(given).items():
            if name in (skill.arguments or {}) and not _holds_template(given[name]):
                complaints += [(name, problem) for problem in mismatches(name, value, (skill.arguments or {})[name])]
        for name, problem in complaints:
            unknown = name in given and name not in (skill.arguments or {})
            where = (*path, "with", name) if name in given else (*path, "skill")
            self.findings.add(replace(problem, location=self.findings.document.location(where, key=unknown)))

    def _skill(self, name: str, path: Path) -> Skill | None:
        if name not in self.skills and self._lookup is not None:
            from cpool_flow.skill import parse_skill

            try:
                source, file = self._lookup.skill(name)
            except InvalidInput as error:
                self._add_placed(error, path)
                return None
            try:
                skill = parse_skill(source, file)
            except InvalidInput as error:
                self._add_placed(error, path)
                return None
            for warning in skill.warnings:
                self.findings.add(warning)
            self.skills[name] = (source.decode("utf-8"), skill)
        return self.skills[name][1]

    def _check_workflows(self, order: Order) -> None:
        for placed in order.all:
            name = placed.step.workflow
            if name is None or self._lookup is None:
                continue
            path = (*placed.path, "workflow")
            if is_template(name):
                self.findings.error(path, "`workflow` takes no template: it is known before the run begins")
                continue
            child = self._child(name, path)
            for argument, problem in _wrong_arguments(child, placed.step.with_ or {}) if child is not None else ():
                given = argument in (placed.step.with_ or {})
                place = self.findings.document.location((*placed.path, "with", argument) if given else path, key=given)
                self.findings.add(replace(problem, location=place))

    def _child(self, name: str, path: Path) -> Checked | None:
        if name not in self.children:
            assert self._lookup is not None
            try:
                self.children[name] = self._lookup.workflow(name, self._pool, self._wishes)
            except InvalidInput as error:
                self._add_placed(error, path)
                if any(problem.location for problem in error.problems):
                    self.findings.error(path, f"sub-workflow {shown_name(name)} is not valid", help="its own problems stand above or below")
                return None
            for warning in self.children[name].warnings:
                self.findings.add(warning)
        return self.children[name]

    def _check_agent_names(self, workflow: model.Workflow, order: Order, pool: SlotPool) -> bool:
        """Note the agents that nobody knows; whether there is none."""
        before = len(self.findings.errors)
        for path, config in _configs(workflow, order):
            check_agent_names(path, config, pool.file, self.findings)
        for placed in order.all:
            skill = self.skills.get(placed.step.skill or "")
            if skill is not None:
                check_agent_name((*placed.path, "skill"), skill[1].config.agent, pool.file, self.findings)
        return len(self.findings.errors) == before

    def _check_scripts(self, workflow: model.Workflow, order: Order) -> None:
        """Note the files of the scripted agent that are not there."""
        for path, config in _configs(workflow, order):
            if config.script is None or self._lookup is None:
                continue
            if check_path((*path, "script"), config.script, self.findings):
                try:
                    self._lookup.file(config.script)
                except InvalidInput as error:
                    self._add_placed(error, (*path, "script"))

    def _check_schemas(self, order: Order) -> None:
        for placed in order.all:
            schema, path = placed.step.output_schema, (*placed.path, "output_schema")
            if isinstance(schema, dict):
                self._compile(schema, path)
            elif schema is not None and schema not in self.schemas and check_path(path, schema, self.findings):
                self._read_schema(schema, path)

    def _read_schema(self, name: str, path: Path) -> None:
        if self._lookup is None:
            return
        try:
            self._compile(self._json(name), path, name)
        except InvalidInput as error:
            self._add_placed(error, path)

    def _compile(self, schema: JsonValue, path: Path, name: str = "") -> None:
        """Note what is wrong with a schema; keep it, if it is a file, with all that it refers to."""
        try:
            compiled = compile_schema(schema, file=name, retrieve=self._json if name else None)
        except InvalidSchema as error:
            for problem in error.problems:
                where = path if name else (*path, *problem.path)
                self.findings.error(where, f"{f'`{name}`: ' if name else ''}{problem.message}")
        else:
            if name:
                self.schemas[name] = compiled.document

    def _json(self, name: str) -> JsonValue:
        """What a file holds, as JSON or YAML. Raises InvalidInput."""
        assert self._lookup is not None
        source = self._lookup.file(name)
        if not name.endswith(".json"):
            return load(source, name).data
        try:
            return read_json(source.decode("utf-8"))
        except (BadJson, UnicodeDecodeError) as error:
            raise InvalidInput(f"`{name}`: {error}") from None

    def _add_placed(self, error: InvalidInput, path: Path) -> None:
        """What was found elsewhere; without a place of its own, here."""
        for problem in error.problems:
            self.findings.add(problem if problem.location else replace(problem, location=self.findings.document.location(path)))


def _wrong_arguments(child: Checked, given: Mapping[str, JsonValue]) -> Iterator[Complaint]:
    """What is wrong with `with` of a sub-workflow, as far as it can be told before its templates have values."""
    declared = child.workflow.args
    yield from unknown(declared, given)
    yield from missing(declared, given, "with: {{{}: …}}")
    for name, value in given.items():
        if name in declared and not _holds_template(value):
            yield from ((name, problem) for problem in mismatches(name, value, declared[name]))


def _holds_template(value: JsonValue) -> bool:
    if isinstance(value, str):
        return is_template(value)
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_holds_template, inner))


def _configs(workflow: model.Workflow, order: Order) -> Iterator[tuple[Path, model.AgentConfig]]:
    """All agent settings in the file, each with its place."""
    yield ("config",), workflow.config
    yield from ((("profiles", name), profile) for name, profile in workflow.profiles.items())
    for at, slot in enumerate(workflow.slots if isinstance(workflow.slots, tuple) else ()):
        if slot.config is not None:
            yield ("slots", at, "config"), slot.config
    for placed in order.all:
        if placed.step.config is not None:
            yield (*placed.path, "config"), placed.step.config
