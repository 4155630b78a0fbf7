"""From text to a checked tree: what Jinja parses, less what the format leaves out; and the names that it uses.

Never runs anything and never folds constants, so hostile text costs no more than its length. Knows filters by name
only; whether a name means something is asked in `validate.py`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

from jinja2 import TemplateSyntaxError, nodes
from jinja2.parser import Parser

from cpool_flow.dataclass import dataclass
from cpool_flow.errors import did_you_mean
from cpool_flow.template.complaints import explain
from cpool_flow.template.filters import FILTERS, INSTEAD, TESTS
from cpool_flow.template.limits import NUMBER_BITS
from cpool_flow.template.lowering import start
from cpool_flow.template.sandbox import ENVIRONMENT, TOO_DEEP

MAX_DEPTH = 50
MAX_LOOPS = 8

Tree = TypeVar("Tree", bound=nodes.Node)


# Functions of GitHub Actions, and what says the same here.
_ELSEWHERE = {
    "always": "write `join: done`",
    "success": "that is what `join: success` says, which is the default",
    "failure": "ask for a status: `steps.NAME.status == 'failed'`",
    "cancelled": "ask for a status: `steps.NAME.status == 'cancelled'`",
    "fromJSON": "write `| fromjson`",
    "toJSON": "write `| tojson`",
    "contains": "write `'a' in text`",
    "len": "write `| length`",
}


class TemplateError(Exception):
    """Text that is no template of ours. `offset` and `length` count characters of the text; `hint` stands beside the place."""

    def __init__(self, message: str, offset: int = 0, length: int = 1, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.offset = offset
        self.length = length
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Reference:
    """A name from the scope that a template uses, with the names after it as far as they are fixed: `steps.a.json.b`.

    `guarded`: the template says what happens where it does not exist (`default`, `is defined`).
    `fenced`: its text goes through `untrusted`, or decides only what is written (`{% if %}`) and is not written itself.
    """

    path: tuple[str, ...]
    offset: int
    length: int
    guarded: bool = False
    fenced: bool = False


def parse_tree(text: str) -> nodes.Template:
    """The tree of a text with templates in it. Raises TemplateError."""
    return _parsed(text, lambda: Parser(ENVIRONMENT, text).parse())


def parse_bare(text: str) -> nodes.Expr:
    """The tree of an expression without braces. Raises TemplateError."""

    if not text.strip():
        raise TemplateError("the expression is empty")

    def parse() -> nodes.Expr:
        parser = Parser(ENVIRONMENT, text, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            parser.fail("the expression ends here, but the text goes on")
        return expression

    return _parsed(text, parse)


def whole_expression(tree: nodes.Template) -> nodes.Expr | None:
    """The expression, where the template is exactly one with nothing but blanks around it."""
    if len(tree.body) != 1 or not isinstance(tree.body[0], nodes.Output):
        return None
    inner = [node for node in tree.body[0].nodes if not (isinstance(node, nodes.TemplateData) and node.data.isspace())]
    return inner[0] if len(inner) == 1 and not isinstance(inner[0], nodes.TemplateData) else None


def read(tree: nodes.Node, text: str, raw: frozenset[int] = frozenset()) -> tuple[Reference, ...]:
    """The references of a tree, in their order. `raw`: where that filter may stand. Raises TemplateError for what is left out."""
    reader = _Reader(text, raw)
    reader.read(tree, set())
    return reader.found()


def _parsed(text: str, parse: Callable[[], Tree]) -> Tree:
    try:
        return parse()
    except TemplateSyntaxError as error:
        complaint = explain(error.message or "", text, error.lineno)
        raise TemplateError(complaint.message, complaint.offset, complaint.length, complaint.hint) from None
    except (RecursionError, MemoryError):
        raise TemplateError(TOO_DEEP) from None


_LEFT_OUT: dict[type[nodes.Node], str] = {
    nodes.Include: "`include` is not available: a template sees no files",
    nodes.Import: "`import` is not available: a template sees no files",
    nodes.FromImport: "`import` is not available: a template sees no files",
    nodes.Extends: "`extends` is not available: a template sees no files",
    nodes.Block: "`block` is not available: a template sees no files",
    nodes.ScopedEvalContextModifier: "`autoescape` is not available: nothing is escaped",
}
_FUNCTIONS = frozenset({"range", "namespace"})
_IN_MACRO = frozenset({"varargs", "kwargs", "caller"})
_KEY = re.compile(r"\[\s*(?:'[^'\\]*'|\"[^\"\\]*\")\s*\]")
_HYPHENED = re.compile(r"steps\.([A-Za-z0-9_]+(?:-[A-Za-z0-9_]+)+)")


class _Reader:
    """Walks a tree once. `bound` are the names that the template has given values itself."""

    def __init__(self, text: str, raw: frozenset[int]) -> None:
        self._text = text
        self._raw = raw
        self._references: list[Reference] = []
        self._tested: set[tuple[str, ...]] = set()
        self._depth = self._loops = 0

    def found(self) -> tuple[Reference, ...]:
        """What was read; a path that the template asks for with `is defined` is guarded everywhere in it."""
        return tuple(
            replace(each, guarded=True) if any(each.path[: len(path)] == path for path in self._tested) else each
            for each in self._references
        )

    def read(self, node: nodes.Node, bound: set[str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise TemplateError(TOO_DEEP, start(node))
        if type(node) in _LEFT_OUT:
            raise TemplateError(_LEFT_OUT[type(node)], node.lineno)
        visit = getattr(self, f"_read_{type(node).__name__.lower()}", None)
        if visit is not None:
            visit(node, bound)
        else:
            self._read_all(node.iter_child_nodes(), bound)
        self._depth -= 1

    def _read_all(self, children: Iterable[nodes.Node], bound: set[str]) -> None:
        for child in children:
            self.read(child, bound)

    # ---- statements ----

    def _read_if(self, node: nodes.If, bound: set[str]) -> None:
        self._read_fenced(node.test, bound)
        self._read_all([*node.body, *node.elif_, *node.else_], bound)

    def _read_for(self, node: nodes.For, bound: set[str]) -> None:
        if node.recursive:
            raise TemplateError("`recursive` loops are not available", node.lineno)
        self.read(node.iter, bound)
        self._loops += 1
        if self._loops > MAX_LOOPS:
            raise TemplateError("too many loops inside of each other", node.lineno)
        inside = bound | _targets(node.target) | {"loop"}
        self._read_all([*([node.test] if node.test else []), *node.body], inside)
        self._loops -= 1
        self._read_all(node.else_, set(bound))

    def _read_assign(self, node: nodes.Assign, bound: set[str]) -> None:
        self.read(node.node, bound)
        bound |= _targets(node.target)

    def _read_assignblock(self, node: nodes.AssignBlock, bound: set[str]) -> None:
        self._read_all([*([node.filter] if node.filter else []), *node.body], set(bound))
        bound |= _targets(node.target)

    def _read_with(self, node: nodes.With, bound: set[str]) -> None:
        self._read_all(node.values, bound)
        self._read_all(node.body, bound.union(*map(_targets, node.targets)))

    def _read_macro(self, node: nodes.Macro, bound: set[str]) -> None:
        bound.add(node.name)
        self._read_body(node, bound)

    def _read_callblock(self, node: nodes.CallBlock, bound: set[str]) -> None:
        self.read(node.call, bound)
        self._read_body(node, bound)

    def _read_body(self, node: nodes.Macro | nodes.CallBlock, bound: set[str]) -> None:
        self._read_all(node.defaults, bound)
        self._read_all(node.body, bound.union(_IN_MACRO, *map(_targets, node.args)))

    def _read_filterblock(self, node: nodes.FilterBlock, bound: set[str]) -> None:
        self._read_all([node.filter, *node.body], set(bound))

    # ---- expressions ----

    def _read_name(self, node: nodes.Name, bound: set[str]) -> None:
        self._read_chain(node, bound)

    def _read_getattr(self, node: nodes.Getattr, bound: set[str]) -> None:
        self._read_chain(node, bound)

    def _read_getitem(self, node: nodes.Getitem, bound: set[str]) -> None:
        self._read_chain(node, bound)

    def _read_chain(self, node: nodes.Expr, bound: set[str], guarded: bool = False, fenced: bool = False) -> tuple[str, ...] | None:
        """Note `a.b['c']…` as one reference; its path, or None where it begins with no name of the scope."""
        links: list[nodes.Getattr | nodes.Getitem] = []
        while isinstance(node, (nodes.Getattr, nodes.Getitem)):
            links.append(node)
            node = node.node
        if len(links) > MAX_DEPTH:
            raise TemplateError(TOO_DEEP, node.lineno)
        self._read_all((link.arg for link in links if isinstance(link, nodes.Getitem)), bound)
        if not isinstance(node, nodes.Name):
            self.read(node, bound)
            return None
        if node.name in ("self", "super"):
            raise TemplateError(f"`{node.name}` is not available", node.lineno, len(node.name))
        if node.name in bound or node.name in _FUNCTIONS:
            return None
        path, end = self._follow(node, reversed(links))
        self._references.append(Reference(path, node.lineno, end - node.lineno, guarded, fenced))
        return path

    def _follow(self, name: nodes.Name, links: Iterable[nodes.Getattr | nodes.Getitem]) -> tuple[tuple[str, ...], int]:
        """The fixed names of a chain, and where they end."""
        path, end = [name.name], name.lineno + len(name.name)
        for link in links:
            if isinstance(link, nodes.Getattr):
                path.append(link.attr)
                end = self._text.index(link.attr, link.lineno) + len(link.attr)
            elif isinstance(link.arg, nodes.Const) and isinstance(link.arg.value, str):
                path.append(link.arg.value)
                key = _KEY.match(self._text, link.lineno)
                end = key.end() if key else end
            else:
                break
        return tuple(path), end

    def _read_filter(self, node: nodes.Filter, bound: set[str]) -> None:
        if node.name not in FILTERS:
            raise _unknown("filter", node.name, node.lineno, FILTERS)
        if node.name == "raw" and node.lineno not in self._raw:
            raise TemplateError("`raw` stands only in shell text, as the last filter of an output", node.lineno, len(node.name))
        self._check_arguments(node)
        self._read_all([*node.args, *node.kwargs], bound)
        guarded, fenced = node.name in ("default", "d"), node.name == "untrusted"
        if isinstance(node.node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            self._read_chain(node.node, bound, guarded, fenced)
        elif node.node is not None:
            (self._read_fenced if fenced else self.read)(node.node, bound)

    def _read_condexpr(self, node: nodes.CondExpr, bound: set[str]) -> None:
        self._read_fenced(node.test, bound)
        self._read_all([node.expr1, *([node.expr2] if node.expr2 else [])], bound)

    def _read_fenced(self, node: nodes.Node, bound: set[str]) -> None:
        before = len(self._references)
        self.read(node, bound)
        self._references[before:] = [replace(each, fenced=True) for each in self._references[before:]]

    def _read_test(self, node: nodes.Test, bound: set[str]) -> None:
        if node.name not in TESTS:
            raise _unknown("test", node.name, node.lineno, TESTS)
        self._check_arguments(node)
        self._read_all([*node.args, *node.kwargs], bound)
        if node.name in ("defined", "undefined") and isinstance(node.node, (nodes.Name, nodes.Getattr, nodes.Getitem)):
            path = self._read_chain(node.node, bound, guarded=True)
            self._tested |= {path} if path else set()
        else:
            self.read(node.node, bound)

    def _read_call(self, node: nodes.Call, bound: set[str]) -> None:
        self._check_arguments(node)
        if isinstance(node.node, nodes.Getattr):
            if node.kwargs:
                raise TemplateError(f"the method `{node.node.attr}` takes no named arguments", node.kwargs[0].lineno)
            self.read(node.node.node, bound)
        elif isinstance(node.node, nodes.Name):
            if node.node.name not in bound | _FUNCTIONS:
                name = node.node.name
                raise TemplateError(f"`{name}` cannot be called", node.node.lineno, len(name), hint=_ELSEWHERE.get(name))
        else:
            raise TemplateError("only a name or a method can be called", node.lineno)
        self._read_all([*node.args, *node.kwargs], bound)

    def _check_arguments(self, node: nodes.Filter | nodes.Test | nodes.Call) -> None:
        unpacked = node.dyn_args or node.dyn_kwargs
        if unpacked is not None:
            raise TemplateError("`*` and `**` are not available in arguments", start(unpacked))

    def _read_sub(self, node: nodes.Sub, bound: set[str]) -> None:
        meant = _HYPHENED.match(self._text, start(node.left))
        if meant and isinstance(node.left, nodes.Getattr) and isinstance(node.left.node, nodes.Name):
            raise TemplateError(f"`{meant[0]}` is a subtraction", meant.start(), len(meant[0]), f"write `steps['{meant[1]}']`")
        self._read_all((node.left, node.right), bound)

    def _read_const(self, node: nodes.Const, bound: set[str]) -> None:
        value = node.value
        if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and value.bit_length() > NUMBER_BITS):
            raise TemplateError("the number is too large", node.lineno)


def _targets(node: nodes.Node) -> set[str]:
    """The names that a loop, `set` or a signature gives values to."""
    if isinstance(node, nodes.Name):
        return {node.name}
    return set().union(*map(_targets, node.items)) if isinstance(node, nodes.Tuple) else set()


def _unknown(sort: str, name: str, offset: int, known: Iterable[str]) -> TemplateError:
    return TemplateError(f"unknown {sort} `{name}`", offset, len(name), INSTEAD.get(name) or did_you_mean(name, known))
