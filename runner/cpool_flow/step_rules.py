"""What cannot be meant: keys that do nothing for their kind of step, names and paths that are not taken, files that are no schema.

Asks one value or one step at a time; order is `order.py`, templates are `references.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from math import prod
from pathlib import PurePosixPath
from typing import Any

from cpool_flow import model, template
from cpool_flow.errors import did_you_mean, shown_name
from cpool_flow.fan_out import EXTRA, MOST_COMBINATIONS
from cpool_flow.findings import Findings
from cpool_flow.kind_rules import check_keys
from cpool_flow.nodes import Path
from cpool_flow.order import Order, Placed
from cpool_flow.outputs import path_keys
from cpool_flow.plan import DEFAULT_MAX_ITEMS, NEVER_RETRIED
from cpool_flow.shell import program
from cpool_flow.visible import ITEM_FIELDS, RESERVED, STEP_FIELDS

# What changes how a shell finds programs, reads start-up files or splits words.
_RISKY_VARIABLES = {
    "PATH": "decides which program a command is",
    "BASH_ENV": "is a file that bash runs before the command",
    "ENV": "is a file that a shell runs before the command",
    "IFS": "changes how the shell splits words",
    "LD_PRELOAD": "is loaded into every program",
    "PYTHONSTARTUP": "is a file that Python runs",
}
_TEXT_OF_STEP = re.compile(r"(steps\.\w+|steps\['[\w-]+'\]|previous)\.(?:output|status|error)")
_POSIX_SHELLS = frozenset({"sh", "bash", "dash"})


def check_rules(workflow: model.Workflow, order: Order, findings: Findings) -> None:
    """Note every key of a step, and every name and path in it, that cannot be meant."""
    for name, profile in workflow.profiles.items():
        check_config(("profiles", name), profile, findings)
    for placed in order.all:
        rules = _Rules(placed, workflow, findings)
        check_keys(placed.step, placed.path, findings)
        rules.check_names()
        rules.check_values()
        rules.check_config()
        rules.check_session(order)
        rules.check_isolation()


def check_env(path: Path, env: Mapping[str, str] | None, findings: Findings, secrets: Iterable[str] = ()) -> None:
    """Note the variables of an `env` that are not taken, or dangerous."""
    for name in env or ():
        place = (*path, name)
        if name.startswith("CPOOL_"):
            findings.error(place, f"`{name}` cannot be set: names that begin with `CPOOL_` are our own", key=True)
        elif name in secrets:
            findings.error(place, f"`{name}` is a secret already", key=True)
        elif name == "PATH" and path == ("env",):
            findings.error(
                place, "`PATH` can only be set by the step that needs it", key=True, help="it decides which programs all steps run"
            )
        elif name in _RISKY_VARIABLES:
            findings.error(place, f"`{name}` {_RISKY_VARIABLES[name]}", key=True, warning=True)


def check_path(path: Path, text: str, findings: Findings, *, templates: bool = False) -> bool:
    """Whether a path stays in the folder that it is relative to, as far as its text says; noted where it does not."""
    wrong = _wrong_path(f"`{path[-1] if isinstance(path[-1], str) else path[-2]}`", text, templates)
    if wrong:
        findings.error(path, wrong)
    return not wrong


def _wrong_path(key: str, text: str, templates: bool) -> str | None:
    if template.is_template(text) and not templates:
        return f"{key} takes no template"
    if text.startswith(("/", "~")):
        return f"{key} must be relative, and {shown_name(text)} is not"
    if ".." in re.split(r"[/\\]", text):
        return f"{shown_name(text)} leads out with `..`"
    return None if text.isprintable() else f"{key} holds a character that is not printable"


def _own_place(placed: Placed) -> Placed | None:
    """The step, or the group around it, whose items have places of their own; None for what works in the run's."""
    return next((each for each in placed.outwards() if each.step.isolated), None)


class _Rules:
    """The rules for one step."""

    def __init__(self, placed: Placed, workflow: model.Workflow, findings: Findings) -> None:
        self._placed = placed
        self._name = placed.name
        self._path = placed.path
        self._step = placed.step
        self._workflow = workflow
        self._findings = findings

    def check_names(self) -> None:
        step = self._step
        if step.as_ in RESERVED - {"item"}:
            self._error("as", f"`{step.as_}` cannot name the item: it has a meaning of its own")
        for name, variable in (step.output_vars or {}).items():
            self._check_variable(name, variable)
        for index, name in enumerate(step.secrets or ()):
            if name not in self._workflow.secrets:
                hint = did_you_mean(name, self._workflow.secrets)
                message = f"step `{self._name}` asks for secret `{name}`, which is not declared"
                self._findings.error(
                    (*self._path, "secrets", index), message, hint=hint, help=f"declare it: `secrets: [{name}]` at the top of the file"
                )
        check_env((*self._path, "env"), step.env, self._findings, step.secrets or ())

    def check_values(self) -> None:
        step = self._step
        if step.cwd is not None:
            check_path((*self._path, "cwd"), step.cwd, self._findings, templates=True)
        for index, pattern in enumerate((step.expect.files if step.expect else None) or ()):
            check_path((*self._path, "expect", "files", index), pattern, self._findings)
        if isinstance(step.foreach, tuple):
            most = DEFAULT_MAX_ITEMS if step.max_items is None else step.max_items
            if len(step.foreach) > most:
                self._error("foreach", f"this list has {len(step.foreach):,} items; `max_items` allows {most:,}")
        elif step.foreach is not None:
            self._check_list(("foreach",), step.foreach)
        if step.matrix is not None:
            self._check_matrix(step.matrix)
        for index, pattern in enumerate(step.artifacts or ()):
            check_path((*self._path, "artifacts", index), pattern, self._findings)
        if isinstance(step.run, tuple) and not step.run[0].strip():
            self._findings.error((*self._path, "run", 0), "the program has no name")
        for index, kind in enumerate((step.retry.on if step.retry else None) or ()):
            if kind in NEVER_RETRIED:
                self._findings.error((*self._path, "retry", "on", index), f"`{kind}` is never tried again: another attempt cannot mend it")
        self._check_shell()

    def check_config(self) -> None:
        step = self._step
        if step.config is not None:
            check_config((*self._path, "config"), step.config, self._findings)

    def check_isolation(self) -> None:
        if self._step.isolated and self._workflow.isolation == "none":
            message = (
                f"the items of step `{self._name}` cannot have places of their own: with `isolation: none` the run has none to begin from"
            )
            self._error("isolation", message, help="leave `isolation: none` out at the top of the file")

    def check_session(self, order: Order) -> None:
        """A session is that of an agent step which has ended, once."""
        session = self._step.session
        if not isinstance(session, model.Session):
            return
        key = "fork" if session.continue_ is None else "continue"
        name = session.continue_ or session.fork or ""
        path: Path = (*self._path, "session", key)
        known = order.names(self._placed)
        source = known.get(name)
        if source is None:
            agents = [other for other, placed in known.items() if placed.step.is_agent]
            self._findings.error(path, f"unknown step {shown_name(name)}", hint=did_you_mean(name, agents))
        elif not source.step.is_agent:
            self._findings.error(path, f"step `{name}` is no agent step: it has no session")
        elif source.step.fans_out or source.step.repeat is not None:
            self._findings.error(path, f"step `{name}` has more than one session")
        elif _own_place(source) is not _own_place(self._placed):
            self._findings.error(path, f"the session of step `{name}` is that of another place: `isolation: worktree` stands between them")
        elif not source.shares_loop(self._placed) and not order.is_upstream(source, self._placed):
            own = source is self._placed
            message = f"step `{name}` names its own session" if own else f"step `{name}` may not have ended when step `{self._name}` begins"
            self._findings.error(path, message)

    def _check_variable(self, name: str, variable: str | model.OutputVariable) -> None:
        path: Path = (*self._path, "output_vars", name)
        if name in STEP_FIELDS or (self._step.fans_out and name in ITEM_FIELDS):
            whose = "step" if name in STEP_FIELDS else "item"
            self._findings.error(path, f"`{name}` is a field of every {whose}, and cannot name a variable", key=True)
        written = variable if isinstance(variable, str) else variable.path
        try:
            path_keys(written)
        except ValueError as error:
            self._findings.error(path if isinstance(variable, str) else (*path, "path"), str(error))

    def _check_list(self, keys: tuple[str, ...], text: str) -> None:
        """Text is never iterated: said at load of what is known to be text."""
        path: Path = (*self._path, *keys)
        subject = f"`{'.'.join(keys)}` takes a list, and"
        inner = text.strip().removeprefix("{{").removesuffix("}}").strip()
        if output := _TEXT_OF_STEP.fullmatch(inner):
            help = f"let the step print one item a line with `output: lines`, and write `{output[1]}.json`"
            self._findings.error(path, f"{subject} `{inner}` is text", help=help)
        declared = self._workflow.args.get(inner.removeprefix("args.")) if inner.startswith("args.") else None
        kind = declared.get("type") if declared else None
        if isinstance(kind, str) and kind != "array":
            self._findings.error(path, f"{subject} `{inner}` is declared as {kind}")

    def _check_matrix(self, matrix: Mapping[str, str | tuple[Any, ...]]) -> None:
        path = (*self._path, "matrix")
        axes = {key: values for key, values in matrix.items() if key not in EXTRA}
        for key, values in matrix.items():
            if key in EXTRA and isinstance(values, tuple):
                for index, entry in enumerate(values):
                    self._check_entry((*path, key, index), key, entry, axes)
            elif isinstance(values, str):
                self._check_list(("matrix", key), values)
            elif key in axes and values == ():
                self._findings.error((*path, key), f"`{key}` is empty: the matrix has no combination")
        if not matrix.keys() - {"exclude"}:
            self._error("matrix", "a matrix names at least one list", help="as `matrix: {os: [linux, macos]}`")
        count = prod(len(values) if isinstance(values, tuple) else 1 for values in axes.values())
        most = DEFAULT_MAX_ITEMS if self._step.max_items is None else self._step.max_items
        if count > MOST_COMBINATIONS:
            self._error("matrix", f"this matrix has {count:,} combinations; at most {MOST_COMBINATIONS:,} are made")
        elif count > most and axes and "exclude" not in matrix and all(isinstance(values, tuple) for values in axes.values()):
            self._error("matrix", f"this matrix has {count:,} combinations; `max_items` allows {most:,}")

    def _check_entry(self, path: Path, key: str, entry: Any, axes: Iterable[str]) -> None:
        """An entry of `include` or `exclude`. One that takes away by a name that no list has would take nothing away."""
        if not isinstance(entry, dict):
            self._findings.error(path, f"an entry of `{key}` is a mapping, as `{{os: linux}}`")
            return
        for name in entry if key == "exclude" else ():
            if name not in axes:
                message = f"`exclude` names {shown_name(name)}, which is no list of the matrix"
                self._findings.error((*path, name), message, key=True, hint=did_you_mean(name, axes))

    def _check_shell(self) -> None:
        step = self._step
        if step.shell is None:
            return
        if template.is_template(" ".join(step.shell) if isinstance(step.shell, tuple) else step.shell):
            self._error("shell", "`shell` takes no template")
            return
        try:
            words = program.words(step.shell)
        except ValueError as error:
            self._error("shell", f"`shell` {error}")
            return
        if isinstance(step.run, str) and template.is_template(step.run) and PurePosixPath(words[0]).name not in _POSIX_SHELLS:
            message = f"values can be put safely into text for sh, bash and dash only, not for {shown_name(words[0])}"
            self._error("shell", message, help="hand them over by `env:` or `stdin:`")

    def _error(self, key: str, message: str, help: str | None = None) -> None:
        self._findings.error((*self._path, key), message, help=help)


def check_config(path: Path, config: model.AgentConfig, findings: Findings) -> None:
    """Note what cannot be meant in the settings of an agent."""
    check_env((*path, "env"), config.env, findings)
    for key in ("script", "recording"):
        named = getattr(config, key)
        if named is not None:
            check_path((*path, key), named, findings)
