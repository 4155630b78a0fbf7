"""What a run was started with: its own copy of everything, so that a file that changes later does not change the run.

Knows how the copy is stored in the run's folder; how it was collected and checked is `start.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpool_flow import agents, model, nodes, plan, schema, settings, skill_files
from cpool_flow.agents.protocol import Adapter
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, InvalidValue, Location, OperationFailed
from cpool_flow.plan import Plan, PlannedStep
from cpool_flow.pool_file import NAME as POOL_NAME
from cpool_flow.pool_file import NO_FILE, PoolFile
from cpool_flow.run_folder import RunFolder
from cpool_flow.secrets import present_secrets
from cpool_flow.slots import NamedSlot, SlotPool, slot_pool
from cpool_flow.values import RenderError

if TYPE_CHECKING:
    from cpool_flow.skill import Skill

FILE = "inputs.json"
# What the agent of a pool is called that is a function of a Python program.
FUNCTION_AGENT = "function"


@dataclass(frozen=True)
class WorkflowCopy:
    """One workflow file as the run owns it. `data`: the workflow as plain data; `source`: its text. `skills`: name → text of its
    SKILL.md. `schemas`: the path that a step names → that schema in one piece. `files`: the path that the workflow names → name of
    the copy below `inputs/files`. `workflows`: the text that names a sub-workflow → its key among the inputs. `skill_files`: the skills
    that have files beside their SKILL.md → name of the folder of the copies below `inputs/files`."""

    file: str
    name: str
    data: Mapping[str, Any]
    source: str = ""
    skills: Mapping[str, str] = field(default_factory=dict)
    schemas: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    workflows: Mapping[str, str] = field(default_factory=dict)
    skill_files: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def workflow(self) -> model.Workflow:
        return model.Workflow.model_validate(self.data)

    @cached_property
    def parsed_skills(self) -> dict[str, Skill]:
        if not self.skills:
            return {}
        from cpool_flow.skill import parse_skill

        return {name: parse_skill(text.encode(), f"{name}/SKILL.md") for name, text in self.skills.items()}

    def told(self, error: Exception, path: nodes.Path) -> str:
        """An error that came up in what stands at `path`, with its place: of the template that it names, of the key that it names, or
        of the whole."""
        document = self._document
        if isinstance(error, RenderError) and error.source is not None:
            for inner, text in document.texts(path):
                if text == error.source:
                    return f"{error} ({document.location_in(inner, error.offset or 0)})"
        return f"{error} ({document.location((*path, *(error.key if isinstance(error, InvalidValue) else ())))})"

    def location(self, path: nodes.Path) -> Location:
        """Where something stands in the file."""
        return self._document.location(path)

    @cached_property
    def _document(self) -> nodes.Document:
        from cpool_flow import document

        return document.load(self.source.encode(), self.file)

    def skill_config(self, step: model.Step) -> model.AgentConfig | None:
        """The settings of the skill that a step names."""
        return None if step.skill is None else self.parsed_skills[step.skill].config

    def schema_of(self, step: model.Step) -> schema.Schema | None:
        """The compiled output schema of a step."""
        if step.output_schema is None:
            return None
        document = self.schemas[step.output_schema] if isinstance(step.output_schema, str) else step.output_schema
        return schema.compile_schema(document)


@dataclass(frozen=True)
class PoolCopy:
    """The project's `cpool.yaml` as the run owns it. `data`: what stands in it as plain data; `source`: its text, empty where there was
    none. `files`: the path that it names → name of the copy below `inputs/files`."""

    data: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def file(self) -> PoolFile:
        return PoolFile.model_validate(self.data) if self.data else NO_FILE


@dataclass(frozen=True)
class Inputs:
    """`copies`: the workflow files by key; the run's own has the key "". `slots`: how many the command line wants; None is "as the files
    say". `record`: the folder in which the run is recorded; `recording`: the copy of one that the command line names. Times are seconds,
    money is US dollars. `grows`: they are those of a pool, whose steps come as it goes on."""

    copies: Mapping[str, WorkflowCopy]
    args: Mapping[str, Any]
    slots: int | None
    isolation: str
    directory: str
    timeout_seconds: float | None = None
    agent: str | None = None
    record: str | None = None
    recording: str | None = None
    pool: PoolCopy = field(default_factory=PoolCopy)
    budget_usd: float | None = None
    allow_unpriced: bool = False
    grows: bool = False

    @property
    def main(self) -> WorkflowCopy:
        """The file that the run was started with."""
        return self.copies[""]

    @property
    def workflow(self) -> model.Workflow:
        return self.main.workflow

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that any of the files declares."""
        return tuple(dict.fromkeys(name for copy in self.copies.values() for name in copy.workflow.secrets))

    @property
    def needs_program(self) -> bool:
        """Whether only a Python program can work on it: the agent of its pool is a function of that."""
        return self.grows and self.agent == FUNCTION_AGENT

    @property
    def plan(self) -> Plan:
        """The plan of the run. That of a pool begins without steps, and is another each time: it grows with the state that it is given to."""
        return self._first_plan.growing(self._grown) if self.grows else self._first_plan

    @cached_property
    def _first_plan(self) -> Plan:
        return plan.build(self.workflow, agent=self.agent, find=self._child, skills=self._skills, pool=self.slot_pool)

    def _grown(self, name: str, step: Mapping[str, Any], copies: Mapping[str, Any] | None, literal: bool) -> PlannedStep:
        """The plan of a step that a pool was given, with the workflow files that it brings along."""
        assert isinstance(self.copies, dict), "BUG: these inputs do not grow"
        assert isinstance(self.main.workflows, dict), "BUG: these inputs do not grow"
        for key, copy in (copies or {}).items():
            self.copies[key] = WorkflowCopy(**copy)
            self.main.workflows[key] = key
        if not literal or "prompt" not in step:
            return self._planned(name, step, literal)
        # Tasks that differ in their prompt alone are planned once.
        kind = json.dumps({**step, "prompt": ""})
        alike = self._alike.get(kind)
        if alike is None:
            alike = self._alike[kind] = self._planned(name, step, literal)
        return alike.renamed(name, step["prompt"])

    def _planned(self, name: str, step: Mapping[str, Any], literal: bool) -> PlannedStep:
        builder = plan.StepBuilder(self.agent, self._child, self._skills, self.slot_pool)
        return plan.added_step(model.Step.model_validate({**step, "name": name}), self.workflow, builder, literal=literal)

    @cached_property
    def _alike(self) -> dict[str, PlannedStep]:
        return {}

    @cached_property
    def slot_pool(self) -> SlotPool:
        """The slots of the run, and what `cpool.yaml` says."""
        return slot_pool(self.pool.file, self.workflow.slots, self.slots)

    def adapter(self, agent: str) -> Adapter:
        """How an agent is started and read."""
        return agents.adapter_of(agent, self.pool.file.agents)

    def slot_named(self, name: str | None) -> NamedSlot | None:
        """The slot of that name."""
        return self._slots_by_name[name][1] if name in self._slots_by_name else None

    def slot_number(self, name: str) -> int:
        """Its number, from 1."""
        return self._slots_by_name[name][0]

    @cached_property
    def _slots_by_name(self) -> dict[str | None, tuple[int, NamedSlot]]:
        return {slot.name: (number, slot) for number, slot in enumerate(self.slot_pool.slots, 1)}

    def settings_of(self, step: PlannedStep, slot: NamedSlot | None = None) -> settings.Settings:
        """The merged agent settings of a step. `slot`: the one of those it asked for that it gets."""
        copy = self.copies[step.source]
        skill = copy.skill_config(step.step)
        return settings.merge(settings.layers_of(step.step, step.name, copy.workflow, self.slot_pool, skill, slot))

    def possible_settings(self, step: PlannedStep) -> list[settings.Settings]:
        """What the agent settings of a step may come to, by the slots that it may get."""
        copy = self.copies[step.source]
        return settings.possible(step.step, step.name, copy.workflow, self.slot_pool, copy.skill_config(step.step))

    def _skills(self, source: str) -> Mapping[str, model.AgentConfig]:
        return {name: skill.config for name, skill in self.copies[source].parsed_skills.items()}

    def _child(self, source: str, named: str) -> tuple[str, model.Workflow]:
        key = self.copies[source].workflows[named]
        return key, self.copies[key].workflow


def save(folder: RunFolder, inputs: Inputs, copies: Mapping[str, bytes]) -> None:
    """Write the inputs into a new run's folder; `copies`: name below `inputs/files` → content. Raises OperationFailed."""
    try:
        for key, owned in inputs.copies.items():
            _source_path(folder, key).write_text(owned.source, encoding="utf-8", newline="")
        if inputs.pool.source:
            (folder.inputs / POOL_NAME).write_text(inputs.pool.source, encoding="utf-8", newline="")
        for name, content in copies.items():
            skill_files.write(own_file(folder, name), content)
        data = asdict(inputs)
        for copy in data["copies"].values():
            del copy["source"]  # it stands in a file of its own
        del data["pool"]["source"]
        text = json.dumps(data, ensure_ascii=False)
        (folder.inputs / FILE).write_text(text, encoding="utf-8", errors="surrogatepass")
    except OSError as error:
        raise OperationFailed(f"cannot write `{folder.inputs}`: {error.strerror}") from error


def load(folder: RunFolder) -> Inputs:
    """The inputs of a run. Raises InvalidInput where they are missing or damaged."""
    path = folder.inputs / FILE
    try:
        data = json.loads(path.read_text(encoding="utf-8", errors="surrogatepass"))
        sources = {key: _source_path(folder, key).read_bytes().decode("utf-8", "replace") for key in data["copies"]}
        copies = {key: WorkflowCopy(**copy, source=sources[key]) for key, copy in data.pop("copies").items()}
        pool = _read_pool(folder, data.pop("pool", {}))
        return Inputs(copies, **data, pool=pool)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(f"run `{folder.run_id}` cannot be read: `{path}` is missing or damaged ({type(error).__name__})") from error


def _read_pool(folder: RunFolder, data: Mapping[str, Any]) -> PoolCopy:
    path = folder.inputs / POOL_NAME
    return PoolCopy(**data, source=path.read_text(encoding="utf-8") if path.exists() else "")


def _source_path(folder: RunFolder, key: str) -> Path:
    return folder.inputs / f"workflow{f'.{key}' if key else ''}.yaml"


def hidden_values(inputs: Inputs, secrets: Mapping[str, str], environment: Mapping[str, str]) -> dict[str, str]:
    """What no file of the run may hold: the declared `secrets`, and the credentials of the agents that this run uses, of those of a pool
    that may come to be asked."""
    steps = inputs.plan.everything()
    asked = (agent for step in steps for agent in (step.agent, *step.fallback) if agent is not None)
    used = set(inputs.pool.file.agent_names if inputs.grows else asked)
    names = {name for agent in used for name in inputs.adapter(agent).credentials}
    return {**present_secrets(names, environment), **secrets}


def own_file(folder: RunFolder, name: str) -> Path:
    """Where a file stands that the run owns."""
    return folder.inputs / "files" / name


def copy_path(folder: RunFolder, copy: WorkflowCopy | PoolCopy, named: str) -> Path:
    """Where the copy stands of a file that a workflow or `cpool.yaml` names."""
    return own_file(folder, copy.files[named])
