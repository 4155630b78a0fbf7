"""Makes a run out of a workflow file, arguments and options: all is read, checked and copied before anything exists.

Raises InvalidInput with nothing written for everything that can be found wrong beforehand.
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpool_flow import __version__, agents, events, faults, inputs, library, model, run_folder, settings, template
from cpool_flow.arguments import read_arguments
from cpool_flow.disclosed import Disclosed
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.executor.context import NoValue, declared_values
from cpool_flow.inputs import Inputs
from cpool_flow.journal import Journal
from cpool_flow.json_value import BadJson, JsonValue, read_json
from cpool_flow.library import Place
from cpool_flow.plan import Plan, PlannedStep
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import Isolation, choose_isolation, our_git, plan_place
from cpool_flow.secrets import check_secrets, present_secrets
from cpool_flow.validate import Checked, validate
from cpool_flow.values import Record, RenderError, wrap

# The folders in which skills are looked up, for a workflow file in a folder.
SkillPlaces = Callable[[Path], tuple[Place, ...]]


@dataclass(frozen=True)
class Options:
    """What the command line says of a run; None is "as the file says"."""

    arguments: tuple[str, ...] = ()
    args_file: str | None = None
    slots: int | None = None
    timeout_seconds: float | None = None
    agent: str | None = None
    isolation: str | None = None
    run_id: str | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prepared:
    """A run that could start: nothing of it exists yet. `copies`: files that it will own, by their name in its folder."""

    inputs: Inputs
    copies: Mapping[str, bytes]
    isolation: Isolation
    place: events.PlaceOpened
    run_id: str
    tags: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()


def check_file(path: Path, project: Path, skill_places: SkillPlaces) -> Checked:
    """A workflow file that is valid, with the skills and schemas that it names. Raises InvalidInput with all its problems."""
    return validate(library.read_bytes(path, shown=_shown(path)), _shown(path), Lookup(path.parent, project, skill_places(path.parent)))


class Lookup:
    """What validation may ask of the disk: skills by name, and files inside the project, relative to the workflow file."""

    def __init__(self, beside: Path, project: Path, skill_places: tuple[Place, ...]) -> None:
        self._beside = beside
        self._project = project
        self._skill_places = skill_places

    def skill(self, name: str) -> tuple[bytes, str]:
        """The text of a skill and its path. Raises InvalidInput with the nearest name."""
        found = library.find("skill", name, self._skill_places)
        return library.read_bytes(found.path), str(found.path)

    def file(self, name: str) -> bytes:
        """A file beside the workflow. Raises InvalidInput where it is missing or outside of the project."""
        return library.read_bytes(self.path(name), shown=name)

    def path(self, name: str) -> Path:
        path = (self._beside / name).resolve()
        if not path.is_relative_to(self._project.resolve()) and not path.is_relative_to(self._beside.resolve()):
            raise InvalidInput(f"`{name}` is outside of the project")
        return path


def prepare(
    workflow: str,
    project: Path,
    workflow_places: tuple[Place, ...],
    skill_places: SkillPlaces,
    options: Options,
    environment: Mapping[str, str],
    *,
    starting: bool = True,
) -> Prepared:
    """Everything that a start needs, read and checked. Nothing is written. Raises InvalidInput.

    Not `starting`, as for a plan: secrets and agents that are missing here are warnings.
    """
    found = library.find_workflow(workflow, Path.cwd(), workflow_places)
    checked = check_file(found.path, project, skill_places)
    lookup = Lookup(found.path.parent, project, ())
    flow = checked.workflow
    secret_values = present_secrets(flow.secrets, environment)
    values = _arguments(flow, options, secret_values)
    run_id = options.run_id or _new_id()
    run_folder.check_run_id(run_id)
    given = inputs.Inputs(
        file=str(found.path.resolve()),
        name=flow.name or _name_of(found.path),
        source=checked.document.text,
        data=_mapping(checked.document.data),
        args=values,
        slots=options.slots or flow.slots or model.DEFAULT_SLOTS,
        isolation="",
        directory=str(Path.cwd()),
        timeout_seconds=options.timeout_seconds or flow.timeout,
        agent=options.agent,
        skills=checked.skills,
        schemas=checked.schemas,
    )
    disclosed = Disclosed(inputs.hidden_values(given, secret_values, environment))
    disclosed.check_run_id(run_id)
    taken = _undisclosed(given, disclosed)
    copies, names = _copies(taken.plan, lookup)
    taken = replace(taken, files=names)
    missing = [*_missing_secrets(flow, environment), *_missing_agents(taken, lookup, environment)]
    if missing and starting:
        raise InvalidInput(missing)
    public = {name: value for name, value in environment.items() if name not in secret_values}
    isolation, place = asyncio.run(_place(taken, options, run_id, public))
    _check_expect(checked, taken, isolation)
    _check_declared(checked, taken, place, run_folder.RunFolder(run_folder.runs_directory(project) / run_id))
    copies = {name: disclosed.script(content, name) for name, content in copies.items()}
    warnings = [*checked.warnings, *disclosed.warnings, *(replace(problem, warning=True) for problem in missing)]
    if isolation.warning and flow.isolation != "none":  # else `validate` has said it, with its place
        warnings.append(Problem(isolation.warning, warning=True, help="set `isolation: worktree` in a git repository"))
    tags = disclosed.tags(options.tags)
    return Prepared(replace(taken, isolation=isolation.kind), copies, isolation, place, run_id, tags, tuple(warnings))


def _check_expect(checked: Checked, taken: Inputs, isolation: Isolation) -> None:
    """What only git can tell must not be expected outside of it. Raises InvalidInput."""
    if isolation.repository is not None and not isolation.repository.bare:
        return
    problems = []
    for step in taken.plan:
        for key in ("changes", "commit"):
            if step.step.expect and getattr(step.step.expect, key) is not None:
                place = ("steps", step.position, "expect", key)
                if step.phase == "finally":
                    place = ("finally", step.position - len(taken.workflow.steps), "expect", key)
                message = f"`expect: {key}` of step `{step.name}` needs a git repository, and {taken.directory} is in none"
                problems.append(Problem(message, checked.document.location(place), help="run `git init`, or leave it out"))
    if problems:
        raise InvalidInput(problems)


def _check_declared(checked: Checked, taken: Inputs, place: events.PlaceOpened, folder: RunFolder) -> None:
    """`env` and `context` must come to values before anything starts. Raises InvalidInput."""
    run = {"id": folder.run_id, "dir": str(folder.path), "branch": place.branch, "base": place.base, "workflow": taken.name}
    try:
        declared_values(taken.workflow, {"args": wrap(dict(taken.args)), "run": Record(run)}, _Trial())
    except NoValue as error:
        raise InvalidInput(Problem(str(error), checked.document.location(error.path))) from None


class _Trial:
    """A host for values that are only tried: it writes no file."""

    def write_file(self, text: str) -> str:
        return "/file"

    def nonce(self) -> str:
        return "0"


def create(prepared: Prepared, project: Path) -> RunFolder:
    """Make the run: its folder, its copies, its first events. Raises InvalidInput where the id is taken or the folder read-only."""
    faults.point("before-create")
    folder = run_folder.create(project, prepared.run_id)
    inputs.save(folder, prepared.inputs, prepared.copies)
    journal = Journal.create(folder.path)
    try:
        now = time.time()
        journal.append([(_created(folder, prepared), now), (prepared.place, now)])
    finally:
        journal.close()
    faults.point("after-create")
    return folder


def _created(folder: RunFolder, prepared: Prepared) -> events.RunCreated:
    taken = prepared.inputs
    return events.RunCreated(
        run_id=folder.run_id,
        name=run_folder.short_name(folder.run_id),
        workflow=taken.name,
        file=taken.file,
        directory=taken.directory,
        mark=f"{folder.run_id}-{secrets.token_hex(4)}",
        slots=taken.slots,
        isolation=taken.isolation,
        timeout_seconds=taken.timeout_seconds,
        tags=prepared.tags,
        version=__version__,
        secrets=taken.workflow.secrets,
    )


def _mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise AssertionError("BUG: a valid workflow is a mapping")
    return data


def _new_id() -> str:
    """Sortable by time, and random enough that two runs of one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(3)}"


def _shown(path: Path) -> str:
    """A path as people read it: from here where it is below."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _name_of(path: Path) -> str:
    """The file's stem as a name that can stand in a branch."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_") or "workflow"


def _undisclosed(given: Inputs, disclosed: Disclosed) -> Inputs:
    """The inputs as the run may own them. Raises InvalidInput where a secret is in what cannot be masked."""
    disclosed.refuse(given.skills, "the skill")
    disclosed.refuse(given.schemas, "the schema")
    return replace(
        given,
        source=disclosed.source(given.source),
        data=disclosed.workflow(given.data, given.source),
        args=disclosed.arguments(given.args),
    )


def _arguments(flow: model.Workflow, options: Options, secret_values: Mapping[str, str]) -> dict[str, Any]:
    from_file = None
    if options.args_file is not None:
        from_file = _arguments_file(_read_input(options.args_file), options.args_file)
    try:
        return read_arguments(flow.args, options.arguments, from_file, lambda name: library.read_text(Path(name), shown=name))
    except InvalidInput as error:
        raise Disclosed(secret_values).problems(error) from None


def _read_input(name: str) -> bytes:
    """A file, or for `-` what stands on stdin. Raises InvalidInput, also for one that never ends."""
    if name != "-":
        return library.read_bytes(Path(name), shown=name)
    source = sys.stdin.buffer.read(library.MAX_FILE_BYTES + 1)
    if len(source) > library.MAX_FILE_BYTES:
        raise InvalidInput(f"stdin holds more than {library.MAX_FILE_BYTES} bytes of arguments")
    return source


def _arguments_file(source: bytes, name: str) -> JsonValue:
    """JSON where it is JSON, for not every JSON text is YAML (long keys, tabs); else YAML. Raises InvalidInput."""
    with suppress(BadJson, UnicodeDecodeError):
        return read_json(source.decode("utf-8-sig"))
    return load(source, name).data


def _copies(plan: Plan, lookup: Lookup) -> tuple[dict[str, bytes], dict[str, str]]:
    """The files that steps name (scripts of the scripted agent), and the names of their copies."""
    named: dict[str, str] = {}
    copies: dict[str, bytes] = {}
    configs = [plan.workflow.config, *(step.step.config for step in plan if step.step.config)]
    for script in dict.fromkeys(config.script for config in configs if config.script):
        named[script] = f"{len(named)}-{Path(script).name}"
        copies[named[script]] = lookup.file(script)
    return copies, named


def _missing_secrets(flow: model.Workflow, environment: Mapping[str, str]) -> Iterable[Problem]:
    try:
        check_secrets(flow.secrets, environment)
    except InvalidInput as error:
        return error.problems
    return ()


def _missing_agents(taken: Inputs, lookup: Lookup, environment: Mapping[str, str]) -> Iterable[Problem]:
    """What stands in the way of the agents that steps ask for."""
    problems: list[Problem] = []
    seen = set()
    for step in taken.plan:
        if step.agent is None:
            continue
        config = step_settings(taken, step).model_copy(update={"agent": step.agent})
        key = (step.agent, config.script, config.command)
        if key in seen:
            continue
        seen.add(key)
        if config.script is not None:
            config = config.model_copy(update={"script": str(lookup.path(config.script))})
        try:
            agents.ADAPTERS[step.agent].check(config, environment)
        except InvalidInput as error:
            problems += error.problems
    return dict.fromkeys(problems)


def step_settings(taken: Inputs, step: PlannedStep) -> model.AgentConfig:
    """The agent settings of a step, merged, its templates not rendered yet."""
    return settings.merge(taken.layers(step.step, step.name)).config


async def _place(taken: Inputs, options: Options, run_id: str, environment: Mapping[str, str]) -> tuple[Isolation, events.PlaceOpened]:
    git = our_git(environment)
    flow = taken.workflow
    directory = Path(taken.directory)
    isolation = await choose_isolation(git, directory, options.isolation or flow.isolation, flow.include_changes, taken.plan)
    return isolation, await plan_place(git, isolation, flow, taken.name, run_id, directory, environment)


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
        merged = settings.merge(self._taken.layers(step.step, step.name))
        values = merged.config.model_dump(exclude_none=True, mode="json")
        shown = {name: {"value": value, "source": _source(name, merged.sources)} for name, value in values.items()}
        override = "--agent" if self._taken.agent else merged.sources.get("agent", "default")
        agent = {"agent": {"value": step.agent, "source": override}}
        return agent | shown | agent | (_default_mode(shown) if step.agent == "claude" else {})

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


def _source(name: str, sources: Mapping[str, str]) -> str:
    """The layer of a setting; of one that merges by name, the layers of all its names."""
    return sources.get(name) or ", ".join(dict.fromkeys(layer for key, layer in sources.items() if key.startswith(f"{name}.")))


def _default_mode(shown: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {} if "permission_mode" in shown else {"permission_mode": {"value": "default", "source": "default"}}
