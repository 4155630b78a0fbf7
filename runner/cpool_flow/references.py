"""Reads every template of a workflow: each must parse, and each name in it must have a value where it stands.

Knows where templates stand and what is read when; what a name means is said in `visible.py`. Renders nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from cpool_flow import model, template
from cpool_flow.findings import Findings
from cpool_flow.nodes import Path
from cpool_flow.order import Level, Order, Placed
from cpool_flow.visible import Declared, Here

if TYPE_CHECKING:
    Parsed = template.Template | template.Expression | template.ShellTemplate
Parse = Callable[[str], "Parsed"]
Found = tuple[Path, "template.Reference", Placed]

# Texts of the agent's settings that are read before any template has a value.
_NO_TEMPLATES = ("agent", "script", "recording")


def check_references(workflow: model.Workflow, order: Order, findings: Findings, outputs_of: Mapping[str, Iterable[str]]) -> frozenset[str]:
    """Note what is wrong in the templates of a workflow; the names of the arguments that it uses. `outputs_of`: the outputs of each
    sub-workflow, by the text that names it."""
    reader = _Reader(workflow, order, findings, outputs_of)
    reader.read_workflow(workflow)
    for placed in order.all:
        reader.read_step(placed)
    return frozenset(workflow.args) if reader.uses_all_arguments else frozenset(reader.arguments)


def references_in(workflow: model.Workflow, steps: Iterable[Placed], findings: Findings) -> list[Found]:
    """The references in the texts of some steps of a valid workflow: where each stands, what it says, and the step that it stands in."""
    found: list[Found] = []
    reader = _Reader(workflow, Order(Level()), findings, {}, found)
    for placed in steps:
        reader.read_step(placed)
    return found


class _Reader:
    """`found`: references are only collected there, and not checked."""

    def __init__(
        self,
        workflow: model.Workflow,
        order: Order,
        findings: Findings,
        outputs_of: Mapping[str, Iterable[str]],
        found: list[Found] | None = None,
    ) -> None:
        self._found = found
        self._declared = Declared(workflow, order, outputs_of)
        self._env = frozenset(workflow.env)
        self._findings = findings
        self._constants: template.Constants | None = None  # made for the first template
        self.arguments: set[str] = set()
        self.uses_all_arguments = False

    def read_workflow(self, workflow: model.Workflow) -> None:
        known: set[str] = set()
        for name, text in workflow.env.items():
            self._text(("env", name), text, Here("`env`", frozenset(known), context=False))
            known.add(name)
        self._values(("context",), workflow.context, Here("`context`", self._env, context=False))
        self._config(("config",), workflow.config, Here("`config` of the workflow", self._env))
        self._commands(("setup",), workflow.setup, Here("`setup`", self._env))
        if workflow.concurrency is not None:
            self._text(("concurrency", "group"), workflow.concurrency.group, Here("`concurrency`", self._env))
        self._values(("outputs",), workflow.outputs, Here("`outputs`", self._env, all_steps=True))

    def read_step(self, placed: Placed) -> None:
        step, path = placed.step, placed.path
        if isinstance(step.when, str):
            self._expression((*path, "when"), step.when, Here("`when`", self._env, step=placed))
        if step.foreach is not None:
            self._items((*path, "foreach"), step.foreach, Here("`foreach`", self._env, step=placed))
        for key, axis in (step.matrix or {}).items():
            self._items((*path, "matrix", key), axis, Here("`matrix`", self._env, step=placed))
        if isinstance(step.filter, str):
            self._expression((*path, "filter"), step.filter, Here("`filter`", self._env, step=placed, of_item=True))
        if isinstance(step.limit, str):
            self._expression((*path, "limit"), step.limit, Here("`limit`", self._env, step=placed))
        if step.repeat is not None and isinstance(step.repeat.until, str):
            until = Here("`until`", self._env, step=placed, of_item=True, inside=True)
            self._expression((*path, "repeat", "until"), step.repeat.until, until)
        here = Here("the step", self._env, step=placed, of_task=True)
        if isinstance(step.run, str):
            self._shell((*path, "run"), step.run, here)
        for key, text in (
            ("prompt", step.prompt),
            ("recovery_prompt", step.recovery_prompt),
            ("stdin", step.stdin),
            ("cwd", step.cwd),
            ("approve", step.approve),
            ("reason", step.reason),
        ):
            if text is not None:
                self._text((*path, key), text, here)
        self._commands((*path, "verify"), step.verify, here)
        self._commands((*path, "setup"), step.setup, here)
        for key, values in (("run", step.run), ("with", step.with_), ("env", step.env)):
            if values is not None and not isinstance(values, str):
                self._values((*path, key), values, here)
        if step.config is not None:
            self._config((*path, "config"), step.config, here)

    def _items(self, path: Path, items: str | tuple[Any, ...], here: Here) -> None:
        if isinstance(items, str):
            self._expression(path, items, here)
        else:
            self._values(path, items, here)

    def _config(self, path: Path, config: model.AgentConfig, here: Here) -> None:
        for name in config.model_fields_set:
            if name not in _NO_TEMPLATES:
                self._values((*path, name), getattr(config, name), here)

    def _commands(self, path: Path, commands: str | tuple[str, ...] | None, here: Here) -> None:
        if isinstance(commands, str):
            self._shell(path, commands, here)
        for index, command in enumerate(commands if isinstance(commands, tuple) else ()):
            self._shell((*path, index), command, here)

    def _values(self, path: Path, value: Any, here: Here) -> None:
        """All texts inside of a value."""
        if isinstance(value, str):
            self._text(path, value, here)
        elif isinstance(value, Mapping):
            for key, inner in value.items():
                self._values((*path, key), inner, here)
        elif isinstance(value, (list, tuple)):
            for index, inner in enumerate(value):
                self._values((*path, index), inner, here)

    def _text(self, path: Path, text: str, here: Here) -> None:
        if template.is_template(text):
            self._read(template.parse, path, text, here)

    def _expression(self, path: Path, text: str, here: Here) -> None:
        self._read(template.parse_expression, path, text, here)

    def _shell(self, path: Path, text: str, here: Here) -> None:
        if not template.is_template(text):
            return
        parsed = self._read(template.parse_shell, path, text, here)
        for warning in parsed.warnings if isinstance(parsed, template.ShellTemplate) else ():
            self._findings.error_in(path, warning.offset, warning.length, warning.message, hint=warning.hint, warning=True)

    def _read(self, parse: Parse, path: Path, text: str, here: Here) -> Parsed | None:
        try:
            parsed = parse(text)
        except template.TemplateError as error:
            self._findings.error_in(path, error.offset, error.length, error.message, hint=error.hint)
            return None
        for reference in parsed.references:
            self._check(path, reference, here)
        if not parsed.references:
            self._try(path, parsed)
        return parsed

    def _try(self, path: Path, parsed: Parsed) -> None:
        self._constants = self._constants or template.Constants()
        wrong = self._constants.error(parsed)
        if wrong is not None:
            self._findings.error_in(path, wrong.offset or 0, 1, wrong.message)

    def _check(self, path: Path, reference: template.Reference, here: Here) -> None:
        if self._found is not None:
            if here.step is not None:
                self._found.append((path, reference, here.step))
            return
        names = reference.path
        if names[0] == "args":
            self.arguments.update(names[1:2])
            self.uses_all_arguments |= len(names) == 1
        wrong = self._declared.wrong(names, reference.guarded, here)
        if wrong is not None:
            self._findings.error_in(path, reference.offset, reference.length, wrong.message, hint=wrong.hint, help=wrong.help)
