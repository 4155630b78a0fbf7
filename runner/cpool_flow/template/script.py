"""Templates in shell text: every value goes into a variable, and the script holds only a reference to it.

Asks `shell.py` what each place is and which reference is safe there; knows nothing of quoting itself. What
cannot be proven is refused when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from functools import lru_cache, partial, reduce

from jinja2 import nodes

from cpool_flow.dataclass import dataclass
from cpool_flow.shell import places as shell
from cpool_flow.shell.frames import Unprovable
from cpool_flow.template import operations
from cpool_flow.template.lowering import start
from cpool_flow.template.marks import MAX_STRING_BYTES, WAYS_OUT, check_argument, checked_size, is_template
from cpool_flow.template.sandbox import execute
from cpool_flow.template.syntax import Reference, TemplateError, parse_tree, read
from cpool_flow.template.text import KEPT_TEXTS, text_code
from cpool_flow.template.work import Host, Work
from cpool_flow.values import RenderError

MAX_VALUES_BYTES = 1024 * 1024  # of all variables of a script: half of what Linux grants for the whole environment


@dataclass(frozen=True, slots=True)
class TemplateWarning:
    """What the author should know of a place, as TemplateError says it."""

    message: str
    offset: int
    length: int = 1
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class ShellScript:
    """A script without any value in it, and the variables that it refers to."""

    script: str
    environment: dict[str, str]


@dataclass(frozen=True, slots=True)
class ShellTemplate:
    """Shell text with templates in it. `places`: the reference that stands for the value there; None where `raw` opts out."""

    text: str
    references: tuple[Reference, ...] = ()
    warnings: tuple[TemplateWarning, ...] = ()
    places: Mapping[int, str | None] = field(default_factory=dict, repr=False)

    def render(self, scope: Mapping[str, object], host: Host) -> ShellScript:
        """The script for these values. Raises RenderError, also for a value that no variable can hold."""
        if not is_template(self.text):
            return ShellScript(self.text, {})
        variables = _Variables(self.places)
        try:
            script, _ = execute(text_code(self.text), scope, host, variables.write)
            check_argument(script, "the script")
        except RenderError as error:
            error.source = self.text
            raise
        return ShellScript(script, variables.environment)


@lru_cache(KEPT_TEXTS)
def parse_shell(text: str) -> ShellTemplate:
    """The template of a string `run`, `verify` or `setup`. Raises TemplateError, also where a value would not be safe."""
    if not is_template(text):
        return ShellTemplate(text)
    tree = parse_tree(text)
    outputs = (child for output in tree.find_all(nodes.Output) for child in output.nodes)
    references = read(tree, text, frozenset(child.lineno for child in outputs if _raw(child)))
    scan = _Scan(text)
    scan.run(tree)
    return ShellTemplate(text, references, scan.warnings, scan.places)


class _Variables:
    """The variables of one script, in the order in which their values are written."""

    def __init__(self, places: Mapping[int, str | None]) -> None:
        self._places = places
        self._bytes = 0
        self.environment: dict[str, str] = {}

    def write(self, work: Work, value: object, offset: int) -> str:
        """What stands in the script for a value."""
        text = operations.written(work.meter, value)
        reference = self._places[offset]
        if reference is None:
            return text
        name = f"CPOOL_VALUE_{len(self.environment) + 1}"
        self._bytes += checked_size(
            text, "the value", f"the value is too large for one variable (more than {MAX_STRING_BYTES // 1024} KiB)", name
        )
        if self._bytes > MAX_VALUES_BYTES:
            raise RenderError(f"the values of this script are too large together (more than {MAX_VALUES_BYTES // 1024} KiB); {WAYS_OUT}")
        self.environment[name] = text
        return reference.replace(_VARIABLE, name)


class _Scan:
    """Follows the shell through the literal text of a template, on all ways that its `if` and `for` can take."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._warnings: dict[int, TemplateWarning] = {}
        self.places: dict[int, str | None] = {}

    @property
    def warnings(self) -> tuple[TemplateWarning, ...]:
        return tuple(self._warnings[place] for place in sorted(self._warnings))

    def run(self, tree: nodes.Template) -> None:
        """Note the places of all values. Raises TemplateError where one is not proved."""
        try:
            state = self._body(tree.body, shell.START)
            if self.places:
                shell.finish(state)
        except Unprovable as problem:
            raise TemplateError(problem.reason, max(0, len(self._text.rstrip()) - 1)) from None

    def _body(self, body: Iterable[nodes.Node], state: shell.State) -> shell.State:
        """The state after these statements."""
        for node in body:
            state = self._statement(node, state)
        return state

    def _statement(self, node: nodes.Node, state: shell.State) -> shell.State:
        match node:
            case nodes.Output():
                for child in node.nodes:
                    state = self._literal(child, state) if isinstance(child, nodes.TemplateData) else self._value(child, state)
                return state
            case nodes.If():
                ways = [self._body(body, state) for body in (node.body, *(other.body for other in node.elif_), node.else_)]
                after = reduce(partial(self._join, node, "if"), ways)
                self._join(node, "if", state, after)  # not into other quotes either, where all branches agree on them
                return after
            case nodes.For():
                return self._loop(node, state)
            case nodes.With():
                return self._body(node.body, state)
            case nodes.Assign():
                return state
        tag = _TAGS.get(type(node), "this")
        raise TemplateError(f"`{tag}` is not available in shell text: where its values stand would not be known", node.lineno, len(tag))

    def _loop(self, node: nodes.For, state: shell.State) -> shell.State:
        """Round after round, until one more brings nothing new; `else` takes the way of no round."""
        none = self._body(node.else_, state)
        rounds = self._join(node, "for", state, self._body(node.body, state))
        while rounds != state:
            state = rounds
            rounds = self._join(node, "for", state, self._body(node.body, state))
        return self._join(node, "for", rounds, none)

    def _join(self, node: nodes.Node, tag: str, first: shell.State, second: shell.State) -> shell.State:
        try:
            return shell.join(first, second)
        except Unprovable as problem:
            raise TemplateError(problem.reason, node.lineno, len(tag)) from None

    def _literal(self, node: nodes.TemplateData, state: shell.State) -> shell.State:
        try:
            return shell.advance(state, node.data)
        except Unprovable as problem:
            raise TemplateError(problem.reason, node.lineno + (problem.offset or 0)) from None

    def _value(self, node: nodes.Expr, state: shell.State) -> shell.State:
        place, raw = start(node), _raw(node)
        if raw is not None:
            self.places[place] = None
            self._warnings[place] = TemplateWarning(
                "`raw` puts the value into the script as it is: the shell runs what it says", raw.lineno, 3
            )
            return shell.vouched(state)
        length = len(self._text[place : self._text.find("}}", place)].rstrip(" \n-"))
        try:
            hazard = shell.hazard(state)
            self.places[place], after = shell.reference(state, _VARIABLE)
        except Unprovable as problem:
            raise TemplateError(problem.reason, place, length) from None
        if hazard:
            self._warnings[place] = TemplateWarning(hazard, place, length)
        return after


def _raw(node: nodes.Node) -> nodes.Filter | None:
    """The filter `raw`, where it is the last of an output."""
    return node if isinstance(node, nodes.Filter) and node.name == "raw" else None


_VARIABLE = "CPOOL_VALUE_N"
_TAGS: Mapping[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set",
}
