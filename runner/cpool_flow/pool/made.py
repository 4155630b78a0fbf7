"""What a pool is made of, read and checked before anything exists: the inputs of its run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cpool_flow import model, project_pool, recording
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput
from cpool_flow.inputs import Inputs, PoolCopy, WorkflowCopy
from cpool_flow.library import read_bytes
from cpool_flow.pool_rules import CheckedPool, check_pool
from cpool_flow.slots import UNNAMED, named_slots

Slots = int | Sequence[Mapping[str, Any]]
_BY_NAME = ("env", "settings", "mcp_servers")
_SHOWN = "Pool(…)"
# The plan of a pool begins without steps; a workflow cannot.
_ROOT = {"version": 1, "name": "pool", "steps": [{"name": "pool", "run": "true"}]}


@dataclass(frozen=True)
class Made:
    """`files`: those that the settings name, by their names among the inputs. `slot_names`: of the slots that there are at first."""

    inputs: Inputs
    files: Mapping[str, bytes]
    slot_names: tuple[str, ...]


def make(
    *,
    directory: Path,
    project: Path,
    slots: Slots | None,
    most_slots: int,
    config: Mapping[str, Any],
    stand_in: str | None,
    secrets: Sequence[str],
    budget_usd: float | None,
    allow_unpriced: bool,
    isolation: str,
    base: str | None = None,
) -> Made:
    """The inputs of a pool. Raises InvalidInput with all that is wrong with its settings, or with `cpool.yaml`."""
    found = project_pool.read_pool(project)
    files, named, config = _own_files(config, directory)
    data = _merged(_data(found), config)
    wanted = _wanted(slots, found, most_slots)
    data["slots"] = [*wanted.rows, *([{"count": wanted.more}] if wanted.more else [])]
    check_pool(json.dumps(data).encode(), _SHOWN, partial(_read, directory, project, files, named))
    root = {
        **_ROOT,
        "secrets": list(secrets),
        **{key: value for key, value in (("budget_usd", budget_usd), ("base", base)) if value is not None},
    }
    copy = WorkflowCopy(file="pool", name="pool", data=root, source=json.dumps(root))
    own = Inputs(
        copies={"": copy},
        args={},
        slots=None,
        isolation=isolation,
        directory=str(directory),
        agent=stand_in,
        pool=PoolCopy(data, "", named),
        budget_usd=budget_usd,
        allow_unpriced=allow_unpriced,
        grows=True,
    )
    try:
        own.workflow.secrets  # noqa: B018 - read now, so that what is wrong with them is told now
    except ValueError:
        raise InvalidInput(
            "`secrets` of a pool are names of environment variables, `budget_usd` is a number above zero, `base` is a commit"
        ) from None
    return Made(own, files, wanted.names)


@dataclass(frozen=True)
class _Wanted:
    rows: list[dict[str, Any]]
    names: tuple[str, ...]
    more: int


def _wanted(slots: Slots | None, found: CheckedPool, most: int) -> _Wanted:
    """The slots with settings of their own, the names of all, and how many more there may ever be. Raises InvalidInput."""
    if slots is None:
        given = found.pool.slots or model.DEFAULT_SLOTS
        slots = given if isinstance(given, int) else [slot.model_dump(exclude_none=True, mode="json") for slot in given]
    if isinstance(slots, bool) or (isinstance(slots, int) and not 0 <= slots <= most):
        raise InvalidInput(f"a pool has from 0 to {most} slots (`max_slots`), not {slots}")
    if isinstance(slots, int):
        return _Wanted([], tuple(f"{UNNAMED}{number}" for number in range(1, slots + 1)), most)
    rows = [dict(row) for row in slots]
    count = sum(row.get("count", 1) if isinstance(row.get("count", 1), int) else 1 for row in rows)
    if not rows or count > most:
        raise InvalidInput(f"a list of slots has from 1 to {most} of them (`max_slots`), not {count}")
    checked = check_pool(json.dumps({"slots": rows}).encode(), _SHOWN).pool.slots
    assert checked is not None
    return _Wanted(rows, tuple(slot.name for slot in named_slots(checked)), most - count)


def _own_files(config: Mapping[str, Any], directory: Path) -> tuple[dict[str, bytes], dict[str, str], dict[str, Any]]:
    """The files that the settings of the pool name, read now: wherever they are, it was a program that named them."""
    files: dict[str, bytes] = {}
    named: dict[str, str] = {}
    settings = dict(config)
    for key in ("script", "recording"):
        if settings.get(key) is not None:
            path = directory / Path(str(settings[key]))
            content = recording.read(path).to_bytes() if key == "recording" else read_bytes(path, shown=str(settings[key]))
            name = f"pool-{key}{path.suffix}"
            files[name], named[name], settings[key] = content, name, name
    return files, named, settings


def _read(directory: Path, project: Path, files: Mapping[str, bytes], named: dict[str, str], name: str) -> bytes:
    return files[name] if name in named else project_pool.read_beside(project, name)


def _data(found: CheckedPool) -> dict[str, Any]:
    data = found.document.data if found.document is not None else {}
    return dict(data) if isinstance(data, dict) else {}


def _merged(data: dict[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """`cpool.yaml` with the settings of the pool over its own."""
    own = dict(data.get("config") or {})
    for key, value in config.items():
        own[key] = {**own[key], **value} if key in _BY_NAME and isinstance(value, Mapping) and isinstance(own.get(key), dict) else value
    return {**data, "config": own} if own else data
