"""What a pool is asked to be → the pool that is to be opened: a new one, or one that is gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
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
    tags: Sequence[str]
    secrets: Sequence[str]
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
        wrong = [f"`{name}` is {what}, not {getattr(self, name)!r:.80}" for name, what, fits in _SHAPES if not fits(getattr(self, name))]
        if wrong:
            raise InvalidInput("; ".join(wrong))
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
        function = self._function
        named = {"agent": self.agent} if isinstance(self.agent, str) else {}
        made = make(
            directory=directory,
            project=project,
            slots=self.slots,
            most_slots=most,
            config={**self.config, **named},
            stand_in=inputs.FUNCTION_AGENT if function is not None else None,
            secrets=tuple(self.secrets),
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
        return Wanted(made, project, store, run_id, tuple(self.tags), dict(os.environ), function)


def _optional(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_list_of(kind: type, value: object) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, kind) for each in value)


_TEXTS = partial(_is_list_of, str)
_PATH = _optional(lambda value: isinstance(value, (str, os.PathLike)))
# What each setting has to be, whatever it means: a program of others gives it, and its types are checked by nobody else.
_SHAPES: tuple[tuple[str, str, Callable[[Any], bool]], ...] = (
    ("slots", "a number or a list of mappings", _optional(lambda value: type(value) is int or _is_list_of(Mapping, value))),
    ("agent", "a name or an async function", _optional(lambda value: isinstance(value, str) or callable(value))),
    ("config", "a mapping", lambda value: isinstance(value, Mapping)),
    ("budget_usd", "a number above zero", _optional(lambda value: _is_number(value) and 0 < value < float("inf"))),
    ("directory", "a path", _PATH),
    ("project", "a path", _PATH),
    ("store", "a path", _PATH),
    ("run_id", "a text", _optional(lambda value: isinstance(value, str) and value != "")),
    ("tags", "a list of texts", _TEXTS),
    ("secrets", "a list of names", _TEXTS),
    ("context", "a mapping", lambda value: isinstance(value, Mapping)),
)
