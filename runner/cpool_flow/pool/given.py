"""The settings that a call gives for one task → a step as the journal keeps it, checked once for each set of settings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput, did_you_mean
from cpool_flow.model import AgentConfig, Step
from cpool_flow.validate import Checked

STEP_SETTINGS = (
    "timeout", "idle_timeout", "retries", "retry", "recovery_prompt", "recoveries", "verify", "expect", "effects", "output",
    "output_schema", "output_vars", "env", "secrets", "cwd", "allow_denials", "slot", "profile", "isolation", "merge", "setup",
)  # fmt: skip
_DURATIONS = ("timeout", "idle_timeout")
# Files that agents read are the pool's.
_OF_THE_POOL = ("script", "recording")
AGENT_SETTINGS = tuple(key for key in AgentConfig.model_fields if key not in (*_OF_THE_POOL, "env"))


class Given:
    """Turns settings into steps. `check` says what is wrong with a workflow that holds one. `by_function`: the pool's agent is one."""

    def __init__(self, check: Callable[[Mapping[str, Any]], Checked], *, by_function: bool = False) -> None:
        self._check = check
        self._by_function = by_function
        self._known: dict[str, dict[str, Any]] = {}

    def step(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """The step without its name and its prompt. Raises InvalidInput."""
        if not settings:
            return {}
        try:
            key = json.dumps(settings, sort_keys=True, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"the settings of a task are plain data: {error}") from None
        if key not in self._known:
            self._known[key] = self._checked(json.loads(key))
        return self._known[key]

    def _checked(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        for name in settings:
            _check_name(name)
        step = {name: _seconds(value) if name in _DURATIONS else value for name, value in settings.items() if name in STEP_SETTINGS}
        config = {name: value for name, value in settings.items() if name in AGENT_SETTINGS}
        self._check({"steps": [{"name": "task", "prompt": "text", **step, **({"config": _untemplated(config)} if config else {})}]})
        for name in ("agent", "fallback") if self._by_function else ():
            if name in config:
                raise InvalidInput(f"`{name}` names an agent, and that of this pool is a function, which does all")
        return {**step, **({"config": config} if config else {})}


@dataclass(frozen=True)
class OwnPlace:
    """Where a chain or workflow works: with `isolation: worktree` in a git worktree of its own, which is set up by the commands of
    `setup`, and with `merge: auto` merged into the pool's branch when it has succeeded."""

    isolation: str = "none"
    merge: str = "auto"
    setup: str | Sequence[str] = ()

    @property
    def is_merged(self) -> bool:
        return self.isolation == "worktree" and self.merge == "auto"

    def keys(self) -> dict[str, Any]:
        """As a step holds them. Raises InvalidInput."""
        if self.isolation not in ("none", "worktree") or self.merge not in ("auto", "none"):
            raise InvalidInput("`isolation` is `none` or `worktree`, `merge` is `auto` or `none`")
        commands = [self.setup] if isinstance(self.setup, str) else list(self.setup)
        if any(not isinstance(command, str) or not command.strip() for command in commands):
            raise InvalidInput("`setup` is a command for the shell, or a list of them")
        if self.isolation == "none":
            if self.merge != "auto" or commands:
                raise InvalidInput('`merge` and `setup` mean nothing without `isolation="worktree"`')
            return {}
        return {"isolation": self.isolation, "merge": self.merge, **({"setup": commands} if commands else {})}


POOLS_PLACE: OwnPlace = OwnPlace()


def works_apart(checked: Checked) -> bool:
    """Whether anything in a workflow, or in those that it brings along, works in a place of its own."""
    return _any_isolated((*checked.workflow.steps, *checked.workflow.finally_)) or any(map(works_apart, checked.children.values()))


def merges_apart(checked: Checked) -> bool:
    """Whether anything in them is merged into the place that it came from."""
    steps = (*checked.workflow.steps, *checked.workflow.finally_)
    return _any_merged(steps) or any(map(merges_apart, checked.children.values()))


def _any_merged(steps: Iterable[Step]) -> bool:
    return any((step.isolated and step.merge != "none") or _any_merged(step.steps or ()) for step in steps)


def _any_isolated(steps: Iterable[Step]) -> bool:
    return any(step.isolated or _any_isolated(step.steps or ()) for step in steps)


def _check_name(name: str) -> None:
    if name in _OF_THE_POOL:
        raise InvalidInput(f"`{name}` is a setting of the whole pool", help=f"`Pool(config={{'{name}': …}})`")
    known = (*STEP_SETTINGS, *AGENT_SETTINGS)
    if name not in known:
        near = did_you_mean(name, known)
        raise InvalidInput(f"a task has no setting `{name}`{f', {near}' if near else ''}")


def _seconds(value: object) -> object:
    """A number of seconds as the duration that a file would hold."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return f"{value:.6f}".rstrip("0").rstrip(".") + "s"


def _untemplated(value: Any) -> Any:
    """The same without what would be a template in a file: here texts are literal."""
    if isinstance(value, str):
        return value.replace("{{", "{ {").replace("{%", "{ %").replace("{#", "{ #")
    if isinstance(value, dict):
        return {key: _untemplated(inner) for key, inner in value.items()}
    return [_untemplated(inner) for inner in value] if isinstance(value, list) else value
