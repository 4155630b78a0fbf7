"""Makes a run out of a workflow file, arguments and options: all is read, checked and copied before anything exists.

Raises InvalidInput with nothing written for everything that can be found wrong beforehand.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cpool_flow import __version__, events, faults, inputs, library, model, other_runs, project_pool, run_folder
from cpool_flow.arguments import read_arguments
from cpool_flow.dataclass import dataclass
from cpool_flow.disclosed import Disclosed
from cpool_flow.document import load
from cpool_flow.errors import InvalidInput, Problem, did_you_mean, listed, printable, shown_name
from cpool_flow.executor.context import NoHost, NoValue, concurrency_group, declared_values
from cpool_flow.family import check_depth
from cpool_flow.inputs import Inputs, WorkflowCopy
from cpool_flow.json_value import BadJson, JsonValue, read_json
from cpool_flow.lookup import Lookup, Searched, check_file
from cpool_flow.new_run import begin_journal, created, new_id
from cpool_flow.owned import Owned
from cpool_flow.preconditions import check_expect, missing_agents, missing_secrets, open_tokens
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import Isolation, Root, choose_isolation, our_git, plan_place, worktree_root
from cpool_flow.secrets import present_secrets
from cpool_flow.spending import Spending
from cpool_flow.validate import Checked, Wishes
from cpool_flow.values import Record, wrap

# What few runs need is imported by them: a run of one step starts in the time that its imports take.
if TYPE_CHECKING:
    from cpool_flow.trust import Event
    from cpool_flow.trusted import Trusted

# A recording that the command line names, among the run's own files.
_RECORDING = "recording.json"


@dataclass(frozen=True)
class Options:
    """What the command line says of a run; None is "as the file says". `worktrees`: where they are made, in place of what `cpool.yaml`
    says."""

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
    # The project that keeps the run, where it is another one.
    home: Path | None = None
    # Whether the project was given by hand, and the folders in which names are looked up in another one.
    project_named: bool = False
    places_of: Callable[[Path], Searched] | None = None
    trust: str | None = None
    allow_untrusted_checkout: bool = False
    # The event of GitHub Actions for which this is done.
    event: Event | None = None
    worktrees: str | None = None
    record: str | None = None
    recording: str | None = None

    @property
    def stand_in(self) -> str | None:
        """The agent that stands in for every other."""
        return self.agent or ("replay" if self.recording is not None else None)


@dataclass(frozen=True)
class Prepared:
    """A run that could start: nothing of it exists yet. `copies`: files that it will own, by their name in its folder. `trusted`: what
    it takes from a trusted commit. `sources`: texts of files that `warnings` name, where they do not stand in the files themselves."""

    inputs: Inputs
    copies: Mapping[str, bytes]
    isolation: Isolation
    place: events.PlaceOpened
    run_id: str
    tags: tuple[str, ...] = ()
    warnings: tuple[Problem, ...] = ()
    only: str | None = None
    group: str = ""
    trusted: Trusted | None = None
    sources: Mapping[str, str] = field(default_factory=dict)


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
    event = options.event
    trust = event.trust if event is not None else None
    if options.trust is not None:
        from cpool_flow.trust import by_hand

        trust = by_hand(options.trust)
    foreign = event if event is not None and event.foreign and not options.allow_untrusted_checkout else None
    if trust is None and foreign is None:
        return _prepare(workflow, project, places, options, environment, None, starting=starting)
    from cpool_flow.trusted_start import trusted_files

    with trusted_files(trust, foreign, environment, fetch=starting) as trusted:
        prepared = _prepare(workflow, project, places, options, environment, trusted, starting=starting)
        return prepared if trusted is None else _as_known(prepared, trusted)


def _prepare(
    workflow: str,
    project: Path,
    places: Searched,
    options: Options,
    environment: Mapping[str, str],
    trusted: Trusted | None,
    *,
    starting: bool,
) -> Prepared:
    if starting:
        check_depth(environment)
    runs = options.home or project
    if trusted is not None:
        project = trusted.project(project, Path.cwd(), named=options.project_named)
        places = trusted.places(options.places_of(project) if options.places_of is not None else places)
        if "/" in workflow or "." in workflow:
            workflow = str(trusted.at(Path.cwd() / workflow))
    found = library.find_workflow(workflow, Path.cwd(), places("workflow", project))
    _check_stand_in(options.stand_in, project)
    checked = check_file(found.path, project, places, _wishes(options, environment, starting))
    flow = checked.workflow
    owned = Owned(found.path, checked, project, places)
    declared = tuple(dict.fromkeys(name for copy in owned.copies.values() for name in copy.workflow.secrets))
    secret_values = present_secrets(declared, environment)
    values = _arguments(flow, options, secret_values)
    run_id = new_id() if options.run_id is None else options.run_id
    run_folder.check_run_id(runs, run_id)
    given = Inputs(
        copies=owned.copies,
        args=values,
        slots=options.slots,
        isolation="",
        directory=str(Path.cwd()),
        timeout_seconds=options.timeout_seconds or flow.timeout,
        agent=options.stand_in,
        record=str(Path(options.record).resolve() / run_id) if options.record else None,
        recording=_RECORDING if options.recording else None,
        pool=owned.pool,
        budget_usd=options.budget_usd or flow.budget_usd,
        allow_unpriced=options.allow_unpriced,
    )
    disclosed = Disclosed(inputs.hidden_values(given, secret_values, environment))
    disclosed.check_run_id(run_id)
    taken = _undisclosed(given, disclosed)
    copies = owned.files
    if options.recording:
        from cpool_flow import recording

        copies[_RECORDING] = recording.read(Path(options.recording)).to_bytes()

    def find_file(copy: WorkflowCopy, named: str, pooled: bool) -> Path:
        return project_pool.file_beside(project, named) if pooled else Lookup(Path(copy.file), project, places).path(named)

    left_out: tuple[str, ...] = ()
    if options.only is not None:
        from cpool_flow.only import check_only

        left_out = check_only(options.only, checked)
    missing = [*missing_secrets(given.secrets, environment)]
    missing += missing_agents(taken, find_file, environment, recording=options.recording, done=left_out)
    if missing and starting:
        raise InvalidInput(missing)
    public = {name: value for name, value in environment.items() if name not in secret_values}
    folder = run_folder.RunFolder(run_folder.runs_directory(runs) / run_id)
    beside = runs if trusted is None else Path(trusted.original(str(project)))
    root = worktree_root(public, options.worktrees or taken.pool.file.worktrees, beside)
    isolation, place = asyncio.run(_place(taken, options, run_id, public, root, folder, trusted))
    check_expect(checked, taken, isolation)
    group = _declared_group(checked, taken, place, folder)
    copies = {name: disclosed.copied(content, name) for name, content in copies.items()}
    warnings = [*checked.warnings, *disclosed.warnings, *(replace(problem, warning=True) for problem in missing)]
    warnings += open_tokens(taken, environment)
    if isolation.warning and flow.isolation != "none":  # else `validate` has said it, with its place
        warnings.append(Problem(isolation.warning, warning=True, help="set `isolation: worktree` in a git repository"))
    if options.record and isolation.repository is None:
        message = f"the recording will hold no change of a file: {taken.directory} is in no git repository"
        warnings.append(Problem(message, warning=True, help="run `git init`"))
    tags = disclosed.tags(options.tags)
    return Prepared(
        replace(taken, isolation=isolation.kind), copies, isolation, place, run_id, tags, tuple(warnings), options.only, group, trusted
    )


def _as_known(prepared: Prepared, trusted: Trusted) -> Prepared:
    """The same with the paths that people know, in place of those where it was read."""
    copies = {key: replace(copy, file=trusted.original(copy.file)) for key, copy in prepared.inputs.copies.items()}
    shown = tuple(trusted.shown(problem) for problem in prepared.warnings)
    sources = trusted.sources(prepared.warnings)
    return replace(prepared, inputs=replace(prepared.inputs, copies=copies), warnings=shown, sources=sources)


def _wishes(options: Options, environment: Mapping[str, str], starting: bool) -> Wishes:
    """What the command line says, and the run inside of which we are called: its budget is ours as well."""
    around = other_runs.run_around(environment)
    money = other_runs.account_of(around) if around is not None else Spending()
    limited = options.budget_usd is not None or money.limit_usd is not None
    return Wishes(options.slots, options.stand_in, limited, options.allow_unpriced or money.allow_unpriced or not starting)


def _check_stand_in(agent: str | None, project: Path) -> None:
    """Raises InvalidInput for an agent of the command line that nobody knows."""
    if agent is None or agent in model.AGENTS:
        return
    known = project_pool.read_pool(project).pool.agent_names
    if agent not in known:
        near = did_you_mean(agent, known)
        raise InvalidInput(f"no agent {shown_name(agent)}{f', {near}' if near else ''}", help=None if near else f"there is {listed(known)}")


def _declared_group(checked: Checked, taken: Inputs, place: events.PlaceOpened, folder: RunFolder) -> str:
    """The concurrency group, empty without one. It, `env` and `context` must come to values before anything starts. Raises
    InvalidInput."""
    run = {"id": folder.run_id, "dir": str(folder.path), "branch": place.branch, "base": place.base, "workflow": taken.main.name}
    scope: dict[str, object] = {"args": wrap(dict(taken.args)), "run": Record(run)}
    concurrency = taken.workflow.concurrency
    try:
        env, context = declared_values(taken.workflow, scope, NoHost())
        if concurrency is None:
            return ""
        return concurrency_group(concurrency, {**scope, "env": Record(dict(env)), "context": wrap(dict(context))}, NoHost())
    except NoValue as error:
        raise InvalidInput(Problem(str(error), checked.document.location(error.path))) from None


def create(prepared: Prepared, project: Path, environment: Mapping[str, str]) -> RunFolder:
    """Make the run: its folder, its copies, its first events. Raises InvalidInput where the id is taken or the folder read-only.
    `environment`: tells whether we are inside of another run."""
    faults.point("before-create")
    if prepared.inputs.record is not None:
        _begin_recording(prepared, Path(prepared.inputs.record))
    folder = run_folder.create(project, prepared.run_id)
    inputs.save(folder, prepared.inputs, prepared.copies)
    if prepared.trusted is not None:
        from cpool_flow import trusted_start

        trusted_start.save(folder, prepared.trusted)
    first = created(folder, prepared.inputs, prepared.tags, environment, only=prepared.only or "", group=prepared.group)
    if prepared.trusted is not None:
        first = replace(first, trusted=prepared.trusted.commit)
    left_out: list[events.StepClosed] = []
    if prepared.only is not None:
        from cpool_flow.only import leave_out

        left_out = leave_out(prepared.inputs.plan, prepared.only)
    begin_journal(folder, [first, prepared.place, *left_out], environment)
    faults.point("after-create")
    return folder


def _begin_recording(prepared: Prepared, folder: Path) -> None:
    """Raises InvalidInput where it cannot be made."""
    from cpool_flow import recording

    taken = prepared.inputs
    head = {"run_id": prepared.run_id, "workflow": taken.main.name, "file": taken.main.file, "cpool_flow": __version__}
    recording.begin(folder, {**head, "args": dict(taken.args)})


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
        return read_arguments(flow.args, options.arguments, from_file, lambda name: library.text_of(_read_input(name), name))
    except InvalidInput as error:
        raise Disclosed(secret_values).problems(error) from None


def _read_input(name: str) -> bytes:
    """A file, or for `-` what stands on stdin; of a pipe, which a shell makes for `<(…)`, what is written into it. Raises InvalidInput, also
    for one that never ends."""
    if name == "-":
        source = sys.stdin.buffer.read(library.MAX_FILE_BYTES + 1)
    elif Path(name).is_fifo():
        try:
            with open(name, "rb") as pipe:
                source = pipe.read(library.MAX_FILE_BYTES + 1)
        except OSError as error:
            raise InvalidInput(f"cannot read `{printable(name)}`: {(error.strerror or 'it cannot be opened').lower()}") from None
    else:
        return library.read_bytes(Path(name), shown=name)
    if len(source) > library.MAX_FILE_BYTES:
        where = "stdin" if name == "-" else f"`{printable(name)}`"
        raise InvalidInput(f"{where} holds more than {library.MAX_FILE_BYTES} bytes of arguments")
    return source


def _arguments_file(source: bytes, name: str) -> JsonValue:
    """JSON where it is JSON, for not every JSON text is YAML (long keys, tabs); else YAML. Raises InvalidInput."""
    with suppress(BadJson, UnicodeDecodeError):
        return read_json(source.decode("utf-8-sig"))
    return load(source, name).data


async def _place(
    taken: Inputs, options: Options, run_id: str, environment: Mapping[str, str], root: Root, folder: RunFolder, trusted: Trusted | None
) -> tuple[Isolation, events.PlaceOpened]:
    git = our_git(environment)
    flow = taken.workflow
    directory = Path(taken.directory)
    isolation = await choose_isolation(git, directory, options.isolation or flow.isolation, flow.include_changes, taken.plan, trusted)
    where = str(folder.trusted) if trusted is not None else ""
    return isolation, await plan_place(git, isolation, flow, taken.main.name, run_id, directory, root, where, trusted)
