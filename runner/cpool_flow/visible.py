"""Which names a template may use at its place, and what is wrong with one that it may not.

Knows what the file declares and the order of its steps; not where templates stand (`references.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from cpool_flow import model
from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean, listed, shown_name
from cpool_flow.order import Order, Placed

STEP_FIELDS = (
    "output", "json", "status", "error", "items", "branch", "commit", "changed_files", "cost_usd", "duration", "vars",
)  # fmt: skip
ITEM_FIELDS = ("item", "index")
RUN_FIELDS = ("id", "dir", "branch", "base", "workflow")
# What a file cannot use as a name of its own: names of the scope, now or later, and words of the template language.
RESERVED = frozenset(
    {"args", "env", "context", "steps", "previous", "item", "index", "matrix", "iteration", "run", "attempt", "error", "secrets"}
    | {"loop", "range", "namespace", "true", "false", "none", "and", "or", "not", "in", "is", "if", "else"}
)
FIELDS_OF_END = ("status", "error", "duration")


@dataclass(frozen=True, slots=True)
class Wrong:
    message: str
    hint: str | None = None
    help: str | None = None


@dataclass(frozen=True, slots=True)
class Here:
    """What is visible at one place. `step`: whose text it is; None outside of steps. `of_item`: whether it is read for each item,
    `of_task`: for each attempt. `inside`: it is asked after a round of a loop, of the steps in it. `all_steps`: every step has
    ended by then. `env`: the declared keys that have a value by then."""

    what: str
    env: frozenset[str]
    context: bool = True
    step: Placed | None = None
    of_item: bool = False
    of_task: bool = False
    inside: bool = False
    all_steps: bool = False

    @property
    def item(self) -> str | None:
        """What the step's own item is called, where there is one."""
        return item_name(self.step.step) if (self.of_item or self.of_task) and self.step is not None else None

    @property
    def items(self) -> list[str]:
        """Names of the step's own item, and of those of the groups around it."""
        around = [item_name(group.step) for group in list(self.step.outwards())[1:]] if self.step is not None else []
        named = [name for name in (self.item, *around) if name is not None]
        return [*named, *(["index"] if named else [])]

    @property
    def iterates(self) -> bool:
        """Whether a loop goes round this place."""
        if self.step is None:
            return False
        around = list(self.step.outwards())
        own = self.of_task or self.inside
        return any(placed.step.repeat is not None for placed in (around if own else around[1:]))

    @property
    def names(self) -> list[str]:
        found = ["args", "env", "run", *(["context"] if self.context else [])]
        if self.step is not None or self.all_steps:
            found.append("steps")
        if self.step is not None and len(self.step.needs) == 1 and not self.inside:
            found.append("previous")
        attempts = self.of_task and self.step is not None and (self.step.step.executes or self.step.step.isolated)
        return [*found, *(["attempt", "error"] if attempts else []), *self.items, *(["iteration"] if self.iterates else [])]


def item_name(step: model.Step) -> str | None:
    """What an item of a fan-out is called."""
    return (step.as_ or "item") if step.foreach is not None else "matrix" if step.matrix is not None else None


class Declared:
    """What the names of a workflow mean."""

    def __init__(self, workflow: model.Workflow, order: Order, outputs_of: Mapping[str, Iterable[str]]) -> None:
        """`outputs_of`: the outputs of each sub-workflow, by the text that names it."""
        self._workflow = workflow
        self._order = order
        self._outputs_of = outputs_of

    def wrong(self, path: tuple[str, ...], guarded: bool, here: Here) -> Wrong | None:
        """What is wrong with the reference `path` at this place; None where it has a value, or may have one."""
        name = path[0]
        field = path[1] if len(path) > 1 else None
        if name not in here.names:
            return self._invisible(name, here)
        match name:
            case "args":
                help = f"declare it: `args: {{{field}: {{type: string}}}}`" if not self._workflow.args else None
                return _member(field, "argument", self._workflow.args, help)
            case "env":
                return self._wrong_env(field, here)
            case "context":
                return None if guarded else _member(field, "key of `context`:", self._workflow.context)
            case "run":
                return _member(field, "field of `run`:", RUN_FIELDS)
            case "matrix":
                return _wrong_list(field, here)
            case "steps":
                return self._wrong_step(path[1:], here)
            case "previous":
                return self._wrong_field(here.step.level.steps[here.step.needs[0]], path[1:], "previous") if here.step else None
        return None

    def _invisible(self, name: str, here: Here) -> Wrong:
        if name == "iteration":
            return Wrong("`iteration` is known only in a loop: in a step or group with `repeat`")
        if here.what == "`when`" and here.step is not None and name in ("index", item_name(here.step.step)):
            return Wrong(f"`{name}` is not known in `when`, which is asked once for all items", help="`filter` is asked for each of them")
        if name == "matrix":
            return Wrong("`matrix` is known only in a step with `matrix`")
        if name == "secrets":
            return Wrong(
                "a secret is no template value",
                help='name it in `secrets:` of the step, and read it there as an environment variable: "$NAME"',
            )
        if name in ("item", "index") or (here.step is not None and name == here.step.step.as_):
            of = "the texts of a step with `foreach`" if here.step is None or not here.step.step.fans_out else "what its tasks do"
            called = f"; here the item is called `{here.items[0]}`" if here.items and name != "index" else ""
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
        return Wrong(f"unknown name {shown_name(name)}", hint=self._meant(name, here), help=f"known here: {listed(here.names)}")

    def _meant(self, name: str, here: Here) -> str | None:
        for place, names in (
            ("args", self._workflow.args),
            ("env", here.env),
            ("steps", self._order.names(here.step)),
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
        name, reader = path[0], here.step
        inside = _inside(reader) if here.inside and reader is not None else {}
        placed = inside.get(name) or self._order.names(reader).get(name)
        if placed is None:
            return self._unknown_step(name, here)
        if reader is not None and name not in inside and not placed.shares_loop(reader) and not self._order.is_upstream(placed, reader):
            return self._not_upstream(placed, reader)
        return self._wrong_field(placed, path[1:], _written("steps", name))

    def _unknown_step(self, name: str, here: Here) -> Wrong:
        hidden = next((placed for placed in self._order.all if placed.name == name), None)
        if hidden is not None and hidden.around is not None:
            group = hidden.around.name
            field = "items" if hidden.around.step.fans_out else "output"
            return Wrong(f"step `{name}` stands inside of group `{group}`", help=f"read the group: `{_written('steps', group)}.{field}`")
        known = self._order.names(here.step)
        hint = did_you_mean(name, known)
        return Wrong(f"unknown step {shown_name(name)}", hint=hint, help=None if hint else f"known: {listed(known)}")

    def _not_upstream(self, placed: Placed, reader: Placed) -> Wrong:
        if placed is reader:
            return Wrong(
                f"step `{placed.name}` reads its own result",
                help="`error` says why the attempt before failed" if reader.step.retries else None,
            )
        around = list(reader.outwards())
        if placed in around:
            return Wrong(f"step `{placed.name}` is the group that this step stands in: it has not ended yet")
        beside = next(each for each in around if each.level is placed.level)
        if placed.is_last and not beside.is_last:
            return Wrong(f"step `{placed.name}` is one of `finally`, and runs after this one")
        if placed.level.is_before(beside, placed):
            return Wrong(f"step `{placed.name}` runs after this one")
        needs = ", ".join(dict.fromkeys([*beside.needs, placed.name]))
        return Wrong(
            f"step `{placed.name}` may not have ended when step `{beside.name}` begins", help=f"add it to `needs`: `needs: [{needs}]`"
        )

    def _wrong_field(self, placed: Placed, path: tuple[str, ...], written: str) -> Wrong | None:
        name, step = placed.name, placed.step
        variables = self._variables(placed)
        if not path:
            return Wrong(f"`{written}` is a step, not a value", help=f"write `{written}.output`, or another of its fields")
        field = path[0]
        if step.end is not None:
            return None if field in FIELDS_OF_END else Wrong(f"step `{name}` ends the run, and has no {shown_name(field)}")
        if step.fans_out and (field in (variables or ()) or field == "vars"):
            return Wrong(f"each item of step `{name}` has its own `{field}`", help=f"write `{written}.items | map(attribute='{field}')`")
        if field == "items" and not step.fans_out:
            return Wrong(f"step `{name}` has no `items`: it has no `foreach`", help=f"write `{written}.json` for its parsed output")
        if variables is None:
            return None
        if field == "vars":
            return _member(path[1] if len(path) > 1 else None, f"variable of step `{name}`:", variables)
        if field not in STEP_FIELDS and field not in variables:
            help = f"declare it in `output_vars` of `{name}`, or read `{written}.json`"
            return Wrong(
                f"step `{name}` has no variable {shown_name(field)}", hint=did_you_mean(field, [*variables, *STEP_FIELDS]), help=help
            )
        return None

    def _variables(self, placed: Placed) -> Iterable[str] | None:
        """The variables of a step: its own, those of the last step of a group, the outputs of a sub-workflow; None: not known."""
        last = placed.last_inside()
        if last is not placed and last.step.fans_out:
            return ()
        if last.step.workflow is not None:
            return self._outputs_of.get(last.step.workflow)
        return last.step.output_vars or {}


def _wrong_list(field: str | None, here: Here) -> Wrong | None:
    """What is wrong with `matrix.field`. `include` may add names to those of the lists; one that is computed may add any."""
    matrix = next((placed.step.matrix for placed in here.step.outwards() if placed.step.matrix is not None), None) if here.step else None
    added = matrix.get("include", ()) if matrix is not None else ""
    if matrix is None or isinstance(added, str):
        return None
    names = [
        *(key for key in matrix if key not in ("include", "exclude")),
        *(key for entry in added if isinstance(entry, dict) for key in entry),
    ]
    return _member(field, "name in `matrix`:", dict.fromkeys(names))


def _inside(placed: Placed) -> Mapping[str, Placed]:
    """The steps that go round in a loop."""
    return placed.inner.steps if placed.inner is not None else {placed.name: placed}


def _member(field: str | None, what: str, declared: Mapping[str, object] | Iterable[str], help: str | None = None) -> Wrong | None:
    if field is None or field in declared:
        return None
    hint = did_you_mean(field, declared)
    return Wrong(f"unknown {what} {shown_name(field)}", hint=hint, help=help or (None if hint else f"known: {listed(declared)}"))


def _written(place: str, name: str) -> str:
    """How a name is read: `steps.a`, `steps['a-b']`."""
    return f"{place}.{name}" if name.isidentifier() else f"{place}['{name}']"
