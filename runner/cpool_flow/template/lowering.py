"""From what the author wrote to calls of our own operations: what is left for Jinja's compiler is control flow.

Every name, index, operator, filter, test and output becomes `Filter(value, operation, [offset, …])`, which the sandbox
answers; so nothing is folded, every round is paid for, and every error knows its place. Line numbers of nodes are
character offsets here (see `sandbox.Sandbox._tokenize`).
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.visitor import NodeTransformer


def lower(tree: nodes.Template) -> nodes.Template:
    """The same template in terms of operations; `tree` itself is changed."""
    lowered: nodes.Template = _Lowering().visit(tree)
    return lowered


def capture(expression: nodes.Expr) -> nodes.Template:
    """A template that hands over the value of the expression instead of its text, lowered."""
    lowered = _Lowering().visit(expression)
    return nodes.Template([nodes.Output([_operation("capture", lowered, start(expression))], lineno=1)], lineno=1)


def start(node: nodes.Node) -> int:
    """Where an expression begins."""
    while isinstance(node, (nodes.Getattr, nodes.Getitem, nodes.Filter, nodes.Test, nodes.Call)) and node.node is not None:
        node = node.node
    while isinstance(node, nodes.Compare):
        node = node.expr
    return node.lineno


def _operation(name: str, operand: nodes.Node | None, offset: int, *arguments: object) -> nodes.Filter:
    rest = [each if isinstance(each, nodes.Node) else nodes.Const(each, lineno=offset) for each in arguments]
    return nodes.Filter(operand, name, [nodes.Const(offset, lineno=offset), *rest], [], None, None, lineno=offset)


def _cost(node: nodes.For | nodes.Macro | nodes.CallBlock) -> nodes.Stmt:
    """The first statement of what may run many times: it pays for one round."""
    size = sum(1 for child in node.body for _ in child.find_all(nodes.Node))
    return nodes.Output([_operation("pay", nodes.Const("", lineno=node.lineno), node.lineno, 1 + size // 2)], lineno=node.lineno)


class _Lowering(NodeTransformer):
    def visit_Output(self, node: nodes.Output) -> nodes.Stmt:
        node.nodes = [self._written(child) for child in node.nodes]
        return node

    def _written(self, child: nodes.Expr) -> nodes.Expr:
        if isinstance(child, nodes.TemplateData):
            return nodes.Const(child.data, lineno=child.lineno)
        place = start(child)
        return _operation("write", self.visit(child), place, place)

    def visit_For(self, node: nodes.For) -> nodes.Stmt:
        place, cost = start(node.iter), _cost(node)
        self.generic_visit(node)
        node.iter = _operation("iterate", node.iter, place)
        node.body.insert(0, cost)
        return node

    def _routine(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Stmt:
        cost = _cost(node)
        self.generic_visit(node)
        node.body.insert(0, cost)
        return node

    visit_Macro = visit_CallBlock = _routine

    def visit_Name(self, node: nodes.Name) -> nodes.Expr:
        return _operation("name", node, node.lineno, node.name) if node.ctx == "load" else node

    def visit_Getattr(self, node: nodes.Getattr) -> nodes.Expr:
        written = path_text(node)
        return _operation("member", self.visit(node.node), start(node), node.attr, written)

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        place, written = start(node), path_text(node)
        if isinstance(node.arg, nodes.Slice):
            bounds = (self.visit(each) if each else None for each in (node.arg.start, node.arg.stop, node.arg.step))
            return _operation("piece", self.visit(node.node), place, *bounds)
        return _operation("member", self.visit(node.node), place, self.visit(node.arg), written)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:
        if not isinstance(node.node, nodes.Getattr):
            return self.generic_visit(node)
        place, subject, method = start(node), node.node.node, node.node.attr
        return _operation("method", self.visit(subject), place, method, *map(self.visit, node.args))

    def visit_Filter(self, node: nodes.Filter) -> nodes.Expr:
        return self._by_name(node, "apply")

    def visit_Test(self, node: nodes.Test) -> nodes.Expr:
        return self._by_name(node, "test")

    def _by_name(self, node: nodes.Filter | nodes.Test, operation: str) -> nodes.Expr:
        operand = self.visit(node.node) if node.node is not None else None
        lowered = _operation(operation, operand, node.lineno, node.name, *map(self.visit, node.args))
        lowered.kwargs = [self.visit(each) for each in node.kwargs]
        return lowered

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:
        rest = [each for operand in node.ops for each in (operand.op, self.visit(operand.expr))]
        return _operation("compare", self.visit(node.expr), start(node), *rest)

    def _binary(self, node: nodes.BinExpr) -> nodes.Expr:
        return _operation("binary", self.visit(node.left), node.lineno, node.operator, self.visit(node.right))

    visit_Add = visit_Sub = visit_Mul = visit_Div = visit_FloorDiv = visit_Mod = visit_Pow = _binary

    def _unary(self, node: nodes.UnaryExpr) -> nodes.Expr:
        return _operation("unary", self.visit(node.node), node.lineno, node.operator)

    visit_Neg = visit_Pos = _unary

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Expr:
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.Const(None, lineno=node.lineno)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        return self._made("concat", node, node.nodes)

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        return self._made("list", node, node.items)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        return self._made("list", node, node.items) if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        return self._made("mapping", node, [each for pair in node.items for each in (pair.key, pair.value)])

    def _made(self, operation: str, node: nodes.Expr, parts: list[Any]) -> nodes.Expr:
        return _operation(operation, nodes.Const(None, lineno=node.lineno), node.lineno, *map(self.visit, parts))


def path_text(node: nodes.Node) -> str:
    """A chain of names as its author wrote it, for messages: `steps.a.json[0]`."""
    if isinstance(node, nodes.Name):
        return node.name
    if isinstance(node, nodes.Getattr):
        return f"{path_text(node.node)}.{node.attr}"
    if isinstance(node, nodes.Getitem):
        key = node.arg.value if isinstance(node.arg, nodes.Const) else "…"
        shown = f"'{key[:40]}'" if isinstance(key, str) and key != "…" else str(key)
        return f"{path_text(node.node)}[{shown}]"
    return "(…)"
