"""The run that a pool is, open in the caller's own loop: its folder, journal, place, processes and engine. Gives work to nobody itself."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import inf
from pathlib import Path

from cpool_flow import __version__, events, inputs, run_folder, skill_files
from cpool_flow.dataclass import dataclass
from cpool_flow.engine import Engine, Follow
from cpool_flow.errors import InvalidInput
from cpool_flow.executor.context import Overhear, RunContext, find_shell
from cpool_flow.executor.local import LocalSlots
from cpool_flow.git import Git
from cpool_flow.guardian import sweep
from cpool_flow.history import fold
from cpool_flow.inputs import Inputs, hidden_values
from cpool_flow.item_merges import ItemMerges
from cpool_flow.journal import Journal, Lock, Recorded
from cpool_flow.lost import note_lost
from cpool_flow.model import MOST_SLOTS
from cpool_flow.other_runs import OtherRuns
from cpool_flow.places import Places
from cpool_flow.pool.function_agent import AgentFunction, FunctionSlots
from cpool_flow.pool.logbook import log_event
from cpool_flow.pool.made import Made
from cpool_flow.pool.slot_counts import SlotCounts
from cpool_flow.process import Processes
from cpool_flow.rooms import Rooms
from cpool_flow.run_folder import RunFolder
from cpool_flow.run_place import choose_isolation, open_place, our_git, plan_place, worktree_root
from cpool_flow.run_values import RunValues, fixed_values
from cpool_flow.secrets import Masker, check_secrets
from cpool_flow.shared_slots import SharedSlots
from cpool_flow.state import State
from cpool_flow.workspace.repository import refuse_old_git


@dataclass(frozen=True)
class Wanted:
    """Where a pool is to be. `store`: the project that keeps its run; None keeps nothing. `function`: the agent, where it is one.
    `resume`: the run that is gone on with."""

    made: Made
    project: Path
    store: Path | None
    run_id: str
    tags: tuple[str, ...]
    environment: Mapping[str, str]
    function: AgentFunction | None
    resume: RunFolder | None = None


class Host:
    """An open run. `open` makes it, `close` ends it; nothing of it is left then but the folder of one that is kept."""

    def __init__(self, wanted: Wanted, follow: Follow, overhear: Overhear) -> None:
        self.wanted = wanted
        self.inputs: Inputs = wanted.made.inputs
        self._follow = follow
        self._overhear = overhear
        self.added: list[events.StepAdded] = []
        self.slot_counts = SlotCounts()
        # Why nothing of `isolation: worktree` can be merged, where it cannot.
        self.cannot_merge: InvalidInput | None = None
        self._resources = ExitStack()
        self._secrets = check_secrets(self.inputs.secrets, wanted.environment)
        self.masker = Masker(hidden_values(self.inputs, self._secrets, wanted.environment))

    async def open(self) -> None:
        """Raises InvalidInput (not a git repository, a run id that is taken) and OperationFailed (the disk, git)."""
        public = {name: value for name, value in self.wanted.environment.items() if name not in self._secrets}
        with ExitStack() as resources:
            if self.wanted.resume is None:
                await self._begin(our_git(public), public, resources)
            else:
                self._take_over(self.wanted.resume, resources)
            opened = self.state.place
            assert opened is not None
            first = self.wanted.resume is None
            private = self.folder.path / "place"
            if opened.branch is not None:
                await self._ask_git(our_git(public))
            self._place = await open_place(our_git(public), opened, private, self.state.tip, first=first, masker=self.masker)
            if first:
                self.engine.note(events.SetupFinished())
            context = self._context()
            self._values = RunValues(self.state, context)
            self._places = Places(self._place, self.state, our_git(public), self.masker, context.remark)
            rooms = Rooms(self._places, context, self._values, self.state, self.engine.tell)
            function = self.wanted.function
            self._executor = LocalSlots(context, rooms) if function is None else FunctionSlots(context, function, rooms)
            self._items = ItemMerges(self._places, rooms, self._executor, self.inputs.workflow.keep)
            self._resources = resources.pop_all()

    def forget(self, step: str) -> None:
        """Let go of what is known of a step that has ended."""
        self.state.forget(step)
        self._values.forget(step)

    async def _ask_git(self, git: Git) -> None:
        try:
            await refuse_old_git(git, Path(self.inputs.directory))
        except InvalidInput as error:
            self.cannot_merge = error

    async def _begin(self, git: Git, public: Mapping[str, str], resources: ExitStack) -> None:
        wanted = self.wanted
        isolation = await choose_isolation(git, Path(self.inputs.directory), self.inputs.isolation, False, self.inputs.plan)
        root = worktree_root(public, self.inputs.pool.file.worktrees, wanted.project)
        place = await plan_place(git, isolation, self.inputs.workflow, "pool", wanted.run_id, Path(self.inputs.directory), root)
        self.folder = self._make_folder(resources)
        inputs.save(self.folder, self.inputs, wanted.made.files)
        kept = wanted.store is not None
        journal = Journal.create(self.folder.path) if kept else Journal.in_memory()
        resources.callback(journal.close)
        if kept:
            resources.enter_context(Lock(self.folder.path))
        created = self._created()
        self._start_engine(State(self.inputs.plan), journal, created.mark, resources)
        for event in (created, place, events.PoolOpened()):
            self.engine.note(event)
        self.engine.flush()

    def _take_over(self, folder: RunFolder, resources: ExitStack) -> None:
        """Go on with a pool that has ended, or whose program has died. What had failed or was cut off by its end runs again only where
        it was told to cancel its work."""
        self.folder = folder
        resources.enter_context(Lock(folder.path))
        journal = Journal.open(folder.path)
        resources.callback(journal.close)
        state = fold(self.inputs.plan, journal)
        for entry in journal.read():
            self.slot_counts.take(entry.event)
            if isinstance(entry.event, events.StepAdded):
                self.added.append(entry.event)
        sweep(state.mark)
        mark = f"{folder.run_id}-{os.urandom(4).hex()}"
        self._start_engine(state, journal, mark, resources)
        note_lost(self.engine, folder, self.inputs.pool.file)
        self.engine.note(events.RunResumed(state.stopping is not None, mark, self.inputs.budget_usd))
        self.engine.note(events.PoolOpened())
        if state.place is not None and state.place_closed is not None:
            self.engine.note(state.place)
            self.engine.note(events.SetupFinished())
        self.engine.flush()

    def _start_engine(self, state: State, journal: Journal, mark: str, resources: ExitStack) -> None:
        self.state = state
        self.processes = resources.enter_context(Processes(mark, str(self.folder.path), shared=True))
        day_usd = self.inputs.pool.file.budgets.day if self.wanted.store is not None else None
        money = OtherRuns(self.folder, day_usd, "")
        slots = SharedSlots(self.folder.path / "slots", MOST_SLOTS)
        resources.callback(slots.close)
        self.engine = Engine(state, journal, self.folder, self._recorded, time.time, money, time.time(), slots=slots, patience_seconds=inf)

    def _recorded(self, recorded: Sequence[Recorded], state: State) -> None:
        for entry in recorded:
            self.slot_counts.take(entry.event)
            log_event(entry.event, state, self.inputs, self.folder.run_id)
        self._follow(recorded, state)

    async def work(self) -> None:
        """Until the pool is closed and all of its work has ended. Raises OperationFailed where nobody can go on (the disk is full)."""
        try:
            await self.engine.drive(self._places, self._values, self._executor, self._items)
            await self._executor.close()
            closed = await self._place.close(self.inputs.workflow.keep)
            self.engine.note(closed)
            stopping = self.state.stopping
            status = stopping.status if stopping is not None else "success"
            stored = self.folder.keep(json.dumps({}), "outputs.json")
            self.engine.note(events.RunFinished(status, stopping.reason if stopping is not None else "", stored))
            self.engine.flush()
        finally:
            await self._executor.close()
            self._resources.close()

    def add_files(self, files: Mapping[str, bytes]) -> None:
        """Keep files that a workflow brings along. Raises OperationFailed."""
        for name, content in files.items():
            skill_files.write(inputs.own_file(self.folder, name), content)

    def _make_folder(self, resources: ExitStack) -> RunFolder:
        if self.wanted.store is not None:
            return run_folder.create(self.wanted.store, self.wanted.run_id)
        path = Path(tempfile.mkdtemp(prefix="cpool-pool-"))
        resources.callback(shutil.rmtree, path, ignore_errors=True)
        folder = RunFolder(path / self.wanted.run_id)
        folder.path.mkdir(mode=0o700)
        folder.inputs.mkdir()
        folder.logs.mkdir()
        return folder

    def _created(self) -> events.RunCreated:
        taken = self.inputs
        names = self.wanted.made.slot_names
        return events.RunCreated(
            run_id=self.folder.run_id,
            name=run_folder.short_name(self.folder.run_id),
            workflow="pool",
            file="pool",
            directory=taken.directory,
            mark=f"{self.folder.run_id}-{os.urandom(4).hex()}",
            slots=len(names),
            slot_names=names,
            isolation=taken.isolation,
            tags=self.wanted.tags,
            version=__version__,
            secrets=taken.secrets,
            budget_usd=taken.budget_usd,
            allow_unpriced=taken.allow_unpriced,
        )

    def _context(self) -> RunContext:
        bare = RunContext(
            folder=self.folder,
            inputs=self.inputs,
            workflow=self.inputs.workflow,
            place=self._place.place,
            processes=self.processes,
            masker=self.masker,
            environment=self.wanted.environment,
            secrets=self._secrets,
            default_shell=find_shell(self.wanted.environment),
            shared=self.state.shared,
            overhear=self._overhear,
            remark=lambda text: self.engine.tell(events.Noted(text)),
        )
        fixed_values(bare, self.state)
        return replace(bare, env={}, context={})


async def settle(work: asyncio.Task[None], deadline_seconds: float | None) -> bool:
    """Whether `work` ended in time. Its own failure is raised where it is waited for."""
    done, _ = await asyncio.wait([work], timeout=deadline_seconds)
    return bool(done)
