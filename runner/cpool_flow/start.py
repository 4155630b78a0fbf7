"""Makes a run out of a workflow file, arguments and options: all is read, checked and copied before anything exists.

Raises InvalidInput with nothing written for everything that can be found wrong beforehand.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cpool_flow import __version__, agents, events, faults, inputs, library, model, project_pool, run_folder
from cpool_flow.arguments import read_arguments
from cpool_flow.disclosed import Disclosed
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem
from cpool_flow.executor.context import NoValue, concurrency_group, declared_values
from cpool_flow.family import parent_directory
from cpool_flow.inputs import Inputs, WorkflowCopy
from cpool_flow.journal import Journal
from cpool_flow.json_value import BadJson, JsonValue, read_json
from cpool_flow.lookup import Lookup, Searched, check_file
from cpool_flow.only import check_only, leave_out
from cpool_flow.owned import Owned
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import Isolation, Root, choose_isolation, our_git, plan_place, worktree_root
from cpool_flow.secrets import check_secrets, present_secrets
from cpool_flow.validate import Checked, Wishes
from cpool_flow.values import Record, wrap


@dataclass(frozen=True)
class Options:
    """What the command line says of a run; None is "as the file says". `worktrees`: where they are made, in place of what `cpool.yaml`
    says. `home`: the project that keeps the run, where it is another one."""

    arguments: tuple[str, ...] = ()
    args_file: str | None = None
    slots: int | None = None
    timeout_seconds: float | None = None
    budget_usd: float | None = None
    allow_unpriced: bool = False
    agent: str | None = None
    isolation: str | None = None
    run_id: str | None = None
    tags: tuple[str, ...] = ()
    only: str | None = None
    home: Path | None = None
    worktrees: str | None = None


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
    only: str | None = None
    group: str = ""
    parent: str = ""


def prepare(
    workflow: str,
    project: Path,
    places: Searched,
    options: Options,
    environment: Mapping[str, str],
    *,
    starting: bool = True,
) -> Prepared:
    """Everything that a start needs, read and checked. Nothing is written. Raises InvalidInput.

    Not `starting`, as for a plan: secrets and agents that are missing here are warnings.
    """
    home = options.home or project
    found = library.find_workflow(workflow, Path.cwd(), places("workflow", project))
    checked = check_file(found.path, project, places, Wishes(options.slots, options.agent))
    flow = checked.workflow
    owned = Owned(found.path, checked, project, places)
    declared = tuple(dict.fromkeys(name for copy in owned.copies.values() for name in copy.workflow.secrets))
    secret_values = present_secrets(declared, environment)
    values = _arguments(flow, options, secret_values)
    run_id = options.run_id or new_id()
    run_folder.check_run_id(home, run_id)
    given = Inputs(
        copies=owned.copies,
        args=values,
        slots=options.slots,
        isolation="",
        directory=str(Path.cwd()),
        timeout_seconds=options.timeout_seconds or flow.timeout,
        agent=options.agent,
        pool=owned.pool,
        budget_usd=options.budget_usd or flow.budget_usd,
        allow_unpriced=options.allow_unpriced,
    )
    disclosed = Disclosed(inputs.hidden_values(given, secret_values, environment))
    disclosed.check_run_id(run_id)
    taken = _undisclosed(given, disclosed)
    copies = owned.files

    def find_script(copy: WorkflowCopy, named: str, pooled: bool) -> Path:
        return project_pool.file_beside(project, named) if pooled else Lookup(Path(copy.file), project, places).path(named)

    left_out = check_only(options.only, checked) if options.only is not None else ()
    missing = [*missing_secrets(given.secrets, environment), *missing_agents(taken, find_script, environment, left_out)]
    if missing and starting:
        raise InvalidInput(missing)
    public = {name: value for name, value in environment.items() if name not in secret_values}
    root = worktree_root(public, options.worktrees or taken.pool.file.worktrees, home)
    isolation, place = asyncio.run(_place(taken, options, run_id, public, root))
    _check_expect(checked, taken, isolation)
    group = _declared_group(checked, taken, place, run_folder.RunFolder(run_folder.runs_directory(home) / run_id))
    copies = {name: disclosed.script(content, name) for name, content in copies.items()}
    warnings = [*checked.warnings, *disclosed.warnings, *(replace(problem, warning=True) for problem in missing)]
    if isolation.warning and flow.isolation != "none":  # else `validate` has said it, with its place
        warnings.append(Problem(isolation.warning, warning=True, help="set `isolation: worktree` in a git repository"))
    tags = disclosed.tags(options.tags)
    return Prepared(
        replace(taken, isolation=isolation.kind),
        copies,
        isolation,
        place,
        run_id,
        tags,
        tuple(warnings),
        options.only,
        group,
        parent_directory(environment),
    )


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


def _declared_group(checked: Checked, taken: Inputs, place: events.PlaceOpened, folder: RunFolder) -> str:
    """The concurrency group, empty without one. It, `env` and `context` must come to values before anything starts. Raises
    InvalidInput."""
    run = {"id": folder.run_id, "dir": str(folder.path), "branch": place.branch, "base": place.base, "workflow": taken.main.name}
    scope: dict[str, object] = {"args": wrap(dict(taken.args)), "run": Record(run)}
    concurrency = taken.workflow.concurrency
    try:
        env, context = declared_values(taken.workflow, scope, _Trial())
        if concurrency is None:
            return ""
        return concurrency_group(concurrency, {**scope, "env": Record(dict(env)), "context": wrap(dict(context))}, _Trial())
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
    now = time.time()
    first = created(folder, prepared.inputs, prepared.tags, only=prepared.only or "", group=prepared.group, parent=prepared.parent)
    left_out = leave_out(prepared.inputs.plan, prepared.only) if prepared.only is not None else []
    begin_journal(folder, [(event, now) for event in (first, prepared.place, *left_out)])
    faults.point("after-create")
    return folder


def begin_journal(folder: RunFolder, facts: Sequence[tuple[events.Event, float]]) -> None:
    """From now on it is a run. Raises OperationFailed."""
    journal = Journal.create(folder.path)
    try:
        journal.append(facts)
    finally:
        journal.close()


def created(
    folder: RunFolder, taken: Inputs, tags: tuple[str, ...], *, rerun_of: str = "", only: str = "", group: str = "", parent: str = ""
) -> events.RunCreated:
    """The first fact of a run. `rerun_of`: the run that it repeats; `only`: the step that was chosen; `group`: of which one run at a
    time is at work; `parent`: the folder of the run by whose step it is started."""
    return events.RunCreated(
        run_id=folder.run_id,
        name=run_folder.short_name(folder.run_id),
        workflow=taken.main.name,
        file=taken.main.file,
        directory=taken.directory,
        mark=f"{folder.run_id}-{os.urandom(4).hex()}",
        slots=len(taken.slot_pool.slots),
        slot_names=tuple(slot.name for slot in taken.slot_pool.slots),
        isolation=taken.isolation,
        timeout_seconds=taken.timeout_seconds,
        tags=tags,
        version=__version__,
        secrets=taken.secrets,
        rerun_of=rerun_of,
        only=only,
        group=group,
        parent=parent,
        budget_usd=taken.budget_usd,
        allow_unpriced=taken.allow_unpriced,
    )


def new_id() -> str:
    """Sortable by time, and random enough that two runs of one second differ."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{os.urandom(3).hex()}"


def _undisclosed(given: Inputs, disclosed: Disclosed) -> Inputs:
    """The inputs as the run may own them. Raises InvalidInput where a secret is in what cannot be masked."""
    copies = {}
    for key, copy in given.copies.items():
        disclosed.refuse(copy.skills, "the skill")
        disclosed.refuse(copy.schemas, "the schema")
        copies[key] = replace(copy, source=disclosed.source(copy.source), data=disclosed.workflow(copy.data, copy.source))
    pool = replace(given.pool, source=disclosed.source(given.pool.source), data=disclosed.pool(given.pool.data, given.pool.source))
    return replace(given, copies=copies, args=disclosed.arguments(given.args), pool=pool)


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


def missing_secrets(declared: Iterable[str], environment: Mapping[str, str]) -> Iterable[Problem]:
    """What is wrong with the secrets that the files declare."""
    try:
        check_secrets(declared, environment)
    except InvalidInput as error:
        return error.problems
    return ()


def missing_agents(
    taken: Inputs, find_script: Callable[[WorkflowCopy, str, bool], Path], environment: Mapping[str, str], done: Container[str] = ()
) -> Iterable[Problem]:
    """What stands in the way of the agents that steps ask for, but for those that are `done`. `find_script`: the file of answers that a
    workflow, or `cpool.yaml` (true), names."""
    problems: list[Problem] = []
    seen = set()
    for step in (each for root in taken.plan if root.name not in done for each in root.everything()):
        if step.agent is None:
            continue
        copy = taken.copies[step.source]
        for found in taken.possible_settings(step):
            config = found.config.model_copy(update={"agent": step.agent})
            key = (step.source, step.agent, config.script, config.command, "script" in found.pooled)
            if key in seen:
                continue
            seen.add(key)
            if config.script is not None:
                config = config.model_copy(update={"script": str(find_script(copy, config.script, "script" in found.pooled))})
            try:
                agents.adapter(step.agent).check(config, environment)
            except InvalidInput as error:
                problems += error.problems
    return dict.fromkeys(problems)


async def _place(
    taken: Inputs, options: Options, run_id: str, environment: Mapping[str, str], root: Root
) -> tuple[Isolation, events.PlaceOpened]:
    git = our_git(environment)
    flow = taken.workflow
    directory = Path(taken.directory)
    isolation = await choose_isolation(git, directory, options.isolation or flow.isolation, flow.include_changes, taken.plan)
    return isolation, await plan_place(git, isolation, flow, taken.main.name, run_id, directory, root)
