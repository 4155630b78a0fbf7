"""Jinja's immutable sandbox with everything of it closed that the format does not name, and limits on what is left.

Compiles lowered templates and runs them. A second line of defence stays what it was: should an operation of ours let
something through, Jinja's own sandbox still refuses attributes of Python. Knows nothing of files or shells.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateRuntimeError, TemplateSyntaxError, UndefinedError, nodes, pass_context
from jinja2.lexer import Lexer, TokenStream
from jinja2.runtime import Context, LoopContext, Macro
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from cpool_flow.template import operations
from cpool_flow.template.filters import FILTERS, TESTS
from cpool_flow.template.limits import CALL_DEPTH, Meter
from cpool_flow.template.work import TAKES_ABSENT, Host, Work
from cpool_flow.values import Absent, Lazy, RenderError, kind

Write = Callable[[Work, object, int], str]
Code = Template

MAX_TOKENS = 10_000
MAX_BRACKETS = 30
LOOP_NAMES = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0", "previtem", "nextitem"})
TOO_DEEP = "the template is nested too deeply"


class Run(Context):
    """One rendering."""

    work: Work
    write: Write
    captured: object = None


class Missing(StrictUndefined):
    """No value. An error, at its place, where it is used; a path through it leads nowhere either, so `default` helps."""

    __slots__ = ()


class Sandbox(ImmutableSandboxedEnvironment):
    context_class = Run

    def _tokenize(self, source: str, name: str | None, filename: str | None = None, state: str | None = None) -> TokenStream:
        """Tokens that carry their character offset where Jinja's carry a line."""
        return TokenStream(_LEXER.wrap(_placed(source, state)), name, filename)

    def call(self, context: Run, function: object, /, *arguments: Any, **named: Any) -> Any:  # type: ignore[override]
        """What a template may call by name: `range`, `namespace`, its own macros."""
        meter = context.work.meter
        meter.spend(1)
        if function is _range:
            return operations.number_range(meter, *arguments)
        if function is Namespace and not arguments:
            return Namespace(**{name: value for name, value in named.items() if name not in ("_loop_vars", "_block_vars")})
        if not isinstance(function, Macro):
            raise RenderError(f"{kind(function)} cannot be called")
        meter.calls += 1
        if meter.calls > CALL_DEPTH:
            raise RenderError(TOO_DEEP)
        made = super().call(context, function, *arguments, **named)
        meter.calls -= 1
        return made


def compile_tree(tree: nodes.Template) -> Code:
    """Code of a lowered template."""
    return Template.from_code(ENVIRONMENT, ENVIRONMENT.compile(tree, filename=_FILENAME), ENVIRONMENT.globals)


def execute(code: Code, scope: Mapping[str, object], host: Host, write: Write, meter: Meter | None = None) -> tuple[str, object]:
    """The text that the template makes, and the value that it captured. Raises RenderError, and what a Lazy value raises.

    `meter`: a fresh one, where the caller asks it afterwards."""
    context = code.new_context(dict(scope))
    assert isinstance(context, Run)
    context.work = Work(meter or Meter(), host, FILTERS, TESTS)
    context.write = write
    try:
        return "".join(code.root_render_func(context)), context.captured
    except RenderError as error:
        raise RenderError(error.message, _place(code, error) if error.offset is None else error.offset) from None
    except RecursionError as error:
        raise RenderError(TOO_DEEP, _place(code, error)) from None
    except UndefinedError as error:
        raise RenderError(error.message or "a value is not defined", _place(code, error)) from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, MemoryError, TemplateRuntimeError) as error:
        raise RenderError("an operation cannot take these values", _place(code, error)) from None


def write_text(work: Work, value: object, offset: int) -> str:
    """What `{{ value }}` becomes in text."""
    return operations.written(work.meter, value)


_FILENAME = "<template>"


def _shell_friendly(lexer: Lexer) -> Lexer:
    """`${#` asks a shell for a length; it begins no comment."""
    text, rest = lexer.rules["root"]
    pattern = text.pattern.pattern.replace(re.escape("{#"), r"(?<!\$)" + re.escape("{#"))
    lexer.rules["root"] = [text._replace(pattern=re.compile(pattern, text.pattern.flags)), rest]
    return lexer


def _placed(source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    """The lexer's tokens with offsets for lines; refuses what the parser could not take."""
    source = source.replace("\r\n", "\n").replace("\r", "\n")
    offset = brackets = 0
    try:
        for count, (_, token, text) in enumerate(_LEXER.tokeniter(source, None, None, state)):
            if not source.startswith(text, offset):
                offset = source.index(text, offset)  # blanks that `-` takes away are in no token
            brackets += (text in _OPENING) - (text in _CLOSING) if token == "operator" else 0
            if count > MAX_TOKENS or brackets > MAX_BRACKETS or (token == "integer" and len(text) > 300):
                raise TemplateSyntaxError(_refusal(token, brackets), offset)
            yield offset, token, text
            offset += len(text)
    except TemplateSyntaxError as error:
        error.lineno = offset
        raise


_OPENING = frozenset("([{")
_CLOSING = frozenset(")]}")


def _refusal(token: str, brackets: int) -> str:
    if brackets > MAX_BRACKETS:
        return TOO_DEEP
    return "the number is too large" if token == "integer" else "the template has too many parts"


def _place(code: Code, error: BaseException) -> int | None:
    """The offset of the statement that was at work, by the table that the compiler makes for its tracebacks."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == _FILENAME:
            found = code.get_corresponding_lineno(trace.tb_lineno)
        trace = trace.tb_next
    return found


# ---- operations: what lowered templates call ----------------------------------------------------------------


def _operation(function: Callable[..., object], *, takes_missing: bool = False) -> Callable[..., object]:
    """`function(run, value, …)` as a lowered template calls it: with its place, on values that are there."""

    def operation(context: Run, value: object, offset: int, /, *arguments: Any, **named: Any) -> object:
        try:
            _check_there(() if takes_missing else (value,))
            _check_there(() if takes_missing and arguments[:1] in _FALLBACKS else arguments)
            result = function(context, value, *arguments, **named)
        except RenderError as error:
            error.offset = offset if error.offset is None else error.offset
            raise
        return Missing(result.reason, exc=partial(RenderError, offset=offset)) if isinstance(result, Absent) else result  # type: ignore[arg-type]

    return pass_context(operation)


_FALLBACKS = (("default",), ("d",))  # filters that need their argument only where there is no value


def _check_there(values: Iterable[object]) -> None:
    for value in values:
        if isinstance(value, Missing):
            str(value)


def _name(context: Run, value: object, name: str) -> object:
    if isinstance(value, Missing) and value._undefined_hint is None:
        return Absent(f"`{name}` is not defined{operations.listed(sorted(context.parent.keys() - ENVIRONMENT.globals.keys()))}")
    return value.load() if isinstance(value, Lazy) else value


def _member(context: Run, value: object, key: object, written: str) -> object:
    if isinstance(value, Missing):
        return value
    if isinstance(value, LoopContext) and key in LOOP_NAMES:
        return getattr(value, str(key))
    if isinstance(value, Namespace) and isinstance(key, str) and not key.startswith("_"):
        return getattr(value, key, Absent(f"`{written}` was never set"))
    return operations.member(value, key, written)


def _method(context: Run, value: object, name: str, *arguments: Any) -> object:
    meter = context.work.meter
    if isinstance(value, LoopContext) and name in ("cycle", "changed"):
        meter.weigh(list(arguments))
        return getattr(value, name)(*arguments)
    return operations.call_method(meter, value, name, *arguments)


def _apply(context: Run, value: object, name: str, *arguments: Any, **named: Any) -> object:
    return context.work.apply(name, _absent(value, name), *arguments, **named)


def _test(context: Run, value: object, name: str, *arguments: Any) -> object:
    return context.work.test(name, _absent(value, name), *arguments)


def _absent(value: object, name: str) -> object:
    """The value for a filter or test: those that ask for absence see it, to others it is an error where it arose."""
    if not isinstance(value, Missing):
        return value
    return Absent(value._undefined_message) if name in TAKES_ABSENT else str(value)


def _capture(context: Run, value: object) -> str:
    context.work.meter.weigh(value)
    context.captured = value
    return ""


def _list(context: Run, _: None, *items: object) -> list[object]:
    context.work.meter.spend(1 + len(items))
    return list(items)


def _pay(context: Run, text: str, cost: int) -> str:
    context.work.meter.spend(cost)
    return text


@pass_context
def _finalize(context: Run, text: str) -> str:
    """Every piece of output, literal text too, comes by here. That it takes the context keeps Jinja from folding constants."""
    context.work.meter.produce(len(text))
    return text


def _range(*bounds: int) -> None:
    """Stands for `range`, which `Sandbox.call` does."""


ENVIRONMENT = Sandbox(undefined=Missing, finalize=_finalize, autoescape=False, optimized=False, keep_trailing_newline=True, cache_size=0)
_LEXER = _shell_friendly(Lexer(ENVIRONMENT))
ENVIRONMENT.globals = {"range": _range, "namespace": Namespace}
ENVIRONMENT.tests = {}
ENVIRONMENT.filters = {
    "name": _operation(_name, takes_missing=True),
    "member": _operation(_member, takes_missing=True),
    "apply": _operation(_apply, takes_missing=True),
    "test": _operation(_test, takes_missing=True),
    "method": _operation(_method),
    "capture": _operation(_capture),
    "list": _operation(_list),
    "pay": _operation(_pay),
    "write": _operation(lambda context, value, place: context.write(context.work, value, place)),
    "concat": _operation(lambda context, _, *parts: operations.joined(context.work.meter, parts)),
    "mapping": _operation(lambda context, _, *parts: operations.mapping(context.work.meter, *parts)),
    "iterate": _operation(lambda context, value: operations.items_of(context.work.meter, value, absent=True)),
    "piece": _operation(lambda context, value, *bounds: operations.piece(context.work.meter, value, *bounds)),
    "compare": _operation(lambda context, value, *rest: operations.compare(context.work.meter, value, *rest)),
    "binary": _operation(lambda context, value, *rest: operations.binary(context.work.meter, value, *rest)),
    "unary": _operation(lambda context, value, symbol: operations.unary(context.work.meter, value, symbol)),
}
