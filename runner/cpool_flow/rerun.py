"""A run that repeats another: from its copies, at its base, or from a step on with what had been done before.

All is read and checked before anything exists; the folder of the new run is then as whole as any other.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from cpool_flow import events, faults, history, inputs, run_folder, takeover
from cpool_flow.dataclass import dataclass
from cpool_flow.disclosed import Disclosed
from cpool_flow.errors import InvalidInput, OperationFailed, Problem
from cpool_flow.family import check_depth
from cpool_flow.git import Git
from cpool_flow.journal import is_alive
from cpool_flow.new_run import begin_journal, created, new_id
from cpool_flow.preconditions import missing_agents, missing_secrets
from cpool_flow.run_folder import RunFolder, file_name
from cpool_flow.run_place import Isolation, Root, choose_isolation, our_git, plan_again, worktree_of, worktree_root
from cpool_flow.secrets import present_secrets
from cpool_flow.takeover import Takeover
from cpool_flow.workspace.record import WorktreeRecord


@dataclass(frozen=True)
class Repeated:
    """A rerun that could start: nothing of it exists yet. `inputs`: those of the old run, but for what is wished to be another."""

    old: history.Run
    inputs: inputs.Inputs
    found: Takeover
    isolation: Isolation
    place: events.PlaceOpened
    run_id: str


def prepare(
    old: history.Run,
    project: Path,
    environment: Mapping[str, str],
    *,
    step: str | None = None,
    failed: bool = False,
    run_id: str | None = None,
    budget_usd: float | None = None,
) -> Repeated:
    """Everything that the new run needs, read and checked. `step`: begin with this one; `failed`: with those that failed; `budget_usd`:
    another budget than the old run was started with. Nothing is written. Raises InvalidInput."""
    check_has_file(old)
    check_depth(environment)
    new = new_id() if run_id is None else run_id
    run_folder.check_run_id(project, new)
    declared = present_secrets(old.inputs.secrets, environment)
    Disclosed(inputs.hidden_values(old.inputs, declared, environment)).check_run_id(new)
    if failed and is_alive(old.folder.path):
        raise InvalidInput(
            f"run `{old.folder.run_id}` is still at work", help=f"wait for it: cpool-flow status {old.folder.run_id} --watch"
        )
    found = _takeover(old, step, failed)
    missing = [*missing_secrets(old.inputs.secrets, environment), *_missing_agents(old, found, environment)]
    if missing:
        raise InvalidInput(missing)
    git = our_git(environment, old.inputs.secrets)
    folder = RunFolder(run_folder.runs_directory(project) / new)
    root = worktree_root(environment, old.inputs.pool.file.worktrees, project)
    isolation, place = asyncio.run(_place(git, old, found, folder, root, _where(old, step, failed, found)))
    given = old.inputs if budget_usd is None else replace(old.inputs, budget_usd=budget_usd)
    return Repeated(old, given, found, isolation, place, new)


def check_has_file(old: history.Run) -> None:
    """Raises InvalidInput for the run of a pool, whose steps came from a program one after the other."""
    if old.inputs.grows:
        run = old.folder.run_id
        help = f"what it has left undone: cpool-flow resume {run}"
        raise InvalidInput(f"run `{run}` is that of a pool: a program gave it its work, no file", help=help)


def create(repeated: Repeated, project: Path, environment: Mapping[str, str]) -> RunFolder:
    """Make the run: its folder, copies of what it takes over, its first events. Raises InvalidInput where the id is taken."""
    faults.point("before-create")
    old, found = repeated.old, repeated.found
    folder = run_folder.create(project, repeated.run_id)
    try:
        _copy(old, repeated.inputs, found, folder)
    except OSError as error:
        raise OperationFailed(f"cannot write `{folder.path}`: {error.strerror or error}") from error
    before = old.state.created or created(old.folder, old.inputs, (), environment)
    first = created(folder, repeated.inputs, before.tags, environment, rerun_of=old.folder.run_id, only=before.only, group=before.group)
    facts: list[events.Event | takeover.Fact] = [replace(first, trusted=before.trusted), repeated.place]
    if found.facts:
        facts += [*found.facts, events.ResultsTaken(old.folder.run_id, found.steps, found.partly, found.known)]
    begin_journal(folder, facts, environment)
    faults.point("after-create")
    return folder


def _copy(old: history.Run, given: inputs.Inputs, found: Takeover, folder: RunFolder) -> None:
    """What the old run owns, as it is `given` to the new one, and what it has done that is taken over. What it recorded is its own."""
    files = old.folder.inputs / "files"
    copies = {path.relative_to(files).as_posix(): path.read_bytes() for path in sorted(files.rglob("*")) if path.is_file()}
    inputs.save(folder, replace(given, record=None), copies)
    if old.folder.trusted.is_dir():
        shutil.copytree(old.folder.trusted, folder.trusted)
    for name in _files(old.folder, found):
        target = folder.path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(old.folder.path / name, target)


def _takeover(old: history.Run, step: str | None, failed: bool) -> Takeover:
    plan, run_id = old.inputs.plan, old.folder.run_id
    journal = [(entry.event, entry.at) for entry in history.recorded(old.folder)]
    if step is not None:
        return takeover.up_to(plan, journal, step, run_id)
    if failed:
        return takeover.without_failed(plan, journal, run_id)
    record = worktree_of(old.state)
    return takeover.from_the_start(plan, journal, changed_before=record is not None and record.include_changes)


def _where(old: history.Run, step: str | None, failed: bool, found: Takeover) -> str:
    """What the new run begins with, in words."""
    run_id = old.folder.run_id
    if step is not None:
        return f"begins where step `{step}` of run {run_id} did"
    if failed:
        return f"begins with what run {run_id} left" if found.tree is None else f"begins where what failed in run {run_id} did"
    return f"repeats run {run_id}"


def _missing_agents(old: history.Run, found: Takeover, environment: Mapping[str, str]) -> Iterable[Problem]:
    def find_file(copy: inputs.WorkflowCopy, named: str, pooled: bool) -> Path:
        return inputs.copy_path(old.folder, old.inputs.pool if pooled else copy, named)

    recording = str(old.folder.inputs / "files" / old.inputs.recording) if old.inputs.recording else None
    return missing_agents(old.inputs, find_file, environment, recording=recording, done=found.steps)


async def _place(
    git: Git, old: history.Run, found: Takeover, new: RunFolder, root: Root, where: str
) -> tuple[Isolation, events.PlaceOpened]:
    directory = Path(old.inputs.directory)
    if not directory.is_dir():
        raise InvalidInput(f"the directory in which run `{old.folder.run_id}` was started is gone: {directory}")
    isolation = await choose_isolation(git, directory, old.inputs.isolation, False, old.inputs.plan)
    record = worktree_of(old.state)
    if record is None or isolation.repository is None:
        as_it_is = " as it is now" if found.steps or found.partly else ""
        return isolation, events.PlaceOpened(str(directory), note=f"{isolation.text}{as_it_is}; {where}")
    await _check_files(git, old, record, found)
    start = (found.commit or record.base) if found.commit or found.tree else ""
    name, tree = old.inputs.main.name, found.tree or ""
    trusted = str(new.trusted) if record.trusted else ""
    again = await plan_again(git, isolation.repository, record, new.run_id, name, root, start=start, tree=tree, trusted=trusted)
    place = str(again.top_level / again.folder)
    note = f"{isolation.text}; {where}"
    return isolation, events.PlaceOpened(place, branch=again.branch, base=again.base, place=again.to_json(), note=note)


async def _check_files(git: Git, old: history.Run, record: WorktreeRecord, found: Takeover) -> None:
    """What the new run begins with must be there still. Raises InvalidInput."""
    here = git.at(old.inputs.directory)
    run_id = old.folder.run_id
    if not await here.holds("cat-file", "-e", f"{record.base}^{{commit}}"):
        raise InvalidInput(f"the commit that run `{run_id}` began with is gone from this repository: {record.base}")
    wanted = [name for name in (found.commit and f"{found.commit}^{{commit}}", found.tree and f"{found.tree}^{{tree}}") if name]
    for name in wanted:
        if not await here.holds("cat-file", "-e", name):
            raise InvalidInput(f"the files that run `{run_id}` had by then are gone: git has dropped {name.partition('^')[0]}",
                               help=f"all of it again: cpool-flow rerun {run_id}")  # fmt: skip


def _files(old: RunFolder, found: Takeover) -> Iterator[str]:
    """The files of the old run that the facts name, by their paths in its folder."""
    names: dict[str, None] = {}
    for event, _ in found.facts:
        stored = [getattr(event, field) for field in type(event).__dataclass_fields__]
        names |= {each.file: None for each in stored if isinstance(each, events.Stored) and each.file is not None}
        if isinstance(event, events.AttemptFinished):
            names |= dict.fromkeys(event.artifacts)
            stem = f"{file_name(event.task)}.{event.number}"
            names |= {f"logs/{path.name}": None for path in sorted(old.logs.glob(f"{stem}.*"))}
    return (name for name in names if (old.path / name).is_file())
