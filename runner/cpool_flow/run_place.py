"""The place of one run, opened or found again, and its commits as facts of the journal.

Joins `workspace/` (what a place is) to the engine (what happened there). Decides the default of `isolation`.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from cpool_flow import events, model
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, OperationFailed
from cpool_flow.git import Git, safe_git
from cpool_flow.plan import Plan
from cpool_flow.pool_file import NAME as POOL_NAME
from cpool_flow.process import Command, Completed, run_to_end
from cpool_flow.secrets import Masker
from cpool_flow.state import State
from cpool_flow.workspace.place import Keep, Place
from cpool_flow.workspace.plain import open_plain
from cpool_flow.workspace.repository import Repository, refuse_old_git, survey

if TYPE_CHECKING:
    from cpool_flow.trusted import Trusted
    from cpool_flow.workspace.record import WorktreeRecord
    from cpool_flow.workspace.worktree import Worktree

GIT_TIMEOUT_SECONDS = 600.0
# In the run's folder: later steps may define others, which are not ours to start.
FILTERS = "filters"


def our_git(environment: Mapping[str, str], hidden: Iterable[str] = ()) -> Git:
    """git as we call it: by `process.py`, in a thread, so that the loop goes on. It gets no variable of the names in `hidden`."""

    async def run(argv: Sequence[str], directory: str, environment: Mapping[str, str], stdin: bytes | None = None) -> Completed:
        if shutil.which(argv[0], path=environment.get("PATH", os.defpath)) is None:
            raise FileNotFoundError(argv[0])
        command = Command(tuple(argv), directory, environment, stdin)
        return await asyncio.to_thread(run_to_end, command, timeout_seconds=GIT_TIMEOUT_SECONDS)

    kept = dict.fromkeys(environment.keys() - set(hidden))
    return safe_git(run, {name: environment[name] for name in kept})


@dataclass(frozen=True, slots=True)
class Isolation:
    """Where a run will work, and the sentence that says so. `repository` is None outside git."""

    kind: str
    repository: Repository | None
    text: str
    warning: str = ""


async def choose_isolation(
    git: Git, directory: Path, asked: str | None, include_changes: bool, plan: Plan, trusted: Trusted | None = None
) -> Isolation:
    """What `isolation` comes to here. With `trusted` files an agent needs a place in which they can stand. Raises InvalidInput where what
    was asked for cannot be had."""
    repository = await survey(git, directory)
    writes = any(step.may_write and (step.step.is_agent or step.recoveries) for step in plan.everything())
    guarded = trusted is not None and any(step.agent is not None for step in plan.everything())
    can = repository is not None and not repository.bare
    kind = asked or ("worktree" if plan.has_isolated or ((writes or guarded) and can) else "none")
    if kind == "none" and plan.has_isolated:
        name = next(step.name for step in plan.everything() if step.isolated)
        raise InvalidInput(
            f"the items of step `{name}` work in worktrees of their own (`isolation: worktree`), and the run has none to merge them into",
            help="leave `isolation: none` out, of the file or of the command line",
        )
    if kind == "none":
        if trusted is not None and guarded:
            await _refuse_other_agent_files(git, repository, trusted)
        warning = "an agent may change files, and works in this directory" if writes else ""
        return Isolation(kind, repository, f"works in {directory}", warning)
    if repository is None and shutil.which("git", path=git.environment.get("PATH", os.defpath)) is None:
        raise InvalidInput(f"`isolation: {kind}` needs git, which is not installed", help="install git, or set `isolation: none`")
    if repository is None:
        raise InvalidInput(
            f"`isolation: {kind}` needs a git repository, and {directory} is in none", help="run `git init`, or set `isolation: none`"
        )
    if repository.bare:
        raise InvalidInput(
            f"{directory} is a bare repository: a {kind} cannot be had there", help="set `isolation: none`, or start in a clone"
        )
    if repository.head is None:
        raise InvalidInput(
            f"the repository has no commit yet, so a {kind} has nothing to start from",
            help="make a first commit, `git commit --allow-empty -m first`, or set `isolation: none`",
        )
    if any(step.isolated and step.step.merge != "none" for step in plan.everything()):
        await refuse_old_git(git, repository.directory)
    own = "clone" if kind == "clone" else "git worktree"
    return Isolation(kind, repository, f"works in a {own} of its own{_unseen(repository, include_changes)}")


async def _refuse_other_agent_files(git: Git, repository: Repository | None, trusted: Trusted) -> None:
    """In place nothing is exchanged. Raises InvalidInput where the checkout would tell agents something else than the trusted files."""
    from cpool_flow.workspace.agent_files import other_agent_files

    others = await other_agent_files(git, repository, trusted.agent_files) if repository is not None and not repository.bare else []
    if others:
        shown = ", ".join(f"`{path}`" for path in others[:5]) + (f" and {len(others) - 5} more" if len(others) > 5 else "")
        raise InvalidInput(
            f"`isolation: none` cannot be had: in the checkout {shown} is not what is trusted ({trusted.text}), and agents would read it",
            help="`--isolation worktree` gives them a place with the trusted files",
        )


def _unseen(repository: Repository, include_changes: bool) -> str:
    count = repository.uncommitted_files
    if not count:
        return ""
    files = f"{count} uncommitted file{'s' if count > 1 else ''}"
    return f"; takes along {files}" if include_changes else f"; does not see {files} (`include_changes: true` takes them along)"


@dataclass(frozen=True, slots=True)
class Root:
    """The folder in which worktrees are made, and what says so."""

    folder: Path
    setting: str


def worktree_root(environment: Mapping[str, str], asked: str | None = None, project: Path | None = None) -> Root:
    """Where worktrees live: where `worktrees` of the project's `cpool.yaml` says (`asked`), else outside of every repository."""
    if asked is None:
        return Root(_state_home(environment) / "cpool-flow" / "worktrees", "XDG_STATE_HOME")
    home = environment.get("HOME") or os.path.expanduser("~")
    path = home + asked[1:] if asked == "~" or asked.startswith("~/") else asked
    return Root((project or Path.cwd()) / path, f"`worktrees` in `{POOL_NAME}`")


def _state_home(environment: Mapping[str, str]) -> Path:
    state = environment.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):  # the XDG rules: what is relative is ignored
        state = os.path.join(environment.get("HOME") or os.path.expanduser("~"), ".local", "state")
    return Path(state)


async def plan_place(
    git: Git,
    isolation: Isolation,
    workflow: model.Workflow,
    name: str,
    run_id: str,
    directory: Path,
    root: Root,
    trusted_folder: str = "",
    trusted: Trusted | None = None,
) -> events.PlaceOpened:
    """Where the run will work, as the fact that is recorded before anything of it exists. `trusted_folder` will hold the `trusted` files.
    Raises InvalidInput."""
    note = isolation.text if trusted is None else f"{isolation.text} · {trusted.text}"
    if isolation.kind == "none" or isolation.repository is None:
        return events.PlaceOpened(str(directory), note=note)
    from cpool_flow.workspace.opening import plan_worktree

    record = await plan_worktree(
        git,
        isolation.repository,
        run_id=run_id,
        workflow=name,
        root=root.folder,
        root_setting=root.setting,
        base=workflow.base or "HEAD",
        include_changes=workflow.include_changes,
        trusted=trusted_folder,
        include_text=trusted.include_text if trusted is not None else None,
        kind=isolation.kind,
    )
    place = str(record.top_level / record.folder)
    return events.PlaceOpened(place, branch=record.branch, base=record.base, place=record.to_json(), note=note)


async def plan_again(
    git: Git,
    repository: Repository,
    old: WorktreeRecord,
    run_id: str,
    name: str,
    root: Root,
    *,
    start: str,
    tree: str,
    trusted: str,
) -> WorktreeRecord:
    """A worktree for a run that repeats another: at the same base, with a branch that begins at `start` with the files of `tree`.
    `trusted`: the folder that will hold the trusted files of the old run. Raises InvalidInput."""
    from cpool_flow.workspace.opening import plan_worktree

    record = await plan_worktree(
        git,
        repository,
        run_id=run_id,
        workflow=name,
        root=root.folder,
        root_setting=root.setting,
        base=old.base,
        trusted=trusted,
        include_text=old.include_file.read_bytes() if old.trusted else None,
        kind=old.kind,
    )
    return replace(record, target=old.target, start=start, tree=tree)


async def open_place(
    git: Git, opened: events.PlaceOpened, private: Path, last_commit: str | None, *, first: bool, masker: Masker
) -> RunPlace:
    """Make the place that was planned (`first`), or find it again. Raises InvalidInput, OperationFailed."""
    with told():
        if opened.place is None:
            directory = Path(opened.directory)
            private.mkdir(exist_ok=True)
            return RunPlace(await open_plain(git, directory, await survey(git, directory), private), masker)
        from cpool_flow.workspace.opening import open_worktree, reattach_worktree
        from cpool_flow.workspace.record import WorktreeRecord

        record = WorktreeRecord.from_json(opened.place)
        known = known_filters(private)
        place = await (open_worktree(git, record) if first else reattach_worktree(git, record, last_commit, known))
        if known is None:
            _keep_filters(private, place.filters)
        return RunPlace(place, masker)


def worktree_of(state: State) -> WorktreeRecord | None:
    """What is known of the run's worktree; None where it worked in place."""
    if state.place is None or state.place.place is None:
        return None
    from cpool_flow.workspace.record import WorktreeRecord

    return WorktreeRecord.from_json(state.place.place)


def known_filters(private: Path) -> str | None:
    """The filters of git that were defined when the run began; None where its place was never made."""
    try:
        return (private / FILTERS).read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        return None


def _keep_filters(private: Path, filters: str) -> None:
    private.mkdir(exist_ok=True)
    unfinished = private / f"{FILTERS}.new"
    unfinished.write_bytes(filters.encode("utf-8", "surrogateescape"))
    unfinished.replace(private / FILTERS)


@contextmanager
def told() -> Iterator[None]:
    """What the disk refuses is no bug of ours: it is told, and the run can be resumed."""
    try:
        yield
    except OSError as error:
        where = f" `{error.filename}`" if error.filename else ""
        raise OperationFailed(f"the run's place cannot be written{where}: {error.strerror or error}") from error


class RunPlace:
    """The place of a run. `versioned`: what steps leave there is committed. Names of files may hold a secret: they are masked here."""

    def __init__(self, place: Place, masker: Masker) -> None:
        self.place = place
        self._mask = masker.mask
        self.versioned = place.versioned

    @property
    def fresh(self) -> bool:
        """Whether `setup` has yet to run here."""
        return self.place.fresh

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(map(self._mask, self.place.notes))

    @property
    def worktree(self) -> Worktree:
        """The same, where it is known to be one."""
        from cpool_flow.workspace.worktree import Worktree

        assert isinstance(self.place, Worktree), "BUG: this place is no worktree"
        return self.place

    async def tree(self) -> str | None:
        with told():
            return await self.place.tree()

    async def commit(self, tasks: Sequence[str], item: str = "") -> tuple[events.PlaceCommitted | None, tuple[str, ...]]:
        """Commit what the tasks left, in their names; `item`: whose own place it is. With the sentences for people that come of it."""
        shown = ", ".join(tasks[:5]) + (f" and {len(tasks) - 5} more" if len(tasks) > 5 else "")
        with told():
            commit = await self.place.commit(shown)
        if commit is None:
            return None, ()
        files = tuple(map(self._mask, commit.changed_files)) if len(tasks) == 1 else None
        return events.PlaceCommitted(commit.sha, tuple(tasks), files, item), tuple(map(self._mask, commit.notes))

    async def close(self, keep: Keep) -> events.PlaceClosed:
        with told():
            closed = await self.place.close(keep)
        directory = str(closed.directory) if closed.directory else None
        return events.PlaceClosed(closed.branch, directory, closed.commit, self._mask("; ".join(closed.notes)))
