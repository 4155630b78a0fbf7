"""What a pool is asked to be → the pool that is to be opened: a new one, or one that is gone on with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from cpool_flow import inputs, library, run_folder
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput
from cpool_flow.model import MOST_SLOTS
from cpool_flow.new_run import new_id
from cpool_flow.pool.function_agent import AgentFunction
from cpool_flow.pool.host import Wanted
from cpool_flow.pool.made import Made, Slots, make

MAX_SLOTS = 100


@dataclass(frozen=True, slots=True)
class Settings:
    """As `Pool(…)` is called with them; what they mean is said there. Nothing is read before `wanted`."""

    slots: Slots | None
    agent: str | AgentFunction | None
    config: Mapping[str, Any]
    budget_usd: float | None
    allow_unpriced: bool
    directory: str | Path | None
    project: str | Path | None
    isolation: str
    base: str | None
    store: str | Path | None
    run_id: str | None
    tags: tuple[str, ...]
    secrets: tuple[str, ...]
    context: Mapping[str, Any]
    resume: str | None
    min_slots: int
    max_slots: int

    @property
    def bounds(self) -> tuple[int, int]:
        """How few and how many slots there may be."""
        return self.min_slots, self.max_slots

    def wanted(self) -> Wanted:
        """The pool that is to be opened. Raises InvalidInput."""
        return self._again(self.resume) if self.resume is not None else self._anew()

    @property
    def _function(self) -> AgentFunction | None:
        return self.agent if callable(self.agent) else None

    def _again(self, reference: str) -> Wanted:
        """Raises InvalidInput: no such run, not the run of a pool, settings that cannot change any more."""
        if self.store is None:
            raise InvalidInput("`resume` needs the `store` in which the pool was kept")
        fixed = {"slots": self.slots, "config": self.config, "tags": self.tags, "secrets": self.secrets, "run_id": self.run_id}
        fixed |= {"context": self.context, "base": self.base}
        given = [name for name, value in fixed.items() if value]
        if given or isinstance(self.agent, str):
            raise InvalidInput(f"a pool that is gone on with keeps its `{given[0] if given else 'agent'}`")
        store = Path(self.store).resolve()
        folder = run_folder.find(store, reference)
        taken = inputs.load(folder)
        if not taken.grows:
            raise InvalidInput(f"run `{folder.run_id}` is not that of a pool", help=f"cpool-flow resume {folder.run_id}")
        function = self._function
        if taken.needs_program != (function is not None):
            raise InvalidInput(
                f"the agent of the pool `{folder.run_id}` {'is no function' if function else 'was a function: give it again'}"
            )
        taken = replace(taken, budget_usd=taken.budget_usd if self.budget_usd is None else float(self.budget_usd))
        made = Made(taken, {}, ())
        project = Path(self.project).resolve() if self.project is not None else store
        return Wanted(made, project, store, folder.run_id, (), dict(os.environ), function, folder)

    def _anew(self) -> Wanted:
        directory = Path(self.directory or Path.cwd()).resolve()
        if not directory.is_dir():
            raise InvalidInput(f"`directory`: there is no folder `{directory}`")
        home = os.environ.get("HOME")
        project = (
            Path(self.project).resolve() if self.project is not None else library.find_project(directory, Path(home) if home else None)
        )
        low, most = self.bounds
        if not (isinstance(low, int) and isinstance(most, int) and 0 <= low <= most <= MOST_SLOTS):
            raise InvalidInput(f"`min_slots` and `max_slots` are numbers from 0 to {MOST_SLOTS}, the first not above the second")
        if self.isolation not in ("none", "worktree"):
            raise InvalidInput(f"`isolation` is `none` or `worktree`, not `{self.isolation}`")
        if self.base is not None and self.isolation != "worktree":
            raise InvalidInput('`base` is for `isolation="worktree"`: without it the pool works in the directory as it is')
        if self.budget_usd is not None and not (isinstance(self.budget_usd, (int, float)) and 0 < self.budget_usd < float("inf")):
            raise InvalidInput(f"`budget_usd` is a number above zero, not {self.budget_usd}")
        function = self._function
        named = {"agent": self.agent} if isinstance(self.agent, str) else {}
        made = make(
            directory=directory,
            project=project,
            slots=self.slots,
            most_slots=most,
            config={**self.config, **named},
            stand_in=inputs.FUNCTION_AGENT if function is not None else None,
            secrets=self.secrets,
            budget_usd=None if self.budget_usd is None else float(self.budget_usd),
            allow_unpriced=self.allow_unpriced,
            isolation=self.isolation,
            base=self.base,
        )
        if made.inputs.pool.file.budgets.day is not None and self.store is None:
            raise InvalidInput("the project has a budget for each day: give the pool a `store`, so that others see what it spends")
        run_id = self.run_id or new_id()
        store = Path(self.store).resolve() if self.store is not None else None
        run_folder.check_run_id(store or project, run_id)
        return Wanted(made, project, store, run_id, self.tags, dict(os.environ), function)
