"""How a wrong use of the command line is told: click's errors in the words of all the others.

Knows click's classes of errors and none of our commands. Imported only when there is something to tell.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from click.exceptions import BadOptionUsage, BadParameter, MissingParameter, NoSuchOption

from cpool_flow.errors import Problem, did_you_mean, listed, nearest, shown_name

_NO_CHOICE = re.compile(r"'(?P<given>.*)' is not one of .*", re.DOTALL)
_NO_NUMBER = re.compile(r"'(?P<given>.*)' is not a valid (?P<kind>integer|float)( range)?\.", re.DOTALL)
_NOT_IN_RANGE = re.compile(r"(?P<given>\S+) is not in the range \S+\.")
_EXTRA = re.compile(r"Got unexpected extra arguments? \((?P<given>.*)\)", re.DOTALL)
_KINDS = {"integer": "a whole number", "float": "a number"}


def problem_of(error: click.ClickException, command: str = "") -> Problem:
    """The error as a problem that names the nearest word, and where the help stands. `command`: that of the line; click does not know
    it of all errors."""
    context: click.Context | None = getattr(error, "ctx", None)
    message, hint = _message(error, context)
    path = context.command_path if context else f"cpool-flow {command}".strip()
    return Problem(message, hint=hint, help=f"see `{path} --help`")


def _message(error: click.ClickException, context: click.Context | None) -> tuple[str, str | None]:
    match error:
        case NoSuchOption():
            near = nearest(error.option_name.lstrip("-"), _long_options(context))
            return f"no option {shown_name(error.option_name)}", f"did you mean `--{near}`?" if near else None
        case BadOptionUsage() if "requires" in error.message:
            return f"`{error.option_name}` needs a value after it", None
        case BadOptionUsage() if "does not take" in error.message:
            return f"`{error.option_name}` takes no value", None
        case MissingParameter() if error.param is not None:
            choices = _choices(error.param)
            return f"{_name(error.param)} is missing" + (f": one of {listed(choices)}" if choices else ""), None
        case BadParameter() if error.param is not None:
            return _bad_value(error, error.param)
        case _:
            extra = _EXTRA.fullmatch(error.format_message())
            return (f"nothing can stand here: {shown_name(extra['given'])}" if extra else error.format_message()), None


def _bad_value(error: BadParameter, parameter: click.Parameter) -> tuple[str, str | None]:
    name, choices = _name(parameter), _choices(parameter)
    if choices and (found := _NO_CHOICE.fullmatch(error.message)):
        return f"{name} cannot be {shown_name(found['given'])}: one of {listed(choices)}", did_you_mean(found["given"], choices)
    if found := _NO_NUMBER.fullmatch(error.message):
        return f"{name} cannot be {shown_name(found['given'])}: it is {_KINDS[found['kind']]}", None
    if isinstance(parameter.type, click.IntRange) and (found := _NOT_IN_RANGE.fullmatch(error.message)):
        least, most = parameter.type.min, parameter.type.max
        return f"{name} cannot be {shown_name(found['given'])}: " + (
            f"from {least} to {most}" if most is not None else f"at least {least}"
        ), None
    return f"{name}: {error.message}", None


def _name(parameter: click.Parameter) -> str:
    """`--slots` of an option, `FILE` of an argument."""
    if isinstance(parameter, click.Option):
        return f"`{max(parameter.opts, key=len)}`"
    return f"`{parameter.metavar or (parameter.name or '').upper()}`"


def _choices(parameter: click.Parameter) -> Sequence[str]:
    return [str(choice) for choice in parameter.type.choices] if isinstance(parameter.type, click.Choice) else []


def _long_options(context: click.Context | None) -> list[str]:
    """Without their dashes, which would make any two of them look alike."""
    parameters = context.command.get_params(context) if context is not None else []
    return [name[2:] for each in parameters for name in (*each.opts, *each.secondary_opts) if name.startswith("--")]
