"""A workflow as a pool takes it: a file, a name, a text, plain data, or a chain of prompts. Reads and checks it; runs nothing."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from cpool_flow import arguments, library
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput
from cpool_flow.inputs import WorkflowCopy
from cpool_flow.lookup import Lookup, Searched
from cpool_flow.owned import Owned
from cpool_flow.slots import SlotPool
from cpool_flow.validate import Checked, Wishes, validate

# A step of a chain: a prompt, or a step as it stands in a workflow file.
ChainStep = str | Mapping[str, Any]


@dataclass(frozen=True)
class Brought:
    """What a workflow brings into a pool: its files by key (`main` is its own), and others by their names among the inputs."""

    main: str
    checked: Checked
    copies: Mapping[str, WorkflowCopy]
    files: Mapping[str, bytes]

    def as_data(self) -> dict[str, Any]:
        """The copies as the journal keeps them."""
        return {key: asdict(copy) for key, copy in self.copies.items()}


class Workflow:
    """`Workflow("review.yaml")` is a file, `Workflow("review")` one that is found by its name. Nothing is read before a pool gets it."""

    def __init__(self, reference: str | Path) -> None:
        self._reference: str | None = str(reference)
        self._source = ""
        self._name = str(reference)

    @classmethod
    def from_text(cls, text: str, *, name: str = "workflow.yaml") -> Workflow:
        """A workflow as YAML text. `name` is what problems call it; files that it names are relative to the pool's directory."""
        made = cls(name)
        made._reference, made._source = None, text
        return made

    @classmethod
    def from_data(cls, data: Mapping[str, Any], *, name: str = "workflow") -> Workflow:
        """A workflow as the plain data that its YAML would be. Raises InvalidInput for what JSON cannot hold."""
        try:
            return cls.from_text(json.dumps({"version": 1, **data}, ensure_ascii=False, allow_nan=False), name=name)
        except (TypeError, ValueError) as error:
            raise InvalidInput(f"`{name}` is no plain data: {error}") from None

    @classmethod
    def chain(cls, steps: Sequence[ChainStep], args: Mapping[str, Any] | None = None, *, name: str = "chain") -> Workflow:
        """Steps one after the other. A text is a prompt; `{{ previous.output }}` in it is what the step before has answered, and
        `{{ args.NAME }}` an argument. Raises InvalidInput for an empty chain."""
        if isinstance(steps, str) or not steps:
            raise InvalidInput("a chain is a list of at least one step")
        if any(not isinstance(step, (str, Mapping)) for step in steps):
            raise InvalidInput("a step of a chain is a prompt, or a mapping as in a workflow file")
        declared: dict[str, Any] = {argument: {} for argument in args or {}}
        return cls.from_data(
            {"args": declared, "steps": [{"prompt": step} if isinstance(step, str) else dict(step) for step in steps]}, name=name
        )

    def bring(self, prefix: str, project: Path, places: Searched, pool: SlotPool, wishes: Wishes) -> Brought:
        """Everything of the workflow, read and checked; its keys begin with `prefix`. Raises InvalidInput with all its problems."""
        if self._reference is not None:
            path = library.find_workflow(self._reference, Path.cwd(), places("workflow", project)).path
            source, shown = library.read_bytes(path, shown=library.shown_path(path)), library.shown_path(path)
        else:
            path, source, shown = project / self._name, self._source.encode(), self._name
        checked = validate(source, shown, Lookup(path, project, places), pool=pool, wishes=wishes)
        owned = Owned(path, checked, project, places)
        keys = {key: f"{prefix}-{key}" if key else prefix for key in owned.copies}
        copies = {keys[key]: _rekeyed(copy, keys, prefix) for key, copy in owned.copies.items()}
        return Brought(prefix, checked, copies, {f"{prefix}-{name}": content for name, content in owned.files.items()})


def _rekeyed(copy: WorkflowCopy, keys: Mapping[str, str], prefix: str) -> WorkflowCopy:
    files = {named: f"{prefix}-{name}" for named, name in copy.files.items()}
    beside = {skill: f"{prefix}-{name}" for skill, name in copy.skill_files.items()}
    return replace(copy, files=files, skill_files=beside, workflows={named: keys[key] for named, key in copy.workflows.items()})


def completed(checked: Checked, args: Mapping[str, Any] | None) -> dict[str, Any]:
    """The arguments with their defaults. Raises InvalidInput with all that is wrong with them."""
    values, complaints = arguments.complete(checked.workflow.args, dict(args or {}))
    if complaints:
        raise InvalidInput(problem for _, problem in complaints)
    return dict(values)


def check_secrets_declared(copies: Iterable[WorkflowCopy], declared: Iterable[str]) -> None:
    """Raises InvalidInput where a workflow needs a secret that the pool was not told of: it could not be masked."""
    known = set(declared)
    missing = [name for copy in copies for name in copy.workflow.secrets if name not in known]
    if missing:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(missing))
        raise InvalidInput(f"the workflow needs the secret {names}, which the pool does not know", help="name it in `Pool(secrets=[…])`")
