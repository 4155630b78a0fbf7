"""Which names a template may use at its place, and what is wrong with one that it may not.

Knows what the file declares and the order of its steps; not where templates stand (`references.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cpool_flow import model
from cpool_flow.errors import did_you_mean
from cpool_flow.keys import shown_name
from cpool_flow.order import Order, Placed

STEP_FIELDS = (
    "output", "json", "status", "error", "items", "branch", "commit", "changed_files", "cost_usd", "duration", "vars",
)  # fmt: skip
RUN_FIELDS = ("id", "dir", "branch", "base", "workflow")
# What a file cannot use as a name of its own: names of the scope, now or later, and words of the template language.
RESERVED = frozenset(
    {"args", "env", "context", "steps", "previous", "item", "index", "matrix", "iteration", "run", "attempt", "error", "secrets"}
    | {"loop", "range", "namespace", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else"}
)
_LATER = frozenset({"matrix", "iteration"})


@dataclass(frozen=True, slots=True)
class Wrong:
    message: str
    hint: str | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What is visible at one place. `step`: whose text it is; None outside of steps. `of_task`: whether each attempt reads it anew.
    `all_steps`: every step has ended by then. `env`: the declared keys that have a value by then."""

    what: str
    env: frozenset[str]
    context: bool = True
    step: Placed | None = None
    of_task: bool = False
    all_steps: bool = False

    @property
    def item(self) -> str | None:
        """What the item is called, where there is one."""
        return (self.step.step.as_ or "item") if self.of_task and self.step and self.step.step.foreach is not None else None

    @property
    def names(self) -> list[str]:
        found = ["args", "env", "run", *(["context"] if self.context else [])]
        if self.step is not None or self.all_steps:
            found.append("steps")
        if self.step is not None and len(self.step.needs) == 1:
            found.append("previous")
        return found + (["attempt", "error"] if self.of_task else []) + ([self.item, "index"] if self.item else [])


class Declared:
    """What the names of a workflow mean."""

    def __init__(self, workflow: model.Workflow, order: Order) -> None:
        self._workflow = workflow
        self._order = order

    def wrong(self, path: tuple[str, ...], guarded: bool, here: Here) -> Wrong | None:
        """What is wrong with the reference `path` at this place; None where it has a value, or may have one."""
        name = path[0]
        field = path[1] if len(path) > 1 else None
        if name not in here.names:
            return self._invisible(name, here)
        match name:
            case "args":
                return _member(field, "argument", self._workflow.args)
            case "env":
                return self._wrong_env(field, here)
            case "context":
                return None if guarded else _member(field, "key of `context`:", self._workflow.context)
            case "run":
                return _member(field, "field of `run`:", RUN_FIELDS)
            case "steps":
                return self._wrong_step(path[1:], here)
            case "previous":
                return self._wrong_field(here.step.needs[0], path[1:], "previous") if here.step else None
        return None

    def _invisible(self, name: str, here: Here) -> Wrong:
        if name in _LATER:
            return Wrong(f"`{name}` is not supported by this version")
        if name == "secrets":
            return Wrong(
                "a secret is no template value",
                help='name it in `secrets:` of the step, and read it there as an environment variable: "$NAME"',
            )
        if name in ("item", "index") or (here.step is not None and name == here.step.step.as_):
            of = "the texts of a step with `foreach`" if here.step is None or here.step.step.foreach is None else "what its tasks do"
            called = f"; here the item is called `{here.item}`" if here.item else ""
            return Wrong(f"`{name}` is known only in {of}{called}")
        if name in ("attempt", "error"):
            return Wrong(f"`{name}` is not known in {here.what}: no attempt has begun")
        if name == "previous" and here.step is not None:
            return Wrong(
                f"`previous` needs one step before this one, and there {'are several' if here.step.needs else 'is none'}",
                help="write `steps.NAME`",
            )
        if name in ("steps", "previous", "context"):
            return Wrong(f"`{name}` is not known in {here.what}")
        return Wrong(f"unknown name {shown_name(name)}", hint=self._meant(name, here), help=f"known here: {_listed(here.names)}")

    def _meant(self, name: str, here: Here) -> str | None:
        for place, names in (
            ("args", self._workflow.args),
            ("env", here.env),
            ("steps", self._order.steps),
            ("context", self._workflow.context),
        ):
            if name in names and place in here.names:
                return f"write `{_written(place, name)}`"
        return did_you_mean(name, here.names)

    def _wrong_env(self, field: str | None, here: Here) -> Wrong | None:
        if field in self._workflow.secrets:
            way_out = f'the step that names it in `secrets:` has it as an environment variable: "${field}"'
            return Wrong(f"`{field}` is a secret, and a secret is no template value", help=way_out)
        if field in self._workflow.env and field not in here.env:
            return Wrong(f"`env.{field}` has no value yet in {here.what}", help="what is declared further up has one")
        help = None if field is None or did_you_mean(field, here.env) else f"declare it: `env: {{{field}: …}}`"
        return _member(field, "variable of `env`:", here.env, help)

    def _wrong_step(self, path: tuple[str, ...], here: Here) -> Wrong | None:
        if not path:
            return Wrong("`steps` is read by name", help="write `steps.NAME` or `steps['NAME']`")
        name = path[0]
        placed = self._order.steps.get(name)
        if placed is None:
            return Wrong(f"unknown step {shown_name(name)}", hint=did_you_mean(name, self._order.steps))
        if here.step is not None and not self._order.is_upstream(name, here.step):
            return self._not_upstream(placed, here.step)
        return self._wrong_field(name, path[1:], _written("steps", name))

    def _not_upstream(self, placed: Placed, reader: Placed) -> Wrong:
        if placed is reader:
            return Wrong(
                f"step `{placed.name}` reads its own result",
                help="`error` says why the attempt before failed" if reader.step.retries else None,
            )
        if placed.is_last and not reader.is_last:
            return Wrong(f"step `{placed.name}` is one of `finally`, and runs after this one")
        if self._order.is_upstream(reader.name, placed):
            return Wrong(f"step `{placed.name}` runs after this one")
        needs = ", ".join([*(need for need in reader.needs), placed.name])
        return Wrong(
            f"step `{placed.name}` may not have ended when step `{reader.name}` begins", help=f"add it to `needs`: `needs: [{needs}]`"
        )

    def _wrong_field(self, name: str, path: tuple[str, ...], written: str) -> Wrong | None:
        step = self._order.steps[name].step
        variables = step.output_vars or {}
        if not path:
            return Wrong(f"`{written}` is a step, not a value", help=f"write `{written}.output`, or another of its fields")
        field = path[0]
        if step.foreach is not None and (field in variables or field == "vars"):
            return Wrong(f"each item of step `{name}` has its own `{field}`", help=f"write `{written}.items | map(attribute='{field}')`")
        if field == "items" and step.foreach is None:
            return Wrong(f"step `{name}` has no `items`: it has no `foreach`", help=f"write `{written}.json` for its parsed output")
        if field == "vars":
            return _member(path[1] if len(path) > 1 else None, f"variable of step `{name}`:", variables)
        if field not in STEP_FIELDS and field not in variables:
            help = f"declare it in `output_vars` of `{name}`, or read `{written}.json`"
            return Wrong(
                f"step `{name}` has no variable {shown_name(field)}", hint=did_you_mean(field, [*variables, *STEP_FIELDS]), help=help
            )
        return None


def _member(field: str | None, what: str, declared: Mapping[str, object] | Iterable[str], help: str | None = None) -> Wrong | None:
    if field is None or field in declared:
        return None
    hint = did_you_mean(field, declared)
    return Wrong(f"unknown {what} {shown_name(field)}", hint=hint, help=help or (None if hint else f"known: {_listed(declared)}"))


def _written(place: str, name: str) -> str:
    """How a name is read: `steps.a`, `steps['a-b']`."""
    return f"{place}.{name}" if name.isidentifier() else f"{place}['{name}']"


def _listed(names: Iterable[str]) -> str:
    listed = [f"`{name}`" for name in names]
    return ", ".join(listed[:12]) + (", …" if len(listed) > 12 else "") if listed else "none"
