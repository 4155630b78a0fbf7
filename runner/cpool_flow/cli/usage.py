"""What click complains of, in our words: lower case, names in backticks, the nearest one beside them."""

from __future__ import annotations

import re

import click

from cpool_flow.errors import Problem, did_you_mean

_QUOTED = re.compile(r"'([^']*)'")
_CHOSEN = re.compile(r": '(.*)' is not one of ")


def usage_problem(error: click.ClickException) -> Problem:
    """The problem of a command line that click refuses."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    help = f"see `{context.command_path if context else 'cpool-flow'} --help`"
    if isinstance(error, click.NoSuchOption):
        near = did_you_mean(error.option_name, _options(context))
        return Problem(f"no option `{error.option_name}`", hint=near, help=help)
    message = error.format_message()
    words = _QUOTED.sub(r"`\1`", message).removesuffix(".")
    return Problem(words[:1].lower() + words[1:], hint=_nearest_choice(error, message), help=help)


def _options(context: click.Context | None) -> list[str]:
    if context is None:
        return []
    shown = [param for param in context.command.get_params(context) if isinstance(param, click.Option) and not param.hidden]
    return [name for option in shown for name in (*option.opts, *option.secondary_opts)]


def _nearest_choice(error: click.ClickException, message: str) -> str | None:
    given = _CHOSEN.search(message)
    if given is None or not isinstance(error, click.BadParameter) or error.param is None or not isinstance(error.param.type, click.Choice):
        return None
    return did_you_mean(given[1], [str(choice) for choice in error.param.type.choices])
