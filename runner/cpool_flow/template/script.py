"""Templates in shell text: every value goes into a variable, and the script holds only a reference to it.

Asks `shell.py` what each place is and which reference is safe there; knows nothing of quoting itself. What
cannot be proven is refused when the file is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from jinja2 import nodes

from cpool_flow import shell
from cpool_flow.template import operations
from cpool_flow.template.lowering import start
from cpool_flow.template.sandbox import execute
from cpool_flow.template.syntax import Reference, TemplateError, parse_tree, read
from cpool_flow.template.text import KEPT_TEXTS, is_template, text_code
from cpool_flow.template.work import Host, Work
from cpool_flow.values import RenderError

MAX_STRING_BYTES = 128 * 1024  # of one variable with its name, or of one argument, with the NUL at its end: Linux's limit
MAX_VALUES_BYTES = 1024 * 1024  # of all variables of a script: half of what Linux grants for the whole environment
WAYS_OUT = "give it to the command by `stdin:`, or its file with `| file`"


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
    """Shell text with templates in it. `places` are the shell states where values stand; None where `raw` opts out."""

    text: str
    references: tuple[Reference, ...] = ()
    warnings: tuple[TemplateWarning, ...] = ()
    places: Mapping[int, shell.State | None] = field(default_factory=dict, repr=False)

    def render(self, scope: Mapping[str, object], host: Host) -> ShellScript:
        """The script for these values. Raises RenderError, also for a value that no variable can hold."""
        if not is_template(self.text):
            return ShellScript(self.text, {})
        variables = _Variables(self.places)
        script, _ = execute(text_code(self.text), scope, host, variables.write)
        check_argument(script, "the script")
        return ShellScript(script, variables.environment)


@lru_cache(KEPT_TEXTS)
def parse_shell(text: str) -> ShellTemplate:
    """The template of a string `run`, `verify` or `setup`. Raises TemplateError, also where a value would not be safe."""
    if not is_template(text):
        return ShellTemplate(text)
    tree = parse_tree(text)
    scan = _Scan()
    references = read(tree, text, frozenset(each.lineno for each in tree.find_all(nodes.Output) for each in map(_raw, each.nodes) if each))
    scan.finish(scan.body(tree.body, shell.START), len(text))
    return ShellTemplate(text, references, tuple(scan.warnings), scan.places)


def check_argument(text: str, what: str = "the value") -> None:
    """Raises RenderError where the text cannot be one argument of a command."""
    _check(text, what, f"{what} is too large for one argument (more than {MAX_STRING_BYTES // 1024} KiB)")


def _check(text: str, what: str, too_large: str, name: str = "") -> int:
    """The bytes that the text takes, of a variable with its name."""
    if "\0" in text:
        raise RenderError(f"{what} holds a NUL character, which no variable or argument can; {WAYS_OUT}")
    try:
        size = len(name) + len("=") * bool(name) + len(text.encode("utf-8", "surrogateescape")) + 1
    except UnicodeEncodeError:
        raise RenderError(f"{what} holds half of a surrogate pair, which is no text") from None
    if size > MAX_STRING_BYTES:
        raise RenderError(f"{too_large}; {WAYS_OUT}")
    return size


class _Variables:
    """The variables of one script, in the order in which their values are written."""

    def __init__(self, places: Mapping[int, shell.State | None]) -> None:
        self._places = places
        self._bytes = 0
        self.environment: dict[str, str] = {}

    def write(self, work: Work, value: object, offset: int) -> str:
        """What stands in the script for a value."""
        text = operations.written(work.meter, value)
        state = self._places[offset]
        if state is None:
            return text
        name = f"CPOOL_VALUE_{len(self.environment) + 1}"
        self._bytes += _check(text, "the value", f"the value is too large for one variable (more than {MAX_STRING_BYTES // 1024} KiB)", name)
        if self._bytes > MAX_VALUES_BYTES:
            raise RenderError(f"the values of this script are too large together (more than {MAX_VALUES_BYTES // 1024} KiB); {WAYS_OUT}")
        self.environment[name] = text
        return shell.reference(state, name)[0]


class _Scan:
    """Follows the shell through the literal text of a template, all ways that its `if` and `for` can take."""

    def __init__(self) -> None:
        self.places: dict[int, shell.State | None] = {}
        self.warnings: list[TemplateWarning] = []

    def body(self, body: Iterable[nodes.Node], state: shell.State) -> shell.State:
        """The state after these statements."""
        for node in body:
            state = self._statement(node, state)
        return state

    def finish(self, state: shell.State, end: int) -> None:
        try:
            shell.finish(state)
        except shell.Unprovable as problem:
            raise TemplateError(problem.reason, max(0, end - 1)) from None

    def _statement(self, node: nodes.Node, state: shell.State) -> shell.State:
        match node:
            case nodes.Output():
                for child in node.nodes:
                    state = self._literal(child, state) if isinstance(child, nodes.TemplateData) else self._value(child, state)
            case nodes.If():
                self._branches(node, "if", [node.body, *(other.body for other in node.elif_), node.else_], state)
            case nodes.For():
                self._branches(node, "for", [node.body, node.else_], state)
            case nodes.With():
                return self.body(node.body, state)
            case nodes.Assign():
                pass
            case _:
                name = _TAGS.get(type(node), "this")
                raise TemplateError(f"`{name}` is not available in shell text: the place of its values would not be known", node.lineno, len(name))
        return state

    def _branches(self, node: nodes.Node, tag: str, bodies: Sequence[Sequence[nodes.Node]], state: shell.State) -> None:
        for body in bodies:
            if self.body(body, state) != state:
                raise TemplateError(f"`{tag}` does not end in the shell state in which it began", node.lineno, len(tag))

    def _literal(self, node: nodes.TemplateData, state: shell.State) -> shell.State:
        try:
            return shell.advance(state, node.data)
        except shell.Unprovable as problem:
            raise TemplateError(problem.reason, node.lineno + problem.offset) from None

    def _value(self, node: nodes.Expr, state: shell.State) -> shell.State:
        place, length = start(node), 1
        raw = _raw(node)
        if raw:
            self.places[place] = None
            self.warnings.append(TemplateWarning("`raw` puts the value into the script as it is: the shell runs what it says", raw.lineno, 3))
            return shell.advance(state, "x")
        try:
            hazard = shell.hazard(state)
            _, after = shell.reference(state, "CPOOL_VALUE_1")
        except shell.Unprovable as problem:
            raise TemplateError(problem.reason, place, length) from None
        if hazard:
            self.warnings.append(TemplateWarning(hazard, place, length))
        self.places[place] = state
        return after


def _raw(node: nodes.Node) -> nodes.Filter | None:
    """The filter `raw`, where it is the last of an output."""
    return node if isinstance(node, nodes.Filter) and node.name == "raw" else None


_TAGS: Mapping[type[nodes.Node], str] = {
    nodes.Macro: "macro",
    nodes.CallBlock: "call",
    nodes.FilterBlock: "filter",
    nodes.AssignBlock: "set",
}
