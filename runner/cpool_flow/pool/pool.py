"""The pool as its callers see it: give it work, wait for results, watch it, make it larger or smaller, drain it."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cpool_flow import events, library
from cpool_flow.attempt_logs import AttemptLogs
from cpool_flow.errors import InvalidInput, did_you_mean
from cpool_flow.journal import Recorded
from cpool_flow.model import STEP_NAME
from cpool_flow.pool.errors import BudgetExhausted, PoolIsClosed, UnknownTask
from cpool_flow.pool.function_agent import AgentFunction
from cpool_flow.pool.given import POOLS_PLACE, Given, OwnPlace, merges_apart, works_apart
from cpool_flow.pool.host import Host, settle
from cpool_flow.pool.logbook import log_end
from cpool_flow.pool.made import Slots
from cpool_flow.pool.result import TaskResult, never_run, result_of_step
from cpool_flow.pool.scaling import rescaled
from cpool_flow.pool.settings import MAX_SLOTS, Settings
from cpool_flow.pool.status import DrainSummary, PoolStatus, slot_statuses
from cpool_flow.pool.sync import SyncPool
from cpool_flow.pool.task import MOST_EVENTS, Events, PoolEvent, Task, TaskGroup
from cpool_flow.pool.task_progress import TaskProgress, progress_of_step
from cpool_flow.pool.workflow import Brought, ChainStep, Workflow, check_secrets_declared, completed
from cpool_flow.state import State
from cpool_flow.validate import Checked, Wishes

# What is left below this is nothing (US dollars).
LEAST_USD = 1e-6
# Of what an agent has said last so many characters are kept.
MOST_SAID = 4096


class Pool:
    """Slots with agents, and work for them. `async with Pool(slots=4) as pool:` opens it; at the end of the block it drains: it waits for
    all work, or cancels it where the block was left by an error. All of it belongs to one loop."""

    def __init__(
        self,
        *,
        slots: Slots | None = None,
        agent: str | AgentFunction | None = None,
        config: Mapping[str, Any] | None = None,
        budget_usd: float | None = None,
        allow_unpriced: bool = False,
        directory: str | Path | None = None,
        project: str | Path | None = None,
        isolation: str = "none",
        base: str | None = None,
        store: str | Path | None = None,
        run_id: str | None = None,
        tags: Sequence[str] = (),
        secrets: Sequence[str] = (),
        context: Mapping[str, Any] | None = None,
        resume: str | None = None,
        min_slots: int = 0,
        max_slots: int = MAX_SLOTS,
    ) -> None:
        """`slots`: how many, or a list as in `cpool.yaml` (default: as that says, else 4). `agent`: a name, or an async function that is
        called instead. `config`: settings of all agent tasks, over those of `cpool.yaml`. `budget_usd`: the most that all work together
        may spend. `directory`: where agents work (default: here); `project`: where `cpool.yaml` and names are looked up (default: found
        upwards from there); `isolation`: `none`, or `worktree` for one git worktree of the pool, whose branch begins at `base` (default:
        `HEAD`). `store`: the project that keeps the pool's run for `cpool-flow status`, `logs` and `resume`; without it nothing is kept.
        `secrets`: environment variables that are masked. `context`: what all agents are told. `resume`: the run in `store` that this
        pool goes on with, also after a crash: its settings are those with which it was begun (an agent that is a function, and another
        `budget_usd`, may be given). `min_slots` and `max_slots` bound `scale`.

        Nothing is read before the pool is entered: then raises InvalidInput."""
        self._settings = Settings(
            slots=slots,
            agent=agent,
            config={} if config is None else config,
            budget_usd=budget_usd,
            allow_unpriced=allow_unpriced,
            directory=directory,
            project=project,
            isolation=isolation,
            base=base,
            store=store,
            run_id=run_id,
            tags=tags,
            secrets=secrets,
            context={} if context is None else context,
            resume=resume,
            min_slots=min_slots,
            max_slots=max_slots,
        )
        self._host: Host | None = None
        self._work: asyncio.Task[None] | None = None
        self._tasks: dict[str, Task] = {}
        self._listeners: list[Events] = []
        self._ended: Counter[str] = Counter()
        self._numbers: Counter[str] = Counter()
        self._names: set[str] = set()  # that were given, and so cannot be given again in this run
        self._said: dict[str, str] = {}  # the end of what an agent of each running task has said last
        self._closed = "it was not entered yet"
        self._given = Given(self._check_step, by_function=callable(agent))

    @staticmethod
    def sync(**settings: Any) -> SyncPool:
        """The same for programs without a loop: `with Pool.sync(slots=4) as pool: result = pool.run("…")`."""
        return SyncPool(Pool(**settings))

    # ---- its life -------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Raises InvalidInput with all that is wrong with its settings, OperationFailed where its folder cannot be written."""
        if self._host is not None:
            raise PoolIsClosed("a pool is entered once")
        host = Host(self._settings.wanted(), self._follow, self._overhear)
        await host.open()
        self._host, self._closed = host, ""
        for key, value in self._settings.context.items():
            self.set_context(key, value)
        self._find_again(host)
        self._work = asyncio.get_running_loop().create_task(host.work())
        self._work.add_done_callback(self._over)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.drain(cancel=error is not None)

    async def drain(self, deadline_seconds: float | None = None, *, cancel: bool = False) -> DrainSummary:
        """Take no more work, and wait for what there is; `cancel` stops it, as does the deadline (seconds from now). Afterwards nothing of
        the pool runs. May be called again. Raises OperationFailed where the pool could not go on."""
        host, work = self._opened(), self._work
        assert work is not None
        if not self._closed:
            self._closed = "it drains"
            host.engine.tell(events.PoolClosed())
        if cancel and not work.done():
            host.engine.stop("cancel", "the pool was told to cancel its work")
        if not await settle(work, deadline_seconds):
            host.engine.stop("cancel", f"the pool did not drain within {deadline_seconds:g} s")
        await asyncio.shield(work)
        return DrainSummary(
            self._ended["success"],
            self._ended["failed"],
            self._ended["cancelled"] + self._ended["skipped"],
            host.state.spending.spent_usd,
        )

    # ---- work -----------------------------------------------------------------------------------------------

    def submit(
        self,
        prompt: str,
        *,
        name: str | None = None,
        tags: Sequence[str] = (),
        queue_timeout_seconds: float | None = None,
        **settings: Any,
    ) -> Task:
        """Give the pool a task: one prompt for one agent. The text is literal, nothing in it is a template. `settings` are those of a step
        (`timeout` in seconds, `retries`, `output`, `output_schema`, `slot`, …) and of the agent (`model`, `max_turns`, `allowed_tools`, …).
        `queue_timeout_seconds`: cancelled if no slot was free for it by then.

        Raises InvalidInput, PoolIsClosed, BudgetExhausted: then nothing was added."""
        if not isinstance(prompt, str) or not prompt.strip(" \t\r\n"):
            raise InvalidInput("the prompt is empty")
        host = self._accepting()
        step = {**self._given.step(settings), "prompt": prompt, "on_failure": "continue"}
        return self._added(host, "task", name, step, tags, queue_timeout_seconds, literal=True)

    async def run(self, prompt: str, **settings: Any) -> TaskResult:
        """Give the pool a task and wait for its result: see `submit`. To cancel the waiting cancels the task."""
        return await _owned(self.submit(prompt, **settings))

    def fan_out(self, prompts: Iterable[str], *, fail_fast: bool = False, **settings: Any) -> TaskGroup:
        """One task for each prompt: `await` gives the results in that order, each with its own outcome. Raises as `submit` does."""
        if isinstance(prompts, str):
            raise InvalidInput("`fan_out` takes a list of prompts, not a single text")
        if "name" in settings:
            raise InvalidInput("`name` is that of a single task: those of a fan-out are counted")
        wanted = list(prompts)
        if any(not isinstance(prompt, str) or not prompt.strip(" \t\r\n") for prompt in wanted):
            raise InvalidInput("one of the prompts is empty")
        return TaskGroup([self.submit(prompt, **settings) for prompt in wanted], fail_fast=fail_fast)

    def skill(
        self, skill: str, args: Mapping[str, Any] | None = None, *, name: str | None = None, tags: Sequence[str] = (), **settings: Any
    ) -> Task:
        """Give the pool a task from the template of a skill. Raises as `submit` does."""
        given = dict(args or {})
        step = {"skill": skill, "with": {key: f"{{{{ args.{key} }}}}" for key in given}, **self._given.step(settings)}
        return self.workflow(Workflow.chain([step], given, name=f"skill {skill}"), args=given, name=name, tags=tags)

    def chain(
        self,
        steps: Sequence[ChainStep],
        *,
        args: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        isolation: str = "none",
        merge: str = "auto",
        setup: str | Sequence[str] = (),
    ) -> Task:
        """Give the pool steps that follow one another: prompts, or steps as in a workflow file. `{{ previous.output }}` is what the step
        before has answered. The result is that of the last step; `result.steps` has them all.

        `isolation`: `worktree` lets the chain work in a git worktree of its own, from the pool's branch; `setup` are commands that run in
        it first. When the chain has succeeded it is merged (`merge`: `auto`), or its branch is left (`none`, and always where it failed):
        `result.branch`. A conflict fails the chain. Raises as `submit` does, and InvalidInput where the pool has no worktree."""
        own = OwnPlace(isolation, merge, setup)
        return self._bring(Workflow.chain(steps, args), "chain", args, name, tags, own)

    def fan_out_chains(
        self,
        chains: Iterable[Sequence[ChainStep]],
        *,
        args: Mapping[str, Any] | None = None,
        tags: Sequence[str] = (),
        isolation: str = "none",
        merge: str = "auto",
        setup: str | Sequence[str] = (),
    ) -> TaskGroup:
        """Several chains side by side. All are checked before the first is added. With `isolation="worktree"` each has a place of its own,
        as with `chain`. Raises as that does."""
        own = OwnPlace(isolation, merge, setup)
        wanted = [self._brought(Workflow.chain(chain, args), "chain", own) for chain in chains]
        return TaskGroup([self._add_brought(brought, "chain", args, None, tags, own) for brought in wanted])

    def workflow(
        self,
        workflow: str | Path | Workflow,
        *,
        args: Mapping[str, Any] | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        isolation: str = "none",
        merge: str = "auto",
        setup: str | Sequence[str] = (),
    ) -> Task:
        """Give the pool a whole workflow, as a part of its run: its steps share slots, place and budget with all other work; with
        `isolation="worktree"` it has a place of its own, as with `chain`. The result's `json` is its outputs. Raises InvalidInput with all
        that is wrong with it or with its arguments, and as `chain` does."""
        given = workflow if isinstance(workflow, Workflow) else Workflow(workflow)
        return self._bring(given, "workflow", args, name, tags, OwnPlace(isolation, merge, setup))

    def task(self, task_id: str) -> Task:
        """The task of that id. Raises UnknownTask."""
        found = self._tasks.get(task_id)
        if found is None:
            raise UnknownTask(str(task_id), did_you_mean(str(task_id), self._tasks))
        return found

    def tasks(self, *, status: str | None = None, tag: str | None = None) -> list[Task]:
        """The tasks in the order in which they were given; only those with that status, or that tag."""
        return [task for task in self._tasks.values() if (status is None or task.status == status) and (tag is None or tag in task.tags)]

    def forget(self, task_id: str) -> None:
        """Let go of a task that has ended: a pool that lives long need not keep every result. Raises UnknownTask, InvalidInput."""
        if not self.task(task_id).done:
            raise InvalidInput(f"task `{task_id}` has not ended")
        del self._tasks[task_id]

    def approve(self, task_id: str, answer: str = "", *, by: str = "", reason: str = "", reject: bool = False) -> None:
        """Answer an `approve` step of a workflow (`workflow-1/ask`). Raises InvalidInput where nobody is asked there."""
        host = self._opened()
        if task_id not in host.state.approvals:
            raise InvalidInput(f"`{task_id[:80]}` waits for no approval")
        host.engine.say(task_id, {"answer": answer, "by": by, "reason": reason, **({"reject": "yes"} if reject else {})})

    # ---- what it tells --------------------------------------------------------------------------------------

    def status(self) -> PoolStatus:
        """The pool at this moment. Raises PoolIsClosed before it is entered."""
        host = self._opened()
        state = host.state
        counts = Counter(task.status for task in self._tasks.values() if not task.done)
        slots = slot_statuses(state, host.inputs, host.slot_counts, time.time())
        busy = sum(slot.task is not None for slot in slots)
        return PoolStatus(
            accepting=not self._closed,
            slots=slots,
            idle_slots=sum(slot.state == "idle" for slot in slots),
            busy_slots=busy,
            pending_tasks=sum(counts.values()) - counts["running"],
            running_tasks=counts["running"],
            succeeded_tasks=self._ended["success"],
            failed_tasks=self._ended["failed"],
            cancelled_tasks=self._ended["cancelled"] + self._ended["skipped"],
            spent_usd=state.spending.spent_usd,
            budget_usd=state.spending.limit_usd,
            spending_complete=state.spending.complete,
            parked=dict(state.parked),
        )

    def events(self, task: str | None = None, *, most: int = MOST_EVENTS) -> Events:
        """What happens from now on, of one task or of all: `async for event in pool.events():`. It ends with the task, or with the pool. Of
        events that nobody takes the latest `most` are kept. Raises UnknownTask."""
        ended = task is not None and self.task(task).done
        listener = Events(task, self._deaf, most)
        self._listeners.append(listener)
        if ended or (self._work is not None and self._work.done()):
            listener.close()
        return listener

    def logs(self, task_id: str) -> list[Path]:
        """The files with what the attempts of a task have printed so far, as their agents and commands printed it; also while they run.
        Without a `store` they are gone with the pool. Raises UnknownTask."""
        host = self._opened()
        self.task(task_id)
        listed = AttemptLogs(host.folder.logs)
        running = [task.attempts[-1] for task in host.state.running.values() if _root(task.id) == task_id]
        ended = sorted(host.folder.logs.glob(f"{task_id}.*.log"))
        return [*ended, *(path for attempt in running for path in map(Path, listed.own(attempt)) if path.exists())]

    @property
    def config(self) -> dict[str, Any]:
        """The settings that all agent tasks begin with: those of `cpool.yaml`, and of the pool over them."""
        settings = self._opened().inputs.pool.file.config
        return settings.model_dump(exclude_none=True, mode="json") if settings is not None else {}

    @property
    def store(self) -> Path | None:
        """The project that keeps the pool's run; None where nothing is kept."""
        return self._opened().wanted.store

    @property
    def directory(self) -> str:
        """Where its agents work, unless they are told otherwise."""
        place = self._opened().state.place
        assert place is not None, "BUG: a pool has a place"
        return place.directory

    @property
    def run_id(self) -> str:
        """The id of the pool's run, for `cpool-flow status` where it is stored."""
        return self._opened().folder.run_id

    # ---- shared context -------------------------------------------------------------------------------------

    def set_context(self, key: str, value: Any) -> None:
        """Tell all agents that start from now on. `value` is plain data. Raises InvalidInput."""
        host = self._accepting()
        if value is None or not isinstance(key, str) or not key:
            raise InvalidInput("a shared value has a name, and is not None: `delete_context` takes one away")
        self._plain(value)
        host.engine.tell(events.ContextChanged(host.masker.mask(key), host.masker.mask_value(value)))

    def get_context(self, key: str) -> Any:
        """What agents are told by this name; None where nothing."""
        return self._opened().state.shared.get(key)

    def delete_context(self, key: str) -> Any:
        """Tell agents no more; returns what they were told."""
        host = self._accepting()
        before = host.state.shared.get(key)
        if before is not None:
            host.engine.tell(events.ContextChanged(key))
        return before

    def context(self) -> dict[str, Any]:
        """All that agents are told, sorted by name."""
        return dict(sorted(self._opened().state.shared.items()))

    # ---- slots ----------------------------------------------------------------------------------------------

    def scale(self, *, up: int | None = None, down: int | None = None, to: int | None = None, cancel: bool = False) -> int:
        """Make the pool larger or smaller; returns how many slots it has then. Of slots that go the idle ones go first; one that works
        goes when its work has ended, unless `cancel`: then that is cancelled. Slots with names of their own stay.

        Raises InvalidInput beyond `min_slots` or `max_slots`: then nothing has changed."""
        host = self._accepting()
        change = rescaled(host.state, self._settings.bounds, up=up, down=down, to=to)
        if change.names != host.state.slot_order:
            host.engine.tell(events.SlotsChanged(change.names))
        for slot in change.leaving if cancel else ():
            task = host.state.slots.get(slot)
            if task is not None:
                self._cancel(_root(task), f"slot `{slot}` was taken away")
        return len(change.names)

    # ---- inside ---------------------------------------------------------------------------------------------

    def _find_again(self, host: Host) -> None:
        """The tasks of a pool that is gone on with; those that have ended have their results."""
        for added in host.added:
            task = self._tasks[added.name] = self._task(added.name, added.tags)
            self._names.add(added.name)
            if host.state.steps[added.name].ended:
                self._look_at(task.id, host.state, time.time())
        self._numbers["brought"] = len(host.inputs.copies)

    def _opened(self) -> Host:
        if self._host is None:
            raise PoolIsClosed(self._closed)
        return self._host

    def _accepting(self) -> Host:
        """Raises PoolIsClosed; BudgetExhausted where nothing that is given now could start."""
        if self._closed:
            raise PoolIsClosed(self._closed)
        host = self._host
        assert host is not None
        spending, stopping = host.state.spending, host.state.stopping
        if spending.limit_usd is not None and (
            spending.spent_usd >= spending.limit_usd - LEAST_USD or (stopping is not None and stopping.cause == "budget")
        ):
            raise BudgetExhausted(spending.spent_usd, spending.limit_usd)
        return host

    def _check_step(self, data: Mapping[str, Any]) -> Checked:
        checked = self._brought(Workflow.from_data(data, name="task"), "task").checked
        for problem in checked.warnings:
            self._accepting().engine.tell(events.Noted(problem.message))
        return checked

    def _brought(self, workflow: Workflow, kind: str, own: OwnPlace = POOLS_PLACE) -> Brought:
        host = self._accepting()
        self._numbers["brought"] += 1
        prefix = f"{kind}{self._numbers['brought']}"
        pool = host.inputs.slot_pool
        brought = workflow.bring(prefix, host.wanted.project, _places, pool, Wishes())
        if (own.keys() or works_apart(brought.checked)) and (host.state.place is None or host.state.place.branch is None):
            raise InvalidInput(
                "`isolation: worktree` needs a pool with a worktree: this one works in place, and has no branch to merge into",
                help='open it with `Pool(isolation="worktree")`',
            )
        if host.cannot_merge is not None and (own.is_merged or merges_apart(brought.checked)):
            raise host.cannot_merge
        check_secrets_declared(brought.copies.values(), host.inputs.workflow.secrets)
        return brought

    def _bring(
        self, workflow: Workflow, kind: str, args: Mapping[str, Any] | None, name: str | None, tags: Sequence[str], own: OwnPlace
    ) -> Task:
        return self._add_brought(self._brought(workflow, kind, own), kind, args, name, tags, own)

    def _add_brought(
        self, brought: Brought, kind: str, args: Mapping[str, Any] | None, name: str | None, tags: Sequence[str], own: OwnPlace
    ) -> Task:
        host = self._accepting()
        values = completed(brought.checked, args)
        self._plain(values)
        host.add_files(brought.files)
        for problem in brought.checked.warnings:
            host.engine.tell(events.Noted(host.masker.mask(problem.message)))
        step = {"workflow": brought.main, "with": values, "on_failure": "continue", **own.keys()}
        return self._added(host, kind, name, step, tags, None, literal=True, copies=brought.as_data())

    def _added(
        self,
        host: Host,
        kind: str,
        name: str | None,
        step: Mapping[str, Any],
        tags: Sequence[str],
        queue_timeout_seconds: float | None,
        *,
        literal: bool,
        copies: Mapping[str, Any] | None = None,
    ) -> Task:
        words = tuple(tags)
        if isinstance(tags, str) or not all(isinstance(tag, str) for tag in words):
            raise InvalidInput("`tags` is a list of texts")
        seconds = queue_timeout_seconds
        if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or not seconds > 0):
            raise InvalidInput("`queue_timeout_seconds` is a number above zero")
        task_id = self._new_id(kind, name)
        host.engine.tell(events.StepAdded(task_id, host.masker.mask_value(dict(step)), literal, copies, words))
        task = self._tasks[task_id] = self._task(task_id, words)
        if queue_timeout_seconds is not None:
            asyncio.get_running_loop().call_later(queue_timeout_seconds, self._give_up_waiting, task, queue_timeout_seconds)
        return task

    def _new_id(self, kind: str, name: str | None) -> str:
        """Raises InvalidInput for a name that is taken, or cannot be one."""
        if name is None:
            while True:
                self._numbers[kind] += 1
                task_id = f"{kind}-{self._numbers[kind]}"
                if task_id not in self._names:
                    return task_id
        if not isinstance(name, str) or not re.fullmatch(STEP_NAME.strip("^$"), name) or len(name) > 64:
            raise InvalidInput(f"`{str(name)[:80]}` cannot be the name of a task: lower case letters, digits, `-` and `_`, at most 64")
        counted = re.fullmatch(r"(task|chain|workflow)-([1-9][0-9]*)", name)
        if name in self._names or (counted is not None and int(counted[2]) <= self._numbers[counted[1]]):
            raise InvalidInput(f"there is already a task `{name}`")
        self._names.add(name)
        return name

    def _give_up_waiting(self, task: Task, seconds: float) -> None:
        if not task.done and self._opened().state.steps[task.id].status in ("pending", "ready"):
            self._cancel(task.id, f"no slot was free within {seconds:g} s")

    def _task(self, task_id: str, tags: tuple[str, ...]) -> Task:
        return Task(task_id, tags, self._status_of, self._cancel, self.events, self._progress_of)

    def _progress_of(self, task_id: str) -> TaskProgress:
        step = self._opened().state.steps.get(task_id)
        return progress_of_step(step, self._said.get(task_id, "")) if step is not None else TaskProgress("pending")

    def _status_of(self, task_id: str) -> str:
        step = self._opened().state.steps.get(task_id)
        return step.status if step is not None else "pending"

    def _cancel(self, task_id: str, reason: str) -> bool:
        host = self._opened()
        step = host.state.steps.get(task_id)
        if step is None or step.ended:
            return False
        host.engine.tell(events.StepCancelled(task_id, host.masker.mask(reason)))
        return True

    def _plain(self, value: Any) -> None:
        Workflow.from_data({"value": value}, name="value")

    # ---- what the engine tells ------------------------------------------------------------------------------

    def _follow(self, recorded: Sequence[Recorded], state: State) -> None:
        for entry in recorded:
            named = getattr(entry.event, "task", None) or getattr(entry.event, "step", None)
            if isinstance(entry.event, events.StepAdded):
                named = entry.event.name
            root = _root(named) if isinstance(named, str) else None
            if self._listeners:
                self._tell(PoolEvent(type(entry.event).__name__, entry.at, root, events.to_json(entry.event)))
            if root is not None:
                self._look_at(root, state, entry.at)

    def _look_at(self, task_id: str, state: State, at: float) -> None:
        step, task = state.steps.get(task_id), self._tasks.get(task_id)
        if step is None or task is None or task.done or not step.ended:
            return
        assert self._host is not None
        load = self._host.folder.load
        result = result_of_step(step, state, load, task.tags) if step.tasks else never_run(state, step, task.tags)
        self._ended[result.status] += 1
        task.end(result)
        self._said.pop(task_id, None)
        log_end(task_id, result.status, self.run_id)
        self._tell(PoolEvent("TaskEnded", at, task_id, {"status": result.status}, result))
        self._host.forget(task_id)

    def _overhear(self, task: str, number: int, text: str) -> None:
        root = _root(task)
        self._said[root] = text[-MOST_SAID:]
        if self._listeners:
            self._tell(PoolEvent("Said", time.time(), root, {"task": task, "number": number, "text": text}))

    def _tell(self, event: PoolEvent) -> None:
        for listener in list(self._listeners):
            listener.give(event)

    def _deaf(self, listener: Events) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    def _over(self, work: asyncio.Task[None]) -> None:
        """Nothing goes on any more: who still waits is told why."""
        self._closed = "it has ended"
        error = PoolIsClosed("it was stopped") if work.cancelled() else work.exception()
        for task in self._tasks.values():
            if not task.done:
                task.fail(error or PoolIsClosed("it has ended"))
        for listener in list(self._listeners):
            listener.end()


async def _owned(task: Task) -> TaskResult:
    try:
        return await task
    except asyncio.CancelledError:
        task.cancel("its caller was cancelled")
        raise


def _root(name: str) -> str:
    """The task of the pool that a step or a task inside of it belongs to."""
    return re.split(r"[/\[#]", name, maxsplit=1)[0]


def _places(kind: library.Kind, beside: Path) -> tuple[library.Place, ...]:
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path(os.environ.get("HOME", "/"), ".config"))
    return library.places(kind, beside, beside, home)
