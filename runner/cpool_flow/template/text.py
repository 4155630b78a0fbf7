"""Templates in prompts, lists, files and conditions: parsed when the workflow is loaded, compiled when they are first used.

One pass: what comes out of a template is never looked at again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

from jinja2 import nodes

from cpool_flow.dataclass import dataclass
from cpool_flow.json_value import JsonValue
from cpool_flow.template.lowering import capture, lower
from cpool_flow.template.marks import is_template
from cpool_flow.template.sandbox import Code, compile_tree, execute, write_text
from cpool_flow.template.syntax import Reference, TemplateError, parse_bare, parse_tree, read, whole_expression
from cpool_flow.template.work import Host
from cpool_flow.values import RenderError, unwrap

KEPT_TEXTS = 8192
KEPT_CODE = 256


@dataclass(frozen=True, slots=True)
class Expression:
    """`{{ expression }}` alone, or bare: what `when` and `foreach` hold."""

    text: str
    references: tuple[Reference, ...]

    def evaluate(self, scope: Mapping[str, object], host: Host) -> JsonValue:
        """The value as plain JSON data. Raises RenderError."""
        try:
            _, value = execute(expression_code(self.text), scope, host, write_text)
            return unwrap(value)
        except RecursionError:
            raise RenderError("the value is nested too deeply", 0, self.text) from None
        except RenderError as error:
            error.source = self.text
            raise


@dataclass(frozen=True, slots=True)
class Template:
    """Text with templates in it. `expression` where it is nothing but one, with blanks around."""

    text: str
    references: tuple[Reference, ...]
    expression: Expression | None = None

    def render(self, scope: Mapping[str, object], host: Host, *, allow_nul: bool = False) -> str:
        """The text. `allow_nul` where it goes neither to an agent nor into an argument. Raises RenderError."""
        try:
            text = execute(text_code(self.text), scope, host, write_text)[0] if is_template(self.text) else self.text
        except RenderError as error:
            error.source = self.text
            raise
        if not allow_nul and "\0" in text:
            raise RenderError("a NUL character cannot stand in this text; give it to a command by `stdin:`, or its file with `| file`")
        return text

    def value(self, scope: Mapping[str, object], host: Host) -> JsonValue:
        """The value of a template that is one whole expression, with its type; of any other its text. Raises RenderError."""
        if self.expression is not None:
            return self.expression.evaluate(scope, host)
        return self.render(scope, host, allow_nul=True)


@lru_cache(KEPT_TEXTS)
def parse(text: str) -> Template:
    """The template that the text is. Raises TemplateError."""
    if not is_template(text):
        return Template(text, ())
    tree = parse_tree(text)
    references = read(tree, text)
    return Template(text, references, Expression(text, references) if whole_expression(tree) is not None else None)


@lru_cache(KEPT_TEXTS)
def parse_expression(text: str) -> Expression:
    """The expression that the text is, bare or as one whole `{{ … }}`. Raises TemplateError."""
    return Expression(text, read(_expression_tree(text), text))


def _expression_tree(text: str) -> nodes.Expr:
    if not is_template(text):
        return parse_bare(text)
    expression = whole_expression(parse_tree(text))
    if expression is None:
        raise TemplateError("this must be one expression: bare, or in one pair of braces `{{ … }}`", 0, len(text))
    return expression


@lru_cache(KEPT_CODE)
def text_code(text: str) -> Code:
    return compile_tree(lower(parse_tree(text)))


@lru_cache(KEPT_CODE)
def expression_code(text: str) -> Code:
    return compile_tree(capture(_expression_tree(text)))
