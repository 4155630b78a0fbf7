"""The keys of a workflow file and of `cpool.yaml`, and what may have been meant by one that is none.

Knows the words of this format and those of others for the same thing; not which values the keys take.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from cpool_flow import model, own_agent, pool_file
from cpool_flow.errors import nearest, shown_name
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path

MOST_LISTED = 24

# What a mapping is called in a message, and the name of those in which keys of a later version may stand.
_IN: dict[type[BaseModel], str] = {
    model.Workflow: "in a workflow",
    model.Step: "in a step",
    model.AgentConfig: "in `config`",
    model.Slot: "in a slot",
    model.Retry: "in `retry`",
    model.Expect: "in `expect`",
    model.Repeat: "in `repeat`",
    model.Concurrency: "in `concurrency`",
    model.Session: "in `session`",
    model.OutputVariable: "in a variable of `output_vars`",
    pool_file.PoolFile: f"in `{pool_file.NAME}`",
    own_agent.OwnAgent: "in an agent of `agents`",
    own_agent.Found: "in a place of an agent's output",
    pool_file.Price: "in a price",
    pool_file.Budgets: "in `budgets`",
    pool_file.Notification: "in `notify`",
}
_LATER: dict[type[BaseModel], str] = {model.Workflow: "workflow", model.Step: "step", model.AgentConfig: "config"}
# Our words by the words that other runners have for the same thing.
_MEANT: dict[type[BaseModel], dict[str, str]] = {
    model.Workflow: {
        **dict.fromkeys(("arguments", "inputs", "parameters", "params"), "args"),
        **dict.fromkeys(("environment", "variables", "vars"), "env"),
        **dict.fromkeys(("jobs", "tasks", "stages", "nodes"), "steps"),
        **dict.fromkeys(("max_parallel", "parallelism", "workers"), "slots"),
        **dict.fromkeys(("after", "cleanup", "always"), "finally"),
    },
    model.Step: {
        "id": "name",
        **dict.fromkeys(("bash", "cmd", "command", "exec", "script", "sh"), "run"),
        **dict.fromkeys(("ask", "instructions"), "prompt"),
        **dict.fromkeys(("arguments", "args", "inputs", "parameters", "params"), "with"),
        **dict.fromkeys(("after", "depends", "depends_on", "dependson", "requires"), "needs"),
        **dict.fromkeys(("condition", "if", "only_if"), "when"),
        **dict.fromkeys(("each", "for", "for_each", "items", "loop", "with_items"), "foreach"),
        **dict.fromkeys(("dir", "directory", "workdir", "working_dir", "working_directory"), "cwd"),
        **dict.fromkeys(("allow_failure", "continue_on_error", "ignore_errors"), "on_failure"),
        **dict.fromkeys(("environment", "variables"), "env"),
        **dict.fromkeys(("attempts", "max_retries", "retry_count"), "retries"),
        **dict.fromkeys(("timeout_minutes", "timeout_seconds"), "timeout"),
        **dict.fromkeys(("outputs", "vars"), "output_vars"),
        "schema": "output_schema",
        "input": "stdin",
    },
    model.OutputVariable: {"from": "path", "value": "path"},
    model.Slot: {"size": "count", "tags": "labels", "settings": "config"},
    pool_file.PoolFile: {
        **dict.fromkeys(("defaults", "settings"), "config"),
        **dict.fromkeys(("max_parallel", "parallelism", "workers", "pool"), "slots"),
        **dict.fromkeys(("budget", "budget_usd"), "budgets"),
        **dict.fromkeys(("notifications", "hooks"), "notify"),
        "pricing": "prices",
        "worktree": "worktrees",
    },
    own_agent.OwnAgent: {
        **dict.fromkeys(("argv", "run", "program", "cmd"), "command"),
        **dict.fromkeys(("result", "text"), "answer"),
        **dict.fromkeys(("cost", "price"), "cost_usd"),
        **dict.fromkeys(("session", "thread_id"), "session_id"),
        **dict.fromkeys(("flags", "args", "config"), "options"),
        **dict.fromkeys(("secrets", "env", "environment"), "credentials"),
        "format": "output",
        "codes": "exit_codes",
    },
    own_agent.Found: {"type": "event", "value": "path", "join": "all"},
    pool_file.Budgets: {"daily": "day", "per_day": "day"},
    pool_file.Notification: {"run": "command", "when": "on", "events": "on"},
}


def place_of(path: Path, root: type[BaseModel]) -> type[BaseModel]:
    """The class of the mapping at `path` of a document that holds a `root`; `root` itself where the path leads to no mapping of ours."""
    kinds: list[Any] = [root]
    for part in path:
        kinds = [inner for kind in kinds for inner in _inside(kind, part)]
    return next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), root)


def _inside(kind: Any, part: str | int) -> Iterator[Any]:
    """What may stand at a key or an index of a value of this type."""
    arguments = get_args(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        fields = (field for name, field in kind.model_fields.items() if (field.alias or name) == part)
        yield from (inner for field in fields for inner in _branches(field.annotation))
    elif get_origin(kind) in (tuple, dict):
        yield from _branches(arguments[0 if get_origin(kind) is tuple else 1])


def _branches(kind: Any) -> Iterator[Any]:
    """The types of a union, without what pydantic is told beside them."""
    if get_origin(kind) is Annotated:
        yield from _branches(get_args(kind)[0])
    elif get_origin(kind) in (Union, UnionType):
        yield from (inner for branch in get_args(kind) for inner in _branches(branch))
    else:
        yield kind


def known_keys(place: type[BaseModel]) -> list[str]:
    """The keys of a mapping, as the file writes them."""
    return [field.alias or name for name, field in place.model_fields.items()]


def meant(key: str, place: type[BaseModel]) -> str | None:
    """The key of `place` that somebody means who writes `key`; None where nothing is near."""
    plain = key.lower().replace("-", "_").replace(" ", "_")
    return _MEANT.get(place, {}).get(plain) or nearest(plain, known_keys(place))


def refuse_key(path: Path, findings: Findings) -> None:
    """Note a key that this version does not know, or does not know yet."""
    key, place = str(path[-1]), place_of(path[:-1], findings.root)
    if key in model.LATER_KEYS.get(_LATER.get(place, ""), ()):
        findings.error(path, f"`{key}` is not supported by this version", key=True)
        return
    elsewhere = _elsewhere(key, place, findings.root)
    near = None if elsewhere else meant(key, place)
    hint = f"did you mean `{near}`?" if near else None
    where = f"in profile `{path[1]}`" if path[0] == "profiles" else _IN[place]
    findings.error(path, f"unknown key {shown_name(key)} {where}", key=True, hint=hint, help=elsewhere or (None if hint else _known(place)))


def _elsewhere(key: str, place: type[BaseModel], root: type[BaseModel]) -> str | None:
    """Where a key that means nothing here means something, unless it is a word for another key here."""
    if key in _MEANT.get(place, ()):
        return None
    if place is pool_file.PoolFile and key in known_keys(model.Workflow):
        return f"`{key}` belongs in a workflow file"
    if place is model.Step and key in known_keys(model.AgentConfig):
        return f"settings of the agent stand under `config:`, as `config: {{{key}: …}}`"
    if place is model.Step and key in known_keys(model.Workflow):
        return f"`{key}` is a key of the file, not of a step"
    if place is not model.Step and root is model.Workflow and key in known_keys(model.Step):
        return f"`{key}` is a key of a step"
    return None


def _known(place: type[BaseModel]) -> str:
    keys = known_keys(place)
    if len(keys) > MOST_LISTED:
        return "`cpool-flow schema` lists the keys of a workflow and its steps"
    return f"known here: {', '.join(f'`{key}`' for key in keys)}"
