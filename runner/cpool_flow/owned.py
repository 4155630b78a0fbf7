"""Collects what a run will own: each workflow file that it may come to, with its skills, schemas and other files, as copies.

Reads; writes nothing. Whether any of it is valid was asked before (`validate.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from cpool_flow import project_pool, skill_files
from cpool_flow.errors import InvalidInput
from cpool_flow.inputs import PoolCopy, WorkflowCopy
from cpool_flow.lookup import Lookup, Searched
from cpool_flow.model import AgentConfig, Step, Workflow
from cpool_flow.pool_rules import CheckedPool, configs
from cpool_flow.validate import Checked


class Owned:
    """`copies`: the workflow files by key, `pool`: the project's `cpool.yaml`. `files`: other files, by their names in the run's folder."""

    def __init__(self, path: Path, checked: Checked, project: Path, places: Searched) -> None:
        self.copies: dict[str, WorkflowCopy] = {}
        self.files: dict[str, bytes] = {}
        self._keys: dict[Path, str] = {}
        self._project = project
        self._places = places
        self._take("", path.resolve(), checked)
        self.pool = self._pool(checked.pool, project)

    def _take(self, key: str, path: Path, checked: Checked) -> None:
        self._keys[path] = key
        lookup = Lookup(path, self._project, self._places)
        flow = checked.workflow
        self.copies[key] = WorkflowCopy(
            file=str(path),
            name=flow.name or _name_of(path),
            data=_mapping(checked.document.data),
            source=checked.document.text,
            skills=checked.skills,
            schemas=checked.schemas,
            files=self._scripts(flow, lookup),
            skill_files=dict(self._beside_skills(checked.skills, lookup)),
            workflows={name: self._child(lookup.workflow_path(name), child) for name, child in checked.children.items()},
        )

    def _child(self, path: Path, checked: Checked) -> str:
        if path not in self._keys:
            self._take(f"{len(self._keys)}-{_name_of(path)}", path, checked)
        return self._keys[path]

    def _scripts(self, flow: Workflow, lookup: Lookup) -> dict[str, str]:
        """The files that steps name (scripts of the scripted agent, recordings), and the names of their copies."""
        return self._named(_configs(flow), lookup.file, lookup.path)

    def _beside_skills(self, skills: Iterable[str], lookup: Lookup) -> Iterator[tuple[str, str]]:
        """The skills that have files beside them, and the names of the folders of their copies."""
        for skill in skills:
            copies = skill_files.read(lookup.skill_path(skill))
            if copies:
                folder = f"{len(self.files)}-skill/{skill}"
                self.files |= {f"{folder}/{name}": content for name, content in copies.items()}
                yield skill, folder

    def _pool(self, checked: CheckedPool, project: Path) -> PoolCopy:
        if checked.document is None:
            return PoolCopy()
        held = [config for _, config in configs(checked.pool)]
        files = self._named(held, partial(project_pool.read_beside, project), partial(project_pool.file_beside, project))
        return PoolCopy(_mapping(checked.document.data), checked.document.text, files)

    def _named(self, settings: Iterable[AgentConfig], read: Callable[[str], bytes], find: Callable[[str], Path]) -> dict[str, str]:
        named: dict[str, str] = {}
        settings = list(settings)
        for name in dict.fromkeys(config.recording for config in settings if config.recording):
            from cpool_flow import recording

            with suppress(InvalidInput):  # who needs one that is not there is told so when the agents are asked
                self.files[f"{len(self.files)}-recording.json"] = recording.read(find(name)).to_bytes()
                named[name] = next(reversed(self.files))
        for script in dict.fromkeys(config.script for config in settings if config.script):
            named[script] = f"{len(self.files)}-{Path(script).name}"
            self.files[named[script]] = read(script)
        return named


def _configs(flow: Workflow) -> list[AgentConfig]:
    slots = flow.slots if isinstance(flow.slots, tuple) else ()
    held = [*(slot.config for slot in slots), *(step.config for step in all_steps((*flow.steps, *flow.finally_)))]
    return [flow.config, *flow.profiles.values(), *filter(None, held)]


def all_steps(steps: tuple[Step, ...]) -> list[Step]:
    """The steps, each followed by those in it."""
    return [inner for step in steps for inner in (step, *all_steps(step.steps or ()))]


def _mapping(data: object) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise AssertionError("BUG: a valid workflow is a mapping")
    return data


def _name_of(path: Path) -> str:
    """The file's stem as a name that can stand in a branch."""
    return re.sub(r"[^a-z0-9_-]+", "-", path.stem.lower()).strip("-_") or "workflow"
