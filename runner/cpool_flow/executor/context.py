"""What all attempts of a run share: its inputs, its place, its processes, its secrets, its recording. Decides nothing."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cpool_flow import model, template
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import InvalidInput
from cpool_flow.executor import Assignment
from cpool_flow.git import POINTERS
from cpool_flow.inputs import Inputs, WorkflowCopy
from cpool_flow.json_value import JsonValue
from cpool_flow.process import Processes
from cpool_flow.run_folder import RunFolder
from cpool_flow.secrets import Masker
from cpool_flow.shared_slots import VARIABLE, Held
from cpool_flow.shell.program import BASH, SH, words
from cpool_flow.slots import NamedSlot
from cpool_flow.values import Record
from cpool_flow.workspace.place import Place

if TYPE_CHECKING:
    from cpool_flow.executor.recorder import Recorder

# The task, the number of its attempt, and what its agent has said; nothing in that is a secret.
Overhear = Callable[[str, int, str], object]


@dataclass(frozen=True)
class RunContext:
    """One run, as its attempts see it. `environment` is the caller's, `secrets` the declared ones that are set. `grace_seconds`:
    how long what is stopped has to end by itself. `shared`: what a pool tells its agents at this moment. `overhear` is told what agents say while
    they work, `remark` what people should know though nothing has failed by it."""

    folder: RunFolder
    inputs: Inputs
    workflow: model.Workflow
    place: Place
    processes: Processes
    masker: Masker
    environment: Mapping[str, str]
    secrets: Mapping[str, str]
    default_shell: tuple[str, ...]
    grace_seconds: float = 10.0
    env: Mapping[str, str] = field(default_factory=dict)
    recorder: Recorder | None = None
    context: Mapping[str, Any] = field(default_factory=dict)
    shared: Mapping[str, Any] = field(default_factory=dict)
    overhear: Overhear | None = None
    remark: Callable[[str], object] = lambda text: None

    def write_file(self, text: str) -> str:
        return self.folder.write_value(self.masker.mask(text))

    def nonce(self) -> str:
        return os.urandom(8).hex()

    def copy(self, assignment: Assignment) -> WorkflowCopy:
        """The workflow file that a step stands in."""
        return self.inputs.copies[assignment.step.source]

    def asked_slot(self, assignment: Assignment) -> NamedSlot | None:
        """The slot of an attempt whose step asked for it: only then its settings and its identity count."""
        return self.inputs.slot_named(assignment.slot) if assignment.step.slots is not None else None

    def text(self, source: str, scope: Mapping[str, object]) -> str:
        """A text field as it comes to. Raises RenderError."""
        return template.parse(source).render(scope, self) if "{" in source else source

    def stdin(self, source: str, scope: Mapping[str, object]) -> bytes:
        """Text for the standard input of a command. A value that stands alone is handed over as it is, of whatever size. Raises
        RenderError."""
        if "{" not in source:
            return source.encode()
        parsed = template.parse(source)
        value = parsed.value(scope, self)
        text = value if isinstance(value, str) else parsed.render(scope, self, allow_nul=True)
        return text.encode("utf-8", "surrogatepass")

    def values(self, values: Mapping[str, Any], scope: Mapping[str, object]) -> dict[str, Any]:
        """Data with the templates in its texts rendered; a text that is one whole expression keeps the expression's type."""
        return {name: _rendered(value, scope, self) for name, value in values.items()}

    def script(self, source: str, scope: Mapping[str, object]) -> tuple[str, dict[str, str]]:
        """Shell text with references in place of values, and the variables that hold the values."""
        if "{" not in source:
            return source, {}
        rendered = template.parse_shell(source).render(scope, self)
        return rendered.script, rendered.environment

    def directory(self, step: model.Step, scope: Mapping[str, object]) -> str:
        """Where the step works. Raises InvalidInput where its `cwd` is outside of the place, OperationFailed where it does not exist."""
        if step.cwd is None:
            return str(self.place.directory)
        return str(self.place.folder(self.text(step.cwd, scope)))

    def shell(self, step: model.Step | None) -> tuple[str, ...]:
        """The words before the script."""
        if step is None or step.shell is None:
            return self.default_shell
        return words(step.shell)

    def step_variables(self, assignment: Assignment) -> dict[str, str]:
        """What a step's processes get beyond the caller's environment: declared `env`, secrets it names, ours. Raises RenderError."""
        step = assignment.step.step
        own = {name: self.text(value, assignment.scope) for name, value in (step.env or {}).items()}
        for name, value in own.items():
            template.check_argument(f"{name}={value}", f"the variable `{name}`")
        variables = {**_texts(assignment.scope["env"]), **own}
        variables |= {name: self.secrets[name] for name in step.secrets or () if name in self.secrets}
        return variables | self._identity(assignment.slot, assignment.held)

    def shell_environment(self, assignment: Assignment) -> dict[str, str]:
        """The caller's environment, less the declared secrets that the step does not name."""
        return {**self.public_environment, **self.step_variables(assignment), "CPOOL_STEP": assignment.task}

    @cached_property
    def public_environment(self) -> Mapping[str, str]:
        """The caller's environment, less the declared secrets; in a place of the run's own nothing in it leads git elsewhere. Made once,
        for it is asked for by every step."""
        hidden = {*self.secrets, "CPOOL_FAULT", *(POINTERS if self.place.branch is not None else ())}
        return {name: value for name, value in self.environment.items() if name not in hidden}

    def setup_environment(self) -> dict[str, str]:
        return {**self.public_environment, **self.env, **self._identity(None)}

    def _identity(self, slot: str | None, held: Held | None = None) -> dict[str, str]:
        number = held.number if held is not None else self.inputs.slot_number(slot) if slot else 0
        return {
            "CPOOL_RUN_ID": self.folder.run_id,
            "CPOOL_RUN_DIR": str(self.folder.path),
            "CPOOL_SLOT": slot or "",
            "CPOOL_PORT_OFFSET": str(number * 100),
            VARIABLE: held.path if held is not None else "",
        }


class NoValue(InvalidInput):
    """A variable of `env`, a key of `context`, or the concurrency group comes to no value. `path`: where it stands in the file."""

    def __init__(self, path: tuple[str, str], reason: str) -> None:
        super().__init__(f"`{'.'.join(path)}` has no value: {reason}")
        self.path = path


class NoHost:
    """A host for values that are only tried, or explained: it writes no file."""

    def write_file(self, text: str) -> str:
        return "/file"

    def nonce(self) -> str:
        return "0"


def declared_values(
    workflow: model.Workflow, scope: Mapping[str, object], host: template.Host
) -> tuple[dict[str, str], dict[str, JsonValue]]:
    """`env` and `context` of a workflow; a variable may use those above it. `scope`: `args` and `run`. Raises NoValue."""
    env: dict[str, str] = {}
    context: dict[str, JsonValue] = {}
    path = ("env", "")
    try:
        for name, text in workflow.env.items():
            path = ("env", name)
            env[name] = template.parse(text).render({**scope, "env": Record(env)}, host)
        for name, value in workflow.context.items():
            path = ("context", name)
            context[name] = _rendered(value, {**scope, "env": Record(env)}, host)
    except template.RenderError as error:
        raise NoValue(path, error.message) from None
    return env, context


def concurrency_group(concurrency: model.Concurrency, scope: Mapping[str, object], host: template.Host) -> str:
    """The name of the group. `scope`: `args`, `env`, `context` and `run`. Raises NoValue."""
    try:
        group = template.parse(concurrency.group).render(scope, host).strip()
    except template.RenderError as error:
        raise NoValue(("concurrency", "group"), error.message) from None
    if not group:
        raise NoValue(("concurrency", "group"), "it is empty")
    return group


def _rendered(value: Any, scope: Mapping[str, object], host: template.Host) -> Any:
    if isinstance(value, str):
        return template.parse(value).value(scope, host) if "{" in value else value
    if isinstance(value, Mapping):
        return {name: _rendered(inner, scope, host) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rendered(inner, scope, host) for inner in value]
    return value


def _texts(env: object) -> dict[str, str]:
    assert isinstance(env, Mapping)
    return {str(name): str(value) for name, value in env.items()}


def find_shell(environment: Mapping[str, str]) -> tuple[str, ...]:
    """`bash -euo pipefail -c`, or `sh -eu -c` where there is no bash."""
    return BASH if shutil.which("bash", path=environment.get("PATH", os.defpath)) else SH


def display(command: str | tuple[str, ...]) -> str:
    """A command as its author wrote it, cut to one short line; no value is in it."""
    text = command.strip().split("\n", 1)[0] if isinstance(command, str) else " ".join(command)
    return text if len(text) <= 80 else f"{text[:77]}..."
